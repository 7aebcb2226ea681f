//! `#[derive(KernelMessage)]`: named tensors and parameters from the fields of a struct.
//!
//! The expansion refers to `rustkernel_core`, so the deriving crate has to depend on it.
#![forbid(unsafe_code)]

mod expand;
mod field;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Makes a struct a message of named tensors and parameters.
///
/// * A field of type `Tensor<T>` is a tensor.
/// * Any other field is a parameter; its type is a number, `bool` or `String`.
/// * The first paragraph of a field's documentation describes it.
///
/// | attribute | on | means |
/// |---|---|---|
/// | `#[kernel(shape = "m, k")]` | tensor | its dimensions: numbers, or names that stand for one length within the message; without it, any shape |
/// | `#[kernel(picture)]` | tensor | it is a picture, `[height, width, channels]` of 8-bit values |
/// | `#[kernel(default = 0.5)]` | parameter | its value if none is given |
/// | `#[kernel(name = "text")]` | any | its name, if not the field's |
///
/// ```
/// use rustkernel_core::prelude::*;
///
/// #[derive(KernelMessage)]
/// struct SaxpyRequest {
///     /// The factor.
///     #[kernel(default = 1.0)]
///     a: f32,
///     #[kernel(shape = "n")]
///     x: Tensor<f32>,
///     #[kernel(shape = "n")]
///     y: Tensor<f32>,
/// }
/// ```
#[proc_macro_derive(KernelMessage, attributes(kernel))]
pub fn derive_kernel_message(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand::expand(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

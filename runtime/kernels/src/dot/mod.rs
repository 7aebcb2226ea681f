//! The dot product of two vectors of `f32`.
//!
//! The product of two `f32` is exact in `f64`, and the sum is added up in `f64`: the only error
//! that shows is the rounding of the result. An empty product is 0.

pub mod host;
mod kernel;

pub use kernel::{Dot, DotRequest, DotResponse, spec};

/// The entries `dot_partial` and `dot_final`; `kernel.cu` says how they are launched.
pub const PTX: &str = include_str!("kernel.ptx");

//! `c[i] = a[i] + b[i]`, in `f32`.

pub mod host;
mod kernel;

pub use kernel::{VectorAdd, VectorAddRequest, VectorAddResponse, spec};

/// The entry `vector_add`; `kernel.cu` says how it is launched.
pub const PTX: &str = include_str!("kernel.ptx");

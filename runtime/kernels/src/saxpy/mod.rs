//! `output[i] = a x[i] + y[i]`, in `f32`: level 1 of BLAS (Lawson, Hanson, Kincaid and Krogh,
//! "Basic linear algebra subprograms for Fortran usage", 1979).
//!
//! Rounded after the product and after the sum, on host and device: both give the bits that NumPy
//! gives for `a * x + y`.

pub mod host;
mod kernel;

pub use kernel::{Saxpy, SaxpyRequest, SaxpyResponse, spec};

/// The entry `saxpy`; `kernel.cu` says how it is launched.
pub const PTX: &str = include_str!("kernel.ptx");

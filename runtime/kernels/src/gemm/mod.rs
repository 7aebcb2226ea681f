//! The matrix product `c[m, n] = a[m, k] b[k, n]`, row-major, in `f32`.
//!
//! On the host by faer, whose micro-kernels (of the `gemm` family of crates) use AVX2, AVX-512 or
//! NEON as the processor has them. On the device by 64 × 64 tiles in shared memory.

pub mod host;
mod kernel;

pub use kernel::{Gemm, GemmRequest, GemmResponse, spec};

/// The entry `gemm`; `kernel.cu` says how it is launched.
pub const PTX: &str = include_str!("kernel.ptx");

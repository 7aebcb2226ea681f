//! The built-in kernels, each on the host and on CUDA devices.
//!
//! [`all`] has them all, ready for a runtime:
//!
//! ```
//! # use rustkernel_core::prelude::*;
//! let mut builder = RuntimeBuilder::new();
//! for spec in rustkernel_kernels::all() {
//!     builder = builder.with_any_kernel(spec);
//! }
//! ```
//!
//! | kernel | computes |
//! |---|---|
//! | [`vector_add`] | `c = a + b` |
//! | [`saxpy`] | `a x + y` |
//! | [`dot`] | the dot product |
//! | [`reduce`] | sum, minimum, maximum, mean |
//! | [`scan`] | the inclusive sum |
//! | [`histogram`] | counts in bins of equal width |
//! | [`gemm`] | the matrix product |
//! | [`softmax`] | softmax along the rows of a matrix |
//! | [`conv2d`] | two-dimensional cross-correlation |
//! | [`gaussian_blur`] | Gaussian blur of an image |
//! | [`sobel`] | the magnitude of an image's gradient |
//! | [`black_scholes`] | European options by Monte Carlo |
//! | [`pagerank`] | PageRank of a directed graph |
//!
//! Every kernel is a folder with the same files:
//!
//! | file | holds |
//! |---|---|
//! | `mod.rs` | what is computed, and from which source |
//! | `kernel.rs` | the kernel: request, response, what runs where |
//! | `host.rs` | the implementation for the processor |
//! | `kernel.cu` | the CUDA C source; opens with how its entries are launched |
//! | `kernel.ptx` | what `tools/ptx.py` makes of it, for any device since Maxwell |
//!
//! Rules that all kernels keep:
//!
//! - They are made by their `spec()` alone, which publishes them: a request that reaches one has the
//!   shapes that its signature says.
//! - What an algorithm refuses is [`InvalidRequest`], in the same words on every device; so is what
//!   is too large for one.
//! - Empty inputs have results, empty or neutral; only the minimum, the maximum and the mean of
//!   nothing are refused.
//! - What a request leases is declared: device memory on CUDA devices; on the host device memory for
//!   answers that can be much larger than their requests, and staging memory for scratch.
//! - On a CUDA device nothing waits but uploads of more than 8 MiB, for their own earlier parts, the
//!   downloads of results, and PageRank once in eight iterations.
//! - On the host nothing more is begun once a request was given up ([`until`]).
//!
//! [`InvalidRequest`]: rustkernel_core::kernel::KernelError::InvalidRequest
//!
//! Rules that all host functions keep:
//!
//! - Inputs are slices, row-major; a slice of the wrong length is a [`LengthError`], found before
//!   anything is written.
//! - The result does not depend on the number of threads: work is cut into pieces by shape alone,
//!   and partial sums are added in the order of the pieces.
//! - Sums are added up in `f64`, with two exceptions. Those of [`gemm`] and [`conv2d`] are in `f32` up
//!   to 4,096 products, and these partial sums in `f64`; a CUDA device adds up all products in `f32`,
//!   one after another. Those of [`gaussian_blur`] are in `f32`: 385 products at most, for a byte.
//! - Small inputs stay on the calling thread; larger ones use rayon's current pool.
//! - Large intermediates live in memory that the caller gives; `scratch_bytes` says how much.
#![forbid(unsafe_code)]

pub mod black_scholes;
pub mod conv2d;
pub mod dot;
mod entries;
mod error;
pub mod gaussian_blur;
pub mod gemm;
pub mod histogram;
mod image;
pub mod pagerank;
mod parallel;
pub mod reduce;
mod request;
pub mod saxpy;
pub mod scan;
pub mod sobel;
pub mod softmax;
pub mod vector_add;

pub use error::LengthError;
pub use image::{ChannelsError, ImageShape};
pub use parallel::until;

use rustkernel_core::kernel::AnySpec;

/// Every built-in kernel, by name.
pub fn all() -> Vec<Box<dyn AnySpec>> {
    vec![
        Box::new(black_scholes::spec()),
        Box::new(conv2d::spec()),
        Box::new(dot::spec()),
        Box::new(gaussian_blur::spec()),
        Box::new(gemm::spec()),
        Box::new(histogram::spec()),
        Box::new(pagerank::spec()),
        Box::new(reduce::spec()),
        Box::new(saxpy::spec()),
        Box::new(scan::spec()),
        Box::new(sobel::spec()),
        Box::new(softmax::spec()),
        Box::new(vector_add::spec()),
    ]
}

/// The built-in kernel of that name.
pub fn find(name: &str) -> Option<Box<dyn AnySpec>> {
    all().into_iter().find(|spec| spec.name() == name)
}

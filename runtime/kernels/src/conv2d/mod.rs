//! Two-dimensional cross-correlation, as in PyTorch's `conv2d` without bias:
//! `output[b, o, y, x] = Σ weight[o, c, i, j] input[b, c, y s + i - p, x s + j - p]`, with stride
//! `s` and zeros in `p` rows and columns around the input.
//!
//! As a matrix product of the weights with patches of the input (Chellapilla, Puri and Simard,
//! "High performance convolutional neural networks for document processing", 2006). On the host a
//! block of patches at a time is copied out, so that memory is bounded; the device gathers them on
//! the way into shared memory and stores none.

pub mod host;
mod kernel;
mod patches;
mod shape;

pub use kernel::{Conv2d, Conv2dRequest, Conv2dResponse, spec};

/// The entry `conv2d`; `kernel.cu` says how it is launched.
pub const PTX: &str = include_str!("kernel.ptx");

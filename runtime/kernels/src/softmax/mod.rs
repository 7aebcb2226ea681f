//! Softmax along the rows of a matrix: `output[r, j] = exp(x[r, j] - max) / Σ exp(x[r, i] - max)`.
//!
//! Subtracting the row's maximum keeps the exponentials from overflowing and leaves the quotient
//! unchanged (Goodfellow, Bengio and Courville, "Deep learning", 2016, section 4.1). The sum is in
//! `f64`. A row with NaN or +∞, or of -∞ only, becomes NaN, as the formula says; -∞ beside finite
//! values becomes 0.

pub mod host;
mod kernel;

pub use kernel::{Softmax, SoftmaxRequest, SoftmaxResponse, spec};

/// The entries `softmax_warp` and `softmax_block`; `kernel.cu` says how they are launched.
pub const PTX: &str = include_str!("kernel.ptx");

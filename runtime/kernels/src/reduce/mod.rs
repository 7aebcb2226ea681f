//! Sum, minimum, maximum and mean of a vector of `f32`.
//!
//! Sums are added up in `f64`. As in NumPy, a minimum or maximum over a NaN is NaN, the sum of
//! nothing is 0, and the others are not defined for nothing.

pub mod host;
mod kernel;

pub use kernel::{Reduce, ReduceRequest, ReduceResponse, spec};

/// The entries `reduce_sum_partial`, `reduce_sum_final`, `reduce_min` and `reduce_max`;
/// `kernel.cu` says how they are launched.
pub const PTX: &str = include_str!("kernel.ptx");

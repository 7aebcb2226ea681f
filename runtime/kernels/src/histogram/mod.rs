//! Counts of values in bins of equal width, by NumPy's rule.
//!
//! The edges are `low + i (high - low) / bins`, computed in `f64` and rounded to `f32`. Bin `i`
//! holds `edges[i] <= v < edges[i + 1]`, the last one also `v = high`; what is outside, and NaN, is
//! not counted. That is `numpy.histogram` for an array of float32, to the last value.
//!
//! Host and device find a bin by a guess that the edges then correct. Both compute the same edges, so
//! both put every value into the same bin; a device does so once, into a table.

pub mod host;
mod kernel;

pub use kernel::{Histogram, HistogramRequest, HistogramResponse, spec};

/// The entries `histogram_shared` and `histogram_global`; `kernel.cu` says how they are launched.
pub const PTX: &str = include_str!("kernel.ptx");

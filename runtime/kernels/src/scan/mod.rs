//! The inclusive sum: `output[i] = input[0] + … + input[i]`.
//!
//! Reduce, then scan (Blelloch, "Prefix sums and their applications", 1990): sums of pieces, the
//! running sum over those, then every piece from its own offset. Added up in `f64`, so that the
//! error does not grow along the vector.

pub mod host;
mod kernel;

pub use kernel::{Scan, ScanRequest, ScanResponse, spec};

/// The entries `scan_tile_sums`, `scan_offsets` and `scan_tiles`; `kernel.cu` says how they are
/// launched.
pub const PTX: &str = include_str!("kernel.ptx");

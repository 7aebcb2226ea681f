//! Gaussian blur of an image of bytes.
//!
//! The Gaussian is separable: rows are blurred, then columns (Gonzalez and Woods, "Digital image
//! processing", 4th edition, section 3.5). It is cut off at `ceil(3 σ)` pixels, and its weights sum
//! to one. Outside the image lies the value of the nearest pixel. Between the passes values are
//! `f32`; at the end they are rounded to nearest. Every channel is blurred alike, alpha too, so
//! colours should come premultiplied by it.
//!
//! `σ` is at most [`host::MAX_SIGMA`]: a value costs `4 ceil(3 σ) + 2` multiply-adds, and a wider
//! blur is better made on a smaller image.

pub mod host;
mod kernel;

pub use kernel::{GaussianBlur, GaussianBlurRequest, GaussianBlurResponse, spec};

/// The entries `gaussian_blur_rows` and `gaussian_blur_columns`; `kernel.cu` says how they are
/// launched.
pub const PTX: &str = include_str!("kernel.ptx");

//! The magnitude of an image's gradient by the operator of Sobel and Feldman (described in
//! Gonzalez and Woods, "Digital image processing", 4th edition, section 10.2).
//!
//! Colour becomes luma with the weights of ITU-R Rec. 601: 0.299, 0.587, 0.114. Taken in
//! thousandths of a grey level, everything up to the square of the magnitude is an integer, so host
//! and device agree to the byte. Outside the image lies the nearest pixel. The magnitude
//! `sqrt(gx² + gy²)` is rounded to nearest and saturates at 255.

pub mod host;
mod kernel;

pub use kernel::{Sobel, SobelRequest, SobelResponse, spec};

/// The entry `sobel`; `kernel.cu` says how it is launched.
pub const PTX: &str = include_str!("kernel.ptx");

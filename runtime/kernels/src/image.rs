//! The shape of an image of bytes.

use rustkernel_core::prelude::*;
use thiserror::Error;

use crate::error::{LengthError, elements};
use crate::request::{at_most, extents};

/// Height, width and channels of an image `u8[height, width, channels]`: grey (1), RGB (3) or
/// RGBA (4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageShape {
    height: usize,
    width: usize,
    channels: usize,
}

/// An image has neither 1, 3 nor 4 channels.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("an image has 1, 3 or 4 channels, not {0}")]
pub struct ChannelsError(pub usize);

impl ImageShape {
    /// A shape; the extents may be zero.
    ///
    /// # Errors
    /// If `channels` is not 1, 3 or 4.
    pub fn new(height: usize, width: usize, channels: usize) -> Result<Self, ChannelsError> {
        match channels {
            1 | 3 | 4 => Ok(Self { height, width, channels }),
            _ => Err(ChannelsError(channels)),
        }
    }

    /// The shape of a picture.
    pub(crate) fn of(picture: &Tensor<u8>) -> Result<Self, ChannelsError> {
        let [height, width, channels] = extents(picture);
        Self::new(height, width, channels)
    }

    /// Height, width and channels.
    pub(crate) const fn extents(&self) -> [usize; 3] {
        [self.height, self.width, self.channels]
    }

    /// The same as the entries take them. Those compute places in a row and in a column with 32
    /// bits, one of them for what lies left of or above the image, and go beyond its end by a block
    /// and twice the widest blur.
    pub(crate) fn sizes(&self) -> KernelResult<[u32; 3]> {
        const MOST: u32 = i32::MAX as u32 - 1024;
        let height = at_most(MOST, "height", self.height)?;
        at_most(MOST, "number of values in a row", self.row_length())?;
        let width = at_most(MOST, "width", self.width)?;
        Ok([height, width, self.channels as u32])
    }

    /// Rows.
    #[must_use]
    pub const fn height(&self) -> usize {
        self.height
    }

    /// Pixels in a row.
    #[must_use]
    pub const fn width(&self) -> usize {
        self.width
    }

    /// Values of a pixel.
    #[must_use]
    pub const fn channels(&self) -> usize {
        self.channels
    }

    /// Values in the image.
    #[must_use]
    pub fn len(&self) -> usize {
        elements(&[self.height, self.width, self.channels])
    }

    /// Whether the image has no pixels.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Values in a row.
    pub(crate) fn row_length(&self) -> usize {
        self.width * self.channels
    }

    /// `Ok` if a slice of `actual` values holds such an image.
    pub(crate) fn check(&self, buffer: &'static str, actual: usize) -> Result<(), LengthError> {
        LengthError::unless_exact(buffer, actual, self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::ImageShape;

    const BOUND: usize = i32::MAX as usize;

    /// A block of `gaussian_blur_rows` reads 256 values and the widest margin on both sides of them,
    /// `gaussian_blur_columns` that margin beyond the last row; both count with 32 bits.
    #[test]
    fn what_the_entries_reach_has_a_place() {
        let sizes = |height, width| ImageShape::new(height, width, 1).expect("grey").sizes();
        for length in BOUND - 2048..=BOUND {
            let last = (length - 1) / 256 * 256 + 256 + 2 * 192 - 1;
            assert!(last <= BOUND || sizes(1, length).is_err(), "{length} values in a row");
            assert!(length - 1 + 192 <= BOUND || sizes(length, 1).is_err(), "{length} rows");
        }
        assert!(sizes(BOUND - 2048, 1).is_ok() && sizes(1, BOUND - 2048).is_ok());
    }
}

//! Images of bytes.

use proptest::prelude::*;

use super::random::Random;

/// Height, width and channels, row-major.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of an image's shape")]
pub struct ImageShape {
    pub height: usize,
    pub width: usize,
    pub channels: usize,
}

impl ImageShape {
    /// Shapes that are a line, a point, or around the device's tiles of 32 x 8 pixels.
    #[must_use]
    pub fn awkward() -> Vec<Self> {
        [(1, 1, 1), (1, 37, 3), (41, 1, 4), (2, 2, 3), (8, 32, 3), (9, 33, 4), (7, 31, 1)]
            .into_iter()
            .chain([(50, 71, 3), (33, 257, 1), (0, 5, 3), (5, 0, 4)])
            .map(|(height, width, channels)| Self { height, width, channels })
            .collect()
    }

    /// Any shape of moderate size.
    pub fn random() -> impl Strategy<Value = Self> {
        (1..60_usize, 1..60_usize, proptest::sample::select(&[1, 3, 4]))
            .prop_map(|(height, width, channels)| Self { height, width, channels })
    }

    /// Values in the image.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// Whether the image has no pixels.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where a value of the image lies; coordinates outside it mean the nearest pixel.
    #[must_use]
    pub fn place(&self, y: i64, x: i64, channel: usize) -> usize {
        let y = y.clamp(0, self.height as i64 - 1) as usize;
        let x = x.clamp(0, self.width as i64 - 1) as usize;
        (y * self.width + x) * self.channels + channel
    }

    /// Random bytes; in every second image all but a few are 0 or 255.
    #[must_use]
    pub fn pixels(&self, seed: u64) -> Vec<u8> {
        let mut bytes = Random::new(seed).bytes(self.len());
        if seed.is_multiple_of(2) {
            for byte in &mut bytes {
                *byte = match *byte {
                    0..120 => 0,
                    130.. => 255,
                    other => other,
                };
            }
        }
        bytes
    }
}

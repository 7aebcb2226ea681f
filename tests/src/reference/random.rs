//! Random inputs, the same on every machine.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A generator with a seed.
#[derive(Debug)]
pub struct Random(ChaCha8Rng);

impl Random {
    /// The generator of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// `count` numbers between `low` and `high`.
    pub fn floats(&mut self, count: usize, low: f32, high: f32) -> Vec<f32> {
        (0..count).map(|_| self.0.random_range(low..=high)).collect()
    }

    /// `count` bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.0.random()).collect()
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.0.random_range(0..end)
    }

    /// Puts `value` into about every `period`-th place.
    pub fn sprinkle(&mut self, values: &mut [f32], period: usize, value: f32) {
        for place in values {
            if self.below(period) == 0 {
                *place = value;
            }
        }
    }
}

//! Histograms on the host.

use thiserror::Error;

use crate::error::LengthError;
use crate::parallel::{self, Caller};

const PIECE: usize = 1 << 16;
const PARALLEL_FROM: usize = 1 << 16;

/// Bins of equal width between two bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Bins {
    edges: Vec<f32>,
    scale: f64,
}

/// Bounds and a number that make no bins.
#[derive(Clone, Copy, Debug, Error, PartialEq)]
pub enum BinsError {
    /// There are no bins.
    #[error("a histogram has at least one bin")]
    None,
    /// The bounds are not finite, or not in order.
    #[error("the bounds must be finite and low < high, not {low} and {high}")]
    Range {
        /// The lower bound.
        low: f32,
        /// The upper bound.
        high: f32,
    },
    /// Two edges would be the same `f32`; NumPy refuses these too.
    #[error("{bins} bins between {low} and {high} are narrower than float32 can tell apart")]
    TooNarrow {
        /// The number of bins.
        bins: u32,
        /// The lower bound.
        low: f32,
        /// The upper bound.
        high: f32,
    },
}

impl Bins {
    /// `bins` bins of equal width from `low` to `high`.
    ///
    /// # Errors
    /// If there are none, if the bounds are not finite and in order, or if two edges coincide.
    pub fn new(bins: u32, low: f32, high: f32) -> Result<Self, BinsError> {
        if bins == 0 {
            return Err(BinsError::None);
        }
        if !(low.is_finite() && high.is_finite() && low < high) {
            return Err(BinsError::Range { low, high });
        }
        let width = (f64::from(high) - f64::from(low)) / f64::from(bins);
        let edge = |i: u32| {
            if i == bins { high } else { (f64::from(i) * width + f64::from(low)) as f32 }
        };
        // Edges collide first where numbers are largest, at an end: looking there first refuses
        // a billion bins without computing a billion edges.
        let too_narrow = BinsError::TooNarrow { bins, low, high };
        if edge(0) >= edge(1) || edge(bins - 1) >= edge(bins) {
            return Err(too_narrow);
        }
        let edges: Vec<f32> = (0..=bins).map(edge).collect();
        if edges.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(too_narrow);
        }
        Ok(Self { edges, scale: 1.0 / width })
    }

    /// The number of bins.
    #[must_use]
    pub fn count(&self) -> usize {
        self.edges.len() - 1
    }

    /// The bounds of all bins, strictly rising: one more than there are bins. The device reads
    /// them.
    #[must_use]
    pub fn edges(&self) -> &[f32] {
        &self.edges
    }

    /// Bins per unit: what the device's first guess needs. For the narrowest bins it is beyond `f32`.
    #[must_use]
    pub const fn scale(&self) -> f64 {
        self.scale
    }

    /// The bin that holds `value`, if one does.
    #[must_use]
    #[inline]
    pub fn bin_of(&self, value: f32) -> Option<usize> {
        let last = self.count() - 1;
        if !(value >= self.edges[0] && value <= self.edges[last + 1]) {
            return None;
        }
        let mut bin = self.guess(value);
        while value < self.edges[bin] {
            bin -= 1;
        }
        while bin < last && value >= self.edges[bin + 1] {
            bin += 1;
        }
        Some(bin)
    }

    /// The bin of a value between the bounds, or one at most three beside it: edges that rise
    /// strictly are at least a quarter of an ulp apart before they are rounded, each by half an ulp
    /// at most.
    #[inline]
    fn guess(&self, value: f32) -> usize {
        let guess = (f64::from(value) - f64::from(self.edges[0])) * self.scale;
        // By way of `u32`, because a checked conversion to it takes fewer instructions.
        (guess as u32 as usize).min(self.count() - 1)
    }
}

/// Writes to `counts` how many values of `input` each bin holds.
///
/// # Errors
/// If `counts` does not have one element per bin.
pub fn histogram(bins: &Bins, input: &[f32], counts: &mut [u64]) -> Result<(), LengthError> {
    LengthError::unless_exact("counts", counts.len(), bins.count())?;
    counts.fill(0);
    // Every thread counts into bins of its own, which must be worth clearing and adding up.
    let threads = if input.len() < PARALLEL_FROM { 1 } else { rayon::current_num_threads() };
    let share = input.len().div_ceil(threads).max(bins.count());
    if input.len() <= share {
        count(bins, input, counts);
    } else {
        let shares = parallel::map_ranges(input.len(), share, true, |share| {
            let mut counts = vec![0; bins.count()];
            count(bins, &input[share], &mut counts);
            counts
        });
        for partial in shares {
            counts.iter_mut().zip(partial).for_each(|(count, more)| *count += more);
        }
    }
    Ok(())
}

fn count(bins: &Bins, input: &[f32], counts: &mut [u64]) {
    let caller = Caller::current();
    for piece in input.chunks(PIECE).take_while(|_| !caller.has_gone()) {
        for &value in piece {
            if let Some(bin) = bins.bin_of(value) {
                counts[bin] += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Bins;

    #[test]
    fn a_guess_is_at_most_three_bins_away() {
        let narrowest = (60_000, 0.0, 8.5e-41);
        let tiny = [narrowest, (3, 0.0, 1e-44), (1_000, -1e-38, 1.2e-38), (65_537, 0.0, 1e-35)];
        let usual = [(65_537, -1.0, 1.0), (16, 1e6, 1_000_001.0), (8_388_608, 1.0, 2.0)];
        for (bins, low, high) in tiny.into_iter().chain(usual).chain([(1_000, -3e38, 3e38)]) {
            let bins = Bins::new(bins, low, high).expect("bins are wide enough");
            for (bin, edge) in bins.edges()[..bins.count()].iter().enumerate() {
                for value in [*edge, bins.edges()[bin + 1].next_down()] {
                    assert_eq!(bins.bin_of(value), Some(bin), "{value:e}");
                    let guess = bins.guess(value);
                    assert!(guess.abs_diff(bin) <= 3, "{value:e} is in {bin}, not near {guess}");
                }
            }
        }
    }
}

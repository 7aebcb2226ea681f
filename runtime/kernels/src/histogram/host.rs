//! Histograms on the host.

use rayon::prelude::*;
use thiserror::Error;

use crate::error::{LengthError, elements};
use crate::parallel::Caller;

/// The most bins of a histogram: as many whole numbers in a row as `f32` can count.
pub const MOST_BINS: u32 = 1 << 24;

/// Values that are counted before the caller is looked after again.
const PIECE: usize = 1 << 16;

/// Values from which threads share them.
const PARALLEL_FROM: usize = 1 << 16;

/// Counts of all threads but one, at most: 8 MiB. Beyond that, adding them up costs what was won.
const MOST_SCRATCH: usize = 1 << 20;

/// Counts of 128 bytes, as threads must not share a cache line.
const LINE: usize = 16;

/// Bins of equal width between two bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bins {
    count: u32,
    low: f32,
    high: f32,
    width: f64,
    scale: f64,
    /// How far from an edge, in widths, a place has to be for the edge not to matter.
    margin: f64,
}

/// Bounds and a number that make no bins.
#[derive(Clone, Copy, Debug, Error, PartialEq)]
pub enum BinsError {
    /// There are no bins.
    #[error("a histogram has at least one bin")]
    None,
    /// There are more than [`MOST_BINS`].
    #[error("a histogram has at most {MOST_BINS} bins, not {0}")]
    TooMany(u32),
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
    /// If there are none or more than [`MOST_BINS`], if the bounds are not finite and in order, or if
    /// two edges coincide.
    pub fn new(bins: u32, low: f32, high: f32) -> Result<Self, BinsError> {
        check_number(bins)?;
        if !(low.is_finite() && high.is_finite() && low < high) {
            return Err(BinsError::Range { low, high });
        }
        let width = (f64::from(high) - f64::from(low)) / f64::from(bins);
        // Edges are rounded by half an ulp at most, and places by less than the rest.
        let ulp = f64::from(low.abs().max(high.abs())) * f64::from(f32::EPSILON);
        let margin = ulp.max(f64::from(f32::from_bits(1))) / width + 1e-7;
        let made = Self { count: bins, low, high, width, scale: 1.0 / width, margin };
        // Edges collide first where numbers are largest, at an end: looking there first refuses
        // most without a look at all.
        let collides = |bin: u32| made.edge(bin) >= made.edge(bin + 1);
        if collides(0) || collides(bins - 1) || (0..bins).any(collides) {
            return Err(BinsError::TooNarrow { bins, low, high });
        }
        Ok(made)
    }

    /// The number of bins.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count as usize
    }

    /// Where bin `i` begins and the one before it ends; `i` is at most the number of bins. Edges rise
    /// strictly, and a device makes the same.
    #[must_use]
    #[inline]
    pub fn edge(&self, i: u32) -> f32 {
        if i == self.count {
            self.high
        } else {
            (f64::from(i) * self.width + f64::from(self.low)) as f32
        }
    }

    /// The width of a bin, before edges are rounded to `f32`: what the device makes them of.
    #[must_use]
    pub const fn width(&self) -> f64 {
        self.width
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
        if !(value >= self.low && value <= self.high) {
            return None;
        }
        let (place, mut bin) = self.guess(value);
        let beyond = place - f64::from(bin);
        if beyond < self.margin {
            while value < self.edge(bin) {
                bin -= 1;
            }
        }
        if beyond > 1.0 - self.margin {
            while bin + 1 < self.count && value >= self.edge(bin + 1) {
                bin += 1;
            }
        }
        Some(bin as usize)
    }

    /// The place of a value between the bounds, in widths, and its bin by that: the right one or at most
    /// three beside it, as edges that rise strictly are at least a quarter of an ulp apart before they
    /// are rounded, each by half an ulp at most.
    #[inline]
    fn guess(&self, value: f32) -> (f64, u32) {
        let place = (f64::from(value) - f64::from(self.low)) * self.scale;
        (place, (place as u32).min(self.count - 1))
    }
}

/// Refuses a number of bins that no histogram has.
pub(super) fn check_number(bins: u32) -> Result<(), BinsError> {
    match bins {
        0 => Err(BinsError::None),
        1..=MOST_BINS => Ok(()),
        _ => Err(BinsError::TooMany(bins)),
    }
}

/// Scratch memory, in bytes, with which every core can work on `values` values: at most 8 MiB.
#[must_use]
pub fn scratch_bytes(values: usize, bins: usize) -> usize {
    let threads = if values < PARALLEL_FROM { 1 } else { rayon::current_num_threads() };
    // Every thread but one counts into bins of its own, which must be worth clearing and adding up.
    let others = threads.min(values / bins.max(1)).saturating_sub(1);
    let others = others.min(MOST_SCRATCH / stride(bins));
    elements(&[others, stride(bins), size_of::<u64>()])
}

/// Counts from one thread's bins to the next one's.
fn stride(bins: usize) -> usize {
    bins.max(1).next_multiple_of(LINE)
}

/// Writes to `counts` how many values of `input` each bin holds.
///
/// `scratch` is any memory of [`scratch_bytes`]; with less, fewer cores work.
///
/// # Errors
/// If `counts` does not have one element per bin.
pub fn histogram(
    bins: &Bins,
    input: &[f32],
    counts: &mut [u64],
    scratch: &mut [u64],
) -> Result<(), LengthError> {
    LengthError::unless_exact("counts", counts.len(), bins.count())?;
    let caller = Caller::current();
    let stride = stride(bins.count());
    let most = scratch_bytes(input.len(), bins.count()) / size_of::<u64>();
    let others = scratch.len().min(most) / stride;
    if others == 0 {
        count(bins, input, counts, &caller);
        return Ok(());
    }
    let share = input.len().div_ceil(others + 1);
    let (first, rest) = input.split_at(share);
    let scratch = &mut scratch[..rest.len().div_ceil(share) * stride];
    let theirs = rest.par_chunks(share).zip(scratch.par_chunks_exact_mut(stride));
    rayon::join(
        || count(bins, first, counts, &caller),
        || theirs.for_each(|(share, own)| count(bins, share, &mut own[..bins.count()], &caller)),
    );
    for own in scratch.chunks_exact(stride) {
        counts.iter_mut().zip(own).for_each(|(count, more)| *count += more);
    }
    Ok(())
}

fn count(bins: &Bins, input: &[f32], counts: &mut [u64], caller: &Caller) {
    counts.fill(0);
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
    use super::{Bins, MOST_BINS, histogram, scratch_bytes};

    #[test]
    fn a_guess_is_at_most_three_bins_away() {
        let narrowest = (60_000, 0.0, 8.5e-41);
        let tiny = [narrowest, (3, 0.0, 1e-44), (1_000, -1e-38, 1.2e-38), (65_537, 0.0, 1e-35)];
        let usual = [(65_537, -1.0, 1.0), (16, 1e6, 1_000_001.0), (1_048_576, 1.0, 1.125)];
        for (count, low, high) in tiny.into_iter().chain(usual).chain([(1_000, -3e38, 3e38)]) {
            let bins = Bins::new(count, low, high).expect("bins are wide enough");
            for bin in 0..count {
                for value in [bins.edge(bin), bins.edge(bin + 1).next_down()] {
                    assert_eq!(bins.bin_of(value), Some(bin as usize), "{value:e}");
                    let (_, guess) = bins.guess(value);
                    assert!(guess.abs_diff(bin) <= 3, "{value:e} is in {bin}, not near {guess}");
                }
            }
        }
    }

    /// What a thread counts is bounded, however many threads and values there are.
    #[test]
    fn scratch_is_bounded() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(40).build().expect("threads start");
        let bytes = |values, bins| pool.install(|| scratch_bytes(values, bins));
        assert_eq!(bytes(1_000_000, 250), 39 * 256 * 8);
        assert_eq!((bytes(65_535, 1), bytes(1_000_000, 600_000)), (0, 0));
        for bins in [1, 17, 65_536, 1_000_000, 1_048_577, MOST_BINS as usize] {
            assert!(bytes(usize::MAX, bins) <= 8 << 20, "{bins} bins");
        }
    }

    #[test]
    fn any_scratch_will_do() {
        let input: Vec<f32> = (0..100_003_u32).map(|i| (i % 20) as f32).collect();
        let bins = Bins::new(20, 0.0, 20.0).expect("bins are wide enough");
        let pool = rayon::ThreadPoolBuilder::new().num_threads(7).build().expect("threads start");
        for scratch in [0, 31, 32, 100, 192, 1_000] {
            let (mut counts, mut scratch) = (vec![7; 20], vec![7; scratch]);
            pool.install(|| histogram(&bins, &input, &mut counts, &mut scratch))
                .expect("20 counts");
            let expected: Vec<u64> = (0..20).map(|bin| 5_000 + u64::from(bin < 3)).collect();
            assert_eq!(counts, expected);
        }
    }
}

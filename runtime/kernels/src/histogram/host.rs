//! Histograms on the host.

use rayon::prelude::*;
use thiserror::Error;

use crate::error::LengthError;

const PARALLEL_FROM: usize = 1 << 16;

/// Bins of equal width between two bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Bins {
    edges: Vec<f32>,
    scale: f32,
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
        Ok(Self { edges, scale: (1.0 / width).min(f64::from(f32::MAX)) as f32 })
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

    /// Bins per unit: what the device's first guess needs.
    #[must_use]
    pub const fn scale(&self) -> f32 {
        self.scale
    }

    /// The bin that holds `value`, if one does.
    #[must_use]
    #[inline]
    pub fn bin_of(&self, value: f32) -> Option<usize> {
        let (low, last) = (self.edges[0], self.count() - 1);
        if !(value >= low && value <= self.edges[last + 1]) {
            return None;
        }
        let guess = (f64::from(value) - f64::from(low)) * f64::from(self.scale);
        // By way of `u32`, because a checked conversion to it takes fewer instructions.
        let mut bin = (guess as u32 as usize).min(last);
        while value < self.edges[bin] {
            bin -= 1;
        }
        while bin < last && value >= self.edges[bin + 1] {
            bin += 1;
        }
        Some(bin)
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
        let add = |values: &[f32]| {
            let mut counts = vec![0; bins.count()];
            count(bins, values, &mut counts);
            counts
        };
        let partials: Vec<Vec<u64>> = input.par_chunks(share).map(add).collect();
        for partial in partials {
            counts.iter_mut().zip(partial).for_each(|(count, more)| *count += more);
        }
    }
    Ok(())
}

fn count(bins: &Bins, input: &[f32], counts: &mut [u64]) {
    for &value in input {
        if let Some(bin) = bins.bin_of(value) {
            counts[bin] += 1;
        }
    }
}

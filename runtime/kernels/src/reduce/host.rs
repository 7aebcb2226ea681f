//! Reductions on the host.

use std::str::FromStr;

use thiserror::Error;

use crate::parallel;

const PIECE: usize = 1 << 16;
const PARALLEL_FROM: usize = 1 << 20;

/// Independent accumulators: one alone would wait for each operation before the next.
const LANES: usize = 16;

/// What to reduce to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// The sum; 0 of nothing.
    Sum,
    /// The least element, or NaN.
    Min,
    /// The greatest element, or NaN.
    Max,
    /// The arithmetic mean.
    Mean,
}

/// A text that is not `sum`, `min`, `max` or `mean`.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("there is no reduction `{0}`, only sum, min, max and mean")]
pub struct UnknownOpError(pub String);

impl FromStr for Op {
    type Err = UnknownOpError;

    fn from_str(name: &str) -> Result<Self, UnknownOpError> {
        match name {
            "sum" => Ok(Self::Sum),
            "min" => Ok(Self::Min),
            "max" => Ok(Self::Max),
            "mean" => Ok(Self::Mean),
            other => Err(UnknownOpError(other.into())),
        }
    }
}

/// A minimum, maximum or mean of nothing.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("{op:?} is not defined for an empty input")]
pub struct EmptyError {
    /// What was asked for.
    pub op: Op,
}

/// Reduces `input` by `op`.
///
/// # Errors
/// If `input` is empty and `op` is not [`Op::Sum`].
pub fn reduce(input: &[f32], op: Op) -> Result<f32, EmptyError> {
    if input.is_empty() && op != Op::Sum {
        return Err(EmptyError { op });
    }
    Ok(match op {
        Op::Sum => sum(input) as f32,
        Op::Mean => (sum(input) / input.len() as f64) as f32,
        Op::Min => extreme(input, f32::INFINITY, |a, b| if b < a || b.is_nan() { b } else { a }),
        Op::Max => extreme(input, -f32::INFINITY, |a, b| if b > a || b.is_nan() { b } else { a }),
    })
}

fn sum(input: &[f32]) -> f64 {
    let parallel = input.len() >= PARALLEL_FROM;
    parallel::map_ranges(input.len(), PIECE, parallel, |range| piece_sum(&input[range]))
        .iter()
        // The sum of no `f64` at all is -0.
        .fold(0.0, |sum, part| sum + part)
}

/// The sum of a piece, by one thread.
pub(crate) fn piece_sum(input: &[f32]) -> f64 {
    let (lanes, rest) = input.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for values in lanes {
        for lane in 0..LANES {
            sums[lane] += f64::from(values[lane]);
        }
    }
    sums.into_iter().chain(rest.iter().copied().map(f64::from)).sum()
}

/// Folds with `better`, of which `identity` is the neutral element.
pub(crate) fn extreme(
    input: &[f32],
    identity: f32,
    better: impl Fn(f32, f32) -> f32 + Sync,
) -> f32 {
    let piece = |input: &[f32]| {
        let (lanes, rest) = input.as_chunks::<LANES>();
        let mut best = [identity; LANES];
        for values in lanes {
            for lane in 0..LANES {
                best[lane] = better(best[lane], values[lane]);
            }
        }
        best.into_iter().chain(rest.iter().copied()).fold(identity, &better)
    };
    let parallel = input.len() >= PARALLEL_FROM;
    parallel::map_ranges(input.len(), PIECE, parallel, |range| piece(&input[range]))
        .into_iter()
        .fold(identity, &better)
}

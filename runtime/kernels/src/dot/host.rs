//! The dot product on the host.

use crate::error::LengthError;
use crate::parallel;

const PIECE: usize = 1 << 16;
const PARALLEL_FROM: usize = 1 << 20;

/// Independent sums: one alone would wait for each addition before the next.
const LANES: usize = 16;

/// `x · y`; 0 for empty vectors.
///
/// # Errors
/// If the lengths differ.
pub fn dot(x: &[f32], y: &[f32]) -> Result<f32, LengthError> {
    LengthError::unless_exact("y", y.len(), x.len())?;
    let partials = parallel::map_ranges(x.len(), PIECE, x.len() >= PARALLEL_FROM, |range| {
        piece(&x[range.clone()], &y[range])
    });
    // From 0 on: the sum of no `f64` at all is -0.
    Ok(partials.iter().fold(0.0, |sum, part| sum + part) as f32)
}

fn piece(x: &[f32], y: &[f32]) -> f64 {
    let (x_lanes, x_rest) = x.as_chunks::<LANES>();
    let (y_lanes, y_rest) = y.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (x, y) in x_lanes.iter().zip(y_lanes) {
        for lane in 0..LANES {
            sums[lane] += f64::from(x[lane]) * f64::from(y[lane]);
        }
    }
    let rest = x_rest.iter().zip(y_rest).map(|(&x, &y)| f64::from(x) * f64::from(y));
    sums.into_iter().chain(rest).sum()
}

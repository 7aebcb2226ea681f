//! Scaled vector addition on the host.

use crate::error::LengthError;
use crate::parallel;

const PIECE: usize = 1 << 16;
const PARALLEL_FROM: usize = 1 << 21;

/// `output = a x + y`.
///
/// # Errors
/// If the lengths differ.
pub fn saxpy(a: f32, x: &[f32], y: &[f32], output: &mut [f32]) -> Result<(), LengthError> {
    LengthError::unless_exact("y", y.len(), x.len())?;
    LengthError::unless_exact("output", output.len(), x.len())?;
    parallel::for_pieces(output, PIECE, x.len() >= PARALLEL_FROM, |range, output| {
        for ((output, x), y) in output.iter_mut().zip(&x[range.clone()]).zip(&y[range]) {
            *output = a * x + y;
        }
    });
    Ok(())
}

//! Vector addition on the host.

use crate::error::LengthError;
use crate::parallel;

const PIECE: usize = 1 << 16;
const PARALLEL_FROM: usize = 1 << 21;

/// `c = a + b`.
///
/// # Errors
/// If the lengths differ.
pub fn vector_add(a: &[f32], b: &[f32], c: &mut [f32]) -> Result<(), LengthError> {
    LengthError::unless_exact("b", b.len(), a.len())?;
    LengthError::unless_exact("c", c.len(), a.len())?;
    parallel::for_pieces(c, PIECE, a.len() >= PARALLEL_FROM, |range, c| {
        for ((c, a), b) in c.iter_mut().zip(&a[range.clone()]).zip(&b[range]) {
            *c = a + b;
        }
    });
    Ok(())
}

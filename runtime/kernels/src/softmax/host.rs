//! Softmax on the host.

use crate::error::{LengthError, elements};
use crate::parallel;
use crate::reduce::host::extreme;

const PIECE: usize = 1 << 13;
const PARALLEL_FROM: usize = 1 << 16;

/// The extents of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Rows: independent distributions.
    pub rows: usize,
    /// Columns: the values of one distribution.
    pub columns: usize,
}

/// Softmax of every row of `input`.
///
/// # Errors
/// If a slice's length is not that of the matrix.
pub fn softmax(shape: Shape, input: &[f32], output: &mut [f32]) -> Result<(), LengthError> {
    let length = elements(&[shape.rows, shape.columns]);
    LengthError::unless_exact("input", input.len(), length)?;
    LengthError::unless_exact("output", output.len(), length)?;
    if length == 0 {
        return Ok(());
    }
    let columns = shape.columns;
    let parallel = length >= PARALLEL_FROM;
    if columns >= PARALLEL_FROM {
        parallel::entered(parallel, || rows(columns, input, output, parallel));
    } else {
        let whole_rows = (PIECE / columns).max(1) * columns;
        parallel::for_pieces(output, whole_rows, parallel, |range, output| {
            rows(columns, &input[range], output, false);
        });
    }
    Ok(())
}

fn rows(columns: usize, input: &[f32], output: &mut [f32], parallel: bool) {
    for (input, output) in input.chunks(columns).zip(output.chunks_mut(columns)) {
        row(input, output, parallel);
    }
}

fn row(input: &[f32], output: &mut [f32], parallel: bool) {
    // A NaN need not show in the maximum: it shows in the sum.
    let highest = extreme(input, -f32::INFINITY, f32::max);
    let sums = parallel::map_pieces(output, PIECE, parallel, |range, output| {
        let mut sum = 0.0;
        for (output, input) in output.iter_mut().zip(&input[range]) {
            *output = (input - highest).exp();
            sum += f64::from(*output);
        }
        sum
    });
    let scale = (1.0 / sums.iter().sum::<f64>()) as f32;
    parallel::for_pieces(output, PIECE, parallel, |_, output| {
        output.iter_mut().for_each(|value| *value *= scale);
    });
}

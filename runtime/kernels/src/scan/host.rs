//! The inclusive sum on the host.

use crate::error::LengthError;
use crate::parallel;
use crate::reduce::host::piece_sum;

/// Small enough to stay in the first-level cache between its sum and its scan.
const PIECE: usize = 1 << 12;
const PARALLEL_FROM: usize = 1 << 18;

/// Writes the sum of `input[..=i]` to every `output[i]`.
///
/// # Errors
/// If the lengths differ.
pub fn scan(input: &[f32], output: &mut [f32]) -> Result<(), LengthError> {
    LengthError::unless_exact("output", output.len(), input.len())?;
    if input.len() >= PARALLEL_FROM {
        parallel::entered(true, || scan_in_two_passes(input, output));
    } else {
        let mut before = 0.0;
        for (input, output) in input.chunks(PIECE).zip(output.chunks_mut(PIECE)) {
            scan_from(before, input, output);
            before += piece_sum(input);
        }
    }
    Ok(())
}

/// The same additions in the same order: all sums of pieces first, then all pieces.
fn scan_in_two_passes(input: &[f32], output: &mut [f32]) {
    let mut offsets =
        parallel::map_ranges(input.len(), PIECE, true, |range| piece_sum(&input[range]));
    let mut before = 0.0;
    for offset in &mut offsets {
        before += std::mem::replace(offset, before);
    }
    parallel::for_pieces(output, PIECE, true, |range, output| {
        scan_from(offsets[range.start / PIECE], &input[range], output);
    });
}

fn scan_from(before: f64, input: &[f32], output: &mut [f32]) {
    let mut sum = before;
    for (output, &input) in output.iter_mut().zip(input) {
        sum += f64::from(input);
        *output = sum as f32;
    }
}

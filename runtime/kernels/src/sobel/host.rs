//! The Sobel operator on the host.

use crate::error::{LengthError, elements};
use crate::image::ImageShape;
use crate::parallel;

/// Pixels from which threads share the work.
const PARALLEL_FROM: usize = 1 << 16;

/// Pixels of a piece, about: several rows, because each needs the luma of the two beside it.
const PIECE: usize = 1 << 14;

/// Writes the gradient's magnitude in `image`, `u8[height, width, channels]`, to `output`,
/// `u8[height, width, 1]`. A fourth channel is ignored.
///
/// # Errors
/// If a slice's length is not the image's.
pub fn sobel(shape: &ImageShape, image: &[u8], output: &mut [u8]) -> Result<(), LengthError> {
    let (height, width) = (shape.height(), shape.width());
    let pixels = elements(&[height, width]);
    shape.check("image", image.len())?;
    LengthError::unless_exact("output", output.len(), pixels)?;
    if pixels == 0 {
        return Ok(());
    }
    let rows = PIECE.div_ceil(width);
    parallel::for_pieces(output, rows * width, pixels >= PARALLEL_FROM, |range, output| {
        let read = |row: usize, luma: &mut Vec<i32>| {
            // Row `row` counts from the one above the image.
            let y = row.saturating_sub(1).min(height - 1);
            let length = shape.row_length();
            padded_luma(&image[y * length..(y + 1) * length], shape.channels(), luma);
        };
        let first = range.start / width;
        let [mut above, mut level, mut below] = [const { Vec::new() }; 3];
        read(first, &mut above);
        read(first + 1, &mut level);
        for (row, output) in output.chunks_exact_mut(width).enumerate() {
            read(first + row + 2, &mut below);
            magnitudes(&above, &level, &below, output);
            std::mem::swap(&mut above, &mut level);
            std::mem::swap(&mut level, &mut below);
        }
    });
    Ok(())
}

/// A row's luma in thousandths of a grey level, its first and last value repeated once.
fn padded_luma(row: &[u8], channels: usize, luma: &mut Vec<i32>) {
    luma.clear();
    luma.push(0);
    if channels == 1 {
        luma.extend(row.iter().map(|&grey| 1000 * i32::from(grey)));
    } else {
        luma.extend(row.chunks_exact(channels).map(|pixel| {
            299 * i32::from(pixel[0]) + 587 * i32::from(pixel[1]) + 114 * i32::from(pixel[2])
        }));
    }
    luma[0] = luma[1];
    luma.extend_from_within(luma.len() - 1..);
}

fn magnitudes(above: &[i32], level: &[i32], below: &[i32], output: &mut [u8]) {
    let windows = above.windows(3).zip(level.windows(3)).zip(below.windows(3));
    for (output, ((a, l), b)) in output.iter_mut().zip(windows) {
        let across = f64::from(a[2] - a[0] + 2 * (l[2] - l[0]) + b[2] - b[0]);
        let down = f64::from(b[0] - a[0] + 2 * (b[1] - a[1]) + b[2] - a[2]);
        // The sum of squares is below 2^53, so exact, and so is the root where it decides between
        // two levels. Truncated, so rounded; `as` saturates.
        *output = ((across * across + down * down).sqrt() / 1000.0 + 0.5) as u8;
    }
}

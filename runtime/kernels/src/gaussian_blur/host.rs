//! Gaussian blur on the host.

use thiserror::Error;

use crate::error::{LengthError, elements};
use crate::image::ImageShape;
use crate::parallel;

/// The largest standard deviation, in pixels: a radius of 192.
pub const MAX_SIGMA: f32 = 64.0;

/// Multiply-adds from which threads share the work.
const PARALLEL_FROM: usize = 1 << 20;

/// Sums that are formed at a time, in registers.
const STRIP: usize = 32;

/// A blur that is not defined, or slices that do not have the image's length.
#[derive(Clone, Copy, Debug, Error, PartialEq)]
pub enum BlurError {
    /// The standard deviation is negative, not a number, or too large.
    #[error("sigma must be between 0 and {MAX_SIGMA}, not {0}")]
    Sigma(f32),
    /// A slice's length does not match.
    #[error(transparent)]
    Length(#[from] LengthError),
}

/// The weights of the taps from `-radius` to `radius`, `radius = ceil(3 sigma)`; they sum to 1.
/// The device reads them. `[1]` for `sigma` 0.
///
/// # Errors
/// If `sigma` is not between 0 and [`MAX_SIGMA`].
pub fn weights(sigma: f32) -> Result<Vec<f32>, BlurError> {
    if !(0.0..=MAX_SIGMA).contains(&sigma) {
        return Err(BlurError::Sigma(sigma));
    }
    if sigma == 0.0 {
        return Ok(vec![1.0]);
    }
    let sigma = f64::from(sigma);
    let radius = (3.0 * sigma).ceil() as i32;
    let gaussian = |x: i32| (-0.5 * (f64::from(x) / sigma).powi(2)).exp();
    let total: f64 = (-radius..=radius).map(gaussian).sum();
    Ok((-radius..=radius).map(|x| (gaussian(x) / total) as f32).collect())
}

/// The scratch memory of [`gaussian_blur`], in bytes.
#[must_use]
pub fn scratch_bytes(shape: &ImageShape) -> usize {
    elements(&[shape.len(), size_of::<f32>()])
}

/// Blurs `image` into `output`, both `u8[height, width, channels]`; `sigma`, in pixels, is the
/// standard deviation, and 0 copies. `scratch` is any memory of [`scratch_bytes`].
///
/// # Errors
/// If `sigma` is not between 0 and [`MAX_SIGMA`], or a slice's length is not the image's.
pub fn gaussian_blur(
    shape: &ImageShape,
    sigma: f32,
    image: &[u8],
    output: &mut [u8],
    scratch: &mut [f32],
) -> Result<(), BlurError> {
    let weights = weights(sigma)?;
    shape.check("image", image.len())?;
    shape.check("output", output.len())?;
    LengthError::unless_enough("scratch", scratch.len(), shape.len())?;
    if sigma == 0.0 || shape.is_empty() {
        output.copy_from_slice(image);
        return Ok(());
    }
    let scratch = &mut scratch[..shape.len()];
    let parallel = elements(&[2, shape.len(), weights.len()]) >= PARALLEL_FROM;
    let blur = Blur { shape, weights: &weights, parallel };
    parallel::entered(parallel, || {
        blur.rows(image, scratch);
        blur.columns(scratch, output);
    });
    Ok(())
}

struct Blur<'a> {
    shape: &'a ImageShape,
    weights: &'a [f32],
    parallel: bool,
}

impl Blur<'_> {
    fn rows(&self, image: &[u8], output: &mut [f32]) {
        let (length, channels) = (self.shape.row_length(), self.shape.channels());
        parallel::for_pieces(output, self.piece(), self.parallel, |range, output| {
            let mut padded = Vec::new();
            let image = image[range].chunks_exact(length);
            for (output, image) in output.chunks_exact_mut(length).zip(image) {
                padded.clear();
                pad(image, channels, self.radius(), &mut padded);
                let tap = |tap: usize| &padded[tap * channels..][..length];
                weighted_sums(self.weights, tap, length, |first, sums| {
                    output[first..first + sums.len()].copy_from_slice(sums);
                });
            }
        });
    }

    fn columns(&self, values: &[f32], output: &mut [u8]) {
        let (length, last) = (self.shape.row_length(), self.shape.height() - 1);
        parallel::for_pieces(output, self.piece(), self.parallel, |range, output| {
            let rows = range.start / length..;
            for (y, output) in rows.zip(output.chunks_exact_mut(length)) {
                let tap = |tap: usize| {
                    let row = (y + tap).saturating_sub(self.radius()).min(last);
                    &values[row * length..][..length]
                };
                weighted_sums(self.weights, tap, length, |first, sums| {
                    for (output, sum) in output[first..].iter_mut().zip(sums) {
                        // Truncated, so rounded; `as` saturates.
                        *output = (sum + 0.5) as u8;
                    }
                });
            }
        });
    }

    const fn radius(&self) -> usize {
        self.weights.len() / 2
    }

    /// Values of a piece: some rows, because one alone may be too little to hand to a thread.
    fn piece(&self) -> usize {
        let row_length = self.shape.row_length();
        (PARALLEL_FROM / 16 / (row_length * self.weights.len()) + 1) * row_length
    }
}

/// A row as floats, with its first and last pixel repeated `radius` times before and after it.
fn pad(row: &[u8], channels: usize, radius: usize, padded: &mut Vec<f32>) {
    let mut append = |values: &[u8]| padded.extend(values.iter().map(|&value| f32::from(value)));
    for _ in 0..radius {
        append(&row[..channels]);
    }
    append(row);
    for _ in 0..radius {
        append(&row[row.len() - channels..]);
    }
}

/// `Σ weights[t] tap(t)[i]` for every `i < length`, in strips: `write` takes the first `i` and the
/// sums from there on. Strips may overlap; the sums of an `i` are the same in both.
fn weighted_sums<'a>(
    weights: &[f32],
    tap: impl Fn(usize) -> &'a [f32],
    length: usize,
    mut write: impl FnMut(usize, &[f32]),
) {
    if length < STRIP {
        for first in 0..length {
            write(first, &strip::<1>(weights, &tap, first));
        }
    } else {
        for first in (0..length).step_by(STRIP) {
            let first = first.min(length - STRIP);
            write(first, &strip::<STRIP>(weights, &tap, first));
        }
    }
}

fn strip<'a, const N: usize>(
    weights: &[f32],
    tap: impl Fn(usize) -> &'a [f32],
    first: usize,
) -> [f32; N] {
    let mut sums = [0.0; N];
    for (t, &weight) in weights.iter().enumerate() {
        let values = tap(t)[first..].first_chunk::<N>().expect("invariant: a strip fits");
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum += weight * value;
        }
    }
    sums
}

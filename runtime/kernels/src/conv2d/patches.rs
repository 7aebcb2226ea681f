//! A block of the matrix of patches: column `p` holds what lies under the kernel for pixel `p`.

use std::ops::Range;

use super::shape::Shape;

/// Copies the patches of the output pixels `pixels` of each of `images` to `patches[taps, columns]`:
/// a column for each pixel, image after image. `out_width` is the output's.
pub(super) fn gather(
    shape: &Shape,
    out_width: usize,
    images: &[f32],
    pixels: Range<usize>,
    patches: &mut [f32],
) {
    let plane_len = shape.height * shape.width;
    let mut rows = patches.chunks_exact_mut(patches.len() / shape.taps());
    for channel in 0..shape.c_in {
        for tap_y in 0..shape.kernel_height {
            for tap_x in 0..shape.kernel_width {
                let row = rows.next().expect("invariant: one row of patches per tap");
                for (image, values) in row.chunks_exact_mut(pixels.len()).enumerate() {
                    let plane = &images[(image * shape.c_in + channel) * plane_len..][..plane_len];
                    gather_tap(
                        &Tap { shape, plane, y: tap_y, x: tap_x },
                        out_width,
                        &pixels,
                        values,
                    );
                }
            }
        }
    }
}

/// One weight's place: a channel of the input and an offset in the kernel.
struct Tap<'a> {
    shape: &'a Shape,
    plane: &'a [f32],
    y: usize,
    x: usize,
}

/// What lies under one tap for every pixel of `pixels`, an output row (or a part of one) at a time.
fn gather_tap(tap: &Tap<'_>, out_width: usize, pixels: &Range<usize>, values: &mut [f32]) {
    let mut pixel = pixels.start;
    let mut rest = values;
    while !rest.is_empty() {
        let (out_y, out_x) = (pixel / out_width, pixel % out_width);
        let (part, tail) = rest.split_at_mut((out_width - out_x).min(rest.len()));
        pixel += part.len();
        rest = tail;
        tap.gather_row(out_y, out_x, part);
    }
}

impl Tap<'_> {
    fn gather_row(&self, out_y: usize, out_x: usize, values: &mut [f32]) {
        let Shape { height, width, stride, padding, .. } = *self.shape;
        let Some(y) = (out_y * stride + self.y).checked_sub(padding).filter(|&y| y < height) else {
            return values.fill(0.0);
        };
        let input = &self.plane[y * width..(y + 1) * width];
        // Pixels whose column lies left of the input, inside it, and right of it.
        let first = out_x * stride + self.x;
        let left = padding.saturating_sub(first).div_ceil(stride).min(values.len());
        let end = (width + padding).saturating_sub(first).div_ceil(stride).min(values.len());
        values[..left].fill(0.0);
        values[end.max(left)..].fill(0.0);
        if left >= end {
            return;
        }
        let inside = &input[first + left * stride - padding..];
        if stride == 1 {
            values[left..end].copy_from_slice(&inside[..end - left]);
        } else {
            let columns = inside.iter().step_by(stride);
            values[left..end].iter_mut().zip(columns).for_each(|(value, &x)| *value = x);
        }
    }
}

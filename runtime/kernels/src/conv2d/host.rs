//! Convolution on the host.

use std::ops::Range;

use faer::{MatMut, MatRef};
use rayon::prelude::*;

use super::patches::gather;
pub use super::shape::{Conv2dError, Shape};
use crate::error::{LengthError, elements};
use crate::gemm::host::sequential_product;
use crate::parallel::Caller;

/// Multiply-adds of the whole convolution from which threads share it.
const PARALLEL_FROM: usize = 1 << 24;

/// Values of a block of patches: 512 KiB, about half of a core's second-level cache.
const BLOCK_VALUES: usize = 1 << 17;

/// A block has at least this many pixels, so that the weights are not read for too few.
const FEWEST_PIXELS: usize = 64;

/// Multiply-adds of an image below which others share its block: with more the product takes longer
/// than what is around it.
const SMALL_IMAGE: usize = 1 << 14;

/// Scratch memory, in bytes, with which every core can work; a single core's share is the least
/// that [`conv2d`] accepts.
///
/// # Errors
/// As [`Shape::output`].
pub fn scratch_bytes(shape: &Shape) -> Result<usize, Conv2dError> {
    let plan = Plan::new(shape)?;
    Ok(elements(&[plan.lanes(), plan.block_values, size_of::<f32>()]))
}

/// `output[batch, c_out, out_height, out_width]`: the cross-correlation of
/// `input[batch, c_in, height, width]` with `weight[c_out, c_in, kernel_height, kernel_width]`.
///
/// `scratch` is any memory of [`scratch_bytes`]; with less, fewer cores work.
///
/// # Errors
/// If the shape has no output, if a slice's length is not the shape's, or if `scratch` is shorter
/// than a single core's share.
pub fn conv2d(
    shape: &Shape,
    input: &[f32],
    weight: &[f32],
    output: &mut [f32],
    scratch: &mut [f32],
) -> Result<(), Conv2dError> {
    let plan = Plan::new(shape)?;
    LengthError::unless_exact("input", input.len(), shape.input_len())?;
    LengthError::unless_exact("weight", weight.len(), shape.weight_len())?;
    LengthError::unless_exact("output", output.len(), shape.output_len()?)?;
    if output.is_empty() || shape.taps() == 0 {
        output.fill(0.0);
        return Ok(());
    }
    let block_values = plan.block_values;
    LengthError::unless_enough("scratch", scratch.len(), block_values)?;

    let weight = MatRef::from_row_major_slice(weight, shape.c_out, shape.taps());
    let (convolution, caller) =
        (Convolution { shape, plan: &plan, input, weight }, Caller::current());
    let compute = |block: &mut Block<'_>, scratch: &mut [f32]| {
        if !caller.has_gone() {
            convolution.compute(block, scratch, &caller);
        }
    };
    let mut blocks = plan.blocks(shape, output);
    let lanes = plan.lanes().min(scratch.len() / block_values);
    if lanes == 1 {
        blocks.iter_mut().for_each(|block| compute(block, scratch));
    } else {
        let share = blocks.len().div_ceil(lanes);
        blocks
            .par_chunks_mut(share)
            .zip(scratch.par_chunks_exact_mut(block_values))
            .for_each(|(blocks, scratch)| blocks.iter_mut().for_each(|b| compute(b, scratch)));
    }
    Ok(())
}

/// Some output pixels: a product of the weights with those pixels' patches.
enum Block<'a> {
    /// Some pixels of one image, in all channels of the output.
    Part { image: usize, pixels: Range<usize>, output: MatMut<'a, f32> },
    /// Whole images, each too small for a product of its own.
    Images { first: usize, output: &'a mut [f32] },
}

struct Convolution<'a> {
    shape: &'a Shape,
    plan: &'a Plan,
    input: &'a [f32],
    weight: MatRef<'a, f32>,
}

impl Convolution<'_> {
    fn compute(&self, block: &mut Block<'_>, scratch: &mut [f32], caller: &Caller) {
        match block {
            Block::Part { image, pixels, output } => {
                let patches = self.patches(*image..*image + 1, pixels.clone(), scratch);
                sequential_product(output.as_mut(), self.weight, patches, caller);
            }
            Block::Images { first, output } => {
                let (c_out, plane) = (self.shape.c_out, self.plan.plane);
                let count = output.len() / (c_out * plane);
                let (scratch, products) = scratch.split_at_mut(self.plan.taps * count * plane);
                let patches = self.patches(*first..*first + count, 0..plane, scratch);
                let products = &mut products[..output.len()];
                let product = MatMut::from_row_major_slice_mut(products, c_out, count * plane);
                sequential_product(product, self.weight, patches, caller);
                // From channels of images to images of channels.
                for (i, output) in output.chunks_exact_mut(plane).enumerate() {
                    let (image, channel) = (i / c_out, i % c_out);
                    output.copy_from_slice(&products[(channel * count + image) * plane..][..plane]);
                }
            }
        }
    }

    /// The patches of the same pixels of some images, image after image.
    fn patches<'s>(
        &self,
        images: Range<usize>,
        pixels: Range<usize>,
        scratch: &'s mut [f32],
    ) -> MatRef<'s, f32> {
        let columns = images.len() * pixels.len();
        let patches = &mut scratch[..self.plan.taps * columns];
        let image_len = self.shape.input_len() / self.shape.batch;
        let images = &self.input[images.start * image_len..images.end * image_len];
        gather(self.shape, self.plan.out_width, images, pixels, patches);
        MatRef::from_row_major_slice(patches, self.plan.taps, columns)
    }
}

/// How a convolution is cut: by its shape alone.
struct Plan {
    taps: usize,
    out_width: usize,
    /// Output pixels of an image.
    plane: usize,
    /// Images of a block; of more than one it has all pixels.
    images: usize,
    /// Pixels of a block.
    pixels: usize,
    /// Values of a block's patches and, of several images, of their products.
    block_values: usize,
    /// Blocks of all images.
    blocks: usize,
    /// Multiply-adds of all blocks.
    work: usize,
}

impl Plan {
    fn new(shape: &Shape) -> Result<Self, Conv2dError> {
        let (out_height, out_width) = shape.output()?;
        let plane = elements(&[out_height, out_width]);
        let taps = shape.taps();
        // Of as many values each.
        let pixels = |values: usize| (BLOCK_VALUES / values.max(1)).max(FEWEST_PIXELS);
        let with_products = taps.saturating_add(shape.c_out);
        let most = (pixels(with_products) / plane).min(shape.batch).max(1);
        let images = SMALL_IMAGE.div_ceil(elements(&[shape.c_out, taps, plane]).max(1)).min(most);
        let (pixels, values) = match images {
            1 => (pixels(taps).min(plane), taps),
            _ => (images * plane, with_products),
        };
        let blocks = elements(&[shape.batch.div_ceil(images), plane.div_ceil(pixels)]);
        let (block_values, work) =
            (elements(&[values, pixels]), elements(&[shape.batch, shape.c_out, taps, plane]));
        Ok(Self { taps, out_width, plane, images, pixels, block_values, blocks, work })
    }

    /// Threads that can share the work.
    fn lanes(&self) -> usize {
        if self.work < PARALLEL_FROM { 1 } else { self.blocks.min(rayon::current_num_threads()) }
    }

    fn blocks<'a>(&self, shape: &Shape, output: &'a mut [f32]) -> Vec<Block<'a>> {
        if self.images > 1 {
            let images = output.chunks_mut(self.images * shape.c_out * self.plane).enumerate();
            let block = |(i, output)| Block::Images { first: i * self.images, output };
            return images.map(block).collect();
        }
        let mut blocks = Vec::with_capacity(self.blocks);
        for (image, output) in output.chunks_exact_mut(shape.c_out * self.plane).enumerate() {
            let mut rest = MatMut::from_row_major_slice_mut(output, shape.c_out, self.plane);
            for first in (0..self.plane).step_by(self.pixels) {
                let (output, tail) = rest.split_at_col_mut(self.pixels.min(self.plane - first));
                let pixels = first..first + output.ncols();
                blocks.push(Block::Part { image, pixels, output });
                rest = tail;
            }
        }
        blocks
    }
}

#[cfg(test)]
mod tests {
    use super::{BLOCK_VALUES, Plan, Shape};

    /// Of a batch of small images, blocks are few.
    #[test]
    fn small_images_share_blocks() {
        let plan = |batch, width| {
            let (c_in, height, c_out, stride, padding) = (1, 1, 4, 1, 0);
            let (kernel_height, kernel_width) = (1, 1);
            let extents = Shape {
                batch,
                c_in,
                height,
                width,
                c_out,
                kernel_height,
                kernel_width,
                stride,
                padding,
            };
            Plan::new(&extents).expect("an output")
        };
        let small = plan(400_000, 1);
        assert_eq!((small.images, small.blocks), (4096, 98));
        assert!(small.block_values <= BLOCK_VALUES);
        // What is worth a block of its own is not copied once more.
        assert_eq!((plan(3, 4095).images, plan(3, 4096).images), (2, 1));
    }
}

//! Convolution on the host.

use std::ops::Range;

use faer::{MatMut, MatRef};
use rayon::prelude::*;

use super::patches::gather;
pub use super::shape::{Conv2dError, Shape};
use crate::error::{LengthError, elements};
use crate::gemm::host::sequential_product;

/// Multiply-adds of the whole convolution from which threads share it.
const PARALLEL_FROM: usize = 1 << 24;

/// Values of a block of patches: 512 KiB, about half of a core's second-level cache.
const BLOCK_VALUES: usize = 1 << 17;

/// A block has at least this many pixels, so that the weights are not read for too few.
const FEWEST_PIXELS: usize = 64;

/// Scratch memory, in bytes, with which every core can work; a single core's share is the least
/// that [`conv2d`] accepts.
///
/// # Errors
/// As [`Shape::output`].
pub fn scratch_bytes(shape: &Shape) -> Result<usize, Conv2dError> {
    let plan = Plan::new(shape)?;
    Ok(elements(&[plan.lanes(), plan.block_values(), size_of::<f32>()]))
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
    if output.is_empty() || input.is_empty() {
        // Without an input there are no patches: every sum is empty, or of padding only.
        output.fill(0.0);
        return Ok(());
    }
    let block_values = plan.block_values();
    LengthError::unless_enough("scratch", scratch.len(), block_values)?;

    let weight = MatRef::from_row_major_slice(weight, shape.c_out, shape.taps());
    let image_len = shape.input_len() / shape.batch;
    let compute = |block: &mut Block<'_>, scratch: &mut [f32]| {
        let image = &input[block.image * image_len..][..image_len];
        let patches = &mut scratch[..shape.taps() * block.pixels.len()];
        gather(shape, plan.out_width, image, block.pixels.clone(), patches);
        let patches = MatRef::from_row_major_slice(patches, shape.taps(), block.pixels.len());
        sequential_product(block.output.as_mut(), weight, patches);
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

/// Some pixels of one image: a product of the weights with those pixels' patches.
struct Block<'a> {
    image: usize,
    pixels: Range<usize>,
    /// These pixels in all channels of the output.
    output: MatMut<'a, f32>,
}

/// How a convolution is cut: by its shape alone.
struct Plan {
    taps: usize,
    out_width: usize,
    /// Output pixels of an image.
    plane: usize,
    /// Pixels of a block.
    pixels: usize,
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
        let pixels = (BLOCK_VALUES / taps.max(1)).max(FEWEST_PIXELS).min(plane);
        let blocks = elements(&[shape.batch, plane.div_ceil(pixels)]);
        let work = elements(&[shape.batch, shape.c_out, taps, plane]);
        Ok(Self { taps, out_width, plane, pixels, blocks, work })
    }

    /// Values of a block's patches.
    fn block_values(&self) -> usize {
        elements(&[self.taps, self.pixels])
    }

    /// Threads that can share the work.
    fn lanes(&self) -> usize {
        if self.work < PARALLEL_FROM { 1 } else { self.blocks.min(rayon::current_num_threads()) }
    }

    fn blocks<'a>(&self, shape: &Shape, output: &'a mut [f32]) -> Vec<Block<'a>> {
        let mut blocks = Vec::with_capacity(self.blocks);
        for (image, output) in output.chunks_exact_mut(shape.c_out * self.plane).enumerate() {
            let mut rest = MatMut::from_row_major_slice_mut(output, shape.c_out, self.plane);
            for first in (0..self.plane).step_by(self.pixels) {
                let (output, tail) = rest.split_at_col_mut(self.pixels.min(self.plane - first));
                let pixels = first..first + output.ncols();
                blocks.push(Block { image, pixels, output });
                rest = tail;
            }
        }
        blocks
    }
}

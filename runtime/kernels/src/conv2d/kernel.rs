//! The kernel over both implementations.

use rustkernel_core::gpu::{HostBuffer, Staging};
use rustkernel_core::kernel::Need;
use rustkernel_core::prelude::*;

use super::PTX;
use super::host::{self, Shape};
use crate::entries::{Entries, blocks};
use crate::error::elements;
use crate::request::{at_most, bytes_of, compute, extents, invalid, leases};

/// Channels and pixels of one of the device's tiles.
const TILE: usize = 64;

/// Two-dimensional cross-correlation.
#[derive(Debug)]
pub struct Conv2d {
    entries: Entries,
}

/// What [`Conv2d`] takes.
#[derive(Debug, Clone, KernelMessage)]
pub struct Conv2dRequest {
    /// The images.
    #[kernel(shape = "batch, in_channels, height, width")]
    pub input: Tensor<f32>,
    /// The kernels, one for each channel of the output.
    #[kernel(shape = "out_channels, in_channels, kernel_height, kernel_width")]
    pub weight: Tensor<f32>,
    /// Rows and columns of the input from one output pixel to the next, at least 1.
    #[kernel(default = 1)]
    pub stride: u32,
    /// Rows and columns of zeros on every side of the input.
    #[kernel(default = 0)]
    pub padding: u32,
}

/// What [`Conv2d`] gives.
#[derive(Debug, Clone, PartialEq, KernelMessage)]
pub struct Conv2dResponse {
    /// The cross-correlation of the input with the kernels.
    #[kernel(shape = "batch, out_channels, out_height, out_width")]
    pub output: Tensor<f32>,
}

/// How to run it.
pub fn spec() -> KernelSpec<Conv2d> {
    KernelSpec::new("conv2d", || Conv2d { entries: Entries::default() })
        .describe("Two-dimensional cross-correlation, as PyTorch's conv2d without bias.")
        .memory_on(need)
        .publish()
}

fn need(request: &Conv2dRequest, device: DeviceKind) -> Need {
    let shape = request.shape();
    // What is refused, and what is empty, needs nothing.
    let Ok(output_len @ 1..) = shape.output_len() else { return Need::NOTHING };
    let output = bytes_of::<f32>(output_len);
    match device {
        DeviceKind::Host => {
            Need { staging: bytes_of::<f32>(scratch_len(&shape)), ..Need::host([output]) }
        }
        DeviceKind::Cuda if check_sizes(&shape).is_err() => Need::NOTHING,
        DeviceKind::Cuda => leases([request.input.bytes(), request.weight.bytes(), output]),
    }
}

fn scratch_len(shape: &Shape) -> usize {
    host::scratch_bytes(shape).unwrap_or(0) / size_of::<f32>()
}

impl Conv2dRequest {
    fn shape(&self) -> Shape {
        let [batch, c_in, height, width] = extents(&self.input);
        let [c_out, _, kernel_height, kernel_width] = extents(&self.weight);
        let (stride, padding) = (self.stride as usize, self.padding as usize);
        Shape { batch, c_in, height, width, c_out, kernel_height, kernel_width, stride, padding }
    }
}

impl Kernel for Conv2d {
    type Request = Conv2dRequest;
    type Response = Conv2dResponse;

    const DEVICES: Devices = Devices::Any;

    async fn open(&mut self, cx: &mut KernelContext) -> KernelResult {
        self.entries = Entries::load(cx, PTX, &["conv2d"])?;
        Ok(())
    }

    async fn execute(
        &mut self,
        request: Conv2dRequest,
        cx: &mut KernelContext,
    ) -> KernelResult<Conv2dResponse> {
        let shape = request.shape();
        let (height, width) = shape.output().map_err(invalid)?;
        let output_shape = [shape.batch, shape.c_out, height, width];
        let output = match cx.device().kind() {
            _ if output_shape.contains(&0) => Vec::new().into(),
            DeviceKind::Host => {
                let output = cx.alloc_host(elements(&output_shape)).await?;
                let scratch = cx.stage(scratch_len(&shape)).await?;
                compute(cx, move || on_host(&request, output, scratch)).await??
            }
            DeviceKind::Cuda => self.on_cuda(&request, cx).await?.into(),
        };
        Ok(Conv2dResponse { output: Tensor::from_buffer(output_shape, output)? })
    }
}

fn on_host(
    request: &Conv2dRequest,
    mut output: HostBuffer<f32>,
    mut scratch: Staging<f32>,
) -> KernelResult<HostBuffer<f32>> {
    let shape = request.shape();
    let (input, weight) = (request.input.as_slice(), request.weight.as_slice());
    host::conv2d(&shape, input, weight, &mut output, &mut scratch).map_err(invalid)?;
    Ok(output)
}

impl Conv2d {
    async fn on_cuda(
        &self,
        request: &Conv2dRequest,
        cx: &mut KernelContext,
    ) -> KernelResult<Vec<f32>> {
        let shape = request.shape();
        check_sizes(&shape)?;
        let (out_height, out_width) = shape.output().map_err(invalid)?;
        let input = cx.upload(request.input.as_slice()).await?;
        let weight = cx.upload(request.weight.as_slice()).await?;
        let output_len = shape.output_len().map_err(invalid)?;
        let mut output = cx.alloc::<f32>(output_len).await?;
        let pixels = output_len / shape.c_out;
        let tiles = elements(&[shape.c_out.div_ceil(TILE), pixels.div_ceil(TILE)]);
        let size = |size: usize| size as u32;
        let arguments = arguments![
            &input,
            &weight,
            &mut output,
            size(shape.batch),
            size(shape.c_in),
            size(shape.height),
            size(shape.width),
            size(shape.c_out),
            size(shape.kernel_height),
            size(shape.kernel_width),
            request.stride,
            request.padding,
            size(out_height),
            size(out_width),
        ];
        self.entries.launch(cx, "conv2d", blocks(tiles), arguments)?;
        cx.download(&output).await
    }
}

/// Refuses what the entry cannot compute: it does so with 32 bits, one of them for what lies left of
/// or above the input. No size of what passes is larger.
fn check_sizes(shape: &Shape) -> KernelResult {
    const MOST: u32 = i32::MAX as u32;
    let (out_height, out_width) = shape.output().map_err(invalid)?;
    let padded = |extent: usize| extent.saturating_add(2 * shape.padding);
    at_most(MOST, "padded height", padded(shape.height))?;
    at_most(MOST, "padded width", padded(shape.width))?;
    at_most(MOST, "number of weights of an output channel", shape.taps())?;
    at_most(MOST, "number of output pixels", elements(&[shape.batch, out_height, out_width]))?;
    at_most(MOST, "number of output channels", shape.c_out)?;
    Ok(())
}

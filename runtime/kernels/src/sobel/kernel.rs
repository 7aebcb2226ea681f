//! The kernel over both implementations.

use rustkernel_core::kernel::Need;
use rustkernel_core::prelude::*;

use super::{PTX, host};
use crate::entries::{Entries, blocks};
use crate::error::elements;
use crate::image::ImageShape;
use crate::request::{compute, invalid, leases};

/// Rows and columns of one of the device's tiles.
const TILE: (usize, usize) = (8, 32);

/// The magnitude of an image's gradient.
#[derive(Debug)]
pub struct Sobel {
    entries: Entries,
}

/// What [`Sobel`] takes.
#[derive(Debug, Clone, KernelMessage)]
pub struct SobelRequest {
    /// The image: grey, RGB or RGBA, whose fourth channel is ignored.
    #[kernel(picture)]
    pub image: Tensor<u8>,
}

/// What [`Sobel`] gives.
#[derive(Debug, Clone, PartialEq, KernelMessage)]
pub struct SobelResponse {
    /// The magnitude of the gradient at each pixel, at most 255.
    #[kernel(picture, shape = "height, width, 1")]
    pub output: Tensor<u8>,
}

/// How to run it.
pub fn spec() -> KernelSpec<Sobel> {
    KernelSpec::new("sobel", || Sobel { entries: Entries::default() })
        .describe("The edges of an image: the magnitude of its gradient by the Sobel operator.")
        .memory_on(|SobelRequest { image }, device| match (device, ImageShape::of(image)) {
            (DeviceKind::Host, _) | (_, Err(_)) => Need::NOTHING,
            (DeviceKind::Cuda, Ok(shape)) => leases([image.bytes(), pixels(&shape) as u64]),
        })
        .publish()
}

fn pixels(shape: &ImageShape) -> usize {
    elements(&[shape.height(), shape.width()])
}

impl Kernel for Sobel {
    type Request = SobelRequest;
    type Response = SobelResponse;

    const DEVICES: Devices = Devices::Any;

    async fn open(&mut self, cx: &mut KernelContext) -> KernelResult {
        self.entries = Entries::load(cx, PTX, &["sobel"])?;
        Ok(())
    }

    async fn execute(
        &mut self,
        SobelRequest { image }: SobelRequest,
        cx: &mut KernelContext,
    ) -> KernelResult<SobelResponse> {
        let shape = ImageShape::of(&image).map_err(invalid)?;
        let output = match cx.device().kind() {
            DeviceKind::Host => compute(cx, move || on_host(&shape, image.as_slice())).await??,
            DeviceKind::Cuda => self.on_cuda(&shape, image.as_slice(), cx).await?,
        };
        let extents = [shape.height(), shape.width(), 1];
        Ok(SobelResponse { output: Tensor::new(extents, output)? })
    }
}

fn on_host(shape: &ImageShape, image: &[u8]) -> KernelResult<Vec<u8>> {
    let mut output = vec![0; pixels(shape)];
    host::sobel(shape, image, &mut output).map_err(invalid)?;
    Ok(output)
}

impl Sobel {
    async fn on_cuda(
        &self,
        shape: &ImageShape,
        image: &[u8],
        cx: &mut KernelContext,
    ) -> KernelResult<Vec<u8>> {
        if image.is_empty() {
            return Ok(Vec::new());
        }
        let [height, width, channels] = shape.sizes()?;
        let image = cx.upload(image).await?;
        let mut output = cx.alloc::<u8>(pixels(shape)).await?;
        let (rows, columns) = TILE;
        let tiles = elements(&[shape.height().div_ceil(rows), shape.width().div_ceil(columns)]);
        let arguments = arguments![&image, &mut output, height, width, channels];
        self.entries.launch(cx, "sobel", blocks(tiles), arguments)?;
        cx.download(&output).await
    }
}

//! The kernel over both implementations.

use rustkernel_core::gpu::Staging;
use rustkernel_core::kernel::Need;
use rustkernel_core::prelude::*;

use super::{PTX, host};
use crate::entries::{BLOCK, Entries, blocks, threads};
use crate::error::elements;
use crate::image::ImageShape;
use crate::request::{bytes_of, compute, invalid, leases};

/// Gaussian blur of an image.
#[derive(Debug)]
pub struct GaussianBlur {
    entries: Entries,
}

/// What [`GaussianBlur`] takes.
#[derive(Debug, Clone, KernelMessage)]
pub struct GaussianBlurRequest {
    /// The image: grey, RGB or RGBA.
    #[kernel(picture)]
    pub image: Tensor<u8>,
    /// The standard deviation of the blur in pixels, 0 to 64.
    #[kernel(default = 1.0)]
    pub sigma: f32,
}

/// What [`GaussianBlur`] gives.
#[derive(Debug, Clone, PartialEq, KernelMessage)]
pub struct GaussianBlurResponse {
    /// The blurred image.
    #[kernel(picture)]
    pub output: Tensor<u8>,
}

/// How to run it.
pub fn spec() -> KernelSpec<GaussianBlur> {
    KernelSpec::new("gaussian_blur", || GaussianBlur { entries: Entries::default() })
        .describe("Gaussian blur of an image.")
        .memory_on(need)
        .publish()
}

fn need(GaussianBlurRequest { image, sigma }: &GaussianBlurRequest, device: DeviceKind) -> Need {
    // What is refused needs nothing.
    let Ok(shape) = ImageShape::of(image) else { return Need::NOTHING };
    let Ok(weights) = host::weights(*sigma) else { return Need::NOTHING };
    let scratch = host::scratch_bytes(&shape) as u64;
    match device {
        DeviceKind::Host => Need { device: 0, staging: scratch },
        DeviceKind::Cuda => {
            leases([image.bytes(), bytes_of::<f32>(weights.len()), scratch, image.bytes()])
        }
    }
}

impl Kernel for GaussianBlur {
    type Request = GaussianBlurRequest;
    type Response = GaussianBlurResponse;

    const DEVICES: Devices = Devices::Any;

    async fn open(&mut self, cx: &mut KernelContext) -> KernelResult {
        let names = ["gaussian_blur_rows", "gaussian_blur_columns"];
        self.entries = Entries::load(cx, PTX, &names)?;
        Ok(())
    }

    async fn execute(
        &mut self,
        request: GaussianBlurRequest,
        cx: &mut KernelContext,
    ) -> KernelResult<GaussianBlurResponse> {
        let shape = ImageShape::of(&request.image).map_err(invalid)?;
        let output = match cx.device().kind() {
            DeviceKind::Host => {
                let scratch = cx.stage(shape.len()).await?;
                compute(cx, move || on_host(&request, &shape, scratch)).await??
            }
            DeviceKind::Cuda => self.on_cuda(&request, &shape, cx).await?,
        };
        Ok(GaussianBlurResponse { output: Tensor::new(shape.extents(), output)? })
    }
}

fn on_host(
    GaussianBlurRequest { image, sigma }: &GaussianBlurRequest,
    shape: &ImageShape,
    mut scratch: Staging<f32>,
) -> KernelResult<Vec<u8>> {
    let mut output = vec![0; shape.len()];
    host::gaussian_blur(shape, *sigma, image.as_slice(), &mut output, &mut scratch)
        .map_err(invalid)?;
    Ok(output)
}

impl GaussianBlur {
    async fn on_cuda(
        &self,
        GaussianBlurRequest { image, sigma }: &GaussianBlurRequest,
        shape: &ImageShape,
        cx: &mut KernelContext,
    ) -> KernelResult<Vec<u8>> {
        let weights = host::weights(*sigma).map_err(invalid)?;
        if shape.is_empty() {
            return Ok(Vec::new());
        }
        let [height, width, channels] = shape.sizes()?;
        let radius = weights.len() as u32 / 2;
        let image = cx.upload(image.as_slice()).await?;
        let weights = cx.upload(&weights).await?;
        let mut scratch = cx.alloc::<f32>(shape.len()).await?;
        let mut output = cx.alloc::<u8>(shape.len()).await?;

        let row_tiles = shape.row_length().div_ceil(BLOCK as usize);
        let shared = (BLOCK + 2 * radius * channels) * size_of::<f32>() as u32;
        let config = blocks(elements(&[shape.height(), row_tiles])).shared(shared);
        let arguments = arguments![&image, &weights, &mut scratch, height, width, channels, radius];
        self.entries.launch(cx, "gaussian_blur_rows", config, arguments)?;
        let config = threads(shape.len());
        let arguments =
            arguments![&scratch, &weights, &mut output, height, width, channels, radius];
        self.entries.launch(cx, "gaussian_blur_columns", config, arguments)?;
        cx.download(&output).await
    }
}

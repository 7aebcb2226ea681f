//! The kernel over both implementations.

use rustkernel_core::gpu::HostBuffer;
use rustkernel_core::kernel::Need;
use rustkernel_core::prelude::*;

use super::PTX;
use super::host::{self, Shape};
use crate::entries::{Entries, blocks};
use crate::error::elements;
use crate::request::{at_most, bytes_of, compute, extents, invalid, leases};

/// Rows and columns of one of the device's tiles.
const TILE: usize = 64;

/// `c = a b`.
#[derive(Debug)]
pub struct Gemm {
    entries: Entries,
}

/// What [`Gemm`] takes.
#[derive(Debug, Clone, KernelMessage)]
pub struct GemmRequest {
    /// The left matrix.
    #[kernel(shape = "m, k")]
    pub a: Tensor<f32>,
    /// The right matrix.
    #[kernel(shape = "k, n")]
    pub b: Tensor<f32>,
}

/// What [`Gemm`] gives.
#[derive(Debug, Clone, PartialEq, KernelMessage)]
pub struct GemmResponse {
    /// The product of `a` and `b`, zeros if `k` is 0.
    #[kernel(shape = "m, n")]
    pub c: Tensor<f32>,
}

/// How to run it.
pub fn spec() -> KernelSpec<Gemm> {
    KernelSpec::new("gemm", || Gemm { entries: Entries::default() })
        .describe("The product of two matrices.")
        .memory_on(|request, device| match (device, request.sizes()) {
            (DeviceKind::Host, _) => Need::host([request.output_bytes()]),
            (DeviceKind::Cuda, Err(_)) => Need::NOTHING,
            (DeviceKind::Cuda, Ok(_)) => {
                leases([request.a.bytes(), request.b.bytes(), request.output_bytes()])
            }
        })
        .publish()
}

impl GemmRequest {
    fn shape(&self) -> Shape {
        let ([m, k], [_, n]) = (extents(&self.a), extents(&self.b));
        Shape { m, n, k }
    }

    fn output_len(&self) -> usize {
        let Shape { m, n, .. } = self.shape();
        elements(&[m, n])
    }

    fn output_bytes(&self) -> u64 {
        bytes_of::<f32>(self.output_len())
    }

    /// `m`, `n` and `k` as the entry takes them.
    fn sizes(&self) -> KernelResult<[u32; 3]> {
        let Shape { m, n, k } = self.shape();
        let size = |what, size| at_most(u32::MAX, what, size);
        Ok([size("number of rows", m)?, size("number of columns", n)?, size("inner extent", k)?])
    }
}

impl Kernel for Gemm {
    type Request = GemmRequest;
    type Response = GemmResponse;

    const DEVICES: Devices = Devices::Any;

    async fn open(&mut self, cx: &mut KernelContext) -> KernelResult {
        self.entries = Entries::load(cx, PTX, &["gemm"])?;
        Ok(())
    }

    async fn execute(
        &mut self,
        request: GemmRequest,
        cx: &mut KernelContext,
    ) -> KernelResult<GemmResponse> {
        let Shape { m, n, .. } = request.shape();
        let c = match cx.device().kind() {
            DeviceKind::Host => {
                let c = cx.alloc_host(request.output_len()).await?;
                compute(cx, move || on_host(&request, c)).await??
            }
            DeviceKind::Cuda => self.on_cuda(&request, cx).await?.into(),
        };
        Ok(GemmResponse { c: Tensor::from_buffer([m, n], c)? })
    }
}

fn on_host(request: &GemmRequest, mut c: HostBuffer<f32>) -> KernelResult<HostBuffer<f32>> {
    let (a, b) = (request.a.as_slice(), request.b.as_slice());
    host::gemm(request.shape(), a, b, &mut c).map_err(invalid)?;
    Ok(c)
}

impl Gemm {
    async fn on_cuda(
        &self,
        request: &GemmRequest,
        cx: &mut KernelContext,
    ) -> KernelResult<Vec<f32>> {
        let [m, n, k] = request.sizes()?;
        if m == 0 || n == 0 {
            return Ok(Vec::new());
        }
        let a = cx.upload(request.a.as_slice()).await?;
        let b = cx.upload(request.b.as_slice()).await?;
        let mut c = cx.alloc::<f32>(request.output_len()).await?;
        let Shape { m: rows, n: columns, .. } = request.shape();
        let tiles = elements(&[rows.div_ceil(TILE), columns.div_ceil(TILE)]);
        self.entries.launch(cx, "gemm", blocks(tiles), arguments![&a, &b, &mut c, m, n, k])?;
        cx.download(&c).await
    }
}

//! The kernel over both implementations.

use rustkernel_core::kernel::Need;
use rustkernel_core::prelude::*;

use super::{PTX, host};
use crate::entries::{Entries, threads};
use crate::request::{compute, count, invalid, leases};

/// `output = a x + y`.
#[derive(Debug)]
pub struct Saxpy {
    entries: Entries,
}

/// What [`Saxpy`] takes.
#[derive(Debug, Clone, KernelMessage)]
pub struct SaxpyRequest {
    /// The factor of `x`.
    pub a: f32,
    /// The vector to scale.
    #[kernel(shape = "n")]
    pub x: Tensor<f32>,
    /// The vector to add.
    #[kernel(shape = "n")]
    pub y: Tensor<f32>,
}

/// What [`Saxpy`] gives.
#[derive(Debug, Clone, PartialEq, KernelMessage)]
pub struct SaxpyResponse {
    /// `a x + y`.
    #[kernel(shape = "n")]
    pub output: Tensor<f32>,
}

/// How to run it.
pub fn spec() -> KernelSpec<Saxpy> {
    KernelSpec::new("saxpy", || Saxpy { entries: Entries::default() })
        .describe("a x + y, element by element.")
        .memory_on(|SaxpyRequest { x, y, .. }, device| match device {
            DeviceKind::Host => Need::NOTHING,
            DeviceKind::Cuda => leases([x.bytes(), y.bytes(), x.bytes()]),
        })
        .publish()
}

impl Kernel for Saxpy {
    type Request = SaxpyRequest;
    type Response = SaxpyResponse;

    const DEVICES: Devices = Devices::Any;

    async fn open(&mut self, cx: &mut KernelContext) -> KernelResult {
        self.entries = Entries::load(cx, PTX, &["saxpy"])?;
        Ok(())
    }

    async fn execute(
        &mut self,
        request: SaxpyRequest,
        cx: &mut KernelContext,
    ) -> KernelResult<SaxpyResponse> {
        let output = match cx.device().kind() {
            DeviceKind::Host => compute(cx, move || on_host(&request)).await??,
            DeviceKind::Cuda => self.on_cuda(&request, cx).await?,
        };
        Ok(SaxpyResponse { output: output.into() })
    }
}

fn on_host(SaxpyRequest { a, x, y }: &SaxpyRequest) -> KernelResult<Vec<f32>> {
    let mut output = vec![0.0; x.len()];
    host::saxpy(*a, x.as_slice(), y.as_slice(), &mut output).map_err(invalid)?;
    Ok(output)
}

impl Saxpy {
    async fn on_cuda(
        &self,
        SaxpyRequest { a, x, y }: &SaxpyRequest,
        cx: &mut KernelContext,
    ) -> KernelResult<Vec<f32>> {
        let n = count(x.len())?;
        if n == 0 {
            return Ok(Vec::new());
        }
        let x = cx.upload(x.as_slice()).await?;
        let y = cx.upload(y.as_slice()).await?;
        let mut output = cx.alloc::<f32>(x.len()).await?;
        let arguments = arguments![*a, &x, &y, &mut output, n];
        self.entries.launch(cx, "saxpy", threads(x.len()), arguments)?;
        cx.download(&output).await
    }
}

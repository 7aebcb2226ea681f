//! The kernel over both implementations.

use rustkernel_core::kernel::Need;
use rustkernel_core::prelude::*;

use super::{PTX, host};
use crate::entries::{Entries, threads};
use crate::request::{compute, count, invalid, leases};

/// `c = a + b`.
#[derive(Debug)]
pub struct VectorAdd {
    entries: Entries,
}

/// What [`VectorAdd`] takes.
#[derive(Debug, Clone, KernelMessage)]
pub struct VectorAddRequest {
    /// The vector to add to.
    #[kernel(shape = "n")]
    pub a: Tensor<f32>,
    /// The vector to add.
    #[kernel(shape = "n")]
    pub b: Tensor<f32>,
}

/// What [`VectorAdd`] gives.
#[derive(Debug, Clone, PartialEq, KernelMessage)]
pub struct VectorAddResponse {
    /// The sum of `a` and `b`.
    #[kernel(shape = "n")]
    pub c: Tensor<f32>,
}

/// How to run it.
pub fn spec() -> KernelSpec<VectorAdd> {
    KernelSpec::new("vector_add", || VectorAdd { entries: Entries::default() })
        .describe("a + b, element by element.")
        .memory_on(|VectorAddRequest { a, b }, device| match device {
            DeviceKind::Host => Need::NOTHING,
            DeviceKind::Cuda => leases([a.bytes(), b.bytes(), a.bytes()]),
        })
        .publish()
}

impl Kernel for VectorAdd {
    type Request = VectorAddRequest;
    type Response = VectorAddResponse;

    const DEVICES: Devices = Devices::Any;

    async fn open(&mut self, cx: &mut KernelContext) -> KernelResult {
        self.entries = Entries::load(cx, PTX, &["vector_add"])?;
        Ok(())
    }

    async fn execute(
        &mut self,
        request: VectorAddRequest,
        cx: &mut KernelContext,
    ) -> KernelResult<VectorAddResponse> {
        let c = match cx.device().kind() {
            DeviceKind::Host => compute(cx, move || on_host(&request)).await??,
            DeviceKind::Cuda => self.on_cuda(&request, cx).await?,
        };
        Ok(VectorAddResponse { c: c.into() })
    }
}

fn on_host(VectorAddRequest { a, b }: &VectorAddRequest) -> KernelResult<Vec<f32>> {
    let mut c = vec![0.0; a.len()];
    host::vector_add(a.as_slice(), b.as_slice(), &mut c).map_err(invalid)?;
    Ok(c)
}

impl VectorAdd {
    async fn on_cuda(
        &self,
        VectorAddRequest { a, b }: &VectorAddRequest,
        cx: &mut KernelContext,
    ) -> KernelResult<Vec<f32>> {
        let n = count(a.len())?;
        if n == 0 {
            return Ok(Vec::new());
        }
        let a = cx.upload(a.as_slice()).await?;
        let b = cx.upload(b.as_slice()).await?;
        let mut c = cx.alloc::<f32>(a.len()).await?;
        let arguments = arguments![&a, &b, &mut c, n];
        self.entries.launch(cx, "vector_add", threads(a.len()), arguments)?;
        cx.download(&c).await
    }
}

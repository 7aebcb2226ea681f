//! The kernel over both implementations.

use rustkernel_core::kernel::Need;
use rustkernel_core::prelude::*;

use super::{PTX, host};
use crate::entries::{Entries, blocks, partials};
use crate::request::{bytes_of, compute, count, invalid, leases};

/// `output = x · y`.
#[derive(Debug)]
pub struct Dot {
    entries: Entries,
}

/// What [`Dot`] takes.
#[derive(Debug, Clone, KernelMessage)]
pub struct DotRequest {
    /// The first vector.
    #[kernel(shape = "n")]
    pub x: Tensor<f32>,
    /// The second vector.
    #[kernel(shape = "n")]
    pub y: Tensor<f32>,
}

/// What [`Dot`] gives.
#[derive(Debug, Clone, PartialEq, KernelMessage)]
pub struct DotResponse {
    /// The sum of the products of `x` and `y`, 0 of nothing.
    #[kernel(shape = "1")]
    pub output: Tensor<f32>,
}

/// How to run it.
pub fn spec() -> KernelSpec<Dot> {
    KernelSpec::new("dot", || Dot { entries: Entries::default() })
        .describe("The dot product of two vectors.")
        .memory_on(|DotRequest { x, y }, device| match device {
            DeviceKind::Host => Need::NOTHING,
            DeviceKind::Cuda => {
                let parts = partials(x.len()).grid.x as usize;
                leases([x.bytes(), y.bytes(), bytes_of::<f64>(parts), bytes_of::<f32>(1)])
            }
        })
        .publish()
}

impl Kernel for Dot {
    type Request = DotRequest;
    type Response = DotResponse;

    const DEVICES: Devices = Devices::Any;

    async fn open(&mut self, cx: &mut KernelContext) -> KernelResult {
        self.entries = Entries::load(cx, PTX, &["dot_partial", "dot_final"])?;
        Ok(())
    }

    async fn execute(
        &mut self,
        request: DotRequest,
        cx: &mut KernelContext,
    ) -> KernelResult<DotResponse> {
        let output = match cx.device().kind() {
            DeviceKind::Host => compute(cx, move || on_host(&request)).await??,
            DeviceKind::Cuda => self.on_cuda(&request, cx).await?,
        };
        Ok(DotResponse { output: vec![output].into() })
    }
}

fn on_host(DotRequest { x, y }: &DotRequest) -> KernelResult<f32> {
    host::dot(x.as_slice(), y.as_slice()).map_err(invalid)
}

impl Dot {
    async fn on_cuda(
        &self,
        DotRequest { x, y }: &DotRequest,
        cx: &mut KernelContext,
    ) -> KernelResult<f32> {
        let n = count(x.len())?;
        if n == 0 {
            return Ok(0.0);
        }
        let x = cx.upload(x.as_slice()).await?;
        let y = cx.upload(y.as_slice()).await?;
        let config = partials(x.len());
        let parts = config.grid.x;
        let mut sums = cx.alloc::<f64>(parts as usize).await?;
        let mut output = cx.alloc::<f32>(1).await?;
        self.entries.launch(cx, "dot_partial", config, arguments![&x, &y, &mut sums, n])?;
        self.entries.launch(cx, "dot_final", blocks(1), arguments![&sums, &mut output, parts])?;
        Ok(cx.download(&output).await?[0])
    }
}

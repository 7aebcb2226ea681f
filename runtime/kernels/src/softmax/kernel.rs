//! The kernel over both implementations.

use rustkernel_core::kernel::Need;
use rustkernel_core::prelude::*;

use super::PTX;
use super::host::{self, Shape};
use crate::entries::{Entries, blocks, warps};
use crate::request::{compute, count, extents, invalid, leases};

/// Rows up to this length are a warp's work on the device, longer ones a block's.
const MOST_WARP_COLUMNS: usize = 1024;

/// Softmax along the rows of a matrix.
#[derive(Debug)]
pub struct Softmax {
    entries: Entries,
}

/// What [`Softmax`] takes.
#[derive(Debug, Clone, KernelMessage)]
pub struct SoftmaxRequest {
    /// The matrix, each of whose rows becomes a distribution.
    #[kernel(shape = "rows, columns")]
    pub input: Tensor<f32>,
}

/// What [`Softmax`] gives.
#[derive(Debug, Clone, PartialEq, KernelMessage)]
pub struct SoftmaxResponse {
    /// The exponentials of the input, over their sum in each row.
    #[kernel(shape = "rows, columns")]
    pub output: Tensor<f32>,
}

/// How to run it.
pub fn spec() -> KernelSpec<Softmax> {
    KernelSpec::new("softmax", || Softmax { entries: Entries::default() })
        .describe("Softmax along the rows of a matrix.")
        .memory_on(|SoftmaxRequest { input }, device| match device {
            DeviceKind::Host => Need::NOTHING,
            DeviceKind::Cuda => leases([input.bytes(), input.bytes()]),
        })
        .publish()
}

impl Kernel for Softmax {
    type Request = SoftmaxRequest;
    type Response = SoftmaxResponse;

    const DEVICES: Devices = Devices::Any;

    async fn open(&mut self, cx: &mut KernelContext) -> KernelResult {
        self.entries = Entries::load(cx, PTX, &["softmax_warp", "softmax_block"])?;
        Ok(())
    }

    async fn execute(
        &mut self,
        SoftmaxRequest { input }: SoftmaxRequest,
        cx: &mut KernelContext,
    ) -> KernelResult<SoftmaxResponse> {
        let [rows, columns] = extents(&input);
        let shape = Shape { rows, columns };
        let output = match cx.device().kind() {
            DeviceKind::Host => compute(cx, move || on_host(shape, input.as_slice())).await??,
            DeviceKind::Cuda => self.on_cuda(shape, input.as_slice(), cx).await?,
        };
        Ok(SoftmaxResponse { output: Tensor::new([rows, columns], output)? })
    }
}

fn on_host(shape: Shape, input: &[f32]) -> KernelResult<Vec<f32>> {
    let mut output = vec![0.0; input.len()];
    host::softmax(shape, input, &mut output).map_err(invalid)?;
    Ok(output)
}

impl Softmax {
    async fn on_cuda(
        &self,
        Shape { rows, columns }: Shape,
        input: &[f32],
        cx: &mut KernelContext,
    ) -> KernelResult<Vec<f32>> {
        if input.is_empty() {
            return Ok(Vec::new());
        }
        let (row_count, column_count) = (count(rows)?, count(columns)?);
        let input = cx.upload(input).await?;
        let mut output = cx.alloc::<f32>(input.len()).await?;
        let (entry, config) = if columns <= MOST_WARP_COLUMNS {
            ("softmax_warp", warps(rows))
        } else {
            ("softmax_block", blocks(rows))
        };
        let arguments = arguments![&input, &mut output, row_count, column_count];
        self.entries.launch(cx, entry, config, arguments)?;
        cx.download(&output).await
    }
}

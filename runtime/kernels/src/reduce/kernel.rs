//! The kernel over both implementations.

use rustkernel_core::gpu::Buffer;
use rustkernel_core::kernel::Need;
use rustkernel_core::prelude::*;

use super::PTX;
use super::host::{self, EmptyError, Op};
use crate::entries::{Entries, blocks, partials};
use crate::request::{bytes_of, compute, count, invalid, leases};

/// Sum, minimum, maximum or mean of a vector.
#[derive(Debug)]
pub struct Reduce {
    entries: Entries,
}

/// What [`Reduce`] takes.
#[derive(Debug, Clone, KernelMessage)]
pub struct ReduceRequest {
    /// The vector to reduce; empty only for the sum.
    #[kernel(shape = "n")]
    pub input: Tensor<f32>,
    /// What to reduce to: `sum`, `min`, `max` or `mean`.
    #[kernel(default = "sum")]
    pub op: String,
}

/// What [`Reduce`] gives.
#[derive(Debug, Clone, PartialEq, KernelMessage)]
pub struct ReduceResponse {
    /// The sum, minimum, maximum or mean.
    #[kernel(shape = "1")]
    pub output: Tensor<f32>,
}

/// How to run it.
pub fn spec() -> KernelSpec<Reduce> {
    KernelSpec::new("reduce", || Reduce { entries: Entries::default() })
        .describe("The sum, minimum, maximum or mean of a vector.")
        .memory_on(|ReduceRequest { input, op }, device| match (device, op.parse::<Op>()) {
            (DeviceKind::Host, _) | (_, Err(_)) => Need::NOTHING,
            (DeviceKind::Cuda, Ok(op)) => {
                let parts = partials(input.len()).grid.x as usize;
                let parts = match op {
                    Op::Sum | Op::Mean => bytes_of::<f64>(parts),
                    Op::Min | Op::Max => bytes_of::<f32>(parts),
                };
                leases([input.bytes(), parts, bytes_of::<f32>(1)])
            }
        })
        .publish()
}

impl Kernel for Reduce {
    type Request = ReduceRequest;
    type Response = ReduceResponse;

    const DEVICES: Devices = Devices::Any;

    async fn open(&mut self, cx: &mut KernelContext) -> KernelResult {
        let names = ["reduce_sum_partial", "reduce_sum_final", "reduce_min", "reduce_max"];
        self.entries = Entries::load(cx, PTX, &names)?;
        Ok(())
    }

    async fn execute(
        &mut self,
        ReduceRequest { input, op }: ReduceRequest,
        cx: &mut KernelContext,
    ) -> KernelResult<ReduceResponse> {
        let op = op.parse().map_err(invalid)?;
        let output = match cx.device().kind() {
            DeviceKind::Host => {
                let reduce = move || host::reduce(input.as_slice(), op);
                compute(cx, reduce).await?.map_err(invalid)?
            }
            DeviceKind::Cuda => self.on_cuda(input.as_slice(), op, cx).await?,
        };
        Ok(ReduceResponse { output: vec![output].into() })
    }
}

impl Reduce {
    async fn on_cuda(&self, input: &[f32], op: Op, cx: &mut KernelContext) -> KernelResult<f32> {
        count(input.len())?;
        if input.is_empty() {
            return if op == Op::Sum { Ok(0.0) } else { Err(invalid(EmptyError { op })) };
        }
        let divisor = if op == Op::Mean { input.len() as f64 } else { 1.0 };
        let input = cx.upload(input).await?;
        let output = match op {
            Op::Sum | Op::Mean => self.sum(&input, divisor, cx).await?,
            Op::Min => self.extreme("reduce_min", &input, cx).await?,
            Op::Max => self.extreme("reduce_max", &input, cx).await?,
        };
        Ok(cx.download(&output).await?[0])
    }

    /// Queues the sum over `divisor`.
    async fn sum(
        &self,
        input: &Buffer<f32>,
        divisor: f64,
        cx: &mut KernelContext,
    ) -> KernelResult<Buffer<f32>> {
        let (n, config) = (count(input.len())?, partials(input.len()));
        let parts = config.grid.x;
        let mut sums = cx.alloc::<f64>(parts as usize).await?;
        let mut output = cx.alloc::<f32>(1).await?;
        self.entries.launch(cx, "reduce_sum_partial", config, arguments![input, &mut sums, n])?;
        let arguments = arguments![&sums, &mut output, parts, divisor];
        self.entries.launch(cx, "reduce_sum_final", blocks(1), arguments)?;
        Ok(output)
    }

    /// Queues the minimum or maximum: the same entry on the input, then on its results.
    async fn extreme(
        &self,
        entry: &str,
        input: &Buffer<f32>,
        cx: &mut KernelContext,
    ) -> KernelResult<Buffer<f32>> {
        let (n, config) = (count(input.len())?, partials(input.len()));
        let parts = config.grid.x;
        let mut extremes = cx.alloc::<f32>(parts as usize).await?;
        let mut output = cx.alloc::<f32>(1).await?;
        self.entries.launch(cx, entry, config, arguments![input, &mut extremes, n])?;
        self.entries.launch(cx, entry, blocks(1), arguments![&extremes, &mut output, parts])?;
        Ok(output)
    }
}

//! The kernel over both implementations.

use rustkernel_core::kernel::Need;
use rustkernel_core::prelude::*;

use super::{PTX, host};
use crate::entries::{Entries, blocks};
use crate::request::{bytes_of, compute, count, invalid, leases};

/// Elements of one of the device's tiles.
const TILE: usize = 2048;

/// The inclusive sum.
#[derive(Debug)]
pub struct Scan {
    entries: Entries,
}

/// What [`Scan`] takes.
#[derive(Debug, Clone, KernelMessage)]
pub struct ScanRequest {
    /// The vector to add up.
    #[kernel(shape = "n")]
    pub input: Tensor<f32>,
}

/// What [`Scan`] gives.
#[derive(Debug, Clone, PartialEq, KernelMessage)]
pub struct ScanResponse {
    /// For each place the sum of the input up to and including it.
    #[kernel(shape = "n")]
    pub output: Tensor<f32>,
}

/// How to run it.
pub fn spec() -> KernelSpec<Scan> {
    KernelSpec::new("scan", || Scan { entries: Entries::default() })
        .describe("The inclusive sum: each element is the sum of all up to it.")
        .memory_on(|ScanRequest { input }, device| match device {
            DeviceKind::Host => Need::NOTHING,
            DeviceKind::Cuda => {
                let sums = bytes_of::<f64>(input.len().div_ceil(TILE));
                leases([input.bytes(), sums, input.bytes()])
            }
        })
        .publish()
}

impl Kernel for Scan {
    type Request = ScanRequest;
    type Response = ScanResponse;

    const DEVICES: Devices = Devices::Any;

    async fn open(&mut self, cx: &mut KernelContext) -> KernelResult {
        let names = ["scan_tile_sums", "scan_offsets", "scan_tiles"];
        self.entries = Entries::load(cx, PTX, &names)?;
        Ok(())
    }

    async fn execute(
        &mut self,
        ScanRequest { input }: ScanRequest,
        cx: &mut KernelContext,
    ) -> KernelResult<ScanResponse> {
        let output = match cx.device().kind() {
            DeviceKind::Host => compute(cx, move || on_host(input.as_slice())).await??,
            DeviceKind::Cuda => self.on_cuda(input.as_slice(), cx).await?,
        };
        Ok(ScanResponse { output: output.into() })
    }
}

fn on_host(input: &[f32]) -> KernelResult<Vec<f32>> {
    let mut output = vec![0.0; input.len()];
    host::scan(input, &mut output).map_err(invalid)?;
    Ok(output)
}

impl Scan {
    async fn on_cuda(&self, input: &[f32], cx: &mut KernelContext) -> KernelResult<Vec<f32>> {
        let n = count(input.len())?;
        if n == 0 {
            return Ok(Vec::new());
        }
        let tiles = input.len().div_ceil(TILE);
        let input = cx.upload(input).await?;
        let mut sums = cx.alloc::<f64>(tiles).await?;
        let mut output = cx.alloc::<f32>(input.len()).await?;
        let arguments = arguments![&input, &mut sums, n];
        self.entries.launch(cx, "scan_tile_sums", blocks(tiles), arguments)?;
        let arguments = arguments![&mut sums, count(tiles)?];
        self.entries.launch(cx, "scan_offsets", blocks(1), arguments)?;
        let arguments = arguments![&input, &sums, &mut output, n];
        self.entries.launch(cx, "scan_tiles", blocks(tiles), arguments)?;
        cx.download(&output).await
    }
}

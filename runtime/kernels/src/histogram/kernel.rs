//! The kernel over both implementations.

use rustkernel_core::gpu::{HostBuffer, Staging};
use rustkernel_core::kernel::Need;
use rustkernel_core::prelude::*;

use super::PTX;
use super::host::{self, Bins};
use crate::entries::{Entries, resident, threads};
use crate::request::{bytes_of, compute, count, invalid, leases};

/// Most bins that a block counts in shared memory: 32 KiB of it.
const MOST_SHARED_BINS: usize = 8192;

const ENTRIES: [&str; 3] = ["histogram_edges", "histogram_shared", "histogram_global"];

/// Counts in bins of equal width.
#[derive(Debug)]
pub struct Histogram {
    entries: Entries,
}

/// What [`Histogram`] takes.
#[derive(Debug, Clone, KernelMessage)]
pub struct HistogramRequest {
    /// The values to count; NaN and what is outside of the bounds is not counted.
    #[kernel(shape = "n")]
    pub input: Tensor<f32>,
    /// How many bins of equal width there are: at least 1, at most 16,777,216.
    #[kernel(default = 256)]
    pub bins: u32,
    /// Where the first bin begins.
    #[kernel(default = 0.0)]
    pub low: f32,
    /// Where the last bin ends; it counts this value too.
    #[kernel(default = 256.0)]
    pub high: f32,
}

/// What [`Histogram`] gives.
#[derive(Debug, Clone, PartialEq, KernelMessage)]
pub struct HistogramResponse {
    /// How many values each bin holds.
    #[kernel(shape = "bins")]
    pub counts: Tensor<u64>,
}

/// How to run it.
pub fn spec() -> KernelSpec<Histogram> {
    KernelSpec::new("histogram", || Histogram { entries: Entries::default() })
        .describe("Counts of values in bins of equal width, as numpy.histogram.")
        .memory_on(need)
        .publish()
}

fn need(request: &HistogramRequest, device: DeviceKind) -> Need {
    // What is refused for its number needs nothing. The bounds are looked at later: that takes as long
    // as there are bins.
    let Ok(bins) = request.number() else { return Need::NOTHING };
    let counts = bytes_of::<u64>(bins);
    match device {
        DeviceKind::Host => {
            let staging = host::scratch_bytes(request.input.len(), bins) as u64;
            Need { staging, ..Need::host([counts]) }
        }
        DeviceKind::Cuda => leases([request.input.bytes(), bytes_of::<f32>(bins + 1), counts]),
    }
}

impl HistogramRequest {
    fn bins(&self) -> KernelResult<Bins> {
        Bins::new(self.bins, self.low, self.high).map_err(invalid)
    }

    /// How many bins there are, before a look at the bounds.
    fn number(&self) -> KernelResult<usize> {
        host::check_number(self.bins).map_err(invalid)?;
        Ok(self.bins as usize)
    }
}

impl Kernel for Histogram {
    type Request = HistogramRequest;
    type Response = HistogramResponse;

    const DEVICES: Devices = Devices::Any;

    async fn open(&mut self, cx: &mut KernelContext) -> KernelResult {
        self.entries = Entries::load(cx, PTX, &ENTRIES)?;
        Ok(())
    }

    async fn execute(
        &mut self,
        request: HistogramRequest,
        cx: &mut KernelContext,
    ) -> KernelResult<HistogramResponse> {
        let counts = match cx.device().kind() {
            DeviceKind::Host => {
                let bins = request.number()?;
                let counts = cx.alloc_host(bins).await?;
                let scratch = host::scratch_bytes(request.input.len(), bins) / size_of::<u64>();
                let scratch = cx.stage(scratch).await?;
                compute(cx, move || on_host(&request, counts, scratch)).await??
            }
            DeviceKind::Cuda => self.on_cuda(&request, cx).await?.into(),
        };
        Ok(HistogramResponse { counts: Tensor::from_buffer([counts.len()], counts)? })
    }
}

fn on_host(
    request: &HistogramRequest,
    mut counts: HostBuffer<u64>,
    mut scratch: Staging<u64>,
) -> KernelResult<HostBuffer<u64>> {
    let input = request.input.as_slice();
    host::histogram(&request.bins()?, input, &mut counts, &mut scratch).map_err(invalid)?;
    Ok(counts)
}

impl Histogram {
    async fn on_cuda(
        &self,
        request: &HistogramRequest,
        cx: &mut KernelContext,
    ) -> KernelResult<Vec<u64>> {
        let (bins, n) = (request.bins()?, count(request.input.len())?);
        if n == 0 {
            return Ok(vec![0; bins.count()]);
        }
        let input = cx.upload(request.input.as_slice()).await?;
        let mut edges = cx.alloc::<f32>(bins.count() + 1).await?;
        let arguments =
            arguments![&mut edges, request.bins, request.low, request.high, bins.width()];
        self.entries.launch(cx, "histogram_edges", threads(bins.count() + 1), arguments)?;
        let mut counts = cx.alloc::<u64>(bins.count()).await?;
        cx.stream().fill(&mut counts, 0)?;
        let config = resident(cx, input.len());
        let (entry, config) = if bins.count() <= MOST_SHARED_BINS {
            ("histogram_shared", config.shared(request.bins * size_of::<u32>() as u32))
        } else {
            ("histogram_global", config)
        };
        let arguments = arguments![&input, &edges, &mut counts, n, request.bins, bins.scale()];
        self.entries.launch(cx, entry, config, arguments)?;
        cx.download(&counts).await
    }
}

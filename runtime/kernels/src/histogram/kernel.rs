//! The kernel over both implementations.

use rustkernel_core::kernel::Need;
use rustkernel_core::prelude::*;

use super::PTX;
use super::host::{self, Bins};
use crate::entries::{Entries, resident};
use crate::request::{bytes_of, compute, count, invalid, leases};

/// Most bins that a block counts in shared memory: 32 KiB of it.
const MOST_SHARED_BINS: usize = 8192;

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
    /// How many bins of equal width there are, at least 1.
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
        .memory_on(|request, device| match device {
            DeviceKind::Host => Need::NOTHING,
            // What is refused needs nothing.
            DeviceKind::Cuda => request.bins().map_or(Need::NOTHING, |bins| {
                let edges = bytes_of::<f32>(bins.edges().len());
                leases([request.input.bytes(), edges, bytes_of::<u64>(bins.count())])
            }),
        })
        .publish()
}

impl HistogramRequest {
    fn bins(&self) -> KernelResult<Bins> {
        Bins::new(self.bins, self.low, self.high).map_err(invalid)
    }
}

impl Kernel for Histogram {
    type Request = HistogramRequest;
    type Response = HistogramResponse;

    const DEVICES: Devices = Devices::Any;

    async fn open(&mut self, cx: &mut KernelContext) -> KernelResult {
        self.entries = Entries::load(cx, PTX, &["histogram_shared", "histogram_global"])?;
        Ok(())
    }

    async fn execute(
        &mut self,
        request: HistogramRequest,
        cx: &mut KernelContext,
    ) -> KernelResult<HistogramResponse> {
        let counts = match cx.device().kind() {
            DeviceKind::Host => compute(cx, move || on_host(&request)).await??,
            DeviceKind::Cuda => self.on_cuda(&request, cx).await?,
        };
        Ok(HistogramResponse { counts: counts.into() })
    }
}

fn on_host(request: &HistogramRequest) -> KernelResult<Vec<u64>> {
    let bins = request.bins()?;
    let mut counts = vec![0; bins.count()];
    host::histogram(&bins, request.input.as_slice(), &mut counts).map_err(invalid)?;
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
        let edges = cx.upload(bins.edges()).await?;
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

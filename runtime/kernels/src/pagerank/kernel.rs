//! The kernel over both implementations.

use rustkernel_core::gpu::Staging;
use rustkernel_core::kernel::Need;
use rustkernel_core::prelude::*;

use super::PTX;
use super::device::OnDevice;
use super::host::{self, Graph, Settings};
use crate::entries::Entries;
use crate::request::{compute, invalid};

/// PageRank of a directed graph.
#[derive(Debug)]
pub struct PageRank {
    entries: Entries,
}

/// What [`PageRank`] takes.
#[derive(Debug, Clone, KernelMessage)]
pub struct PageRankRequest {
    /// Where the links of each vertex begin among the targets, and at the end where all do.
    #[kernel(shape = "vertices_plus_one")]
    pub offsets: Tensor<i32>,
    /// The vertex that each link leads to.
    #[kernel(shape = "edges")]
    pub targets: Tensor<i32>,
    /// The probability to follow a link instead of going anywhere, 0 to 1.
    #[kernel(default = 0.85)]
    pub damping: f32,
    /// The change of all ranks in sum at which the iteration has converged.
    #[kernel(default = 1e-6)]
    pub tolerance: f32,
    /// The greatest number of iterations.
    #[kernel(default = 100)]
    pub iterations: u32,
}

/// What [`PageRank`] gives.
#[derive(Debug, Clone, PartialEq, KernelMessage)]
pub struct PageRankResponse {
    /// The rank of each vertex; all together they are 1.
    #[kernel(shape = "vertices")]
    pub ranks: Tensor<f32>,
    /// How many iterations it took.
    #[kernel(shape = "1")]
    pub iterations: Tensor<u32>,
}

/// How to run it.
pub fn spec() -> KernelSpec<PageRank> {
    KernelSpec::new("pagerank", || PageRank { entries: Entries::default() })
        .describe("PageRank of a directed graph in compressed sparse rows.")
        .memory_on(|request, device| match device {
            DeviceKind::Host => Need { device: 0, staging: request.scratch_bytes() as u64 },
            DeviceKind::Cuda => OnDevice::need(request.vertices(), request.targets.len()),
        })
        .publish()
}

impl PageRankRequest {
    fn graph(&self) -> KernelResult<Graph<'_>> {
        Graph::new(self.offsets.as_slice(), self.targets.as_slice()).map_err(invalid)
    }

    fn settings(&self) -> Settings {
        let &Self { damping, tolerance, iterations, .. } = self;
        Settings { damping, tolerance, iterations }
    }

    fn vertices(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    fn scratch_bytes(&self) -> usize {
        host::scratch_bytes(self.vertices(), self.targets.len())
    }
}

impl Kernel for PageRank {
    type Request = PageRankRequest;
    type Response = PageRankResponse;

    const DEVICES: Devices = Devices::Any;

    async fn open(&mut self, cx: &mut KernelContext) -> KernelResult {
        self.entries = Entries::load(cx, PTX, &OnDevice::ENTRIES)?;
        Ok(())
    }

    async fn execute(
        &mut self,
        request: PageRankRequest,
        cx: &mut KernelContext,
    ) -> KernelResult<PageRankResponse> {
        let (ranks, iterations) = match cx.device().kind() {
            DeviceKind::Host => {
                let scratch = cx.stage(request.scratch_bytes() / size_of::<f64>()).await?;
                compute(cx, move || on_host(&request, scratch)).await??
            }
            DeviceKind::Cuda => self.on_cuda(&request, cx).await?,
        };
        Ok(PageRankResponse { ranks: ranks.into(), iterations: vec![iterations].into() })
    }
}

fn on_host(request: &PageRankRequest, mut scratch: Staging<f64>) -> KernelResult<(Vec<f32>, u32)> {
    let (graph, settings) = (request.graph()?, request.settings());
    let mut ranks = vec![0.0; graph.vertices()];
    let iterations = host::pagerank(&graph, &settings, &mut ranks, &mut scratch);
    Ok((ranks, iterations.map_err(invalid)?))
}

impl PageRank {
    async fn on_cuda(
        &self,
        request: &PageRankRequest,
        cx: &mut KernelContext,
    ) -> KernelResult<(Vec<f32>, u32)> {
        let (graph, settings) = (request.graph()?, request.settings());
        settings.check().map_err(invalid)?;
        if graph.vertices() == 0 {
            return Ok((Vec::new(), 0));
        }
        let mut ranks = OnDevice::upload(&self.entries, &graph, cx).await?;
        let iterations = ranks.iterate(&settings, cx).await?;
        Ok((ranks.finish(cx).await?, iterations))
    }
}

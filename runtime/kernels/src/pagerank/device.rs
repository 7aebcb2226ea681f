//! The iteration on a CUDA device.

use rustkernel_core::gpu::Buffer;
use rustkernel_core::kernel::Need;
use rustkernel_core::prelude::*;

use super::graph::Graph;
use super::host::Settings;
use crate::entries::{Entries, blocks, partials, threads, warps};
use crate::request::{bytes_of, count, invalid, leases};

/// Iterations queued before the device is asked whether it has converged: those queued beyond that
/// change nothing, and asking waits for all of them.
const BATCH: u32 = 8;

/// The device's state: words 0 and 1 are the change of the last iteration.
const STATE_WORDS: usize = 4;
const ITERATIONS_DONE: usize = 2;
const CONVERGED: usize = 3;

/// A graph and its ranks on a device.
pub(super) struct OnDevice<'a> {
    entries: &'a Entries,
    vertices: u32,
    offsets: Buffer<i32>,
    in_offsets: Buffer<i32>,
    sources: Buffer<i32>,
    state: Buffer<u32>,
    ranks: Buffer<f64>,
    contributions: Buffer<f64>,
    /// Rank without out-links, by block.
    dangling: Buffer<f64>,
    /// Changes of ranks, by block.
    changes: Buffer<f64>,
    output: Buffer<f32>,
}

impl<'a> OnDevice<'a> {
    pub(super) const ENTRIES: [&'static str; 5] = [
        "pagerank_start",
        "pagerank_spread",
        "pagerank_gather",
        "pagerank_check",
        "pagerank_finish",
    ];

    /// The device memory for a graph of that size.
    pub(super) fn need(vertices: usize, edges: usize) -> Need {
        let offsets = bytes_of::<i32>(vertices + 1);
        let ranks = bytes_of::<f64>(vertices);
        leases([
            offsets,
            offsets,
            bytes_of::<i32>(edges),
            bytes_of::<u32>(STATE_WORDS),
            ranks,
            ranks,
            bytes_of::<f64>(partials(vertices).grid.x as usize),
            bytes_of::<f64>(warps(vertices).grid.x as usize),
            bytes_of::<f32>(vertices),
        ])
    }

    /// Uploads a graph that has vertices, with its transpose.
    pub(super) async fn upload(
        entries: &'a Entries,
        graph: &Graph<'_>,
        cx: &mut KernelContext,
    ) -> KernelResult<Self> {
        let len = graph.vertices();
        let offsets = cx.upload(graph.offsets()).await?;
        let mut in_offsets = cx.stage(len + 1).await?;
        let mut sources = cx.stage(graph.edges()).await?;
        graph.transpose(&mut in_offsets, &mut sources).map_err(invalid)?;
        let mut on_device = Self {
            entries,
            vertices: count(len)?,
            offsets,
            in_offsets: cx.alloc(len + 1).await?,
            sources: cx.alloc(graph.edges()).await?,
            state: cx.alloc(STATE_WORDS).await?,
            ranks: cx.alloc(len).await?,
            contributions: cx.alloc(len).await?,
            dangling: cx.alloc(partials(len).grid.x as usize).await?,
            changes: cx.alloc(warps(len).grid.x as usize).await?,
            output: cx.alloc(len).await?,
        };
        cx.stream().upload(in_offsets, &mut on_device.in_offsets, 0)?;
        cx.stream().upload(sources, &mut on_device.sources, 0)?;
        cx.stream().fill(&mut on_device.state, 0)?;
        Ok(on_device)
    }

    /// Iterates until the ranks have converged, or as often as allowed; returns how often.
    pub(super) async fn iterate(
        &mut self,
        settings: &Settings,
        cx: &mut KernelContext,
    ) -> KernelResult<u32> {
        let arguments = arguments![&mut self.ranks, self.vertices];
        self.entries.launch(cx, "pagerank_start", threads(self.vertices as usize), arguments)?;
        let mut queued = 0;
        while queued < settings.iterations {
            let batch = BATCH.min(settings.iterations - queued);
            for _ in 0..batch {
                self.queue_iteration(settings, cx)?;
            }
            queued += batch;
            let state = cx.download(&self.state).await?;
            if state[CONVERGED] != 0 {
                return Ok(state[ITERATIONS_DONE]);
            }
        }
        Ok(queued)
    }

    fn queue_iteration(&mut self, settings: &Settings, cx: &mut KernelContext) -> KernelResult {
        let (len, n) = (self.vertices as usize, self.vertices);
        let arguments = arguments![
            &self.state,
            &self.offsets,
            &self.ranks,
            &mut self.contributions,
            &mut self.dangling,
            n,
        ];
        self.entries.launch(cx, "pagerank_spread", partials(len), arguments)?;
        let arguments = arguments![
            &self.state,
            &self.in_offsets,
            &self.sources,
            &self.contributions,
            &self.dangling,
            count(self.dangling.len())?,
            &mut self.ranks,
            &mut self.changes,
            settings.damping,
            n,
        ];
        self.entries.launch(cx, "pagerank_gather", warps(len), arguments)?;
        let changes = count(self.changes.len())?;
        let arguments = arguments![&mut self.state, &self.changes, changes, settings.tolerance];
        self.entries.launch(cx, "pagerank_check", blocks(1), arguments)
    }

    /// The ranks.
    pub(super) async fn finish(mut self, cx: &mut KernelContext) -> KernelResult<Vec<f32>> {
        let arguments = arguments![&self.ranks, &mut self.output, self.vertices];
        self.entries.launch(cx, "pagerank_finish", threads(self.vertices as usize), arguments)?;
        cx.download(&self.output).await
    }
}

//! The runtime's pool itself, on memory of the host or of a CUDA device.
//!
//! Each stream of the trace is a stream of the device, and each block a lease. What the allocator would do
//! happens on the spot. What is different from the [arena on offsets](super::Arena):
//!
//! * The pool has one limit, so the soft cap is a hard one: a trace that needs more does not finish.
//! * No work is submitted to the streams: what is free is idle, and no stream waits for another.
//! * A lease that a magazine served counts as a hit, also if the magazine had to get the block first.
//! * Remaps are counted by the pool: times that pages moved, not pages. Driver calls are the times that
//!   it got memory, gave some back or moved some; each is at least one call.

use std::sync::Arc;

use futures_executor::block_on;
use rustkernel_gpu::host::{self, HostOptions, ThreadBudget};
use rustkernel_gpu::memory::{
    DeviceMemory, Grown, Growth, Lease, Leased, MemoryKind, MemoryLimits, MemoryStats,
    PressureThresholds,
};
use rustkernel_gpu::{Device, DeviceError, DeviceResult, Stream, StreamOptions, cuda};

use super::error::ReplayError;
use super::options::{Backend, PolicyName};
use super::policy::{Counters, Policy, Setup, Worker};
use crate::trace::{Step, Trace};

/// What the host is taken to have. It costs nothing: a replay touches no page that it maps.
const HOST_BYTES: u64 = 1 << 40;

/// Staging memory is not replayed.
const STAGING_BYTES: u64 = 1 << 20;

/// The policy.
#[derive(Debug)]
pub struct RuntimePool {
    // Before the streams, and these before the memory: what is dropped first uses what is dropped later.
    live: Vec<Option<Lease>>,
    streams: Vec<Stream>,
    memory: Arc<DeviceMemory>,
    mapped: u64,
    stream_waits: u64,
    messages: u64,
    failure: Option<DeviceError>,
}

/// Refuses a trace that the backend's memory could never hold.
///
/// # Errors
/// If it could not, or there is no such memory.
pub(super) fn check_size(trace: &Trace, backend: Backend) -> Result<(), ReplayError> {
    let (peak, memory) = (trace.peak_live, open(backend)?.info().memory_bytes);
    if peak <= memory {
        return Ok(());
    }
    Err(ReplayError::TooLarge { trace: trace.name.clone(), peak, backend, memory })
}

fn open(backend: Backend) -> Result<Device, ReplayError> {
    match backend {
        Backend::Host => Ok(host::open(HostOptions {
            name: "replay".into(),
            memory_bytes: HOST_BYTES,
            staging_bytes: STAGING_BYTES,
            threads: ThreadBudget::new(1),
        })),
        Backend::Cuda(ordinal) => cuda::open(ordinal).map_err(failed),
        Backend::Offsets => {
            let (policy, reason) = (PolicyName::Arena, "offsets have no memory");
            Err(ReplayError::Unsupported { policy, backend, reason })
        }
    }
}

/// The memory of a device, within the limit of a setup.
fn memory(setup: &Setup) -> Result<Arc<DeviceMemory>, ReplayError> {
    let device = open(setup.backend)?;
    let limits = [setup.soft, setup.capacity, Some(device.info().memory_bytes)];
    let limits = MemoryLimits {
        device_bytes: limits.into_iter().flatten().min().unwrap_or_default(),
        staging_bytes: STAGING_BYTES,
        pooling: true,
        defrag: true,
        thresholds: PressureThresholds::default(),
    };
    Ok(DeviceMemory::new(device, &limits))
}

fn failed(error: DeviceError) -> ReplayError {
    ReplayError::Memory(error.to_string())
}

impl RuntimePool {
    /// With streams of its own, over memory that others may use too.
    fn over(memory: Arc<DeviceMemory>, setup: &Setup) -> Result<Self, ReplayError> {
        let open = |_| memory.open_stream(&StreamOptions::default());
        let streams = (0..setup.streams).map(open).collect::<DeviceResult<_>>().map_err(failed)?;
        let live = (0..setup.ids).map(|_| None).collect();
        let (mapped, stream_waits, messages) = (0, 0, 0);
        Ok(Self { live, streams, memory, mapped, stream_waits, messages, failure: None })
    }

    fn stats(&self) -> MemoryStats {
        self.memory.stats(MemoryKind::Device)
    }

    fn lease(&mut self, step: &Step) -> DeviceResult<Lease> {
        let stream = &self.streams[step.stream as usize];
        let bytes = usize::try_from(step.bytes).unwrap_or(usize::MAX);
        match self.memory.lease(MemoryKind::Device, bytes, Some(stream), None)? {
            Leased::Ready(lease) => Ok(lease),
            Leased::NeedsGrowth(growth) => self.grow(growth),
        }
    }

    fn grow(&mut self, mut growth: Growth) -> DeviceResult<Lease> {
        self.messages += 1;
        loop {
            match growth.run()? {
                Grown::Ready(lease) => {
                    self.memory.prepare(false);
                    // Mapped bytes change with growth alone: nobody trims here.
                    self.mapped = self.stats().mapped;
                    return Ok(lease);
                }
                // Nobody gives anything back meanwhile.
                Grown::Short(growth) => return Err(growth.give_up()),
                Grown::Wait(again, completion) => {
                    self.stream_waits += 1;
                    block_on(completion)?;
                    growth = again;
                }
            }
        }
    }
}

impl Worker for RuntimePool {
    fn allocate(&mut self, step: &Step) -> bool {
        match self.lease(step) {
            Ok(lease) => self.live[step.id as usize] = Some(lease),
            Err(DeviceError::OutOfMemory { .. }) => {}
            Err(error) => self.failure = Some(error),
        }
        self.live[step.id as usize].is_some()
    }

    fn free(&mut self, step: &Step) {
        self.live[step.id as usize] = None;
    }
}

impl Policy for RuntimePool {
    type Worker = Self;

    fn new(setup: &Setup) -> Result<Self, ReplayError> {
        Self::over(memory(setup)?, setup)
    }

    fn workers(setup: &Setup, threads: usize) -> Result<Vec<Self>, ReplayError> {
        let memory = memory(setup)?;
        (0..threads).map(|_| Self::over(Arc::clone(&memory), setup)).collect()
    }

    fn mapped(&self) -> u64 {
        self.mapped
    }

    fn counters(&self) -> Counters {
        let MemoryStats { growths, releases, remaps, magazine_hits: hits, .. } = self.stats();
        let (stream_waits, messages) = (self.stream_waits, self.messages);
        Counters { driver_calls: growths + releases + remaps, remaps, stream_waits, messages, hits }
    }

    fn failure(&self) -> Option<ReplayError> {
        self.failure.clone().map(failed)
    }
}

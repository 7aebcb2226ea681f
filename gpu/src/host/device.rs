//! The host device.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;

use super::executor::{Executor, MOST_STREAMS, ThreadBudget};
use super::memory::Memory;
#[cfg(unix)]
use super::space::{self, HostSpace};
use super::stream::{HostEvent, HostStream};
#[cfg(unix)]
use crate::device::AddressSpace;
use crate::device::{Device, DeviceBackend, DeviceId, DeviceInfo, Epoch, MemoryInfo};
use crate::error::{DeviceError, DeviceResult};
use crate::event::EventKind;
#[cfg(unix)]
use crate::memory::arena::Geometry;
use crate::memory::{MemoryKind, RawMemory};
use crate::module::{ModuleKind, ModuleSource};
use crate::stream::{StreamBackend, StreamOptions};

/// What the host device may use.
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// What the processor is called.
    pub name: String,
    /// Device memory, in bytes.
    pub memory_bytes: u64,
    /// Staging memory, in bytes.
    pub staging_bytes: u64,
    /// The threads that run its streams.
    pub threads: Arc<ThreadBudget>,
}

/// Opens the host as a device.
pub fn open(options: HostOptions) -> Device {
    let info = DeviceInfo {
        id: DeviceId::Host,
        name: options.name,
        memory_bytes: options.memory_bytes,
        processors: available_parallelism()
            .map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX)),
        compute_capability: None,
        driver_version: None,
        max_threads_per_block: 1024,
        max_shared_bytes_per_block: 48 << 10,
    };
    let executor = Executor::new(options.threads);
    let device = Arc::new(Memory::new(options.memory_bytes));
    let staging = Arc::new(Memory::new(options.staging_bytes));
    Device::new(Arc::new(HostDevice { info, executor, device, staging, streams: Arc::default() }))
}

struct HostDevice {
    info: DeviceInfo,
    executor: Executor,
    device: Arc<Memory>,
    staging: Arc<Memory>,
    streams: Arc<AtomicUsize>,
}

impl HostDevice {
    fn memory(&self, kind: MemoryKind) -> &Arc<Memory> {
        match kind {
            MemoryKind::Device => &self.device,
            MemoryKind::Staging => &self.staging,
        }
    }
}

impl DeviceBackend for HostDevice {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn epoch(&self) -> Epoch {
        0
    }

    fn health(&self) -> DeviceResult {
        Ok(())
    }

    fn check(&self, _: Epoch) -> DeviceResult {
        Ok(())
    }

    fn recover(&self) -> DeviceResult<Epoch> {
        Ok(self.epoch())
    }

    fn memory_info(&self) -> DeviceResult<MemoryInfo> {
        Ok(MemoryInfo { free: self.device.free(), total: self.device.capacity() })
    }

    fn allocate(&self, kind: MemoryKind, bytes: usize) -> DeviceResult<RawMemory> {
        self.memory(kind).allocate(bytes).map_err(|free| DeviceError::OutOfMemory {
            device: DeviceId::Host,
            kind,
            asked: bytes as u64,
            free,
            limit: self.memory(kind).capacity(),
        })
    }

    fn release(&self, kind: MemoryKind, memory: RawMemory) {
        self.memory(kind).release(memory);
    }

    #[cfg(unix)]
    fn address_space(
        &self,
        kind: MemoryKind,
        limit: u64,
    ) -> Option<(Geometry, Box<dyn AddressSpace>)> {
        let geometry = space::geometry(limit)?;
        let reserved = HostSpace::reserve(kind, self.memory(kind), geometry.span)?;
        Some((geometry, Box::new(reserved)))
    }

    fn open_stream(&self, options: &StreamOptions) -> DeviceResult<Box<dyn StreamBackend>> {
        let more = |open: usize| (open < MOST_STREAMS).then_some(open + 1);
        if self.streams.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_err() {
            let text = format!(
                "{MOST_STREAMS} streams are on the host, the most there can be; drop some, or wait until those dropped have done their work"
            );
            return Err(DeviceError::InvalidArgument(text));
        }
        Ok(Box::new(HostStream::new(
            self.executor.clone(),
            options.inline,
            Arc::clone(&self.streams),
        )))
    }

    fn create_event(&self) -> DeviceResult<EventKind> {
        Ok(EventKind::Host(Arc::new(HostEvent::default())))
    }

    fn load_module(&self, source: &ModuleSource) -> DeviceResult<ModuleKind> {
        if source.host.is_empty() {
            let reason = "it has no host functions, only PTX; add them with `ModuleSource::host`";
            return Err(DeviceError::InvalidModule { reason: reason.into() });
        }
        Ok(ModuleKind::Host(source.host.clone()))
    }

    fn drop_errors(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    #[allow(
        clippy::disallowed_methods,
        reason = "threads of the device are waited for in real time"
    )]
    fn a_stream_counts_until_its_work_is_done() {
        let (memory_bytes, staging_bytes, threads) = (1 << 20, 1 << 20, ThreadBudget::new(1));
        let device =
            open(HostOptions { name: "test".into(), memory_bytes, staging_bytes, threads });
        let open = || device.open_stream(&StreamOptions::default());
        let (ends, end) = crossbeam_channel::bounded::<()>(0);
        for _ in 0..MOST_STREAMS {
            let end = end.clone();
            let mut stream = open().unwrap();
            drop(stream.run(move || end.recv().unwrap_err()).unwrap());
        }
        assert!(matches!(open(), Err(DeviceError::InvalidArgument(_))));
        drop(ends);
        for _ in 0..6_000 {
            if open().is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("not within a minute");
    }
}

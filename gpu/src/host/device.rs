//! The host device: its capacity and its memory.
#![allow(
    unsafe_code,
    reason = "device memory is reached by address; each block says why it is sound"
)]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::available_parallelism;

use super::executor::{Executor, MOST_STREAMS, ThreadBudget};
use super::stream::{HostEvent, HostStream};
use crate::device::{Device, DeviceBackend, DeviceId, DeviceInfo, Epoch, MemoryInfo};
use crate::error::{DeviceError, DeviceResult};
use crate::event::EventKind;
use crate::memory::{MemoryKind, RawMemory};
use crate::module::{ModuleKind, ModuleSource};
use crate::stream::{StreamBackend, StreamOptions};

const PAGE: usize = 4096;

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
    let device = Memory::new(options.memory_bytes);
    let staging = Memory::new(options.staging_bytes);
    Device::new(Arc::new(HostDevice { info, executor, device, staging, streams: Arc::default() }))
}

struct HostDevice {
    info: DeviceInfo,
    executor: Executor,
    device: Memory,
    staging: Memory,
    streams: Arc<AtomicUsize>,
}

impl HostDevice {
    fn memory(&self, kind: MemoryKind) -> &Memory {
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

    fn memory_info(&self) -> DeviceResult<MemoryInfo> {
        let total = self.device.capacity;
        Ok(MemoryInfo { free: total - self.device.used.load(Ordering::Acquire), total })
    }

    fn allocate(&self, kind: MemoryKind, bytes: usize) -> DeviceResult<RawMemory> {
        self.memory(kind).allocate(bytes).map_err(|free| DeviceError::OutOfMemory {
            device: DeviceId::Host,
            kind,
            asked: bytes as u64,
            free,
            limit: self.memory(kind).capacity,
        })
    }

    fn release(&self, kind: MemoryKind, memory: RawMemory) {
        self.memory(kind).release(memory);
    }

    fn open_stream(&self, options: &StreamOptions) -> DeviceResult<Box<dyn StreamBackend>> {
        let more = |open: usize| (open < MOST_STREAMS).then_some(open + 1);
        if self.streams.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_err() {
            let text =
                format!("{MOST_STREAMS} streams are open on the host, the most there can be");
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

/// Page-aligned memory within a capacity.
struct Memory {
    capacity: u64,
    used: AtomicU64,
}

impl Memory {
    fn new(capacity: u64) -> Self {
        Self { capacity, used: AtomicU64::new(0) }
    }

    /// Zeroed, hence touched: a page that this returns is really there.
    fn allocate(&self, bytes: usize) -> Result<RawMemory, u64> {
        let more = |used: u64| used.checked_add(bytes as u64).filter(|sum| *sum <= self.capacity);
        let taken = self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        taken.map_err(|used| self.capacity - used)?;
        let allocated = layout(bytes).map_or(std::ptr::null_mut(), |layout| {
            // SAFETY: `layout` refuses a size of zero.
            unsafe { alloc_zeroed(layout) }
        });
        if allocated.is_null() {
            let used = self.used.fetch_sub(bytes as u64, Ordering::AcqRel) - bytes as u64;
            return Err(self.capacity - used);
        }
        Ok(RawMemory { address: allocated.expose_provenance() as u64, bytes, epoch: 0 })
    }

    fn release(&self, memory: RawMemory) {
        let layout = layout(memory.bytes).expect("invariant: it was allocated with this layout");
        // SAFETY: `allocate` made it with this layout, and a `RawMemory` is given back once.
        unsafe {
            dealloc(std::ptr::with_exposed_provenance_mut(memory.address as usize), layout);
        }
        self.used.fetch_sub(memory.bytes as u64, Ordering::AcqRel);
    }
}

fn layout(bytes: usize) -> Option<Layout> {
    Layout::from_size_align(bytes, PAGE).ok().filter(|layout| layout.size() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_page_aligned_zeroed_and_within_its_capacity() {
        let memory = Memory::new(3 * PAGE as u64);
        let first = memory.allocate(2 * PAGE).unwrap();
        assert_eq!(first.address as usize % PAGE, 0);
        assert_eq!(memory.allocate(2 * PAGE).unwrap_err(), PAGE as u64);
        memory.release(first);
        memory.release(memory.allocate(3 * PAGE).unwrap());
        assert_eq!(memory.used.load(Ordering::Acquire), 0);
        assert_eq!(memory.allocate(usize::MAX).unwrap_err(), 3 * PAGE as u64);
        assert!(memory.allocate(0).is_err());
    }
}

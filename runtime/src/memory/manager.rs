//! Memory outside of kernels.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustkernel_actors::MemoryClient;
use rustkernel_gpu::memory::{
    DeviceMemory, Grown, Lease, Leased, MemoryKind, MemoryStats, PressureLevel,
};
use rustkernel_gpu::{Device, DeviceError, DeviceId};

use super::MemoryConfig;
use crate::runtime::default_device;

/// The longest that an allocation waits for the device.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no memory.
pub type MemoryError = DeviceError;

/// Allocates device memory from size-stratified pools.
///
/// Made by [`new`](Self::new) it has pools of its own, on the first CUDA device or, without one, on
/// the host. [`Runtime::memory`](crate::runtime::Runtime::memory) gives one over a runtime's pools.
/// Clones share their pools.
#[derive(Clone)]
pub struct KernelMemoryManager {
    source: Source,
}

#[derive(Clone)]
enum Source {
    /// Nobody else uses the memory, so this is its own allocator.
    Own(Arc<DeviceMemory>),
    /// The allocator is an actor.
    Runtime(MemoryClient),
}

/// Memory in use. It goes back to its pool when dropped or given to
/// [`deallocate`](KernelMemoryManager::deallocate).
pub struct MemoryBuffer {
    lease: Lease,
    len: usize,
}

/// What a manager tells of its pools. All sizes are bytes.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ManagerStats {
    /// In use now.
    pub allocated_bytes: u64,
    /// The part of what is held from the device that is in use, 0 to 1.
    pub pool_utilization: f64,
    /// How full the device is.
    pub pressure: PressureLevel,
    /// Device memory in detail.
    pub device: MemoryStats,
    /// Staging memory in detail.
    pub staging: MemoryStats,
}

impl KernelMemoryManager {
    /// A manager with pools of its own, on the first CUDA device or, without one, on the host.
    /// Nothing is allocated yet. Values that make no sense, as thresholds out of order, are not refused here:
    /// [`MemoryConfig::validate`] tells them.
    pub fn new(config: MemoryConfig) -> Self {
        Self::on(&default_device(&config), &config)
    }

    /// A manager with pools of its own on that device.
    pub fn on(device: &Device, config: &MemoryConfig) -> Self {
        let memory = DeviceMemory::new(device.clone(), &config.limits(device.info()));
        Self { source: Source::Own(memory) }
    }

    pub(crate) fn of_runtime(client: MemoryClient) -> Self {
        Self { source: Source::Runtime(client) }
    }

    /// Allocates `bytes`, from what the pool has, if it fits there.
    ///
    /// # Errors
    /// [`DeviceError::OutOfMemory`] says how much is free and what the limit is.
    pub fn allocate(&self, bytes: usize) -> Result<MemoryBuffer, MemoryError> {
        let lease = match &self.source {
            Source::Own(memory) => lease(memory, bytes)?,
            Source::Runtime(client) => client.lease_blocking(bytes, PATIENCE)?,
        };
        Ok(MemoryBuffer { lease, len: bytes })
    }

    /// Gives memory back to its pool.
    pub fn deallocate(&self, buffer: MemoryBuffer) {
        if let Source::Own(memory) = &self.source {
            drop(buffer);
            settle(memory);
        }
    }

    /// A reading of the pools.
    pub fn stats(&self) -> ManagerStats {
        let (device, staging, pressure) = match &self.source {
            Source::Own(memory) => (
                memory.stats(MemoryKind::Device),
                memory.stats(MemoryKind::Staging),
                memory.pressure(),
            ),
            Source::Runtime(client) => (
                client.stats(MemoryKind::Device),
                client.stats(MemoryKind::Staging),
                client.pressure(),
            ),
        };
        let (allocated_bytes, pool_utilization) = (device.live, device.utilization());
        ManagerStats { allocated_bytes, pool_utilization, pressure, device, staging }
    }

    /// How full the device is.
    pub fn pressure(&self) -> PressureLevel {
        self.stats().pressure
    }

    /// The device that the memory is of.
    pub fn device(&self) -> DeviceId {
        match &self.source {
            Source::Own(memory) => memory.device().id(),
            Source::Runtime(client) => client.device().id(),
        }
    }
}

/// Growth on the caller's thread: there is no other allocator.
fn lease(memory: &DeviceMemory, bytes: usize) -> Result<Lease, MemoryError> {
    let growth = match memory.lease(MemoryKind::Device, bytes, None, None)? {
        Leased::Ready(lease) => return Ok(lease),
        Leased::NeedsGrowth(growth) => growth,
    };
    settle(memory);
    match growth.run()? {
        Grown::Ready(lease) => {
            settle(memory);
            Ok(lease)
        }
        // Nobody else would give anything back meanwhile.
        Grown::Short(growth) => Err(growth.give_up()),
        Grown::Wait(..) => {
            unreachable!("invariant: no stream uses this memory, so nothing in it is busy")
        }
    }
}

/// Does what a supervisor and an allocator would: sets the level, and empties the pools under
/// pressure. The level follows the bytes at once, down too: there is no actor whose timer could look
/// again, and nobody but the caller who would hear of it.
fn settle(memory: &DeviceMemory) {
    memory.set_pressure(memory.next_pressure());
    if memory.pressure() >= PressureLevel::Critical {
        memory.trim();
    }
}

impl fmt::Debug for KernelMemoryManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KernelMemoryManager")
            .field("device", &self.device())
            .finish_non_exhaustive()
    }
}

impl MemoryBuffer {
    /// Bytes asked for.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none were.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The address, in the device's own terms.
    pub fn address(&self) -> u64 {
        self.lease.address()
    }

    /// The bytes themselves, where the host can reach them: on the host device.
    pub fn as_slice(&self) -> Option<&[u8]> {
        self.lease.host_bytes().map(|bytes| &bytes[..self.len])
    }

    /// The same, to write.
    pub fn as_mut_slice(&mut self) -> Option<&mut [u8]> {
        let len = self.len;
        self.lease.host_bytes_mut().map(|bytes| &mut bytes[..len])
    }
}

impl fmt::Debug for MemoryBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryBuffer({} bytes of {})", self.len, self.lease.device().id())
    }
}

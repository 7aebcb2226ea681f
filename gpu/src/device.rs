//! A place to run kernels, and how it is named.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::error::DeviceResult;
use crate::event::{Event, EventKind};
use crate::memory::arena::{Geometry, Pages};
use crate::memory::{MemoryKind, RawMemory};
use crate::module::{Module, ModuleKind, ModuleSource};
use crate::stream::{Stream, StreamBackend, StreamOptions};

/// How often a device's context was lost and made anew; handles carry the epoch they were made in.
pub type Epoch = u64;

/// What a device is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DeviceKind {
    /// The machine's own processors and memory.
    Host,
    /// An NVIDIA GPU.
    Cuda,
}

/// A device's name: `host`, `cuda:0`, `cuda:1`, …
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DeviceId {
    /// The machine's own processors and memory.
    Host,
    /// The CUDA device of that ordinal, as the driver counts them.
    Cuda(u32),
}

impl DeviceId {
    /// What the device is made of.
    pub const fn kind(self) -> DeviceKind {
        match self {
            Self::Host => DeviceKind::Host,
            Self::Cuda(_) => DeviceKind::Cuda,
        }
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.pad("host"),
            Self::Cuda(ordinal) => f.pad(&format!("cuda:{ordinal}")),
        }
    }
}

/// The text is not a device's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a device; write `host` or `cuda:0`")]
pub struct ParseDeviceIdError(String);

impl FromStr for DeviceId {
    type Err = ParseDeviceIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "host" {
            return Ok(Self::Host);
        }
        let ordinal = text.strip_prefix("cuda:").and_then(|ordinal| ordinal.parse().ok());
        ordinal.map(Self::Cuda).ok_or_else(|| ParseDeviceIdError(text.to_owned()))
    }
}

/// What is known of a device.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DeviceInfo {
    /// The device's name in this process.
    pub id: DeviceId,
    /// The maker's name for it.
    pub name: String,
    /// Its memory, in bytes.
    pub memory_bytes: u64,
    /// Multiprocessors of a GPU; hardware threads of the host.
    pub processors: u32,
    /// CUDA compute capability (major, minor).
    pub compute_capability: Option<(u32, u32)>,
    /// The newest CUDA version that the driver supports (major, minor).
    pub driver_version: Option<(u32, u32)>,
    /// Most threads that a block may have.
    pub max_threads_per_block: u32,
    /// Most dynamic shared memory of a block, in bytes.
    pub max_shared_bytes_per_block: u32,
}

/// A device's memory as the device itself sees it, other processes included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryInfo {
    /// Bytes that could be allocated now.
    pub free: u64,
    /// All bytes.
    pub total: u64,
}

/// What a kind of device has to bring.
pub(crate) trait DeviceBackend: Send + Sync + 'static {
    fn info(&self) -> &DeviceInfo;
    fn epoch(&self) -> Epoch;
    /// Ok while the device can be used.
    fn health(&self) -> DeviceResult;
    /// Ok while the device can be used, with handles of that epoch.
    fn check(&self, epoch: Epoch) -> DeviceResult;
    /// Brings the device back if it is lost; the epoch.
    fn recover(&self) -> DeviceResult<Epoch>;
    fn memory_info(&self) -> DeviceResult<MemoryInfo>;
    fn allocate(&self, kind: MemoryKind, bytes: usize) -> DeviceResult<RawMemory>;
    /// Gives memory back. Work that uses it must be over. May wait for the device.
    fn release(&self, kind: MemoryKind, memory: RawMemory);
    /// Reserves addresses for as much as `limit` bytes of that kind. `None` where the device has no
    /// virtual memory, or the addresses are not to be had.
    fn address_space(
        &self,
        _kind: MemoryKind,
        _limit: u64,
    ) -> Option<(Geometry, Box<dyn AddressSpace>)> {
        None
    }
    fn open_stream(&self, options: &StreamOptions) -> DeviceResult<Box<dyn StreamBackend>>;
    fn create_event(&self) -> DeviceResult<EventKind>;
    fn load_module(&self, source: &ModuleSource) -> DeviceResult<ModuleKind>;
    fn drop_errors(&self) -> u64;
}

/// Addresses of which pages get memory and lose it. Dropping it unmaps what is mapped, and gives the
/// addresses back.
pub(crate) trait AddressSpace: Send {
    /// The first address, in the device's own terms.
    fn base(&self) -> u64;
    /// The epoch that its memory is of.
    fn epoch(&self) -> Epoch;
    /// Takes the memory of mapped pages, which nothing uses any more; then gives memory to others that
    /// have none, to all or none of them. What was taken may be what is given.
    fn rearrange(&mut self, unmap: &[Pages], map: Option<Pages>) -> DeviceResult;
}

/// A place to run: opens streams, loads modules, and has memory of its own.
///
/// A cheap handle; clones name the same device.
#[derive(Clone)]
pub struct Device {
    backend: Arc<dyn DeviceBackend>,
}

impl Device {
    pub(crate) fn new(backend: Arc<dyn DeviceBackend>) -> Self {
        Self { backend }
    }

    pub(crate) fn backend(&self) -> &dyn DeviceBackend {
        &*self.backend
    }

    /// The device's name.
    pub fn id(&self) -> DeviceId {
        self.info().id
    }

    /// What the device is made of.
    pub fn kind(&self) -> DeviceKind {
        self.id().kind()
    }

    /// What is known of it.
    pub fn info(&self) -> &DeviceInfo {
        self.backend.info()
    }

    /// The epoch that handles made now will carry.
    pub fn epoch(&self) -> Epoch {
        self.backend.epoch()
    }

    /// Ok while the device can be used.
    ///
    /// # Errors
    /// [`DeviceError::Lost`](crate::DeviceError::Lost) once it cannot.
    pub fn health(&self) -> DeviceResult {
        self.backend.health()
    }

    /// Brings the device back if it is lost; the epoch from now on. Nothing happens if it is not, or where
    /// devices cannot be lost, as the host.
    ///
    /// What the device had is gone: streams, events, modules and memory are to be made anew. Handles and
    /// leases of the lost epoch may be kept as long as is convenient; each use of one is
    /// [`DeviceError::Lost`](crate::DeviceError::Lost), and dropping one does nothing to the device.
    ///
    /// Blocks: for calls of the driver that have not returned (5 s at most), for the driver to end one
    /// context and begin another, and for the first kernel in it (2 s at most). Not for a thread that
    /// answers others. Of several callers one does it, while the others wait.
    ///
    /// # Errors
    /// [`DeviceError::NotRecovered`](crate::DeviceError::NotRecovered): the device stays lost. It may be tried
    /// again.
    pub fn recover(&self) -> DeviceResult<Epoch> {
        self.backend.recover()
    }

    /// Ok while the device can be used with handles of that epoch.
    pub(crate) fn check(&self, epoch: Epoch) -> DeviceResult {
        self.backend.check(epoch)
    }

    /// Free and total memory as the device sees it.
    ///
    /// # Errors
    /// If the device is lost, or its driver fails.
    pub fn memory_info(&self) -> DeviceResult<MemoryInfo> {
        self.backend.memory_info()
    }

    /// Opens a stream.
    ///
    /// # Errors
    /// If the device is lost, or its driver fails.
    pub fn open_stream(&self, options: &StreamOptions) -> DeviceResult<Stream> {
        Ok(Stream::new(self.clone(), self.backend.open_stream(options)?))
    }

    /// Makes an event, which counts as reached until it is recorded.
    ///
    /// # Errors
    /// If the device is lost, or its driver fails.
    pub fn create_event(&self) -> DeviceResult<Event> {
        Ok(Event::new(self.clone(), self.backend.create_event()?))
    }

    /// Loads a module: compiles its PTX for a CUDA device, takes its host functions on the host.
    ///
    /// PTX without variables in device memory is compiled once, and stays loaded until the device is lost or
    /// the process ends: a process that makes ever new texts takes ever more of the device's memory.
    ///
    /// # Errors
    /// [`DeviceError::InvalidModule`](crate::DeviceError::InvalidModule) with the compiler's log, or
    /// saying what the source lacks.
    pub fn load_module(&self, source: &ModuleSource) -> DeviceResult<Module> {
        Ok(Module::new(self.clone(), source, self.backend.load_module(source)?))
    }

    /// Driver errors met while dropping handles, when there was nobody to return them to.
    pub fn drop_errors(&self) -> u64 {
        self.backend.drop_errors()
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Device").field(&self.id()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_names_are_read_as_they_are_written() {
        for id in [DeviceId::Host, DeviceId::Cuda(0), DeviceId::Cuda(17)] {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for wrong in ["", "gpu", "cuda", "cuda:", "cuda:-1", "cuda:x", "HOST"] {
            let error = wrong.parse::<DeviceId>().unwrap_err();
            assert!(error.to_string().contains("host"), "{error}");
        }
    }
}

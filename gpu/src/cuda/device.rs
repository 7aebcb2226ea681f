//! A CUDA device behind the interface of this crate.

use std::ffi::c_void;
use std::sync::Arc;

use cust::sys;

use super::event::CudaEvent;
use super::hub::Hub;
use super::module::CudaModule;
use super::space::CudaSpace;
use super::stream::CudaStream;
use crate::device::{AddressSpace, Device, DeviceBackend, DeviceInfo, Epoch, MemoryInfo};
use crate::error::{DeviceError, DeviceResult};
use crate::event::EventKind;
use crate::host::Memory;
use crate::memory::arena::Geometry;
use crate::memory::{MemoryKind, RawMemory};
use crate::module::{ModuleKind, ModuleSource};
use crate::stream::{StreamBackend, StreamOptions};

pub(super) fn open(ordinal: u32) -> DeviceResult<Device> {
    let (hub, staging) = (Hub::open(ordinal)?, Memory::new(u64::MAX));
    Ok(Device::new(Arc::new(CudaDevice { hub, staging })))
}

struct CudaDevice {
    hub: Arc<Hub>,
    /// Blocks of the host's memory that are registered with the driver. Not the driver's own: that would go
    /// with the context, under whoever still reads it.
    staging: Memory,
}

impl CudaDevice {
    fn allocate_device(&self, epoch: Epoch, bytes: usize) -> DeviceResult<RawMemory> {
        let mut address = 0;
        // SAFETY: `address` is valid for a write.
        let allocate = || unsafe { sys::cuMemAlloc_v2(&raw mut address, bytes) };
        self.hub.call_for(epoch, (MemoryKind::Device, bytes), "cuMemAlloc", allocate)?;
        Ok(RawMemory { address, bytes, epoch, block: None })
    }

    fn allocate_staging(&self, epoch: Epoch, bytes: usize) -> DeviceResult<RawMemory> {
        let kind = MemoryKind::Staging;
        let memory = self.staging.allocate(bytes);
        let memory = memory.map_err(|_| self.hub.out_of_memory(kind, bytes))?;
        let (start, flags) = (pointer(memory.address), sys::CU_MEMHOSTREGISTER_PORTABLE);
        // SAFETY: the block was allocated just now, and is freed only when it is no longer registered.
        let register = || unsafe { sys::cuMemHostRegister_v2(start, bytes, flags) };
        // (If the device is lost in the call nobody knows whether it was done: the block is left alone.)
        let code = self.hub.try_call(epoch, register)?;
        if code != 0 {
            self.staging.release(memory);
            return Err(self.hub.refused((kind, bytes), "cuMemHostRegister", code));
        }
        Ok(RawMemory { epoch, ..memory })
    }
}

fn pointer(address: u64) -> *mut c_void {
    std::ptr::with_exposed_provenance_mut(address as usize)
}

impl DeviceBackend for CudaDevice {
    fn info(&self) -> &DeviceInfo {
        self.hub.info()
    }

    fn epoch(&self) -> Epoch {
        self.hub.epoch()
    }

    fn health(&self) -> DeviceResult {
        self.hub.health()
    }

    fn check(&self, epoch: Epoch) -> DeviceResult {
        self.hub.check(epoch)
    }

    fn recover(&self) -> DeviceResult<Epoch> {
        self.hub.recover()
    }

    fn memory_info(&self) -> DeviceResult<MemoryInfo> {
        self.hub.memory_info()
    }

    fn allocate(&self, kind: MemoryKind, bytes: usize) -> DeviceResult<RawMemory> {
        let epoch = self.hub.epoch();
        match kind {
            MemoryKind::Device => self.allocate_device(epoch, bytes),
            MemoryKind::Staging => self.allocate_staging(epoch, bytes),
        }
    }

    /// (Of a lost epoch: what the driver had is gone. What it may still know of the host is left alone.)
    fn release(&self, kind: MemoryKind, memory: RawMemory) {
        let RawMemory { address, epoch, .. } = memory;
        // SAFETY: a `RawMemory` is given back once, when no stream uses it any more.
        let free = || unsafe { sys::cuMemFree_v2(address) };
        // SAFETY: as above.
        let unregister = || unsafe { sys::cuMemHostUnregister(pointer(address)) };
        match kind {
            MemoryKind::Device => {
                self.hub.call_in_drop(epoch, "cuMemFree", free);
            }
            MemoryKind::Staging => {
                if self.hub.call_in_drop(epoch, "cuMemHostUnregister", unregister) {
                    self.staging.release(memory);
                }
            }
        }
    }

    fn address_space(
        &self,
        kind: MemoryKind,
        limit: u64,
    ) -> Option<(Geometry, Box<dyn AddressSpace>)> {
        let boxed = |(geometry, space)| (geometry, Box::new(space) as Box<dyn AddressSpace>);
        match kind {
            MemoryKind::Device => CudaSpace::reserve(&self.hub, limit).map(boxed),
            #[cfg(unix)]
            MemoryKind::Staging => {
                let (geometry, space) = super::staging::StagingSpace::reserve(&self.hub, limit)?;
                Some((geometry, Box::new(space)))
            }
            #[cfg(not(unix))]
            MemoryKind::Staging => None,
        }
    }

    fn open_stream(&self, options: &StreamOptions) -> DeviceResult<Box<dyn StreamBackend>> {
        Ok(Box::new(CudaStream::open(&self.hub, options.priority)?))
    }

    fn create_event(&self) -> DeviceResult<EventKind> {
        Ok(EventKind::Cuda(Arc::new(CudaEvent::new(&self.hub)?)))
    }

    fn load_module(&self, source: &ModuleSource) -> DeviceResult<ModuleKind> {
        let Some(text) = source.ptx.as_deref() else {
            let reason = "it has no PTX, only host functions; add it with `ModuleSource::ptx`";
            return Err(DeviceError::InvalidModule { reason: reason.into() });
        };
        Ok(ModuleKind::Cuda(Arc::new(CudaModule::load(&self.hub, text)?)))
    }

    fn drop_errors(&self) -> u64 {
        self.hub.drop_errors()
    }
}

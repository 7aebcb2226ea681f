//! A CUDA device behind the interface of this crate.

use std::ffi::c_void;
use std::sync::Arc;

use cust::sys;

use super::driver;
use super::event::CudaEvent;
use super::hub::Hub;
use super::module::CudaModule;
use super::space::CudaSpace;
use super::stream::CudaStream;
use crate::device::{AddressSpace, Device, DeviceBackend, DeviceInfo, Epoch, MemoryInfo};
use crate::error::{DeviceError, DeviceResult};
use crate::event::EventKind;
use crate::memory::arena::Geometry;
use crate::memory::{MemoryKind, RawMemory};
use crate::module::{ModuleKind, ModuleSource};
use crate::stream::{StreamBackend, StreamOptions};

pub(super) fn open(ordinal: u32) -> DeviceResult<Device> {
    Ok(Device::new(Arc::new(CudaDevice { hub: Hub::open(ordinal)? })))
}

struct CudaDevice {
    hub: Arc<Hub>,
}

impl CudaDevice {
    fn allocate_device(&self, bytes: usize) -> DeviceResult<(u32, u64)> {
        let mut address = 0;
        // SAFETY: `address` is valid for a write.
        let code = self
            .hub
            .try_call("cuMemAlloc", || unsafe { sys::cuMemAlloc_v2(&raw mut address, bytes) })?;
        Ok((code, address))
    }

    fn allocate_staging(&self, bytes: usize) -> DeviceResult<(u32, u64)> {
        let mut address: *mut c_void = std::ptr::null_mut();
        let portable = sys::CU_MEMHOSTALLOC_PORTABLE;
        // SAFETY: `address` is valid for a write.
        let code = self.hub.try_call("cuMemHostAlloc", || unsafe {
            sys::cuMemHostAlloc(&raw mut address, bytes, portable)
        })?;
        if code == 0 {
            // SAFETY: the driver gave `bytes` bytes there. Slices of staging memory have to be initialised.
            unsafe {
                std::ptr::write_bytes(address.cast::<u8>(), 0, bytes);
            }
        }
        Ok((code, address.expose_provenance() as u64))
    }
}

/// The bytes that are free on a device now, and all that it has.
fn memory_info(hub: &Hub) -> DeviceResult<MemoryInfo> {
    let (mut free, mut total) = (0, 0);
    // SAFETY: both are valid for a write.
    hub.call("cuMemGetInfo", || unsafe { sys::cuMemGetInfo_v2(&raw mut free, &raw mut total) })?;
    Ok(MemoryInfo { free: free as u64, total: total as u64 })
}

pub(super) fn out_of_memory(hub: &Hub, kind: MemoryKind, asked: u64) -> DeviceError {
    let free = memory_info(hub).map_or(0, |info| info.free);
    let limit = hub.info().memory_bytes;
    DeviceError::OutOfMemory { device: hub.id(), kind, asked, free, limit }
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

    fn memory_info(&self) -> DeviceResult<MemoryInfo> {
        memory_info(&self.hub)
    }

    fn allocate(&self, kind: MemoryKind, bytes: usize) -> DeviceResult<RawMemory> {
        let epoch = self.hub.epoch();
        let (call, (code, address)) = match kind {
            MemoryKind::Device => ("cuMemAlloc", self.allocate_device(bytes)?),
            MemoryKind::Staging => ("cuMemHostAlloc", self.allocate_staging(bytes)?),
        };
        match code {
            0 => Ok(RawMemory { address, bytes, epoch, block: None }),
            driver::OUT_OF_MEMORY => Err(out_of_memory(&self.hub, kind, bytes as u64)),
            code => Err(DeviceError::Driver { call, code, name: driver::name(code) }),
        }
    }

    fn release(&self, kind: MemoryKind, memory: RawMemory) {
        let RawMemory { address, epoch, .. } = memory;
        // SAFETY: a `RawMemory` is given back once, when no stream uses it any more.
        let free_device = || unsafe { sys::cuMemFree_v2(address) };
        // SAFETY: as above.
        let free_staging = || unsafe { sys::cuMemFreeHost(address as *mut c_void) };
        match kind {
            MemoryKind::Device => self.hub.call_in_drop(epoch, "cuMemFree", free_device),
            MemoryKind::Staging => self.hub.call_in_drop(epoch, "cuMemFreeHost", free_staging),
        };
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

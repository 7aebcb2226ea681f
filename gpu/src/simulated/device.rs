//! The simulated device behind the interface of this crate.

use std::sync::Arc;

use super::driver::{CODES, Driver};
use super::space;
use super::space::{PAGE, SimulatedSpace};
use super::stream::SimulatedStream;
use crate::device::{AddressSpace, Device, DeviceBackend, DeviceId, DeviceInfo, Epoch, MemoryInfo};
use crate::epochs::Epochs;
use crate::error::{DeviceError, DeviceResult};
use crate::event::EventKind;
use crate::memory::arena::Geometry;
use crate::memory::{MemoryKind, RawMemory};
use crate::module::{ModuleKind, ModuleSource};
use crate::stream::{StreamBackend, StreamOptions};

/// What streams, addresses and the device share.
pub(super) struct Hub {
    info: DeviceInfo,
    pub(super) epochs: Epochs,
    pub(super) driver: Arc<Driver>,
}

struct Backend(Arc<Hub>);

pub(super) fn open(id: DeviceId, driver: &Arc<Driver>) -> Device {
    let info = DeviceInfo {
        id,
        name: "simulated".into(),
        memory_bytes: driver.memory_info().total,
        processors: 1,
        compute_capability: None,
        driver_version: None,
        max_threads_per_block: 1024,
        max_shared_bytes_per_block: 48 << 10,
    };
    let (epochs, driver) = (Epochs::new(id, CODES), Arc::clone(driver));
    Device::new(Arc::new(Backend(Arc::new(Hub { info, epochs, driver }))))
}

impl Hub {
    pub(super) fn unsupported<T>(&self, what: &'static str) -> DeviceResult<T> {
        Err(DeviceError::Unsupported { device: self.info.id, what })
    }

    pub(super) fn out_of_memory(&self, asked: u64) -> DeviceError {
        let MemoryInfo { free, total: limit } = self.driver.memory_info();
        let (device, kind) = (self.info.id, MemoryKind::Device);
        DeviceError::OutOfMemory { device, kind, asked, free, limit }
    }
}

impl DeviceBackend for Backend {
    fn info(&self) -> &DeviceInfo {
        &self.0.info
    }

    fn epoch(&self) -> Epoch {
        self.0.epochs.epoch()
    }

    fn health(&self) -> DeviceResult {
        self.0.epochs.health()
    }

    fn check(&self, epoch: Epoch) -> DeviceResult {
        self.0.epochs.check(epoch)
    }

    fn recover(&self) -> DeviceResult<Epoch> {
        self.0.epochs.recover(|| self.0.driver.reset())
    }

    fn memory_info(&self) -> DeviceResult<MemoryInfo> {
        let Hub { epochs, driver, .. } = &*self.0;
        epochs.call(epochs.epoch(), "cuMemGetInfo", || driver.call("memory info", &[]))?;
        Ok(driver.memory_info())
    }

    fn allocate(&self, _: MemoryKind, _: usize) -> DeviceResult<RawMemory> {
        self.0.unsupported("give blocks one by one, nor staging memory")
    }

    fn release(&self, _: MemoryKind, memory: RawMemory) {
        unreachable!("invariant: no block was given, and so not {memory:?}")
    }

    fn address_space(
        &self,
        kind: MemoryKind,
        limit: u64,
    ) -> Option<(Geometry, Box<dyn AddressSpace>)> {
        if kind == MemoryKind::Staging {
            return None;
        }
        let geometry = Geometry::sparse(PAGE, PAGE, limit, space::MOST_ADDRESSES)?;
        let space = SimulatedSpace::reserve(&self.0, geometry.span)?;
        Some((geometry, Box::new(space)))
    }

    fn open_stream(&self, _: &StreamOptions) -> DeviceResult<Box<dyn StreamBackend>> {
        Ok(Box::new(SimulatedStream::open(&self.0)?))
    }

    fn create_event(&self) -> DeviceResult<EventKind> {
        self.0.unsupported("make events")
    }

    fn load_module(&self, _: &ModuleSource) -> DeviceResult<ModuleKind> {
        self.0.unsupported("load modules")
    }

    fn drop_errors(&self) -> u64 {
        self.0.epochs.drop_errors()
    }
}

//! Virtual memory of a simulated device: addresses, and pages that come and go.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::device::Hub;
use super::driver::Handle;
use crate::device::{AddressSpace, Epoch};
use crate::error::DeviceResult;
use crate::memory::arena::Pages;

/// Blocks are whole pages.
pub(super) const PAGE: u64 = 4096;
/// The most addresses that one space takes.
pub(super) const MOST_ADDRESSES: u64 = 1 << 40;

pub(super) struct SimulatedSpace {
    hub: Arc<Hub>,
    epoch: Epoch,
    /// Its addresses: the handle is the first of them.
    base: Handle,
    /// The page of each address that has one.
    mapped: BTreeMap<u64, Handle>,
}

impl SimulatedSpace {
    pub(super) fn reserve(hub: &Arc<Hub>, span: u64) -> Option<Self> {
        let (epoch, mut base) = (hub.epochs.epoch(), 0);
        let reserve = || hub.driver.make(span, 0, &mut base);
        hub.epochs.call(epoch, "cuMemAddressReserve", reserve).ok()?;
        Some(Self { hub: Arc::clone(hub), epoch, base, mapped: BTreeMap::new() })
    }

    fn unmap(&mut self, pages: Pages) {
        for start in starts(pages) {
            let Some(page) = self.mapped.remove(&start) else { continue };
            let destroy = || self.hub.driver.destroy(page);
            self.hub.epochs.call_in_drop(self.epoch, "cuMemRelease", destroy);
        }
    }

    fn map(&mut self, pages: Pages) -> DeviceResult {
        let Hub { epochs, driver, .. } = &*self.hub;
        for start in starts(pages) {
            let mut page = 0;
            match epochs.try_call(self.epoch, || driver.make(1, PAGE, &mut page))? {
                0 => self.mapped.insert(start, page),
                _ => return Err(self.hub.out_of_memory(pages.bytes)),
            };
        }
        let map = || driver.call("map", &[self.base]);
        epochs.call(self.epoch, "cuMemMap", map)
    }
}

fn starts(pages: Pages) -> impl Iterator<Item = u64> {
    (pages.start..pages.start + pages.bytes).step_by(PAGE as usize)
}

impl AddressSpace for SimulatedSpace {
    fn base(&self) -> u64 {
        self.base
    }

    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn rearrange(&mut self, unmap: &[Pages], map: Option<Pages>) -> DeviceResult {
        unmap.iter().for_each(|pages| self.unmap(*pages));
        let mapped = map.map_or(Ok(()), |pages| self.map(pages));
        if let (Err(_), Some(pages)) = (&mapped, map) {
            self.unmap(pages);
        }
        mapped
    }
}

impl Drop for SimulatedSpace {
    fn drop(&mut self) {
        let mapped: Vec<u64> = self.mapped.keys().copied().collect();
        mapped.into_iter().for_each(|start| self.unmap(Pages { start, bytes: PAGE }));
        let free = || self.hub.driver.destroy(self.base);
        self.hub.epochs.call_in_drop(self.epoch, "cuMemAddressFree", free);
    }
}

//! Staging memory of a CUDA device: host memory in slabs, each pinned and registered with the driver.
//!
//! Registering takes a driver call and long; it is done slab by slab, ahead of need. The driver copies
//! on its own only what lies in one registration: copies end at the edges of slabs (`stream::pieces`).

use std::collections::BTreeSet;
use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::sync::Arc;

use cust::sys;

use super::hub::Hub;
use super::stream::SLAB;
use crate::device::{AddressSpace, Epoch};
use crate::error::DeviceResult;
use crate::host::{HostSpace, MOST_ADDRESSES};
use crate::memory::arena::{Geometry, Pages};
use crate::memory::{GRAIN, MemoryKind};

/// As for device memory: with fewer slabs too much would be lost between blocks.
const FEWEST_SLABS: u64 = 16;

pub(super) struct StagingSpace {
    hub: Arc<Hub>,
    epoch: Epoch,
    /// Ends only when nothing of it is registered.
    host: ManuallyDrop<HostSpace>,
    registered: BTreeSet<u64>,
}

impl StagingSpace {
    pub(super) fn reserve(hub: &Arc<Hub>, limit: u64) -> Option<(Geometry, Self)> {
        if limit / SLAB < FEWEST_SLABS {
            return None;
        }
        let geometry = Geometry::sparse(SLAB, GRAIN, limit / SLAB * SLAB, MOST_ADDRESSES)?;
        let epoch = hub.epoch();
        let host = ManuallyDrop::new(HostSpace::staging_of(hub.id(), geometry.span, SLAB)?);
        let (hub, registered) = (Arc::clone(hub), BTreeSet::new());
        Some((geometry, Self { hub, epoch, host, registered }))
    }

    fn at(&self, slab: u64) -> *mut c_void {
        std::ptr::with_exposed_provenance_mut((self.host.base() + slab) as usize)
    }

    fn register(&mut self, pages: Pages) -> DeviceResult {
        for slab in slabs(pages) {
            let (start, flags) = (self.at(slab), sys::CU_MEMHOSTREGISTER_PORTABLE);
            let bytes = SLAB as usize;
            // SAFETY: the slab is mapped, and stays so until it is unregistered.
            let register = || unsafe { sys::cuMemHostRegister_v2(start, bytes, flags) };
            let asked = (MemoryKind::Staging, bytes);
            self.hub.call_for(self.epoch, asked, "cuMemHostRegister", register)?;
            self.registered.insert(slab);
        }
        Ok(())
    }

    /// Whether the driver does not know the slab any more.
    fn unregister(&mut self, slab: u64) -> bool {
        if !self.registered.remove(&slab) {
            return true;
        }
        let start = self.at(slab);
        // SAFETY: the slab was registered, and who owns this says that nothing uses it.
        let unregister = || unsafe { sys::cuMemHostUnregister(start) };
        self.hub.call_in_drop(self.epoch, "cuMemHostUnregister", unregister)
    }

    fn unmap(&mut self, pages: Pages) -> DeviceResult {
        for slab in slabs(pages) {
            self.unregister(slab);
        }
        self.host.rearrange(&[pages], None)
    }
}

/// Where the slabs of a run begin.
fn slabs(pages: Pages) -> impl Iterator<Item = u64> {
    (pages.start..pages.start + pages.bytes).step_by(SLAB as usize)
}

impl AddressSpace for StagingSpace {
    fn base(&self) -> u64 {
        self.host.base()
    }

    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn rearrange(&mut self, unmap: &[Pages], map: Option<Pages>) -> DeviceResult {
        unmap.iter().try_for_each(|pages| self.unmap(*pages))?;
        let Some(pages) = map else { return Ok(()) };
        self.host.rearrange(&[], Some(pages))?;
        self.register(pages).or_else(|error| {
            self.unmap(pages)?;
            Err(error)
        })
    }
}

impl Drop for StagingSpace {
    /// Of a lost device the registrations are left alone, and with them the addresses: the driver may still
    /// know them, so nobody else may get them. What lies there is not needed by anybody.
    fn drop(&mut self) {
        let mut unknown = true;
        while let Some(start) = self.registered.first().copied() {
            if !self.unregister(start) {
                self.host.discard(Pages { start, bytes: SLAB });
                unknown = false;
            }
        }
        if unknown {
            // SAFETY: dropped once, here, and not used afterwards.
            unsafe { ManuallyDrop::drop(&mut self.host) };
        }
    }
}

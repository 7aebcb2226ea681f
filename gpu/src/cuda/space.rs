//! Virtual memory of a CUDA device: addresses reserved once, physical pages that come, move and go.
//!
//! Each page is a handle of its own (`cuMemCreate`): a handle cannot be split, and larger ones leave
//! memory behind that cannot move. A page that moves is mapped anew and not copied.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use cust::sys;

use super::held::{Handle, Held, lock};
use super::hub::Hub;
use crate::device::{AddressSpace, Epoch};
use crate::error::{DeviceError, DeviceResult};
use crate::memory::arena::{Geometry, Pages};
use crate::memory::{GRAIN, MemoryKind};

/// The most addresses that one space takes: a sixteenth of what a GPU has.
const MOST_ADDRESSES: u64 = 1 << 43;
/// Blocks share pages, so that parts of pages are lost between them. With fewer pages than this that
/// would be a large part of all, and blocks one by one are the better choice.
const FEWEST_PAGES: u64 = 64;

pub(super) struct CudaSpace {
    hub: Arc<Hub>,
    epoch: Epoch,
    base: u64,
    held: Arc<Mutex<Held>>,
}

/// What is held, for one rearrangement.
struct Arranging<'a> {
    hub: &'a Hub,
    epoch: Epoch,
    held: &'a mut Held,
}

impl CudaSpace {
    /// Reserves addresses, if the device can do without copies what an arena does, and the limit is
    /// worth it.
    pub(super) fn reserve(hub: &Arc<Hub>, limit: u64) -> Option<(Geometry, Self)> {
        let epoch = hub.epoch();
        let page = granularity(hub)?;
        let geometry = geometry(limit, page)?;
        let (mut base, span) = (0, geometry.span);
        // SAFETY: `base` is valid for a write.
        let reserve = || unsafe { sys::cuMemAddressReserve(&raw mut base, span as usize, 0, 0, 0) };
        hub.call(epoch, "cuMemAddressReserve", reserve).ok()?;
        let (mapped, spare, reserved) = (BTreeMap::new(), Vec::new(), true);
        let held = hub.holdings().add(Held { base, span, page, mapped, spare, reserved });
        let mut space = Self { hub: Arc::clone(hub), epoch, base, held };
        space.works().then_some((geometry, space))
    }

    /// Whether the driver makes and maps pages for the device, tried with one: of virtual machines, some have
    /// drivers that answer for it and do not. (Where there is no memory for one now there may be later.)
    fn works(&mut self) -> bool {
        let page = Pages { start: 0, bytes: lock(&self.held).page };
        let mapped = self.rearrange(&[], Some(page));
        match mapped.and_then(|()| self.rearrange(&[page], None)) {
            Ok(()) | Err(DeviceError::OutOfMemory { .. }) => true,
            Err(_) => false,
        }
    }
}

impl Arranging<'_> {
    fn unmap(&mut self, pages: Pages) {
        let (address, bytes) = (self.held.base + pages.start, pages.bytes as usize);
        // SAFETY: these pages are mapped, and who owns this says that nothing uses them.
        let unmap = || unsafe { sys::cuMemUnmap(address, bytes) };
        // (Pages that stay mapped are kept in mind; the error is counted.)
        if self.hub.call_in_drop(self.epoch, "cuMemUnmap", unmap) {
            let handles = self.mapped_in(pages).into_iter();
            let handles = handles.filter_map(|at| self.held.mapped.remove(&at));
            self.held.spare.extend(handles);
        }
    }

    /// Where pages of a range are mapped.
    fn mapped_in(&self, pages: Pages) -> Vec<u64> {
        let range = pages.start..pages.start + pages.bytes;
        self.held.mapped.range(range).map(|(at, _)| *at).collect()
    }

    fn map(&mut self, pages: Pages) -> DeviceResult {
        for start in (pages.start..pages.start + pages.bytes).step_by(self.held.page as usize) {
            let handle = self.page()?;
            let (address, bytes) = (self.held.base + start, self.held.page as usize);
            // SAFETY: the addresses are reserved here and free; the handle is a page that lives.
            let map = || unsafe { sys::cuMemMap(address, bytes, 0, handle, 0) };
            let asked = (MemoryKind::Device, bytes);
            if let Err(error) = self.hub.call_for(self.epoch, asked, "cuMemMap", map) {
                self.held.spare.push(handle);
                return Err(error);
            }
            self.held.mapped.insert(start, handle);
        }
        let (address, bytes) = (self.held.base + pages.start, pages.bytes as usize);
        let access = sys::CUmemAccessDesc {
            location: location(self.hub),
            flags: sys::CUmemAccess_flags_enum::CU_MEM_ACCESS_FLAGS_PROT_READWRITE,
        };
        let asked = (MemoryKind::Device, bytes);
        // SAFETY: these addresses are mapped, and `access` is read before the call returns.
        self.hub.call_for(self.epoch, asked, "cuMemSetAccess", || unsafe {
            sys::cuMemSetAccess(address, bytes, &raw const access, 1)
        })
    }

    /// A page that has no address.
    fn page(&mut self) -> DeviceResult<Handle> {
        if let Some(handle) = self.held.spare.pop() {
            return Ok(handle);
        }
        let (mut handle, properties) = (0, properties(self.hub));
        let bytes = self.held.page as usize;
        // SAFETY: `handle` is valid for a write, and `properties` is read before the call returns.
        self.hub.call_for(self.epoch, (MemoryKind::Device, bytes), "cuMemCreate", || unsafe {
            sys::cuMemCreate(&raw mut handle, bytes, &raw const properties, 0)
        })?;
        Ok(handle)
    }
}

impl AddressSpace for CudaSpace {
    fn base(&self) -> u64 {
        self.base
    }

    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn rearrange(&mut self, unmap: &[Pages], map: Option<Pages>) -> DeviceResult {
        let (hub, epoch) = (&*self.hub, self.epoch);
        let mut arranging = Arranging { hub, epoch, held: &mut lock(&self.held) };
        unmap.iter().for_each(|pages| arranging.unmap(*pages));
        let mapped = map.map_or(Ok(()), |pages| arranging.map(pages));
        if let (Err(_), Some(pages)) = (&mapped, map) {
            let bytes = arranging.held.page;
            for start in arranging.mapped_in(pages) {
                arranging.unmap(Pages { start, bytes });
            }
        }
        arranging.held.release_spare(&|name, call| hub.call_in_drop(epoch, name, call));
        mapped
    }
}

impl Drop for CudaSpace {
    /// After the device was lost nothing is told to the driver: who brings it back gives all of this back, or
    /// has done so.
    fn drop(&mut self) {
        let (hub, epoch) = (&self.hub, self.epoch);
        let call = |name, call: &mut dyn FnMut() -> _| hub.call_in_drop(epoch, name, call);
        if lock(&self.held).give_back(&call) {
            hub.holdings().forget(&self.held);
        }
    }
}

/// How addresses for `limit` bytes are divided.
fn geometry(limit: u64, page: u64) -> Option<Geometry> {
    let whole = limit / page * page;
    let enough = limit / page >= FEWEST_PAGES;
    enough.then(|| Geometry::sparse(page, GRAIN, whole, MOST_ADDRESSES)).flatten()
}

/// The size of a page; none where the driver has no virtual memory for the device.
fn granularity(hub: &Hub) -> Option<u64> {
    let (mut bytes, properties) = (0, properties(hub));
    let least = sys::CUmemAllocationGranularity_flags_enum::CU_MEM_ALLOC_GRANULARITY_MINIMUM;
    // SAFETY: `bytes` is valid for a write, and `properties` is read before the call returns.
    let asked = hub.call(hub.epoch(), "cuMemGetAllocationGranularity", || unsafe {
        sys::cuMemGetAllocationGranularity(&raw mut bytes, &raw const properties, least)
    });
    asked.ok().map(|()| bytes as u64).filter(|bytes| bytes.is_power_of_two() && *bytes >= GRAIN)
}

/// Memory of that device.
fn properties(hub: &Hub) -> sys::CUmemAllocationProp {
    sys::CUmemAllocationProp {
        type_: sys::CUmemAllocationType_enum::CU_MEM_ALLOCATION_TYPE_PINNED,
        requestedHandleTypes: sys::CUmemAllocationHandleType_enum::CU_MEM_HANDLE_TYPE_NONE,
        location: location(hub),
        win32HandleMetaData: std::ptr::null_mut(),
        allocFlags: sys::CUmemAllocationProp_st__bindgen_ty_1::default(),
    }
}

fn location(hub: &Hub) -> sys::CUmemLocation {
    sys::CUmemLocation {
        type_: sys::CUmemLocationType_enum::CU_MEM_LOCATION_TYPE_DEVICE,
        id: i32::try_from(hub.ordinal()).expect("invariant: the driver counts them as `int`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_pages_are_not_worth_it_and_addresses_are_not_endless() {
        const PAGE: u64 = 2 << 20;
        let span = |limit| geometry(limit, PAGE).map(|geometry| geometry.span);
        assert_eq!(span(64 * PAGE - 1), None);
        assert_eq!(span(64 * PAGE + 1), Some(64 * 64 * PAGE));
        assert_eq!(span(1 << 40), Some(1 << 43));
        assert_eq!(span(1 << 42), None);
        assert_eq!(span(u64::MAX), None);
    }
}

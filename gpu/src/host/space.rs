//! Addresses of the host of which pages get memory and lose it.
#![allow(
    unsafe_code,
    reason = "device memory is reached by address; each block says why it is sound"
)]

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;

use rustix::mm::{
    Advice, MapFlags, MprotectFlags, ProtFlags, madvise, mmap_anonymous, mprotect, munmap,
};

use super::memory::Memory;
use crate::device::{AddressSpace, DeviceId, Epoch};
use crate::error::{DeviceError, DeviceResult};
use crate::memory::MemoryKind;
use crate::memory::arena::{Geometry, Pages};

/// The most addresses that one space takes: an eighth of those that a process has.
pub(crate) const MOST_ADDRESSES: u64 = 1 << 44;

/// How addresses for `limit` bytes of memory are divided. Blocks are whole pages: a page that is free
/// can go wherever it is needed, so that memory is never lost to fragmentation.
pub(super) fn geometry(limit: u64) -> Option<Geometry> {
    let page = rustix::param::page_size() as u64;
    Geometry::sparse(page, page, limit, MOST_ADDRESSES)
}

/// Anonymous memory: addresses are reserved, pages come and go.
pub(crate) struct HostSpace {
    device: DeviceId,
    kind: MemoryKind,
    memory: Arc<Memory>,
    /// All that was reserved.
    reserved: (*mut c_void, usize),
    base: *mut c_void,
    span: usize,
    mapped: u64,
}

// SAFETY: the pointer is an address that nobody else maps or unmaps, and every method of this type
// that does takes `&mut self`.
unsafe impl Send for HostSpace {}

impl HostSpace {
    /// Reserves addresses, if so many are to be had.
    pub(super) fn reserve(kind: MemoryKind, memory: &Arc<Memory>, span: u64) -> Option<Self> {
        Self::aligned(DeviceId::Host, kind, Arc::clone(memory), span, 1)
    }

    /// Staging memory of another device: addresses that begin at a multiple of `align`, a power of two.
    #[cfg(feature = "cuda")]
    pub(crate) fn staging_of(device: DeviceId, span: u64, align: u64) -> Option<Self> {
        let memory = Arc::new(Memory::new(u64::MAX));
        Self::aligned(device, MemoryKind::Staging, memory, span, align)
    }

    fn aligned(
        device: DeviceId,
        kind: MemoryKind,
        memory: Arc<Memory>,
        span: u64,
        align: u64,
    ) -> Option<Self> {
        let (span, align) = (usize::try_from(span).ok()?, usize::try_from(align).ok()?);
        let bytes = span.checked_add(align - 1)?;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: without an address the system chooses one where nothing is mapped.
        let start = unsafe { mmap_anonymous(ptr::null_mut(), bytes, ProtFlags::empty(), flags) };
        let start = start.ok()?;
        let base = start.map_addr(|address| address.next_multiple_of(align));
        Some(Self { device, kind, memory, reserved: (start, bytes), base, span, mapped: 0 })
    }

    fn out_of_memory(&self, asked: u64) -> DeviceError {
        let (free, limit) = (self.memory.free(), self.memory.capacity());
        DeviceError::OutOfMemory { device: self.device, kind: self.kind, asked, free, limit }
    }

    fn map(&mut self, pages: Pages) -> DeviceResult {
        if !self.memory.take(pages.bytes) {
            return Err(self.out_of_memory(pages.bytes));
        }
        let (start, bytes) = self.at(pages);
        // SAFETY: the pages are within what was reserved, and not yet in use by anybody.
        let mapped = unsafe { mprotect(start, bytes, MprotectFlags::READ | MprotectFlags::WRITE) };
        if mapped.is_err() {
            self.memory.give(pages.bytes);
            return Err(self.out_of_memory(pages.bytes));
        }
        self.mapped += pages.bytes;
        Ok(())
    }

    fn unmap(&mut self, pages: Pages) {
        let (start, bytes) = self.at(pages);
        // SAFETY: the pages are within what was reserved, and no longer in use by anybody.
        let unmapped = unsafe {
            madvise(start, bytes, Advice::LinuxDontNeed)
                .and_then(|()| mprotect(start, bytes, MprotectFlags::empty()))
        };
        // (Neither fails for whole pages of one's own mapping, but for want of memory for the tables;
        // the pages then stay readable, and nobody has their address.)
        unmapped.ok();
        self.memory.give(pages.bytes);
        self.mapped -= pages.bytes;
    }

    /// Gives the memory of mapped pages back, which nobody uses any more; whoever reads there finds zeros.
    #[cfg(feature = "cuda")]
    pub(crate) fn discard(&mut self, pages: Pages) {
        let (start, bytes) = self.at(pages);
        // SAFETY: the pages are within what was reserved, and no longer in use by anybody.
        unsafe { madvise(start, bytes, Advice::LinuxDontNeed) }.ok();
    }

    fn at(&self, pages: Pages) -> (*mut c_void, usize) {
        let (start, bytes) = (pages.start as usize, pages.bytes as usize);
        assert!(start <= self.span && bytes <= self.span - start, "{pages:?}");
        (self.base.wrapping_byte_add(start), bytes)
    }
}

impl AddressSpace for HostSpace {
    fn base(&self) -> u64 {
        self.base.expose_provenance() as u64
    }

    fn epoch(&self) -> Epoch {
        0
    }

    fn rearrange(&mut self, unmap: &[Pages], map: Option<Pages>) -> DeviceResult {
        unmap.iter().for_each(|pages| self.unmap(*pages));
        map.map_or(Ok(()), |pages| self.map(pages))
    }
}

impl Drop for HostSpace {
    fn drop(&mut self) {
        // SAFETY: the addresses were reserved here, and who owns this drops it only when nothing in
        // them is in use.
        unsafe { munmap(self.reserved.0, self.reserved.1) }.ok();
        self.memory.give(self.mapped);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: u64 = 1 << 16;

    #[test]
    fn addresses_are_many_but_not_all() {
        let span = |limit| geometry(limit).map(|geometry| geometry.span);
        assert_eq!(span(0), Some(rustix::param::page_size() as u64));
        assert_eq!(span(1 << 30), Some(1 << 36));
        assert_eq!(span(1 << 41), Some(1 << 44), "eight for each byte of two tebibytes");
        assert_eq!(span((1 << 42) + 1), None, "too few to be of use");
        assert_eq!(span(u64::MAX), None);
    }

    #[test]
    fn pages_come_zeroed_and_go() {
        let memory = Arc::new(Memory::new(2 * PAGE));
        let mut space = HostSpace::reserve(MemoryKind::Device, &memory, 8 * PAGE).unwrap();
        let pages = Pages { start: 3 * PAGE, bytes: PAGE };
        for _ in 0..2 {
            space.map(pages).unwrap();
            let address = (space.base() + pages.start) as usize;
            // SAFETY: the pages were mapped just now.
            let bytes = unsafe {
                std::slice::from_raw_parts_mut(
                    ptr::with_exposed_provenance_mut::<u8>(address),
                    PAGE as usize,
                )
            };
            assert!(bytes.iter().all(|byte| *byte == 0));
            bytes.fill(7);
            space.unmap(pages);
        }
        assert_eq!(memory.free(), 2 * PAGE);
        assert!(space.map(Pages { start: 0, bytes: 3 * PAGE }).is_err(), "beyond the capacity");
        space.map(Pages { start: 0, bytes: 2 * PAGE }).unwrap();
        assert_eq!(memory.free(), 0);
        drop(space);
        assert_eq!(memory.free(), 2 * PAGE);
    }
}

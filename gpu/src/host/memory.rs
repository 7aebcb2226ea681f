//! The host's memory: its capacity, and blocks of it one by one.
#![allow(
    unsafe_code,
    reason = "device memory is reached by address; each block says why it is sound"
)]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::memory::RawMemory;

const PAGE: usize = 4096;

/// Page-aligned memory within a capacity.
pub(crate) struct Memory {
    capacity: u64,
    used: AtomicU64,
}

impl Memory {
    pub(crate) fn new(capacity: u64) -> Self {
        Self { capacity, used: AtomicU64::new(0) }
    }

    /// All bytes that there may be.
    pub(super) fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Bytes that are not taken.
    pub(super) fn free(&self) -> u64 {
        self.capacity - self.used.load(Ordering::Acquire)
    }

    /// Takes bytes of the capacity, all or none.
    #[must_use = "they are taken only if this is true"]
    pub(super) fn take(&self, bytes: u64) -> bool {
        let more = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.capacity);
        self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok()
    }

    /// Gives bytes of the capacity back.
    pub(super) fn give(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// Zeroed, hence touched: a page that this returns is really there.
    pub(crate) fn allocate(&self, bytes: usize) -> Result<RawMemory, u64> {
        if !self.take(bytes as u64) {
            return Err(self.free());
        }
        let allocated = layout(bytes).map_or(std::ptr::null_mut(), |layout| {
            // SAFETY: `layout` refuses a size of zero.
            unsafe { alloc_zeroed(layout) }
        });
        if allocated.is_null() {
            self.give(bytes as u64);
            return Err(self.free());
        }
        Ok(RawMemory {
            address: allocated.expose_provenance() as u64,
            bytes,
            epoch: 0,
            block: None,
        })
    }

    pub(crate) fn release(&self, memory: RawMemory) {
        let layout = layout(memory.bytes).expect("invariant: it was allocated with this layout");
        // SAFETY: `allocate` made it with this layout, and a `RawMemory` is given back once.
        unsafe {
            dealloc(std::ptr::with_exposed_provenance_mut(memory.address as usize), layout);
        }
        self.give(memory.bytes as u64);
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

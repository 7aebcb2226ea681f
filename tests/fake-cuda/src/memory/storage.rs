//! Bytes of the host that stand behind device memory.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::sync::OnceLock;

/// What fresh memory holds, so that nobody takes uninitialised memory for zeros.
const FRESH: u8 = 0xa5;
/// Its alignment on the host: that of a page.
const ALIGN: usize = 4096;

/// Some bytes. They are allocated at their first use, so memory that is only reserved costs nothing.
#[derive(Debug)]
pub(crate) struct Storage {
    layout: Layout,
    start: OnceLock<Start>,
}

#[derive(Debug)]
struct Start(*mut u8);

// SAFETY: an address; who uses it takes care of races, as on a device.
unsafe impl Send for Start {}
// SAFETY: as above.
unsafe impl Sync for Start {}

impl Storage {
    /// `None` if the host could never have so many bytes.
    pub(crate) fn new(bytes: u64) -> Option<Self> {
        let bytes = usize::try_from(bytes).ok().filter(|bytes| *bytes > 0)?;
        let layout = Layout::from_size_align(bytes, ALIGN).ok()?;
        Some(Self { layout, start: OnceLock::new() })
    }

    /// Where the bytes begin. They are valid for reads and writes as long as `self` lives.
    pub(crate) fn start(&self) -> *mut u8 {
        self.start.get_or_init(|| Start(fresh(self.layout))).0
    }
}

fn fresh(layout: Layout) -> *mut u8 {
    // SAFETY: the size is not zero.
    let start = unsafe { alloc(layout) };
    if start.is_null() {
        handle_alloc_error(layout);
    }
    // SAFETY: so many bytes have just been allocated.
    unsafe { start.write_bytes(FRESH, layout.size()) };
    start
}

impl Drop for Storage {
    fn drop(&mut self) {
        if let Some(start) = self.start.get() {
            // SAFETY: allocated with this layout, and nobody can reach it any more.
            unsafe { dealloc(start.0, self.layout) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_bytes_are_no_zeros() {
        let storage = Storage::new(10_000).unwrap();
        assert_eq!(storage.start() as usize % ALIGN, 0);
        // SAFETY: within the storage.
        let bytes = unsafe { std::slice::from_raw_parts(storage.start(), 10_000) };
        assert!(bytes.iter().all(|byte| *byte == FRESH));
        assert!(Storage::new(0).is_none() && Storage::new(u64::MAX).is_none());
    }

    #[test]
    fn untouched_storage_costs_nothing() {
        drop(Storage::new(1 << 45).unwrap());
    }
}

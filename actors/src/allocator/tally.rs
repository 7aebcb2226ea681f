//! What an allocator counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// The counters of one allocator.
#[derive(Debug, Default)]
pub(super) struct Tally {
    waiting: AtomicU64,
    pub(super) deferred: AtomicU64,
    pub(super) cancelled: AtomicU64,
    pub(super) spills: AtomicU64,
    pub(super) spilled_bytes: AtomicU64,
    pub(super) spill_panics: AtomicU64,
}

/// A reservation that waits.
pub(super) struct Waits<'a>(&'a AtomicU64);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a device's allocator does where memory is short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct AllocatorStats {
    /// Reservations that wait now.
    pub waiting: u64,
    /// Reservations of low priority that had to wait for a lower pressure level.
    pub deferred: u64,
    /// Reservations of low priority that were cancelled while they waited.
    pub cancelled: u64,
    /// Times that the spill hook was asked.
    pub spills: u64,
    /// Bytes that it said it has freed.
    pub spilled_bytes: u64,
    /// Times that it panicked.
    pub spill_panics: u64,
}

impl Tally {
    pub(super) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }

    /// Counts a reservation as waiting until this is dropped.
    pub(super) fn wait(&self) -> Waits<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waits(&self.waiting)
    }

    pub(super) fn read(&self) -> AllocatorStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        AllocatorStats {
            waiting: read(&self.waiting),
            deferred: read(&self.deferred),
            cancelled: read(&self.cancelled),
            spills: read(&self.spills),
            spilled_bytes: read(&self.spilled_bytes),
            spill_panics: read(&self.spill_panics),
        }
    }
}

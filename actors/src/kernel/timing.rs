//! When a request was run.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::{self, Instant};

/// When a kernel's code began with a request and when it had ended: the last time, if it was tried again.
///
/// Given to a call by [`KernelRef::with_timing`](super::KernelRef::with_timing), read when it is over.
#[derive(Debug, Default)]
pub struct Timing {
    began: AtomicU64,
    ended: AtomicU64,
}

impl Timing {
    /// When the kernel's code began; `None` if it never did.
    pub fn began(&self) -> Option<Instant> {
        clock::at(self.began.load(Ordering::Acquire))
    }

    /// When the kernel's code had ended; `None` if it has not.
    pub fn ended(&self) -> Option<Instant> {
        clock::at(self.ended.load(Ordering::Acquire))
    }

    pub(crate) fn begin(&self) {
        self.ended.store(0, Ordering::Release);
        self.began.store(clock::ticks(clock::now()), Ordering::Release);
    }

    pub(crate) fn end(&self) {
        self.ended.store(clock::ticks(clock::now()), Ordering::Release);
    }
}

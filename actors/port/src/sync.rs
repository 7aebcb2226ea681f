//! Synchronisation types come through here, so that loom can replace them.

#[cfg(not(feature = "loom"))]
mod chosen {
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
    pub(crate) use std::sync::{Mutex, MutexGuard};
}

#[cfg(feature = "loom")]
mod chosen {
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
    pub(crate) use loom::sync::{Mutex, MutexGuard};
}

pub(crate) use chosen::*;

/// Writes a word before reads of other words that follow: of two threads that each publish a word
/// and then read the other's, at least one sees the other's.
///
/// A sequentially consistent exchange does that, where the reads are sequentially consistent too.
/// loom knows no such exchange (it takes it for acquire and release), only the fence.
#[inline]
pub(crate) fn publish(word: &AtomicU64, value: u64) {
    #[cfg(not(feature = "loom"))]
    word.swap(value, Ordering::SeqCst);
    #[cfg(feature = "loom")]
    {
        word.store(value, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }
}

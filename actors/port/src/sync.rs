//! Synchronisation types come through here, so that loom can replace them.

#[cfg(not(feature = "loom"))]
pub(crate) use std::sync::{
    Mutex, MutexGuard, atomic::AtomicU64, atomic::AtomicUsize, atomic::Ordering, atomic::fence,
};

#[cfg(feature = "loom")]
pub(crate) use loom::sync::{
    Mutex, MutexGuard, atomic::AtomicU64, atomic::AtomicUsize, atomic::Ordering, atomic::fence,
};

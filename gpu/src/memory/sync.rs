//! Atomics of the books come through here, so that shuttle can replace them.

#[cfg(not(feature = "shuttle"))]
pub(super) use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

#[cfg(feature = "shuttle")]
pub(super) use shuttle::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

/// What many threads write, in a cache line of its own: who only reads what is beside it shall not wait.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Apart<T>(pub(super) T);

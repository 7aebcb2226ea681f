//! Handles: what the driver gives out instead of pointers.
//!
//! A handle says what it is of, on which device, and its number. Numbers are never used twice, so a
//! handle of something that is gone is found out, where a real driver would follow it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::code::{Answer, Code};

/// What a handle is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Context = 0xc1,
    Stream,
    Event,
    Module,
    Function,
    Graph,
    GraphExec,
    GraphNode,
    Pool,
    Physical,
}

impl Kind {
    /// Those that go with the context that they were made in.
    pub(crate) const OF_CONTEXTS: [Self; 7] = [
        Self::Stream,
        Self::Event,
        Self::Module,
        Self::Function,
        Self::Graph,
        Self::GraphExec,
        Self::GraphNode,
    ];
}

/// A handle's value: kind, device and number in 8, 16 and 40 bits. No host has memory there.
pub(crate) fn value(kind: Kind, device: usize, number: u64) -> u64 {
    (kind as u64) << 56 | (device as u64) << 40 | number
}

/// The device of a handle of that kind.
pub(crate) fn device(kind: Kind, handle: u64) -> Option<usize> {
    (handle >> 56 == kind as u64).then_some((handle >> 40 & 0xffff) as usize)
}

/// The number of a handle.
pub(crate) fn number(handle: u64) -> u64 {
    handle & ((1 << 40) - 1)
}

/// The next number on any device.
pub(crate) fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed) & ((1 << 40) - 1)
}

/// What is there of one kind in a context.
#[derive(Debug)]
pub(crate) struct Table<T> {
    kind: Kind,
    device: usize,
    items: Mutex<HashMap<u64, Arc<T>>>,
}

impl<T> Table<T> {
    pub(crate) fn new(kind: Kind, device: usize) -> Self {
        Self { kind, device, items: Mutex::default() }
    }

    /// A handle for something that will be [`insert`](Self::insert)ed.
    pub(crate) fn handle(&self) -> u64 {
        value(self.kind, self.device, next_number())
    }

    pub(crate) fn insert(&self, handle: u64, item: Arc<T>) {
        self.items.lock().insert(handle, item);
    }

    pub(crate) fn add(&self, item: T) -> u64 {
        let handle = self.handle();
        self.insert(handle, Arc::new(item));
        handle
    }

    pub(crate) fn get(&self, handle: u64) -> Answer<Arc<T>> {
        self.items.lock().get(&handle).cloned().ok_or(Code::INVALID_HANDLE)
    }

    pub(crate) fn remove(&self, handle: u64) -> Answer<Arc<T>> {
        self.items.lock().remove(&handle).ok_or(Code::INVALID_HANDLE)
    }

    pub(crate) fn retain(&self, keep: impl Fn(&T) -> bool) {
        self.items.lock().retain(|_, item| keep(item));
    }

    pub(crate) fn all(&self) -> Vec<Arc<T>> {
        self.items.lock().values().cloned().collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.items.lock().len()
    }

    pub(crate) fn clear(&self) {
        let items = std::mem::take(&mut *self.items.lock());
        // (dropped when the lock is free: what goes may look at other tables)
        drop(items);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_tell_kind_and_device_and_are_never_used_again() {
        let table = Table::new(Kind::Event, 7);
        let first = table.add("one");
        assert_eq!(device(Kind::Event, first), Some(7));
        assert_eq!(device(Kind::Stream, first), None);
        table.remove(first).unwrap();
        let second = table.add("two");
        assert_ne!(first, second);
        assert_eq!(table.get(first).unwrap_err(), Code::INVALID_HANDLE);
        assert_eq!(*table.get(second).unwrap(), "two");
        table.clear();
        assert_eq!(table.count(), 0);
    }
}

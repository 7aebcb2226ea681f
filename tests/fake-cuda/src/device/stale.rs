//! Handles and addresses of a context that is gone: a program that passes one has made a mistake, which a
//! real driver need not notice. Here it is refused, and written down.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::handle::{self, Kind};
use super::{Device, find};
use crate::memory::device_of;
use crate::memory::space::Addresses;

/// The most that are written down for a device.
const MOST: usize = 64;

/// What of a device's handles and addresses is of its present context. (Its contexts and its pools are not
/// looked at: they have the same handles for ever.)
#[derive(Debug, Default)]
pub(crate) struct Generation {
    /// The first number of a handle, and the first address. Both are given out in order, each once.
    handle: AtomicU64,
    address: AtomicU64,
    noted: Mutex<Vec<String>>,
}

impl Generation {
    /// A context begins: what is given out from now on is of it.
    pub(crate) fn begin(&self, addresses: &Addresses) {
        self.handle.store(handle::next_number(), Ordering::Release);
        self.address.store(addresses.next(), Ordering::Release);
    }

    /// It is gone, with all that was of it.
    pub(crate) fn end(&self) {
        self.handle.store(u64::MAX, Ordering::Release);
        self.address.store(u64::MAX, Ordering::Release);
    }

    /// Writes down that the entry point `name` was given something stale.
    pub(crate) fn note(&self, name: &str, value: u64) {
        let mut noted = self.noted.lock();
        if noted.len() < MOST {
            noted.push(format!("{name}: {value:#x}"));
        }
    }

    pub(crate) fn noted(&self) -> Vec<String> {
        self.noted.lock().clone()
    }

    pub(crate) fn forget(&self) {
        self.noted.lock().clear();
    }
}

/// Looks at what an entry point was given: writes it down if it is a handle or an address of a context that
/// is gone.
pub(crate) fn look(name: &str, value: u64) {
    let first_of = |ordinal| find(ordinal).map(|device| &device.generation);
    let kinds = Kind::OF_CONTEXTS.into_iter();
    let found = match kinds.filter_map(|kind| handle::device(kind, value)).next() {
        Some(ordinal) => first_of(ordinal).map(|of| (of, handle::number(value), &of.handle)),
        // (What is reserved outlives its context.)
        None if is_reserved(value) => None,
        None => device_of(value).and_then(first_of).map(|of| (of, value, &of.address)),
    };
    if let Some((of, number, first)) = found
        && number < first.load(Ordering::Acquire)
    {
        of.note(name, value);
    }
}

fn is_reserved(address: u64) -> bool {
    let context = device_of(address).and_then(find).and_then(Device::context);
    context.is_some_and(|context| context.space().reservation(address).is_some())
}

//! What the driver has given for one range of addresses: pages, which belong to the device and not to a context.
//!
//! A reset of the context does not take them back, so the hub knows of each: after a loss the one that brings
//! the device back gives back what is left of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cust::sys::{self, CUresult};

use super::driver;

pub(super) type Handle = sys::CUmemGenericAllocationHandle;

/// Makes a call of the driver; whether it was done.
type Call<'a> = &'a dyn Fn(&'static str, &mut dyn FnMut() -> CUresult) -> bool;

/// The driver's code for an argument that is wrong: what was named is not there.
const INVALID_VALUE: u32 = 1;

pub(super) struct Held {
    pub(super) base: u64,
    pub(super) span: u64,
    /// Bytes of a page.
    pub(super) page: u64,
    /// The page of each address that has one, counted from the base.
    pub(super) mapped: BTreeMap<u64, Handle>,
    /// Pages without an address: within one rearrangement, or refused to be taken back.
    pub(super) spare: Vec<Handle>,
    /// Whether the addresses are reserved.
    pub(super) reserved: bool,
}

impl Held {
    /// Gives all of it back, as far as the driver takes it; whether nothing is left.
    pub(super) fn give_back(&mut self, call: Call<'_>) -> bool {
        let (base, page, spare) = (self.base, self.page as usize, &mut self.spare);
        self.mapped.retain(|start, handle| {
            // SAFETY: one page is mapped there, and who owns this says that nothing uses it.
            let mut unmap = || unsafe { sys::cuMemUnmap(base + *start, page) };
            let unmapped = call("cuMemUnmap", &mut unmap);
            spare.extend(unmapped.then_some(*handle));
            !unmapped
        });
        self.release_spare(call);
        if self.reserved && self.pages() == 0 {
            // SAFETY: the addresses were reserved, as many, and nothing is mapped there any more.
            let mut free = || unsafe { sys::cuMemAddressFree(base, self.span as usize) };
            self.reserved = !call("cuMemAddressFree", &mut free);
        }
        !self.reserved
    }

    /// Gives pages without an address back.
    pub(super) fn release_spare(&mut self, call: Call<'_>) {
        self.spare.retain(|handle| {
            // SAFETY: the page is not mapped, and nobody else has the handle.
            let mut release = || unsafe { sys::cuMemRelease(*handle) };
            !call("cuMemRelease", &mut release)
        });
    }

    fn pages(&self) -> usize {
        self.mapped.len() + self.spare.len()
    }
}

/// All that is held on one device.
#[derive(Default)]
pub(super) struct Holdings(Mutex<Vec<Arc<Mutex<Held>>>>);

impl Holdings {
    pub(super) fn add(&self, held: Held) -> Arc<Mutex<Held>> {
        let held = Arc::new(Mutex::new(held));
        lock(&self.0).push(Arc::clone(&held));
        held
    }

    pub(super) fn forget(&self, held: &Arc<Mutex<Held>>) {
        lock(&self.0).retain(|known| !Arc::ptr_eq(known, held));
    }

    /// Gives back what is there, all of it of epochs that have ended; how many pages and ranges the driver
    /// did not take. For who keeps the gate closed, with the new context current.
    pub(super) fn give_back_lost(&self) -> u64 {
        // (That it is not there is as good: nobody promises that it is.)
        let call: Call<'_> =
            &|_, call| matches!(driver::code(call()), driver::SUCCESS | INVALID_VALUE);
        let mut left = 0;
        lock(&self.0).retain(|held| {
            let mut held = lock(held);
            // Twice: one that is refused once need not be refused again.
            let done = held.give_back(call) || held.give_back(call);
            left += if done { 0 } else { 1 + held.pages() as u64 };
            !done
        });
        left
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

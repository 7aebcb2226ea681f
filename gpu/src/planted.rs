//! Bugs planted on purpose, to see that the simulation's checks find them. Those of devices and their memory.
//!
//! Compiled in with the feature `planted` only, which nothing that is released has.

use std::cell::Cell;

/// A bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// A lease that a panic drops is forgotten.
    LeakOnPanic,
    /// The bytes of a lease come back twice.
    DoubleFree,
    /// `Critical` begins a byte late.
    LateCritical,
    /// Handles of an epoch that has ended are let through once the device is back.
    StaleHandle,
}

thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Plants a bug in this thread from now on, or none.
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

pub(crate) fn is(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

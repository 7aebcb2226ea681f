//! Bugs planted on purpose, to see that the simulation's checks find them. Those of the actors.
//!
//! Compiled in with the feature `planted` only, which nothing that is released has.

use std::cell::Cell;

/// A bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// A shutdown leads from `Running` to `Stopped` at once.
    IllegalTransition,
    /// Requests are let in while draining.
    LateAdmission,
    /// A kernel has one restart more than its limit allows.
    RestartPastLimit,
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

//! What an instance has not told its kernel's actor yet.
//!
//! Waking the actor's thread costs more than a restart does, and may put that thread in the place of this one. So
//! it is told when there is time: before the instance waits, after others on its thread have had their turn;
//! and without such a moment, when there is much to tell, or it has waited for a millisecond.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use super::Told;
use crate::clock::{self, Instant};

/// So much is told at once.
const MOST: usize = 32;
/// It is told after this at the latest, if the instance is not in code of the kernel's by then.
const LATEST: Duration = Duration::from_millis(1);

/// Reports in their order.
#[derive(Debug, Default)]
pub(crate) struct Untold {
    reports: RefCell<Vec<Told>>,
    /// When the first of them came.
    since: Cell<Option<Instant>>,
}

impl Untold {
    pub(super) fn add(&self, what: Told) {
        if self.since.get().is_none() {
            self.since.set(Some(clock::now()));
        }
        self.reports.borrow_mut().push(what);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.since.get().is_none()
    }

    /// All of them.
    pub(super) fn take(&self) -> Vec<Told> {
        self.since.set(None);
        self.reports.take()
    }

    /// Whether they are to be told before anything else is done.
    pub(super) fn is_due(&self) -> bool {
        let is_late = |since: Instant| since.elapsed() >= LATEST;
        self.since.get().is_some_and(is_late) || self.reports.borrow().len() >= MOST
    }
}

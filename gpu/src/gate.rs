//! Who may call the driver: calls of the present epoch, and none while the device is lost.
//!
//! A call is counted from before its epoch is compared until it has returned. Whoever makes the context
//! anew closes the gate first and waits until nobody is inside: so a call has either reached the driver
//! before the context went, or it is refused. No handle of a lost epoch reaches the context after it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::device::Epoch;
#[cfg(feature = "planted")]
use crate::planted::{self, Bug};

/// (Sequentially consistent: either a call sees that the gate is closed, or who has closed it sees the call.)
const ORDER: Ordering = Ordering::SeqCst;

#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// Calls that are inside, or about to be refused.
    calls: AtomicU64,
    closed: AtomicBool,
    epoch: AtomicU64,
    leaving: Mutex<()>,
    left: Condvar,
}

/// A call that is inside, until it is dropped.
#[must_use = "the call is inside only as long as this lives"]
pub(crate) struct Inside<'a>(&'a Gate);

impl Gate {
    /// The epoch that handles made now will carry.
    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch.load(ORDER)
    }

    pub(crate) fn is_open(&self) -> bool {
        !self.closed.load(ORDER)
    }

    /// Whether calls of that epoch are let in.
    pub(crate) fn admits(&self, epoch: Epoch) -> bool {
        #[cfg(feature = "planted")]
        if planted::is(Bug::StaleHandle) {
            return self.is_open();
        }
        self.is_open() && self.epoch() == epoch
    }

    /// Lets a call of that epoch in.
    pub(crate) fn enter(&self, epoch: Epoch) -> Option<Inside<'_>> {
        // (Looked at before too: those that are refused shall not keep anybody waiting.)
        if !self.admits(epoch) {
            return None;
        }
        self.calls.fetch_add(1, ORDER);
        let inside = Inside(self);
        self.admits(epoch).then_some(inside)
    }

    /// Ends the epoch: nobody comes in any more. (Closed first: who sees the next epoch sees that.)
    pub(crate) fn close(&self) {
        self.closed.store(true, ORDER);
        self.epoch.fetch_add(1, ORDER);
    }

    /// Waits until nobody is inside; false if somebody stays for so long. For who keeps it closed.
    pub(crate) fn wait_until_empty(&self, limit: Duration) -> bool {
        let leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        let inside = |(): &mut ()| self.calls.load(ORDER) > 0;
        let waited = self.left.wait_timeout_while(leaving, limit, inside);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Lets calls of the present epoch in.
    pub(crate) fn open(&self) {
        self.closed.store(false, ORDER);
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let last = self.0.calls.fetch_sub(1, ORDER) == 1;
        if last && !self.0.is_open() {
            drop(self.0.leaving.lock().unwrap_or_else(PoisonError::into_inner));
            self.0.left.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn calls_of_another_epoch_and_of_a_lost_device_are_refused() {
        let gate = Gate::default();
        assert!(gate.enter(0).is_some() && gate.enter(1).is_none());
        gate.close();
        assert!(gate.enter(0).is_none() && gate.enter(1).is_none(), "closed");
        assert!(gate.wait_until_empty(Duration::ZERO));
        gate.open();
        assert!(gate.enter(0).is_none() && gate.enter(1).is_some());
    }

    #[test]
    fn who_is_inside_is_waited_for_within_a_bound() {
        let gate = Gate::default();
        let inside = gate.enter(0).unwrap();
        gate.close();
        assert!(!gate.wait_until_empty(Duration::from_millis(1)));
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| gate.wait_until_empty(LONG));
            drop(inside);
            assert!(waits.join().unwrap());
        });
    }

    #[test]
    fn nobody_is_inside_while_the_context_is_made_anew() {
        const EPOCHS: u64 = 2000;
        let (gate, context) = (Gate::default(), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while gate.epoch() < EPOCHS {
                        let epoch = gate.epoch();
                        if let Some(_inside) = gate.enter(epoch) {
                            // As the driver sees it: the handle's epoch is that of the context, all along.
                            assert_eq!(context.load(ORDER), epoch);
                            std::thread::yield_now();
                            assert_eq!(context.load(ORDER), epoch);
                        }
                    }
                });
            }
            for epoch in 1..=EPOCHS {
                gate.close();
                assert!(gate.wait_until_empty(LONG));
                context.store(epoch, ORDER);
                gate.open();
            }
        });
    }
}

//! Waking those who wait for something of a context: the end of work, an event, a gate, its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::clock;

/// One bell for each context. Who changes something that others wait for changes it first, in an
/// atomic, and then rings; who waits looks again at every ring.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    lock: Mutex<()>,
    changed: Condvar,
}

impl Progress {
    pub(crate) fn ring(&self) {
        // whoever has looked but does not wait yet holds the lock
        drop(self.lock.lock());
        self.changed.notify_all();
    }

    pub(crate) fn wait_until(&self, mut holds: impl FnMut() -> bool) {
        let mut lock = self.lock.lock();
        while !holds() {
            self.changed.wait(&mut lock);
        }
    }

    /// As `wait_until`, but no longer than `limit`.
    pub(crate) fn wait_for(&self, limit: Duration, mut holds: impl FnMut() -> bool) {
        // (a limit too far for the clock is none)
        let Some(end) = clock::now().checked_add(limit) else { return self.wait_until(holds) };
        let mut lock = self.lock.lock();
        while !holds() {
            if self.changed.wait_until(&mut lock, end).timed_out() {
                return;
            }
        }
    }
}

/// Something that happens once: the end of the work before an event, the opening of a gate.
#[derive(Debug, Default)]
pub(crate) struct Latch {
    open: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    at: Option<Instant>,
    /// Where someone waits for it.
    bells: Vec<Arc<Progress>>,
}

impl Latch {
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// When it was opened.
    pub(crate) fn opened_at(&self) -> Option<Instant> {
        self.state.lock().at
    }

    pub(crate) fn open(&self) {
        let bells = {
            let mut state = self.state.lock();
            state.at.get_or_insert_with(clock::now);
            self.open.store(true, Ordering::Release);
            std::mem::take(&mut state.bells)
        };
        for bell in bells {
            bell.ring();
        }
    }

    /// Waits for it, or until `gives_up`, which is looked at when `bell` rings.
    pub(crate) fn wait(&self, bell: &Arc<Progress>, gives_up: impl Fn() -> bool) {
        {
            let mut state = self.state.lock();
            if !state.bells.iter().any(|known| Arc::ptr_eq(known, bell)) && !self.is_open() {
                state.bells.push(Arc::clone(bell));
            }
        }
        bell.wait_until(|| self.is_open() || gives_up());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latch_wakes_all_who_wait_and_stays_open() {
        let latch = Arc::new(Latch::default());
        let waiters: Vec<_> = (0..4)
            .map(|_| {
                let latch = Arc::clone(&latch);
                std::thread::spawn(move || latch.wait(&Arc::default(), || false))
            })
            .collect();
        latch.open();
        for waiter in waiters {
            waiter.join().unwrap();
        }
        let first = latch.opened_at();
        latch.open();
        assert!(latch.is_open() && latch.opened_at() == first);
        latch.wait(&Arc::default(), || false);
    }

    #[test]
    fn waiting_can_be_given_up() {
        let (latch, bell) = (Latch::default(), Arc::new(Progress::default()));
        latch.wait(&bell, || true);
        bell.wait_for(Duration::from_millis(1), || false);
        assert!(!latch.is_open());
    }
}

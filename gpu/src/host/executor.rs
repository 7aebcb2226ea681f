//! The threads that run host streams.
//!
//! A stream with work puts itself into a queue; a thread takes it out and runs it until it has no
//! more work or waits for an event. Threads are started when work waits and none is free, within a
//! [`ThreadBudget`] that others (threads of kernel instances) draw on as well, and end when idle.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

/// A thread without work ends after this.
const IDLE: Duration = Duration::from_secs(5);

/// Most host streams that can be open at once: each waits in the queue at most once.
pub(crate) const MOST_STREAMS: usize = 4096;

/// How many threads may run kernel code: shared by everything that starts such threads.
#[derive(Debug)]
pub struct ThreadBudget {
    limit: usize,
    used: AtomicUsize,
}

impl ThreadBudget {
    /// At most `limit` threads.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicUsize::new(0) })
    }

    /// The most threads.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Threads running now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Acquire)
    }

    /// Permission for one more thread, if there is room. It ends when dropped.
    pub fn try_take(self: &Arc<Self>) -> Option<ThreadPermit> {
        let more = |used: usize| (used < self.limit).then_some(used + 1);
        self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        Some(ThreadPermit { budget: Arc::clone(self) })
    }
}

/// Permission to run one thread.
#[derive(Debug)]
pub struct ThreadPermit {
    budget: Arc<ThreadBudget>,
}

impl Drop for ThreadPermit {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Something that a thread can run for a while.
pub(crate) trait Runnable: Send + Sync {
    fn run(self: Arc<Self>);
}

type Work = Arc<dyn Runnable>;

/// Runs streams on threads of its own.
#[derive(Clone)]
pub(crate) struct Executor {
    shared: Arc<Shared>,
    queue: Sender<Work>,
}

struct Shared {
    budget: Arc<ThreadBudget>,
    waiting: Receiver<Work>,
    idle: AtomicUsize,
    threads: AtomicUsize,
}

impl Executor {
    pub(crate) fn new(budget: Arc<ThreadBudget>) -> Self {
        let (queue, waiting) = bounded(MOST_STREAMS);
        let shared =
            Shared { budget, waiting, idle: AtomicUsize::new(0), threads: AtomicUsize::new(0) };
        Self { shared: Arc::new(shared), queue }
    }

    /// Runs `work` soon. It must not be scheduled again before it has been taken out.
    pub(crate) fn schedule(&self, work: Work) {
        match self.queue.try_send(work) {
            Ok(()) => self.ensure_thread(),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                unreachable!(
                    "invariant: each open stream waits at most once, and the receiver lives here"
                )
            }
        }
    }

    /// Starts a thread if work waits and no thread is free to take it.
    fn ensure_thread(&self) {
        let shared = &self.shared;
        if shared.idle.load(Ordering::SeqCst) >= shared.waiting.len() {
            return;
        }
        let Some(permit) = shared.budget.try_take() else { return };
        shared.threads.fetch_add(1, Ordering::SeqCst);
        let (own, number) = (Arc::clone(shared), shared.threads.load(Ordering::Relaxed));
        let started = thread::Builder::new()
            .name(format!("rk-host-{number}"))
            .spawn(move || own.work(permit));
        if started.is_err() {
            // No thread to be had now; those there are go on, and the next submission tries again.
            shared.threads.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Shared {
    fn work(&self, permit: ThreadPermit) {
        loop {
            self.idle.fetch_add(1, Ordering::SeqCst);
            let work = self.waiting.recv_timeout(IDLE);
            self.idle.fetch_sub(1, Ordering::SeqCst);
            match work {
                Ok(work) => work.run(),
                Err(_) => break,
            }
        }
        self.threads.fetch_sub(1, Ordering::SeqCst);
        drop(permit);
    }
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor").field("budget", &self.shared.budget).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_never_exceeded_and_permits_come_back() {
        let budget = ThreadBudget::new(2);
        let first = budget.try_take().unwrap();
        let second = budget.try_take().unwrap();
        assert!(budget.try_take().is_none());
        drop(first);
        assert_eq!(budget.used(), 1);
        let third = budget.try_take().unwrap();
        drop((second, third));
        assert_eq!((budget.used(), budget.limit()), (0, 2));
    }
}

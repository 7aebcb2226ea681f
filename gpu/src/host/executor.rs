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

/// Most host streams that can be there at once, those dropped with work left included: each waits in the queue at
/// most once.
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
            Ok(()) => self.shared.ensure_thread(),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                unreachable!(
                    "invariant: each stream waits at most once, and the receiver lives here"
                )
            }
        }
    }
}

impl Shared {
    /// Starts a thread if work waits and no thread is free to take it.
    fn ensure_thread(self: &Arc<Self>) {
        if self.idle.load(Ordering::SeqCst) >= self.waiting.len() {
            return;
        }
        let permit = self.budget.try_take();
        // The first needs none: however many threads others take, streams move.
        let more = |threads: usize| (permit.is_some() || threads == 0).then_some(threads + 1);
        let counted = self.threads.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more);
        let Ok(number) = counted else { return };
        let own = Arc::clone(self);
        let started = thread::Builder::new()
            .name(format!("rk-host-{}", number + 1))
            .spawn(move || own.work(permit));
        if started.is_err() {
            // No thread to be had now; those there are go on, and the next submission tries again.
            self.threads.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn work(self: &Arc<Self>, permit: Option<ThreadPermit>) {
        while let Some(work) = self.next() {
            work.run();
        }
        self.threads.fetch_sub(1, Ordering::SeqCst);
        drop(permit);
        // Until now this thread counted, by which no other was started for what came meanwhile.
        self.ensure_thread();
    }

    fn next(self: &Arc<Self>) -> Option<Work> {
        self.idle.fetch_add(1, Ordering::SeqCst);
        let waited = self.waiting.recv_timeout(IDLE);
        self.idle.fetch_sub(1, Ordering::SeqCst);
        // Until now this thread counted as one that is free, by which no other was started for what came just
        // when its time was over, or after what it takes.
        let work = waited.ok().or_else(|| self.waiting.try_recv().ok())?;
        self.ensure_thread();
        Some(work)
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

    /// Says when it begins, and ends when it is told to.
    struct Meets(Sender<()>, Receiver<()>);

    impl Runnable for Meets {
        fn run(self: Arc<Self>) {
            self.0.send(()).unwrap();
            self.1.recv().unwrap();
        }
    }

    #[test]
    fn a_thread_that_takes_work_has_another_take_what_else_waits() {
        let executor = Executor::new(ThreadBudget::new(2));
        let ((begins, begun), (ends, end)) = (bounded(2), bounded(2));
        // Both came when a thread seemed to be free.
        for _ in 0..2 {
            let work = Meets(begins.clone(), end.clone());
            assert!(executor.queue.try_send(Arc::new(work)).is_ok());
        }
        executor.shared.ensure_thread();
        for _ in 0..2 {
            begun.recv_timeout(Duration::from_secs(60)).unwrap();
        }
        ends.send(()).unwrap();
        ends.send(()).unwrap();
    }

    #[test]
    fn one_thread_runs_streams_where_others_have_taken_all() {
        let budget = ThreadBudget::new(1);
        let others = budget.try_take().unwrap();
        let executor = Executor::new(Arc::clone(&budget));
        let ((begins, begun), (ends, end)) = (bounded(2), bounded(2));
        for _ in 0..2 {
            executor.schedule(Arc::new(Meets(begins.clone(), end.clone())));
        }
        for _ in 0..2 {
            begun.recv_timeout(Duration::from_secs(60)).unwrap();
            assert!(begun.is_empty(), "there is one thread");
            ends.send(()).unwrap();
        }
        assert_eq!(budget.used(), 1);
        drop(others);
    }

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

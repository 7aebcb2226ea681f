//! Lanes: the threads that instances live on.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix::{Arbiter, ArbiterHandle};
use rustkernel_gpu::host::{ThreadBudget, ThreadPermit};

use crate::error::StartError;
use crate::kernel::Placement;

/// Where allocators and instances get their threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Threads {
    /// Each gets one that is started for it.
    Own,
    /// There is one thread for everything, the current one: its clock may be paused.
    This,
}

impl Threads {
    /// The arbiter of a thread.
    pub(crate) fn arbiter(self) -> Result<ArbiterHandle, StartError> {
        match self {
            Self::Own => {
                let arbiter = Arbiter::try_new();
                let arbiter = arbiter.map_err(|error| StartError::NoThread(error.to_string()))?;
                Ok(arbiter.handle())
            }
            Self::This => Ok(Arbiter::current()),
        }
    }
}

/// Gives each instance its lane.
pub(crate) struct Lanes {
    workers: Mutex<Vec<Worker>>,
    next: AtomicUsize,
    budget: Arc<ThreadBudget>,
    threads: Threads,
}

/// A thread that instances share.
#[derive(Clone)]
struct Worker {
    arbiter: ArbiterHandle,
    /// One of them does not give it back.
    stuck: Arc<AtomicBool>,
}

impl Worker {
    fn start(threads: Threads) -> Result<Self, StartError> {
        Ok(Self { arbiter: threads.arbiter()?, stuck: Arc::default() })
    }
}

/// The thread of an instance: an arbiter, its own or one that it shares.
pub(crate) struct Lane {
    arbiter: ArbiterHandle,
    /// If it is the instance's own.
    permit: Option<ThreadPermit>,
    /// If it is one of the runtime's shared workers: whether an instance there hangs.
    stuck: Option<Arc<AtomicBool>>,
}

impl Lanes {
    /// Starts the shared workers.
    pub(crate) fn start(
        workers: usize,
        budget: Arc<ThreadBudget>,
        threads: Threads,
    ) -> Result<Self, StartError> {
        let workers = (0..workers).map(|_| Worker::start(threads)).collect::<Result<_, _>>()?;
        Ok(Self { workers: Mutex::new(workers), next: AtomicUsize::new(0), budget, threads })
    }

    fn workers(&self) -> MutexGuard<'_, Vec<Worker>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a new thread in the place of each shared one that hangs. Those are lost; they end if they come
    /// back. Where there is no thread to be had the place stays as it is.
    pub(crate) fn replace_stuck(&self) {
        if self.threads == Threads::This {
            return;
        }
        let mut workers = self.workers();
        let stuck = workers.iter_mut().filter(|worker| worker.stuck.load(Ordering::Acquire));
        for worker in stuck {
            if let Ok(new) = Worker::start(self.threads) {
                std::mem::replace(worker, new).arbiter.stop();
            }
        }
    }

    /// A lane as asked for. The shared ones are given in turn.
    pub(crate) fn lane(&self, placement: &Placement) -> Result<Lane, StartError> {
        let arbiter = match placement {
            // (Nobody's own, it must not block and does not end with the instance.)
            Placement::Dedicated if self.threads == Threads::This => self.threads.arbiter()?,
            Placement::Dedicated => {
                let permit = self.budget.try_take();
                let permit = permit.ok_or_else(|| {
                    StartError::NoThread("all of blocking_threads are taken".into())
                })?;
                let arbiter = self.threads.arbiter()?;
                return Ok(Lane { arbiter, permit: Some(permit), stuck: None });
            }
            Placement::Shared => {
                let turn = self.next.fetch_add(1, Ordering::Relaxed);
                let workers = self.workers();
                let Worker { arbiter, stuck } = workers[turn % workers.len()].clone();
                return Ok(Lane { arbiter, permit: None, stuck: Some(stuck) });
            }
            Placement::On(arbiter) => arbiter.clone(),
        };
        Ok(Lane { arbiter, permit: None, stuck: None })
    }

    /// Ends the shared workers.
    pub(crate) fn stop(&self) {
        self.workers().iter().for_each(|worker| {
            worker.arbiter.stop();
        });
    }
}

impl Lane {
    pub(crate) fn arbiter(&self) -> &ArbiterHandle {
        &self.arbiter
    }

    /// Whether the instance may block the thread.
    pub(crate) fn is_own(&self) -> bool {
        self.permit.is_some()
    }

    /// An instance does not give the thread back: of a shared one all have to move.
    pub(crate) fn mark_stuck(&self) {
        if let Some(stuck) = &self.stuck {
            stuck.store(true, Ordering::Release);
        }
    }

    pub(crate) fn is_stuck(&self) -> bool {
        self.stuck.as_ref().is_some_and(|stuck| stuck.load(Ordering::Acquire))
    }

    /// The instance has left; its own thread ends.
    pub(crate) fn end(self) {
        if self.is_own() {
            self.arbiter.stop();
        }
    }

    /// The instance does not leave. Its thread is lost, and so is its place in the budget.
    pub(crate) fn abandon(mut self) {
        std::mem::forget(self.permit.take());
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane").field("own", &self.is_own()).finish_non_exhaustive()
    }
}

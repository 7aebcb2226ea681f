//! Lanes: the threads that instances live on.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

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
    workers: Vec<ArbiterHandle>,
    next: AtomicUsize,
    budget: Arc<ThreadBudget>,
    threads: Threads,
}

/// The thread of an instance: an arbiter, its own or one that it shares.
pub(crate) struct Lane {
    arbiter: ArbiterHandle,
    /// If it is the instance's own.
    permit: Option<ThreadPermit>,
}

impl Lanes {
    /// Starts the shared workers.
    pub(crate) fn start(
        workers: usize,
        budget: Arc<ThreadBudget>,
        threads: Threads,
    ) -> Result<Self, StartError> {
        let workers = (0..workers).map(|_| threads.arbiter()).collect::<Result<_, _>>()?;
        Ok(Self { workers, next: AtomicUsize::new(0), budget, threads })
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
                return Ok(Lane { arbiter: self.threads.arbiter()?, permit: Some(permit) });
            }
            Placement::Shared => {
                let turn = self.next.fetch_add(1, Ordering::Relaxed);
                self.workers[turn % self.workers.len()].clone()
            }
            Placement::On(arbiter) => arbiter.clone(),
        };
        Ok(Lane { arbiter, permit: None })
    }

    /// Ends the shared workers.
    pub(crate) fn stop(&self) {
        self.workers.iter().for_each(|worker| {
            worker.stop();
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

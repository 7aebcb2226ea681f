//! When a request was run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustkernel_gpu::Watch;

use crate::clock::{self, Instant};

/// When a kernel's code began with a request and when it had ended: the last time, if it was tried again.
///
/// Given to a call by [`KernelRef::with_timing`](super::KernelRef::with_timing), read when it is over.
#[derive(Debug, Default)]
pub struct Timing {
    began: AtomicU64,
    ended: AtomicU64,
    phases: Option<Phases>,
}

/// The steps of a run, where somebody wants to know them: they take a few more looks at the clock.
#[derive(Debug, Default)]
struct Phases {
    taken: AtomicU64,
    submitting: AtomicU64,
    submitted: AtomicU64,
}

impl Timing {
    /// One that notes the steps of the run too.
    pub fn with_phases() -> Self {
        Self { phases: Some(Phases::default()), ..Self::default() }
    }

    /// When an instance took the request out of the queue; what it declares is reserved then. `None`
    /// without phases, or if none has.
    pub fn taken(&self) -> Option<Instant> {
        read(&self.phases.as_ref()?.taken)
    }

    /// When the kernel's code began; `None` if it never did.
    pub fn began(&self) -> Option<Instant> {
        read(&self.began)
    }

    /// When the first work was given to the instance's stream (a launch, or a closure on the host), and when the
    /// last had been. `None` without phases, or if there was none.
    pub fn submitted(&self) -> Option<(Instant, Instant)> {
        let phases = self.phases.as_ref()?;
        Some((read(&phases.submitting)?, read(&phases.submitted)?))
    }

    /// When the kernel's code had ended; `None` if it has not.
    pub fn ended(&self) -> Option<Instant> {
        read(&self.ended)
    }

    /// An instance has taken the request.
    pub(crate) fn take(&self) {
        let Some(Phases { taken, submitting, submitted }) = &self.phases else { return };
        submitting.store(0, Ordering::Release);
        submitted.store(0, Ordering::Release);
        note(taken);
    }

    pub(crate) fn begin(&self) {
        self.ended.store(0, Ordering::Release);
        note(&self.began);
    }

    pub(crate) fn end(&self) {
        note(&self.ended);
    }

    /// What is to be told of the stream's work, if phases are wanted.
    pub(crate) fn watch(self: &Arc<Self>) -> Option<Arc<dyn Watch>> {
        self.phases.is_some().then(|| Arc::clone(self) as Arc<dyn Watch>)
    }
}

impl Watch for Timing {
    fn submitting(&self) {
        let Some(phases) = &self.phases else { return };
        if phases.submitting.load(Ordering::Relaxed) == 0 {
            note(&phases.submitting);
        }
    }

    fn submitted(&self) {
        self.phases.iter().for_each(|phases| note(&phases.submitted));
    }
}

fn note(when: &AtomicU64) {
    when.store(clock::ticks(clock::now()), Ordering::Release);
}

fn read(when: &AtomicU64) -> Option<Instant> {
    clock::at(when.load(Ordering::Acquire))
}

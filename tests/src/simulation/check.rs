//! What has to hold when a run is over.

use rustkernel_actors::Ledger;
use rustkernel_actors::supervisor::{LifecycleState, ShutdownReport};
use rustkernel_gpu::memory::{MemoryKind, MemoryStats};

use super::fault::Fault;
use super::run::Cast;
use super::stage::{self, Stage};
use super::sweep;

/// Checks what is left of a runtime that has stopped, beside the callers' book.
pub(super) fn at_the_end(cast: &Cast, report: Option<&ShutdownReport>) {
    stage::with(|stage| {
        if stage.lifecycle != LifecycleState::Stopped {
            let state = stage.lifecycle;
            stage.broken(&format!("the runtime is {state} at the end"));
        }
        stage.check_answers();
        stage.check_ledgers(report);
        for kind in [MemoryKind::Device, MemoryKind::Staging] {
            if let Some(memory) = &cast.memory {
                stage.check_memory(kind, &memory.stats(kind));
            }
        }
        let unclean =
            |report: &&ShutdownReport| report.leaked_bytes > 0 || report.abandoned_threads > 0;
        if let Some(report) = report.filter(unclean) {
            stage.broken(&format!("the shutdown was not clean: {report:?}"));
        }
    });
}

impl Stage {
    fn check_answers(&mut self) {
        let open = self.book.open_calls();
        if open > 0 {
            self.broken(&format!("{open} requests were never answered"));
        }
    }

    /// Three books agree: the callers', the kernels' and the shutdown's.
    fn check_ledgers(&mut self, report: Option<&ShutdownReport>) {
        let mut sum = Ledger::default();
        for index in 0..self.kernels.len() {
            let Some(kernel) = &self.kernels[index].kernel else { continue };
            let (own, theirs) = (self.book.ledgers[index], kernel.stats().ledger);
            if own != theirs || !theirs.is_balanced() {
                self.broken(&format!("kernel {index} counted {theirs:?}, its callers {own:?}"));
            }
            sum = [sum, theirs].into_iter().sum();
        }
        // (The hoarder's calls are in no book but the runtime's; refusals go on after the report.)
        let hoarded = if self.faults.has(Fault::Sweep) { sweep::CALLS } else { 0 };
        let agrees = |told: &Ledger| {
            (told.completed, told.failed, told.cancelled)
                == (sum.completed + hoarded, sum.failed, sum.cancelled)
                && told.rejected <= sum.rejected
                && told.is_balanced()
        };
        if let Some(report) = report.filter(|report| !agrees(&report.ledger)) {
            self.broken(&format!("the shutdown counted {:?}, its kernels {sum:?}", report.ledger));
        }
    }

    fn check_memory(&mut self, kind: MemoryKind, stats: &MemoryStats) {
        if (stats.live, stats.committed, stats.mapped) != (0, 0, 0) || stats.unkept > 0 {
            let MemoryStats { live, committed, mapped, unkept, .. } = stats;
            self.broken(&format!(
                "{kind} memory at the end: live {live}, committed {committed}, mapped {mapped}, \
                 promises not kept {unkept}"
            ));
        }
    }
}

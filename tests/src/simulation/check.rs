//! What has to hold when a run is over.

use rustkernel_actors::Ledger;
use rustkernel_actors::kernel::KernelStats;
use rustkernel_actors::supervisor::{LifecycleState, ShutdownReport, StopReason};
use rustkernel_gpu::DeviceId;
use rustkernel_gpu::memory::{MemoryKind, MemoryStats};
use rustkernel_gpu::simulated::SimulatedDevice;

use super::fault::Fault;
use super::run::Cast;
use super::stage::{self, Seen, Stage};
use super::sweep;

/// Checks what is left of a runtime that has stopped, beside the callers' book.
pub(super) fn at_the_end(cast: &Cast, report: Option<&ShutdownReport>) {
    stage::with(|stage| {
        if stage.lifecycle != LifecycleState::Stopped {
            let state = stage.lifecycle;
            stage.broken(&format!("the runtime is {state} at the end"));
        }
        stage.check_answers();
        stage.check_reason(report);
        stage.check_ledgers(report);
        for kind in [MemoryKind::Device, MemoryKind::Staging] {
            for memory in &cast.memories {
                stage.check_memory((memory.device().id(), kind), &memory.stats(kind));
            }
        }
        if let Some(device) = &cast.device {
            stage.check_device(device);
        }
        let unclean =
            |report: &&ShutdownReport| report.leaked_bytes > 0 || report.abandoned_threads > 0;
        if let Some(report) = report.filter(unclean) {
            stage.broken(&format!("the shutdown was not clean: {report:?}"));
        }
    });
}

impl Stage {
    /// A runtime stops by itself if a kernel that says so has exceeded its limit, and only then.
    fn check_reason(&mut self, report: Option<&ShutdownReport>) {
        let Some(report) = report else { return };
        let asked = self.asked_to_stop.unwrap_or(0);
        let failed = match &report.reason {
            StopReason::KernelFailed { kernel, .. } => Some(kernel.clone()),
            _ => None,
        };
        let stops = |seen: &&Seen| seen.plan.restart.stops_runtime;
        let exceeded = |seen: &Seen| seen.account.exceeded;
        let surely = |seen: &Seen| seen.account.surely_exceeded;
        let first = self.kernels.iter().filter(stops).filter_map(surely).min();
        let known = failed.as_ref().is_some_and(|name| {
            let mut stopping = self.kernels.iter().filter(stops);
            stopping.any(|seen| seen.plan.name() == *name && exceeded(seen).is_some())
        });
        if failed.is_some() {
            self.fired = self.fired.with(Fault::StopsRuntime);
        }
        // (Asked in the same millisecond it may be either.)
        if matches!(report.reason, StopReason::DeviceLost(_)) {
            let stops = self.losses > 0 && self.faults.has(Fault::StopsWithDevice);
            self.fired = self.fired.with(Fault::StopsWithDevice);
            return self.check(stops, || "it stopped for a device that was not lost".to_owned());
        }
        let holds = if failed.is_some() { known } else { first.is_none_or(|at| at >= asked) };
        self.check(holds, || {
            format!("it stopped because of {:?}, exceeded at {first:?} ms", report.reason)
        });
    }

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
            let Some(kernel) = self.kernels[index].kernel.clone() else { continue };
            let (own, theirs) = (self.book.ledgers[index], kernel.stats().ledger);
            if own != theirs || !theirs.is_balanced() {
                self.broken(&format!("kernel {index} counted {theirs:?}, its callers {own:?}"));
            }
            self.check_tries(index, &kernel.stats());
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

    /// What was tried again, and what was given up after that.
    fn check_tries(&mut self, index: usize, stats: &KernelStats) {
        let (again, dead) = (self.book.tries_again(index), self.book.dead[index]);
        // (One that is to be tried again may be given up before it is.)
        if again > stats.retried || dead != stats.dead_letters {
            let KernelStats { retried, dead_letters, .. } = stats;
            self.broken(&format!(
                "kernel {index} tried {again} requests again and counted {retried}, gave {dead} up and \
                 counted {dead_letters}"
            ));
        }
    }

    /// The driver has seen no handle of a context that has ended, and has everything back.
    fn check_device(&mut self, device: &SimulatedDevice) {
        let stale = device.stale();
        self.check(stale.is_empty(), || {
            format!("handles of a lost context reached the driver: {stale:?}")
        });
        let (handles, bytes) = device.live();
        // (Addresses stay reserved as long as somebody has the memory, and what is of a context that has
        // broken goes with it.)
        let is_clean = handles <= 1 && bytes == 0 || device.device().health().is_err();
        self.check(is_clean, || {
            format!("{handles} handles of the driver's are left, {bytes} bytes")
        });
    }

    fn check_memory(&mut self, (device, kind): (DeviceId, MemoryKind), stats: &MemoryStats) {
        if (stats.live, stats.committed, stats.mapped) != (0, 0, 0) || stats.unkept > 0 {
            let MemoryStats { live, committed, mapped, unkept, .. } = stats;
            self.broken(&format!(
                "{device}'s {kind} memory at the end: live {live}, committed {committed}, mapped {mapped}, \
                 promises not kept {unkept}"
            ));
        }
    }
}

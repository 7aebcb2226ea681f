//! Whether a kernel's requests come in, and why not; and what follows when an instance ends.

use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

use rustkernel_port::{Answers, Ending, Envelope, Key};

use super::Kernel;
use super::shared::{Answer, Asked, Shared};
use crate::clock;
use crate::error::{CallError, KernelError, Rejection, StartError};
use crate::event::RuntimeEvent;
use crate::instance::Seat;
use crate::panic;
use crate::restart::{Cause, Circuit, DeadLetter, RestartBook, RestartPolicy, Verdict};

/// How a kernel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Condition {
    /// At least one instance is up.
    Serving,
    /// None is, and that is to change: requests wait.
    Restarting,
    /// It has ended too often; requests are refused.
    Quarantined,
    /// It is tried after a quarantine.
    OnTrial,
    /// It was told to drop its state; requests are refused.
    Unloaded,
    /// It has ended for good; requests are refused.
    Ended,
}

impl Condition {
    /// Whether requests are refused at once.
    pub const fn refuses(self) -> bool {
        matches!(self, Self::Quarantined | Self::Unloaded | Self::Ended)
    }
}

/// A kernel's gate, and its restarts. The port is closed and opened only under its lock.
#[derive(Debug)]
pub(super) struct Gate {
    book: RestartBook,
    /// Why requests are refused, if they are and the runtime goes on.
    closed: Option<Closed>,
    /// The kernel is unloaded: the port is not opened before it is to be loaded.
    unloaded: bool,
    /// What came before it was unloaded is still finished.
    finishing: bool,
    /// The kernel stops: the port is not opened again.
    stopping: bool,
    /// Why instances are to give up what they run.
    interruption: Cause,
}

#[derive(Debug, Clone)]
enum Closed {
    Quarantined(Cause),
    Unloaded,
    Ended(Cause),
}

impl Gate {
    pub(super) fn new(policy: RestartPolicy, seed: u64, name: &str) -> Self {
        // Kernels that are restarted together do not wait equally long.
        let own =
            name.bytes().fold(seed, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
        let book = RestartBook::new(policy, own);
        let interruption = Cause::Asked;
        let (unloaded, finishing, stopping) = (false, false, false);
        Self { book, closed: None, unloaded, finishing, stopping, interruption }
    }
}

impl<K: Kernel> Shared<K> {
    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An instance has ended: what follows. If that is a quarantine it begins now.
    pub(crate) fn ended(&self, instance: usize, cause: &Cause) -> Verdict {
        let mut gate = self.gate();
        let verdict = gate.book.ended(cause, clock::now());
        if matches!(verdict, Verdict::Quarantine(_) | Verdict::StopRuntime) {
            self.close_gate(&mut gate, Closed::Quarantined(cause.clone()));
            gate.finishing = false;
        }
        drop(gate);
        self.history.note(Some(instance), cause.to_string());
        self.refuse_waiting();
        verdict
    }

    /// The last instance has left.
    pub(super) fn ended_for_good(&self, cause: Cause) {
        self.close_gate(&mut self.gate(), Closed::Ended(cause));
        self.refuse_waiting();
        self.close_mailbox();
    }

    /// Its start has failed: requests that came meanwhile are given back. (If it was told to stop, that is why.)
    pub(super) fn did_not_start(&self, error: &StartError) {
        if !self.port.is_stopped() {
            self.ended_for_good(Cause::OpenFailed(error.to_string()));
        }
    }

    /// The actor that it hosts, if it does, does not live again.
    pub(super) fn close_mailbox(&self) {
        if let Some(mailbox) = &self.parts.mailbox {
            mailbox.close();
        }
    }

    /// Another kernel of its group is quarantined, and this one with it.
    pub(super) fn quarantine_with(&self, cause: Cause) {
        self.close_gate(&mut self.gate(), Closed::Quarantined(cause));
        self.refuse_waiting();
    }

    fn close_gate(&self, gate: &mut Gate, why: Closed) {
        let stays = match &gate.closed {
            None => false,
            Some(Closed::Ended(_)) => true,
            Some(_) if matches!(why, Closed::Ended(_)) => false,
            Some(Closed::Quarantined(_)) => true,
            Some(Closed::Unloaded) => gate.unloaded,
        };
        if !stays {
            gate.closed = Some(why);
        }
        self.port.close();
    }

    /// The kernel is to drop its state: no request comes in. False if it has none, or has been told before.
    pub(super) fn unload(&self) -> bool {
        let mut gate = self.gate();
        let ended = matches!(gate.closed, Some(Closed::Ended(_)));
        if gate.stopping || gate.unloaded || ended {
            return false;
        }
        (gate.unloaded, gate.finishing) = (true, true);
        gate.closed = Some(Closed::Unloaded);
        self.port.close();
        true
    }

    /// No more time is given to what came before. False if the kernel is to be loaded again.
    pub(super) fn finished(&self) -> bool {
        let mut gate = self.gate();
        gate.finishing = false;
        gate.unloaded
    }

    /// The kernel is to serve again; its gate is opened once it is up. False if it was not unloaded.
    pub(super) fn load(&self) -> bool {
        let mut gate = self.gate();
        gate.finishing = false;
        std::mem::take(&mut gate.unloaded)
    }

    pub(super) fn is_unloaded(&self) -> bool {
        self.gate().unloaded
    }

    /// Requests come in again, unless the kernel stops, is quarantined or unloaded, or has ended (also while it was
    /// awaited that it is up again).
    pub(super) fn open_gate(&self) {
        let mut gate = self.gate();
        let ended = matches!(gate.closed, Some(Closed::Ended(_)));
        if !gate.stopping && !gate.unloaded && !ended && gate.book.circuit() != Circuit::Open {
            gate.closed = None;
            self.port.reopen();
        }
    }

    /// The kernel stops: no request comes in any more.
    pub(super) fn shut_gate(&self) {
        let mut gate = self.gate();
        gate.stopping = true;
        self.port.close();
    }

    pub(crate) fn circuit(&self) -> Circuit {
        self.gate().book.circuit()
    }

    /// A quarantine is over: one instance is tried. False if there is none, or the kernel stops.
    pub(super) fn probe(&self) -> bool {
        let mut gate = self.gate();
        let tried = !gate.stopping && gate.book.probe();
        self.on_trial.fetch_or(tried, Ordering::AcqRel);
        tried
    }

    /// Whether an instance may be on trial.
    pub(crate) fn is_on_trial(&self) -> bool {
        self.on_trial.load(Ordering::Acquire)
    }

    /// The instance that was tried has served a request. False if none was tried.
    pub(crate) fn proved(&self) -> bool {
        let mut gate = self.gate();
        self.on_trial.store(false, Ordering::Release);
        gate.book.proved()
    }

    /// Why the port is closed; `None` if it is not any more.
    pub(crate) fn closed(&self) -> Option<Rejection> {
        if let Some(rejection) = self.turned_away() {
            return Some(rejection);
        }
        let stopping = self.gate().stopping;
        stopping.then(|| self.admission().err().unwrap_or(Rejection::Draining))
    }

    /// Whether requests that wait are given back while the runtime goes on.
    pub(crate) fn is_turned_away(&self) -> bool {
        let gate = self.gate();
        gate.closed.is_some() && !gate.finishing
    }

    /// Why the kernel serves nobody, if it does not and the runtime goes on.
    fn turned_away(&self) -> Option<Rejection> {
        let closed = self.gate().closed.clone()?;
        let kernel = self.parts.name.to_string();
        match closed {
            Closed::Quarantined(cause) => Some(Rejection::Quarantined { kernel, cause }),
            Closed::Unloaded => Some(Rejection::Unloaded { kernel }),
            Closed::Ended(cause) => Some(Rejection::Ended { kernel, cause }),
        }
    }

    /// While the kernel serves nobody, requests that wait are given back. (One that was let in just before
    /// may still be on its way; the reaper looks again.)
    pub(crate) fn refuse_waiting(&self) {
        if !self.is_turned_away() {
            return;
        }
        let Some(rejection) = self.turned_away() else { return };
        let mut answers = Answers::default();
        let take = || self.port.take(|over| self.discard(over));
        while let Some(Envelope { key, request: Asked { request, .. }, .. }) = take() {
            let rejection = rejection.clone();
            let answer = Err(Box::new(CallError::Rejected { rejection, request }));
            self.answer(key, Ending::Rejected, answer, &mut answers);
        }
    }

    /// The instance that runs a request is given up on: so is the request, if it is not over.
    pub(super) fn interrupted(&self, key: Key, cause: Cause) {
        let answer = Err(Box::new(CallError::Failed(KernelError::Interrupted(cause))));
        self.answer(key, Ending::Failed, answer, &mut Answers::default());
    }

    /// Answers for an instance. (An answer that comes too late has code of the application's in it.)
    fn answer(&self, key: Key, ending: Ending, answer: Answer<K>, answers: &mut Answers) {
        self.discard(self.port.answer(key, ending, answer, answers));
    }

    /// Drops what is left in the port.
    pub(super) fn clear(&self) {
        self.port.clear(|over| self.discard(over));
    }

    /// Drops something that has code of the application's in it.
    fn discard<T>(&self, value: T) {
        if panic::guard_drop(value).is_err() {
            self.count_panic();
        }
    }

    /// Says why instances are to give up what they run.
    pub(super) fn interrupt_for(&self, cause: Cause) {
        self.gate().interruption = cause;
    }

    pub(crate) fn interruption(&self) -> Cause {
        self.gate().interruption.clone()
    }

    pub(super) fn condition(&self) -> Condition {
        let gate = self.gate();
        match (&gate.closed, gate.book.circuit()) {
            (Some(Closed::Ended(_)), _) => Condition::Ended,
            (Some(Closed::Unloaded), _) => Condition::Unloaded,
            (Some(Closed::Quarantined(_)), _) | (None, Circuit::Open) => Condition::Quarantined,
            (None, Circuit::HalfOpen) => Condition::OnTrial,
            (None, Circuit::Closed) if self.counters.running.load(Ordering::Acquire) > 0 => {
                Condition::Serving
            }
            (None, Circuit::Closed) => Condition::Restarting,
        }
    }

    /// Whether an end for that reason concerns others.
    pub(crate) fn shares_fate(&self, cause: &Cause) -> bool {
        self.shares_fate || matches!(cause, Cause::DeviceLost(_))
    }

    /// An instance is down, or given up on.
    pub(crate) fn went_down(&self, seat: &Seat) {
        if seat.go_down() {
            self.counters.running.fetch_sub(1, Ordering::AcqRel);
            self.turned.notify_waiters();
        }
    }

    pub(super) fn note(&self, what: &str) {
        self.history.note(None, what.to_owned());
    }

    pub(crate) fn count_panic(&self) {
        self.counters.panics.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn count_retry(&self) {
        self.counters.retried.fetch_add(1, Ordering::AcqRel);
    }

    /// A request has ended its kernel as often as it may.
    pub(crate) fn bury(&self, request: u64, tries: u32, cause: &Cause) {
        self.counters.dead.fetch_add(1, Ordering::AcqRel);
        let kernel = self.parts.name.to_string();
        let at = clock::wall();
        let letter = DeadLetter { kernel, request, tries, cause: cause.clone(), at };
        self.history.note(None, format!("request {request} is tried no more: it {cause}"));
        self.announcer.tell(RuntimeEvent::DeadLetter(letter.clone()));
        self.dead_letters.push(letter);
    }
}

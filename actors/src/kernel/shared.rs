//! What a kernel's callers, instances and actor share.

use std::any::Any;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use atomic_waker::AtomicWaker;
use futures_util::future::BoxFuture;
use rustkernel_gpu::DeviceId;
use rustkernel_port::{Key, Ledger, Port, PortOptions};
use tokio::sync::Notify;

use super::change::{ChangeError, KernelChange};
use super::context::RequestStatus;
use super::gate::{Condition, Gate};
use super::learned::{Learned, LearnedMemory};
use super::reference::KernelRef;
use super::spec::{Environment, Parts};
use super::{CallOptions, Kernel, Placement, Priority, Timing};
use crate::clock;
use crate::error::{CallError, Rejection};
use crate::event::Announcer;
use crate::hosted::AnyMailbox;
use crate::message::{Fields, Signature};
use crate::panic;
#[cfg(feature = "planted")]
use crate::planted::{self, Bug};
use crate::restart::{Circuit, DeadLetters, History, HistoryEntry, RetryBudget};
use crate::supervisor::{LifecycleCell, LifecycleState};

/// Deadlines from here on are counted from the reaper's last look, which is recent enough.
const COARSE_FROM: Duration = Duration::from_secs(1);
/// How long ago that may have been: such deadlines are later by this, not earlier.
const COARSE_SLACK: Duration = Duration::from_millis(10);

/// What comes back for a request. The error is boxed, so that a slot is no larger than the response.
pub(crate) type Answer<K> = Result<<K as Kernel>::Response, Box<CallError<<K as Kernel>::Request>>>;

/// A request on its way, with what its caller said of it.
pub(crate) struct Asked<Q> {
    pub(crate) request: Q,
    pub(crate) priority: Priority,
    /// How often its kernel has ended while it ran.
    pub(crate) tries: u32,
    /// Where to note when it is run.
    pub(crate) timing: Option<Arc<Timing>>,
}

/// One kernel's data path and counters.
pub(crate) struct Shared<K: Kernel> {
    pub(crate) parts: Parts<K>,
    pub(crate) port: Port<Asked<K::Request>, Answer<K>>,
    lifecycle: Arc<LifecycleCell>,
    pub(crate) reaper: ReaperBell,
    pub(crate) counters: Counters,
    pub(crate) learned: Learned,
    pub(super) gate: Mutex<Gate>,
    /// An instance may be on trial: the book has to be asked.
    pub(super) on_trial: AtomicBool,
    pub(super) history: History,
    pub(crate) retries: RetryBudget,
    pub(super) dead_letters: Arc<DeadLetters>,
    pub(super) announcer: Announcer,
    /// The kernel is one of a group that is restarted together.
    pub(super) shares_fate: bool,
    /// Told when an instance has gone up or down.
    pub(crate) turned: Notify,
    /// How long a request may take, in nanoseconds; 0 is as long as it takes.
    deadline: AtomicU64,
}

/// What a kernel's instances and actor count.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) running: AtomicUsize,
    pub(crate) restarts: AtomicU64,
    pub(crate) panics: AtomicU64,
    pub(crate) unresponsive: AtomicUsize,
    pub(crate) abandoned: AtomicUsize,
    pub(crate) hung: AtomicU64,
    pub(crate) retried: AtomicU64,
    pub(crate) dead: AtomicU64,
    /// Where the instances run, set by the kernel's actor at the start.
    pub(crate) devices: Mutex<Vec<DeviceId>>,
}

/// A reading of one kernel. (Of a [supervised actor](crate::ActorSpec) too: it has one instance and no requests.)
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KernelStats {
    /// The kernel's name.
    pub name: String,
    /// The books: submitted = completed + failed + rejected + cancelled, but for those open.
    pub ledger: Ledger,
    /// Requests waiting or running now.
    pub open: u64,
    /// The most that may be.
    pub queue: usize,
    /// The most that this can be set to: what the kernel was started with.
    pub queue_capacity: usize,
    /// How long a request may take, unless its caller says otherwise; `None` is as long as it takes.
    pub deadline: Option<Duration>,
    /// Instances that it is meant to have.
    pub instances: usize,
    /// Instances that are up.
    pub running: usize,
    /// The device of each instance; empty before the start.
    pub devices: Vec<DeviceId>,
    /// How often an instance was restarted.
    pub restarts: u64,
    /// How often its code panicked.
    pub panics: u64,
    /// Instances that had not come back to their thread between the last two health checks.
    pub unresponsive: usize,
    /// Threads that do not come back: of instances that hang, and of those that did not end.
    pub abandoned: usize,
    /// How often an instance hung and was replaced.
    pub hung: u64,
    /// How often a request was tried again.
    pub retried: u64,
    /// Requests that ended their kernel each time that they were tried.
    pub dead_letters: u64,
    /// How it is.
    pub condition: Condition,
    /// What happened to it lately, the oldest first.
    pub history: Vec<HistoryEntry>,
    /// The memory that its requests have held.
    pub memory: LearnedMemory,
}

impl<K: Kernel> Shared<K> {
    pub(crate) fn new(parts: Parts<K>, environment: &Environment) -> Self {
        // A caller that shares its thread with the instance must not look for an answer that its own
        // looking delays; nor must an instance that shares its thread with others.
        let spin = match parts.placement {
            Placement::Dedicated => environment.spin,
            Placement::Shared | Placement::On(_) => Duration::ZERO,
        };
        let (bound, instances) = (parts.queue, parts.instances);
        let port = Port::new(PortOptions { bound, instances, spin });
        let lifecycle = Arc::clone(&environment.lifecycle);
        let shares_fate = environment.shares_fate(parts.group.as_deref());
        let gate = Gate::new(parts.restart, environment.seed, &parts.name);
        let deadline = AtomicU64::new(nanos_of(parts.deadline));
        Self {
            parts,
            port,
            lifecycle,
            reaper: ReaperBell::default(),
            counters: Counters::default(),
            learned: Learned::new(),
            gate: Mutex::new(gate),
            on_trial: AtomicBool::new(false),
            history: History::default(),
            retries: RetryBudget::new(),
            dead_letters: Arc::clone(&environment.dead_letters),
            announcer: environment.announcer.clone(),
            shares_fate,
            turned: Notify::new(),
            deadline,
        }
    }

    /// Whether requests are taken now. Kernel code may call other kernels also while the runtime
    /// starts or drains: what is in flight may need them.
    pub(crate) fn admission(&self) -> Result<(), Rejection> {
        match self.lifecycle.get() {
            LifecycleState::Running => Ok(()),
            #[cfg(feature = "planted")]
            LifecycleState::Draining if planted::is(Bug::LateAdmission) => Ok(()),
            LifecycleState::Starting | LifecycleState::Draining if panic::inside_kernel() => Ok(()),
            LifecycleState::Starting => Err(Rejection::Starting),
            LifecycleState::Draining => Err(Rejection::Draining),
            LifecycleState::Stopped => Err(Rejection::Stopped),
        }
    }

    /// How long an instance may take to close.
    pub(crate) fn close_timeout(&self) -> Duration {
        self.parts.shutdown_timeout.unwrap_or(self.parts.start_timeout)
    }

    /// How long a request may take.
    fn timeout(&self) -> Option<Duration> {
        match self.deadline.load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    /// The deadline of a request that comes now, in ticks.
    pub(crate) fn deadline(&self) -> u64 {
        match self.timeout() {
            None => 0,
            Some(timeout) if timeout < COARSE_FROM => clock::after(timeout),
            // Reading the clock costs a tenth of a call; for a long deadline the reaper's will do.
            Some(timeout) => match self.reaper.last_ticks() {
                None => clock::after(timeout),
                Some(ticks) => ticks + ticks_of(timeout),
            },
        }
    }
}

impl<K: Kernel> RequestStatus for Shared<K> {
    fn is_over(&self, key: Key) -> bool {
        self.port.is_over(key)
    }

    fn is_stopped(&self) -> bool {
        self.port.is_stopped()
    }

    fn rouse(&self) {
        self.port.rouse_instances();
    }
}

/// A kernel, whatever its type: for the registry and for calls by name.
pub(crate) trait AnyKernel: Send + Sync {
    fn name(&self) -> &str;
    fn signature(&self) -> Option<&Signature>;
    fn stats(&self) -> KernelStats;
    /// How it is.
    fn condition(&self) -> Condition;
    /// Whether its requests are let through.
    fn circuit(&self) -> Circuit;
    /// Whether a change can be made while it runs.
    fn check_change(&self, change: &KernelChange) -> Result<(), ChangeError>;
    /// Makes a change that was checked.
    fn change(&self, change: &KernelChange);
    /// The mailbox of the actor that it hosts, if it does.
    fn mailbox(&self) -> Option<&dyn AnyMailbox>;
    /// Calls it with named values; `None` if it is not published.
    fn call_by_name(
        self: Arc<Self>,
        fields: Fields,
    ) -> Option<BoxFuture<'static, Result<Fields, CallError<Fields>>>>;
    /// Calls it with named values and what their caller says of them; `None` if it is not published.
    fn call_named(
        self: Arc<Self>,
        fields: Fields,
        options: CallOptions,
    ) -> Option<BoxFuture<'static, Result<Fields, CallError<()>>>>;
    /// Lets whoever waits for room at the port find out that none will come.
    fn rouse_waiting(&self);
    /// Tells every instance to end, those too that have not started yet.
    fn end_instances(&self);
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

impl<K: Kernel> AnyKernel for Shared<K> {
    fn name(&self) -> &str {
        &self.parts.name
    }

    fn signature(&self) -> Option<&Signature> {
        self.parts.published.as_ref().map(|published| &published.signature)
    }

    fn circuit(&self) -> Circuit {
        Self::circuit(self)
    }

    fn condition(&self) -> Condition {
        Self::condition(self)
    }

    fn stats(&self) -> KernelStats {
        let counters = &self.counters;
        KernelStats {
            name: self.parts.name.to_string(),
            ledger: self.port.books().read(),
            open: self.port.open_requests(),
            queue: self.port.bound(),
            queue_capacity: self.port.capacity(),
            deadline: self.timeout(),
            instances: self.parts.instances,
            running: counters.running.load(Ordering::Acquire),
            devices: counters.devices.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            restarts: counters.restarts.load(Ordering::Acquire),
            panics: counters.panics.load(Ordering::Acquire),
            unresponsive: counters.unresponsive.load(Ordering::Acquire),
            abandoned: counters.abandoned.load(Ordering::Acquire),
            hung: counters.hung.load(Ordering::Acquire),
            retried: counters.retried.load(Ordering::Acquire),
            dead_letters: counters.dead.load(Ordering::Acquire),
            condition: self.condition(),
            history: self.history.read(),
            memory: self.learned.read(),
        }
    }

    fn check_change(&self, change: &KernelChange) -> Result<(), ChangeError> {
        change.check(AnyKernel::name(self), self.port.capacity())
    }

    fn change(&self, change: &KernelChange) {
        if let Some(bound) = change.queue {
            self.port.set_bound(bound);
        }
        if let Some(deadline) = change.deadline {
            self.deadline.store(nanos_of(deadline), Ordering::Relaxed);
        }
    }

    fn mailbox(&self) -> Option<&dyn AnyMailbox> {
        self.parts.mailbox.as_deref()
    }

    fn call_by_name(
        self: Arc<Self>,
        fields: Fields,
    ) -> Option<BoxFuture<'static, Result<Fields, CallError<Fields>>>> {
        let call = self.parts.published.as_ref()?.call;
        Some(call(KernelRef::new(self), fields))
    }

    fn call_named(
        self: Arc<Self>,
        fields: Fields,
        options: CallOptions,
    ) -> Option<BoxFuture<'static, Result<Fields, CallError<()>>>> {
        let call = self.parts.published.as_ref()?.call_named;
        Some(call(KernelRef::new(self), fields, options))
    }

    fn rouse_waiting(&self) {
        self.port.rouse_waiting();
    }

    fn end_instances(&self) {
        self.shut_gate();
        self.port.stop();
        // Rung, the reaper finds the port stopped and ends.
        self.reaper.ring();
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

/// A deadline as it is kept; one of 584 years is none.
fn nanos_of(deadline: Option<Duration>) -> u64 {
    deadline.map_or(0, |deadline| u64::try_from(deadline.as_nanos()).unwrap_or(0).max(1))
}

fn ticks_of(timeout: Duration) -> u64 {
    u64::try_from((timeout + COARSE_SLACK).as_nanos()).unwrap_or(u64::MAX / 2)
}

/// Wakes the reaper of deadlines, which sleeps while its kernel has nothing open. Also its clock, for
/// those who need to know the time only roughly.
#[derive(Debug, Default)]
pub(crate) struct ReaperBell {
    asleep: AtomicBool,
    waker: AtomicWaker,
    /// 0 is none.
    last_ticks: AtomicU64,
}

impl ReaperBell {
    /// The reaper says what time it is.
    pub(crate) fn set_ticks(&self, ticks: u64) {
        self.last_ticks.store(ticks, Ordering::Release);
    }

    /// What time it was when the reaper last looked; `None` from its falling asleep until it looks again.
    fn last_ticks(&self) -> Option<u64> {
        Some(self.last_ticks.load(Ordering::Acquire)).filter(|ticks| *ticks > 0)
    }

    /// A request was submitted, or waits for room.
    pub(crate) fn ring(&self) {
        if self.asleep.load(Ordering::SeqCst) && self.asleep.swap(false, Ordering::SeqCst) {
            self.waker.wake();
        }
    }

    /// Sleeps until somebody rings, unless `busy`, which is asked after the bell is hung up.
    pub(crate) async fn sleep(&self, busy: impl Fn() -> bool) {
        let mut hung = false;
        std::future::poll_fn(|cx| {
            self.waker.register(cx.waker());
            if !hung {
                hung = true;
                // Its time stands still from now on, and for a moment after it is rung.
                self.set_ticks(0);
                self.asleep.store(true, Ordering::SeqCst);
                if busy() {
                    self.asleep.store(false, Ordering::SeqCst);
                }
            }
            if self.asleep.load(Ordering::SeqCst) { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }
}

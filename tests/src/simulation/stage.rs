//! Where a run takes place: what its callers, its kernels and its witness share, all on one thread, and
//! what they check as they go.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rustkernel_actors::kernel::{DeviceChoice, KernelRef};
use rustkernel_actors::supervisor::LifecycleState;
use rustkernel_actors::{CallError, Cancellation, KernelError, KernelResult, Rejection};
use rustkernel_gpu::DeviceError;
use tokio::time::Instant;

use super::account::{Account, End};
use super::book::{Book, Ended, Run};
use super::fault::{Fault, Faults};
use super::kernel::{Job, Simulated, is_out_of_memory};
use super::plan::{DEVICE, KernelPlan, Plan};
use super::run::SHUTDOWN_SLACK;
use super::trace::Trace;

/// How late an answer may come after its deadline, in milliseconds: the actor looks each 5 ms.
const LATE: u64 = 10;

/// How soon the requests that run on a device that is lost have their answers, in milliseconds: the loss is
/// noticed by who uses the device, or at the next health check; then those who have not heard are told.
const TOLD: u64 = 100;

/// Most violations that are told of one run.
const MOST_TOLD: usize = 8;

/// An answer, without the request that may come back with it.
pub(crate) type Answer = Result<u32, CallError<()>>;

pub(crate) struct Stage {
    pub(crate) faults: Faults,
    pub(crate) random: ChaCha8Rng,
    pub(crate) book: Book,
    pub(crate) trace: Trace,
    /// What the witness has heard of last.
    pub(crate) lifecycle: LifecycleState,
    pub(crate) kernels: Vec<Seen>,
    pub(crate) violations: Vec<String>,
    pub(crate) fired: Faults,
    /// How often the device was lost.
    pub(crate) losses: u32,
    /// It does not come back.
    pub(crate) device_out: bool,
    /// How many kernels start with the runtime.
    at_start: usize,
    /// When the runtime was asked to stop.
    pub(crate) asked_to_stop: Option<u64>,
    /// When it began to drain.
    pub(crate) draining_since: Option<u64>,
    /// How long that may take at most.
    pub(crate) drains_within: u64,
    begin: Instant,
    /// When it was over.
    over: Option<u64>,
}

/// A kernel as the run sees it.
pub(crate) struct Seen {
    pub(crate) plan: KernelPlan,
    pub(crate) kernel: Option<KernelRef<Simulated>>,
    /// The number, at its port, of the last request that started.
    last_started: u64,
    /// The last that had come when draining began.
    pub(crate) last_before_drain: Option<u64>,
    opened: BTreeSet<usize>,
    pub(crate) account: Account,
    /// It was unloaded by hand, and opens again by itself when it is loaded.
    unloaded: bool,
}

/// What a caller does after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Call,
    /// Waits: its kernel takes nothing for a while.
    Wait,
    /// Tries a few times more: nothing is taken any more.
    Leave,
}

thread_local! {
    static STAGE: RefCell<Option<Stage>> = const { RefCell::new(None) };
}

/// Something on the stage of this thread; `None` if there is none, before and after a run.
pub(crate) fn with<R>(act: impl FnOnce(&mut Stage) -> R) -> Option<R> {
    STAGE.with_borrow_mut(|stage| stage.as_mut().map(act))
}

/// A panic outside of kernel code; false if there is no run on this thread.
pub(crate) fn panicked(text: &str) -> bool {
    let told = |stage: &mut Option<Stage>| {
        stage.as_mut().map(|stage| stage.broken(&format!("panic outside of kernel code: {text}")))
    };
    STAGE.with(|stage| stage.try_borrow_mut().is_ok_and(|mut stage| told(&mut stage).is_some()))
}

pub(crate) fn enter(stage: Stage) {
    STAGE.set(Some(stage));
}

pub(crate) fn leave() -> Option<Stage> {
    STAGE.take()
}

/// Whether a fault that is on fires, with a probability of `of_eight` eighths.
pub(crate) fn fires(fault: Fault, of_eight: u32) -> bool {
    let fires = with(|stage| stage.faults.has(fault) && stage.random.random_ratio(of_eight, 8));
    let fires = fires.unwrap_or(false);
    if fires {
        fired(fault);
    }
    fires
}

/// A fault fires.
pub(crate) fn fired(fault: Fault) {
    with(|stage| stage.fired = stage.fired.with(fault));
}

/// A kernel is told to unload.
pub(crate) fn unload(kernel: usize) {
    with(|stage| stage.kernels[kernel].unloaded = true);
}

/// A number of that range.
pub(crate) fn draw(range: Range<u64>) -> u64 {
    with(|stage| stage.random.random_range(range.clone())).unwrap_or(range.start)
}

/// An instance opens; whether it did before.
pub(crate) fn note_open(kernel: usize, instance: usize) -> bool {
    with(|stage| stage.opened(kernel, instance)).unwrap_or(false)
}

/// The state of an instance is dropped.
pub(crate) fn note_end(kernel: usize, instance: usize, end: End) {
    with(|stage| stage.ended(kernel, instance, end));
}

/// Memory that a request had declared, and that is therefore there.
pub(crate) fn promised<T>(leased: KernelResult<T>) -> KernelResult<T> {
    if leased.as_ref().is_err_and(is_out_of_memory) {
        with(|stage| stage.broken("a request met out-of-memory within what it had declared"));
    }
    leased
}

impl Stage {
    pub(crate) fn new(plan: &Plan, random: ChaCha8Rng) -> Self {
        let seen = |plan: &KernelPlan| Seen {
            plan: *plan,
            kernel: None,
            last_started: 0,
            last_before_drain: None,
            opened: BTreeSet::new(),
            unloaded: false,
            account: Account::default(),
        };
        Self {
            faults: plan.faults,
            random,
            book: Book::new(plan.kernels.len()),
            trace: Trace::default(),
            lifecycle: LifecycleState::Starting,
            kernels: plan.kernels.iter().map(seen).collect(),
            violations: Vec::new(),
            fired: Faults::default(),
            losses: 0,
            device_out: false,
            at_start: plan.at_start(),
            asked_to_stop: None,
            draining_since: None,
            drains_within: (plan.shutdown_timeout + SHUTDOWN_SLACK).as_millis() as u64,
            begin: rustkernel_actors::clock::now(),
            over: None,
        }
    }

    /// Milliseconds since the run began.
    pub(crate) fn now(&self) -> u64 {
        self.over.unwrap_or_else(|| self.begin.elapsed().as_millis() as u64)
    }

    /// The run is over: its clock is, and what is dropped from now on is not of its trace.
    pub(crate) fn end(&mut self) {
        self.over = Some(self.now());
    }

    /// The run is over, and shuts the runtime down if it does not stop already.
    pub(crate) fn asked_to_stop(&mut self) {
        self.asked_to_stop = Some(self.now());
    }

    /// The device is lost in this moment.
    pub(crate) fn device_lost(&mut self) {
        let now = self.now();
        self.losses += 1;
        self.fired = self.fired.with(Fault::DeviceLost);
        self.trace.add(&[9, now]);
        // (A runtime that stops lets requests finish.)
        if self.lifecycle == LifecycleState::Running && !self.faults.has(Fault::StopsWithDevice) {
            self.book.on_device().for_each(|entry| entry.lost_by = Some(now + TOLD));
        }
    }

    /// Whether something has happened that stops the runtime by itself.
    pub(crate) fn has_failed(&self) -> bool {
        if self.losses > 0 && self.faults.has(Fault::StopsWithDevice) {
            return true;
        }
        let stops = |seen: &&Seen| seen.plan.restart.stops_runtime;
        self.kernels.iter().filter(stops).any(|seen| seen.account.exceeded.is_some())
    }

    /// An invariant does not hold.
    pub(crate) fn broken(&mut self, what: &str) {
        if self.violations.len() < MOST_TOLD {
            self.violations.push(format!("{what} (at {} ms)", self.now()));
        }
    }

    pub(crate) fn check(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.broken(&what());
        }
    }

    fn opened(&mut self, kernel: usize, instance: usize) -> bool {
        let now = self.now();
        self.trace.add(&[7, now, kernel as u64, instance as u64]);
        let seen = &mut self.kernels[kernel];
        let policy = seen.plan.restart;
        let opened = seen.account.opened(&policy, instance, now);
        let before = !seen.opened.insert(instance);
        let (is_grouped, unloaded) = (seen.plan.is_grouped, seen.unloaded);
        let exceeded = seen.account.exceeded;
        if let Err(wrong) = opened {
            self.broken(&format!("kernel {kernel}: {wrong}"));
        }
        // (The instances that follow one on trial open alone; a drain stops each kernel by itself.)
        // (Those of a device that comes back are no restart of their group.)
        let settled = exceeded.is_none() && self.losses == 0 && !unloaded;
        if is_grouped && settled && self.lifecycle == LifecycleState::Running {
            self.check_siblings(kernel);
        }
        if policy.limit.is_some() {
            self.fired = self.fired.with(Fault::Policies);
        }
        before
    }

    /// A group is stopped as a whole before it is started again, in order.
    fn check_siblings(&mut self, kernel: usize) {
        // (One that is added meanwhile starts meanwhile.)
        let later = self.kernels[..self.at_start].iter().skip(kernel + 1).find(|seen| {
            let Seen { plan, account, .. } = seen;
            plan.is_grouped && account.is_open()
        });
        let later = later.map(|seen| seen.plan.index);
        self.check(later.is_none(), || {
            format!("kernel {kernel} was opened while {later:?}, which comes after it, was open")
        });
    }

    fn ended(&mut self, kernel: usize, instance: usize, end: End) {
        let now = self.now();
        self.trace.add(&[8, now, kernel as u64, instance as u64, end as u64]);
        let seen = &mut self.kernels[kernel];
        seen.account.ended(&seen.plan.restart, instance, end, now);
    }

    /// A kernel has ended to execute a request, in whatever way. One that may be tried again has its answer when it
    /// was; that it has ended is all that it is to hear of a loss.
    pub(crate) fn attempt_ended(&mut self, number: u32) {
        let now = self.now();
        let entry = self.book.entry(number);
        entry.on_device = false;
        let attempts = self.kernels[entry.kernel].plan.restart.attempts.unwrap_or(1);
        if entry.tries < attempts && entry.lost_by.is_some_and(|by| now <= by) {
            entry.lost_by = None;
        }
    }

    /// A kernel begins to execute a request.
    pub(crate) fn started(&mut self, kernel: usize, job: &Job, id: Option<u64>, on_device: bool) {
        let (now, number) = (self.now(), job.number);
        self.trace.add(&[2, now, number.into()]);
        let entry = self.book.entry(number);
        let (run, over) = (entry.run, entry.is_over);
        let (called_in, of) = (entry.called_in, entry.kernel);
        entry.run = Run::Started;
        // (What is tried again has heard of the loss: its attempt has ended.)
        (entry.on_device, entry.lost_by) = (on_device, None);
        entry.tries += 1;
        let tries = entry.tries;
        if tries > 1 {
            self.fired = self.fired.with(Fault::Retries);
        }
        let attempts = self.kernels[kernel].plan.restart.attempts.unwrap_or(1);
        let again = !matches!(run, Run::Finished(Ended::Completed, _));
        self.check(tries <= attempts && again, || {
            format!("request {number} was started {tries} times, {run:?} the last time")
        });
        self.check(!over, || format!("request {number} was started after its end"));
        self.check(of == kernel, || format!("request {number} went to another kernel"));
        self.check(called_in <= LifecycleState::Running, || {
            format!("request {number} was made while {called_in} and started")
        });
        self.check_order(kernel, number, (id.unwrap_or(0), tries > 1));
    }

    /// With one instance requests start in the order in which they came, and once draining has begun
    /// none that came later starts.
    fn check_order(&mut self, kernel: usize, number: u32, (id, again): (u64, bool)) {
        let seen = &mut self.kernels[kernel];
        let last = std::mem::replace(&mut seen.last_started, id);
        let in_order = seen.plan.instances > 1 || id > last || again && id == last;
        let in_time = seen.last_before_drain.is_none_or(|last| id <= last);
        self.check(in_order, || format!("request {number} (id {id}) started after id {last}"));
        self.check(in_time, || format!("request {number} came while draining and started"));
    }

    /// A kernel has executed a request.
    pub(crate) fn finished(&mut self, number: u32, ended: Ended) {
        let now = self.now();
        let entry = self.book.entry(number);
        entry.run = Run::Finished(ended, now);
        if ended == Ended::Completed {
            self.kernels[entry.kernel].account.served();
        }
        self.trace.add(&[3, now, number.into(), ended as u64]);
    }

    /// A call that does not wait for room waits for its answer.
    pub(crate) fn pending(&mut self, kernel: usize) {
        self.book.pending[kernel] += 1;
        self.fired = self.fired.with(Fault::Impatient);
        let (open, bound) = (self.book.pending[kernel], self.kernels[kernel].plan.queue);
        self.check(open <= bound, || format!("{open} requests are open at a queue of {bound}"));
    }

    /// A call has an answer, or its caller has gone away (`None`). What that means for its caller.
    pub(crate) fn answered(&mut self, number: u32, answer: Option<Answer>) -> Next {
        let Some(answer) = answer else {
            self.gone(number);
            return Next::Call;
        };
        let now = self.now();
        let ended = ending(&answer);
        self.trace.add(&[4, now, number.into(), ended as u64]);
        let entry = self.book.entry(number);
        let (kernel, due, lost_by) = (entry.kernel, entry.due, entry.lost_by);
        let first = !std::mem::replace(&mut entry.is_over, true);
        self.check(first, || format!("request {number} was answered twice"));
        self.book.count(kernel, ended);
        let most = due.map_or(u64::MAX, |(at, slack)| at + slack + LATE);
        self.check(now <= most, || format!("request {number} was due by {most} ms"));
        let running = self.lifecycle == LifecycleState::Running;
        let told = !running || lost_by.is_none_or(|by| now <= by);
        self.check(told, || format!("request {number} was to hear of the loss by {lost_by:?} ms"));
        self.check_answer(number, ended, &answer);
        self.count_dead(number, &answer);
        next(&answer)
    }

    /// A request that has ended its kernel as often as it may is a dead letter.
    fn count_dead(&mut self, number: u32, answer: &Answer) {
        use KernelError::{Fatal, Panicked};
        let Err(CallError::Failed(Fatal(_) | Panicked(_))) = answer else { return };
        let entry = self.book.entry(number);
        let (kernel, tries) = (entry.kernel, entry.tries);
        if self.kernels[kernel].plan.restart.attempts == Some(tries) {
            self.book.dead[kernel] += 1;
        }
    }

    /// The caller went away. A request that was taken is somewhere still, and counts as cancelled; one
    /// that waited for room is gone with its caller.
    fn gone(&mut self, number: u32) {
        let now = self.now();
        let entry = self.book.entry(number);
        let (kernel, was_taken) = (entry.kernel, entry.copies > 0);
        entry.is_over = true;
        self.fired = self.fired.with(Fault::GivesUp);
        self.trace.add(&[5, now, number.into(), was_taken.into()]);
        if was_taken {
            self.book.count(kernel, Ended::Cancelled);
        }
    }

    /// The answer is what the kernel did, or there is reason that it is not.
    fn check_answer(&mut self, number: u32, ended: Ended, answer: &Answer) {
        let now = self.now();
        let entry = self.book.entry(number);
        let (run, called_in, due) = (entry.run, entry.called_in, entry.due.map_or(0, |(at, _)| at));
        let (is_low, kernel, called_at) = (entry.is_low, entry.kernel, entry.called_at);
        let lifecycle = self.lifecycle;
        let tried_again = self.kernels[kernel].plan.restart.attempts.is_some();
        let late = match run {
            Run::Finished(Ended::Failed, _) if tried_again => true,
            Run::Finished(by_kernel, at) if by_kernel != ended => at >= due && due > 0,
            _ => true,
        };
        let holds = match answer {
            Ok(told) => *told == number && matches!(run, Run::Finished(Ended::Completed, _)),
            Err(CallError::Failed(KernelError::Panicked(_))) => true,
            Err(CallError::Failed(KernelError::Interrupted(_))) => {
                run != Run::No && self.may_interrupt(kernel)
            }
            Err(CallError::Failed(KernelError::Device(DeviceError::Lost { .. }))) => {
                run != Run::No && self.may_be_lost(kernel)
            }
            Err(CallError::Failed(_)) => run != Run::No,
            Err(CallError::Rejected { rejection, .. }) => {
                run == Run::No
                    && match rejection {
                        Rejection::Quarantined { .. } => self.may_quarantine(kernel, called_at),
                        Rejection::Unloaded { .. } => self.faults.has(Fault::ByHand),
                        Rejection::Ended { .. } => self.may_end(kernel),
                        _ => may_refuse(rejection, called_in, lifecycle),
                    }
            }
            Err(CallError::Cancelled(Cancellation::DeadlineExceeded { .. })) => {
                late && due > 0 && now >= due
            }
            Err(CallError::Cancelled(Cancellation::ShutDown { .. })) => {
                lifecycle >= LifecycleState::Draining
            }
            Err(CallError::Cancelled(Cancellation::MemoryPressure { .. })) => {
                is_low && run == Run::No
            }
            Err(_) => false,
        };
        self.check(holds, || format!("request {number}, {run:?}, was answered {answer:?}"));
        let was_refused = matches!(ended, Ended::Rejected);
        self.check(called_in <= LifecycleState::Running || was_refused, || {
            format!("request {number}, made while {called_in}, was answered {answer:?}")
        });
    }
}

impl Stage {
    /// Whether somebody may have told an instance to give up what it runs.
    fn may_interrupt(&self, kernel: usize) -> bool {
        let plan = &self.kernels[kernel].plan;
        self.faults.has(Fault::ByHand) || plan.is_grouped || self.may_be_lost(kernel)
    }

    /// Whether a kernel's device was lost.
    fn may_be_lost(&self, kernel: usize) -> bool {
        self.losses > 0 && self.kernels[kernel].plan.is_on_device()
    }

    /// A kernel refuses requests only once it or one of its group has exceeded its limit; then at once also
    /// those that wait.
    fn may_quarantine(&self, kernel: usize, called_at: u64) -> bool {
        let own = &self.kernels[kernel].plan;
        let shares =
            |plan: &KernelPlan| plan.index == own.index || plan.is_grouped && own.is_grouped;
        let siblings = self.kernels.iter().filter(|seen| shares(&seen.plan));
        let exceeded = siblings.filter_map(|seen| seen.account.exceeded).max();
        exceeded.is_some_and(|at| self.now() <= called_at.max(at) + LATE)
    }

    /// A kernel has ended only once each of its instances has, or the one device that it could run on.
    fn may_end(&self, kernel: usize) -> bool {
        let Seen { account, plan, .. } = &self.kernels[kernel];
        let out = self.device_out && plan.device == DeviceChoice::On(DEVICE);
        out || account.all_gone(plan.instances)
    }
}

fn ending(answer: &Answer) -> Ended {
    match answer {
        Ok(_) => Ended::Completed,
        Err(CallError::Rejected { .. }) => Ended::Rejected,
        Err(CallError::Cancelled(_)) => Ended::Cancelled,
        Err(_) => Ended::Failed,
    }
}

/// What an answer means for its caller.
fn next(answer: &Answer) -> Next {
    let Err(CallError::Rejected { rejection, .. }) = answer else { return Next::Call };
    match rejection {
        Rejection::Draining | Rejection::Stopped | Rejection::Ended { .. } => Next::Leave,
        Rejection::Quarantined { .. } | Rejection::Unloaded { .. } => Next::Wait,
        _ => Next::Call,
    }
}

/// Whether that refusal has its place: between the state when the call was made and now.
fn may_refuse(rejection: &Rejection, called_in: LifecycleState, now: LifecycleState) -> bool {
    match rejection {
        Rejection::Starting => called_in == LifecycleState::Starting,
        // (What is known of the state is a moment old.)
        Rejection::Draining => now >= LifecycleState::Running,
        Rejection::Stopped => now >= LifecycleState::Draining,
        _ => called_in <= LifecycleState::Running,
    }
}

//! The callers of a run, each a task of its own.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use rand::RngExt;
use rustkernel_actors::CallError;
use rustkernel_actors::kernel::{KernelRef, Priority};
use tokio::time::timeout;

use super::book::{Entry, Run};
use super::fault::{Fault, OF_REQUESTS};
use super::kernel::{Deed, Job, Simulated};
use super::plan::{CallerPlan, KernelPlan, choose, millis};
use super::stage::{self, Next, Stage};

/// A deadline from this on may be known this much later; see `KernelSpec::deadline`.
const COARSE_FROM: Duration = Duration::from_secs(1);
const COARSE_SLACK: u64 = 10;

/// Refusals after which a caller stops trying to reach a runtime that ends.
const MOST_REFUSALS: u32 = 3;

/// What a caller is about to do.
struct Intent {
    job: Job,
    gives_up: Option<Duration>,
    within: Option<Duration>,
    priority: Option<Priority>,
}

/// Makes all calls of a caller, one after the other.
pub(crate) async fn call_all(caller: CallerPlan, to: KernelPlan, kernel: KernelRef<Simulated>) {
    let mut refusals = 0;
    for _ in 0..caller.requests {
        let pause = stage::with(|stage| stage.pause(&caller)).flatten();
        if let Some(pause) = pause {
            tokio::time::sleep(pause).await;
        }
        let lull = stage::with(|stage| caller.lull?.left(stage.now())).flatten();
        if let Some(left) = lull {
            tokio::time::sleep(left).await;
        }
        let Some(intent) = stage::with(|stage| stage.intend(&caller, &to)) else { return };
        match call_once(&caller, intent, &kernel).await {
            Next::Call => {}
            Next::Wait => tokio::time::sleep(millis(stage::draw(1..20))).await,
            Next::Leave => refusals += 1,
        }
        if refusals >= MOST_REFUSALS {
            return;
        }
    }
}

/// Makes one call.
async fn call_once(caller: &CallerPlan, intent: Intent, kernel: &KernelRef<Simulated>) -> Next {
    let Intent { job, gives_up, within, priority } = intent;
    let number = job.number;
    let of_priority = priority.map(|priority| kernel.with_priority(priority));
    let kernel = of_priority.as_ref().unwrap_or(kernel);
    let answer = match (caller.is_impatient, within) {
        (true, _) => patiently(gives_up, counted(caller.kernel, kernel.try_call(job))).await,
        (false, Some(time)) => patiently(gives_up, kernel.call_within(job, time)).await,
        (false, None) => patiently(gives_up, kernel.call(job)).await,
    };
    let answer = answer.map(|answer| answer.map_err(CallError::forget_request));
    stage::with(|stage| stage.answered(number, answer)).unwrap_or(Next::Leave)
}

/// None if the caller does not wait that long.
async fn patiently<T>(gives_up: Option<Duration>, call: impl Future<Output = T>) -> Option<T> {
    match gives_up {
        Some(patience) => timeout(patience, call).await.ok(),
        None => Some(call.await),
    }
}

/// Counts a call as pending for as long as it is: one that does not wait for room then has a place in the
/// queue.
async fn counted<F: Future>(kernel: usize, call: F) -> F::Output {
    let mut call = pin!(call);
    let mut pending = None;
    poll_fn(|cx| {
        let polled = call.as_mut().poll(cx);
        if polled.is_pending() && pending.is_none() {
            pending = Some(Pending::new(kernel));
        }
        match polled {
            Poll::Ready(answer) => {
                pending = None;
                Poll::Ready(answer)
            }
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

struct Pending {
    kernel: usize,
}

impl Pending {
    fn new(kernel: usize) -> Self {
        stage::with(|stage| stage.pending(kernel));
        Self { kernel }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        stage::with(|stage| stage.book.pending[self.kernel] -= 1);
    }
}

impl Stage {
    fn pause(&mut self, caller: &CallerPlan) -> Option<Duration> {
        let bits: u32 = self.random.random();
        (bits & 255 < caller.pauses).then(|| millis(u64::from(bits >> 8 & 3) + 1))
    }

    /// What a caller does next; the call is in the book.
    fn intend(&mut self, caller: &CallerPlan, to: &KernelPlan) -> Intent {
        let bits: u64 = self.random.random();
        let part = |shift: u32| bits >> shift & 255;
        let (now, faults) = (self.now(), self.faults);
        let within = (part(0) < 16).then(|| millis(part(8) + 1));
        let within = within.filter(|_| !caller.is_impatient);
        let (allowed, slack) = match (within, to.deadline) {
            (Some(within), _) => (Some(within), 0),
            (None, Some(deadline)) if deadline >= COARSE_FROM => (Some(deadline), COARSE_SLACK),
            (None, deadline) => (deadline, 0),
        };
        let due = allowed.map(|allowed| (now + allowed.as_millis() as u64, slack));
        let gives_up = (faults.has(Fault::GivesUp) && part(16) < 16).then(|| millis(part(24) / 8));
        let ends = due.is_some() || gives_up.is_some();
        let deed = self.deed((part(32), part(40)), ends, to);
        let priority = faults
            .has(Fault::Priorities)
            .then(|| *choose(&[Priority::Low, Priority::Normal, Priority::High], &mut self.random));
        if priority.is_some() {
            self.fired = self.fired.with(Fault::Priorities);
        }
        let (called_in, run) = (self.lifecycle, Run::No);
        let is_low = priority == Some(Priority::Low);
        let (tries, copies, is_over, kernel) = (0, 1, false, caller.kernel);
        let entry = Entry {
            kernel,
            called_at: now,
            called_in,
            due,
            run,
            is_low,
            tries,
            copies,
            is_over,
            on_device: false,
            lost_by: None,
        };
        let number = self.book.open(entry);
        let pages = if to.declares > 0 { self.random.random_range(1..=to.declares) } else { 0 };
        let job = Job { number, deed, pages };
        self.trace.add(&[1, now, number.into(), caller.kernel as u64]);
        Intent { job, gives_up, within, priority }
    }

    /// Only a request that ends by itself, or by its deadline, may hang.
    fn deed(&self, (which, time): (u64, u64), ends: bool, to: &KernelPlan) -> Deed {
        let fault = OF_REQUESTS.get(which as usize / 4).filter(|fault| match fault {
            Fault::Hangs => ends,
            Fault::PanicInNeed | Fault::TooLittle => to.declares > 0,
            Fault::Greedy => to.declares == 0,
            _ => true,
        });
        match fault.filter(|fault| self.faults.has(**fault)) {
            Some(fault) => Deed::Go(*fault),
            None if time < to.waits.into() => Deed::Wait(time as u16 % 4 + 1),
            None => Deed::Answer,
        }
    }
}

//! An instance: the one place where a kernel's code runs.
//!
//! It lives on its lane as one future that takes requests out of the kernel's port, runs them one at
//! a time, and answers. The port outlives it: when the kernel's code panics, the request that was
//! running is answered with what the panic said, the kernel's state is dropped, and the instance
//! begins again from the factory while the requests that wait stay where they are.
//!
//! ```text
//!   wanted? ──► open ──► serve ──► close ──► (the port was stopped, or it has to leave)
//!     ▲           │        │
//!     │           └────────┴─► an end: state dropped, the restart book asked
//!     └── restart, after its backoff; or suspended, until its kernel's actor wants it again
//! ```
//!
//! It restarts itself, because a message to its kernel's actor and back would cost two wake-ups of a
//! thread; the actor is told. What concerns others too (a group, a quarantine, a device) it leaves to the
//! actor, and waits.

mod lane;
mod life;
mod pacer;
mod seat;
mod serve;
mod untold;

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use actix::{Addr, Message};
use rustkernel_port::{Answers, Ending, Envelope, Key};
use slog::Logger;
use tokio::sync::oneshot;

use crate::allocator::MemoryClient;
use crate::error::{CallError, Cancellation, KernelError, KernelResult};
use crate::kernel::{Answer, Asked, Kernel, KernelActor, Shared};
use crate::panic::{self, Ended, PanicReport};
use crate::restart::{Cause, Verdict};
use life::NotOpen;

pub(crate) use lane::{Lane, Lanes, Threads};
pub(crate) use pacer::Pacer;
pub(crate) use seat::{Running, Seat, Wanted};
pub(crate) use untold::Untold;

/// What an instance tells its kernel's actor.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct InstanceReport {
    pub(crate) instance: usize,
    pub(crate) what: Told,
}

/// What happened to an instance.
#[derive(Debug)]
pub(crate) enum Told {
    /// Its code panicked in a way that did not end it.
    Panicked(PanicReport),
    /// It has ended, and that follows.
    Ended(Cause, Verdict),
    /// It serves again, with fresh state.
    Restarted,
    /// It has served a request after a quarantine.
    Proved,
}

/// Everything that an instance needs.
pub(crate) struct Instance<K: Kernel> {
    pub(crate) shared: Arc<Shared<K>>,
    pub(crate) seat: Arc<Seat>,
    pub(crate) client: MemoryClient,
    pub(crate) inline: bool,
    pub(crate) actor: Addr<KernelActor<K>>,
    pub(crate) logger: Logger,
    pub(crate) untold: Untold,
}

/// How a life of an instance ended.
enum End {
    /// The port was stopped, or the instance has to leave.
    Left,
    /// Its kernel's actor wants it to wait.
    Suspended,
    /// For a reason of its own.
    Died(Cause),
}

/// A request that is about to run.
struct Attempt<Q> {
    envelope: Envelope<Asked<Q>>,
    /// How the attempt before it failed; `None` if it has not begun.
    before: Option<KernelError>,
}

impl<Q> Attempt<Q> {
    fn first(envelope: Envelope<Asked<Q>>) -> Self {
        Self { envelope, before: None }
    }
}

/// A request that is to be tried again.
struct Retry<Q> {
    envelope: Envelope<Asked<Q>>,
    /// How the last attempt failed: what it is answered if another does not come about.
    before: KernelError,
}

/// The request that goes from one life of an instance to the next, and runs first there.
type Kept<K> = Option<Retry<<K as Kernel>::Request>>;

impl<K: Kernel> Instance<K> {
    /// Runs until the port is stopped or the instance has to leave. `started` is told how the first start
    /// went; if that failed, that was all.
    pub(crate) async fn run(self, mut started: Option<oneshot::Sender<KernelResult>>) {
        let mut kept: Kept<K> = None;
        while self.seat.may_serve(|| self.is_stopped_with(&mut kept)).await {
            if !self.seat.begin_open() {
                self.shared.turned.notify_waiters();
                continue;
            }
            let end = match self.open(&mut kept).await {
                Ok(mut life) => {
                    self.opened(started.take());
                    let end = self.live(&mut life, &mut kept).await;
                    self.refuse_with_others(&mut kept);
                    self.close(life, &end).await;
                    self.shared.went_down(&self.seat);
                    end
                }
                Err(not_open) => {
                    self.seat.stay_down();
                    self.shared.turned.notify_waiters();
                    if let Some(started) = started.take() {
                        return started.send(Err(not_open.into())).map_or((), drop);
                    }
                    match not_open {
                        _ if self.shared.port.is_stopped() => End::Left,
                        NotOpen::GivenUp => End::Suspended,
                        NotOpen::Failed(error) => End::Died(Cause::of_start(&error)),
                    }
                }
            };
            let goes_on = match end {
                End::Left => false,
                End::Suspended => true,
                End::Died(cause) => self.died(cause, &mut kept).await,
            };
            if !goes_on {
                break;
            }
        }
        self.give_up(&mut kept);
        self.tell_now();
    }

    /// Whether the port was stopped.
    fn is_stopped_with(&self, kept: &mut Kept<K>) -> bool {
        self.refuse_with_others(kept);
        self.shared.port.is_stopped()
    }

    /// A request to be tried again does not wait longer than those in the queue: while the kernel is
    /// quarantined it is answered, as they are.
    fn refuse_with_others(&self, kept: &mut Kept<K>) {
        if kept.is_some() && self.shared.is_turned_away() {
            self.give_up(kept);
        }
    }

    fn opened(&self, started: Option<oneshot::Sender<KernelResult>>) {
        self.shared.counters.running.fetch_add(1, Ordering::AcqRel);
        self.seat.go_up();
        match started {
            Some(started) => started.send(Ok(())).map_or((), drop),
            None => {
                self.shared.counters.restarts.fetch_add(1, Ordering::AcqRel);
                self.tell(Told::Restarted);
            }
        }
        self.shared.turned.notify_waiters();
    }

    /// It has ended: asks the book what follows, and does what is its own to do. False if it leaves.
    async fn died(&self, cause: Cause, kept: &mut Kept<K>) -> bool {
        if self.untold.is_due() {
            self.tell_now();
        }
        if self.seat.wanted() == Wanted::Leave {
            // Another sits in its place.
            return false;
        }
        let verdict = self.shared.ended(self.seat.index(), &cause);
        let shared_fate = self.shared.shares_fate(&cause);
        match verdict {
            Verdict::Restart(wait) if !shared_fate => {
                self.tell(Told::Ended(cause, verdict));
                self.wait_to_restart(wait).await;
                true
            }
            Verdict::Restart(_) => {
                self.seat.suspend();
                self.hand_over(cause, verdict).await;
                true
            }
            Verdict::Quarantine(_) | Verdict::Follow | Verdict::StopRuntime => {
                self.seat.suspend();
                self.give_up(kept);
                self.hand_over(cause, verdict).await;
                true
            }
            Verdict::Leave => {
                self.give_up(kept);
                self.hand_over(cause, verdict).await;
                false
            }
        }
    }

    /// The backoff; and while memory is short, until it is less so. Never within the same poll: others on
    /// the lane run first.
    async fn wait_to_restart(&self, backoff: Duration) {
        give_way().await;
        let called = |cx: &mut Context<'_>| {
            self.seat.register(cx.waker());
            self.shared.port.wake_when_given_up(self.seat.index(), cx.waker());
            self.seat.wanted() != Wanted::Serve || self.shared.port.is_stopped()
        };
        let wait = async {
            if !backoff.is_zero() {
                self.tell_now();
                tokio::time::sleep(backoff).await;
            }
            self.client.calm(self.shared.parts.priority).await;
        };
        let (Ended::Done(()) | Ended::GivenUp | Ended::Panicked(_)) =
            panic::run_guarded(wait, called).await;
    }

    /// Answers the request that was to be tried again.
    fn give_up(&self, kept: &mut Kept<K>) {
        let Some(Retry { envelope, before }) = kept.take() else { return };
        self.drop_guarded(envelope.request);
        let mut answers = Answers::default();
        self.answer(envelope.key, Ending::Failed, failed(before), &mut answers);
    }

    /// An attempt does not come about now. One that was to be tried again is kept; one that has not begun
    /// waits again, for whichever instance is free first.
    fn put_aside(&self, attempt: Attempt<K::Request>, kept: &mut Kept<K>) {
        let Attempt { envelope, before } = attempt;
        if let Some(before) = before {
            *kept = Some(Retry { envelope, before });
            return;
        }
        // (Not this one's any more before it is another's.)
        self.seat.end();
        match self.shared.port.put_back(envelope) {
            Ok(()) => self.shared.refuse_waiting(),
            Err(over) => self.drop_guarded(over),
        }
    }

    /// Whenever something waits that is no request: it is given up once the port is stopped or the
    /// instance is to give up what it does.
    fn stopped(&self) -> impl FnMut(&mut Context<'_>) -> bool {
        |cx| {
            self.tell_now();
            if self.seat.is_given_up() {
                return true;
            }
            self.seat.register(cx.waker());
            self.shared.port.wake_when_given_up(self.seat.index(), cx.waker());
            self.seat.is_given_up() || self.shared.port.is_stopped()
        }
    }

    /// Whenever a request waits: who has an answer, or is to hear something, does so, and the request is given
    /// up if nobody wants it any more, or `told` says so.
    fn given_up(
        &self,
        key: Key,
        answers: &mut Answers,
        told: impl Fn(Wanted) -> bool,
    ) -> impl FnMut(&mut Context<'_>) -> bool {
        move |cx| {
            answers.wake();
            self.tell_now();
            if told(self.seat.wanted()) {
                return true;
            }
            self.shared.port.wake_when_given_up(self.seat.index(), cx.waker());
            told(self.seat.wanted()) || self.shared.port.is_over(key)
        }
    }

    /// The answer to a request that is given up before it starts.
    fn cancelled(&self, cancellation: Cancellation, request: K::Request) -> Answer<K> {
        self.drop_guarded(request);
        Err(Box::new(CallError::Cancelled(cancellation)))
    }

    fn answer(&self, key: Key, ending: Ending, answer: Answer<K>, answers: &mut Answers) {
        if let Err(late) = self.shared.port.answer(key, ending, answer, answers) {
            self.drop_guarded(late);
        }
    }

    /// Drops something that has code of the application's in it.
    fn drop_guarded<T>(&self, value: T) {
        if let Err(report) = panic::guard_drop(value) {
            self.panicked(report);
        }
    }

    /// Drops a copy of a request, if there is one.
    fn discard(&self, copy: Option<K::Request>) {
        if copy.is_some() {
            self.drop_guarded(copy);
        }
    }

    /// Its code has panicked in a way that does not end it.
    fn panicked(&self, report: PanicReport) {
        self.shared.count_panic();
        self.tell(Told::Panicked(report));
    }

    /// Has the kernel's actor told when there is time.
    fn tell(&self, what: Told) {
        self.untold.add(what);
    }

    /// Tells the kernel's actor. A report that finds its mailbox full is dropped: the counters have it. But for
    /// the one that other instances wait for.
    #[allow(clippy::disallowed_methods, reason = "of these there is one a quarantine")]
    fn tell_now(&self) {
        for what in self.untold.take() {
            let others_wait = matches!(what, Told::Proved);
            let report = InstanceReport { instance: self.seat.index(), what };
            match others_wait {
                true => self.actor.do_send(report),
                false => self.actor.try_send(report).unwrap_or(()),
            }
        }
    }

    /// Leaves what follows to the kernel's actor.
    async fn hand_over(&self, cause: Cause, verdict: Verdict) {
        self.tell_now();
        let report =
            InstanceReport { instance: self.seat.index(), what: Told::Ended(cause, verdict) };
        // (An actor that is gone has told all to leave.)
        self.actor.send(report).await.ok();
    }
}

/// Lets others run that are ready on this thread. (Tokio's own way also asks the operating system for events,
/// which costs as much as a restart.)
async fn give_way() {
    let mut gave = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut gave, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn failed<R, Q>(error: KernelError) -> Result<R, Box<CallError<Q>>> {
    Err(Box::new(CallError::Failed(error)))
}

/// In which column of the books an answer belongs.
fn ending<R, Q>(answer: &Result<R, Box<CallError<Q>>>) -> Ending {
    match answer.as_ref().map_err(|error| &**error) {
        Ok(_) => Ending::Completed,
        Err(CallError::Failed(_)) => Ending::Failed,
        Err(CallError::Rejected { .. }) => Ending::Rejected,
        Err(CallError::Cancelled(_)) => Ending::Cancelled,
    }
}

#[cfg(test)]
mod tests {
    use actix::System;
    use futures_util::future::join_all;

    use super::*;
    use crate::Supervisor;
    use crate::kernel::{KernelContext, KernelSpec, Placement};
    use crate::restart::{RestartPolicy, RetryPolicy};
    use crate::supervisor::world::{Lines, config};

    /// More than the actor's mailbox holds.
    const MANY: usize = 3000;

    #[derive(Debug)]
    enum Ask {
        Succeed,
        Fail,
        End,
        /// A copy of one that fails.
        Bomb,
    }

    impl Clone for Ask {
        fn clone(&self) -> Self {
            match self {
                Self::Succeed => Self::Succeed,
                Self::Fail | Self::Bomb => Self::Bomb,
                Self::End => Self::End,
            }
        }
    }

    impl Drop for Ask {
        fn drop(&mut self) {
            assert!(!matches!(self, Self::Bomb), "a copy is dropped");
        }
    }

    struct Tried;

    impl Kernel for Tried {
        type Request = Ask;
        type Response = ();

        async fn execute(&mut self, ask: Ask, _: &mut KernelContext) -> KernelResult {
            match ask {
                Ask::Succeed => Ok(()),
                Ask::Fail | Ask::Bomb => Err(KernelError::failed("as asked")),
                Ask::End => Err(KernelError::fatal("as asked")),
            }
        }
    }

    #[test]
    fn that_a_kernel_is_well_again_is_heard_whatever_else_there_is_to_tell() {
        System::new().block_on(async {
            tokio::time::pause();
            let policy = RestartPolicy::permanent().limit(0, Duration::from_secs(60));
            let spec = KernelSpec::new("tried", || Tried).instances(2).queue(MANY);
            let spec = spec.placement(Placement::Shared).retry(RetryPolicy::default());
            let spec = spec.restart(policy.quarantine_until_lifted());
            let specs = vec![Box::new(spec) as _];
            let supervisor = Supervisor::on_this_thread(config(&Lines::default()), specs).unwrap();
            supervisor.start().await.unwrap();
            let tried = supervisor.kernel::<Tried>("tried").unwrap();
            tried.call(Ask::End).await.unwrap_err();
            while !supervisor.lift_quarantine("tried").await.unwrap() {}
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(tried.stats().running, 1, "one alone is tried");
            // (With others behind it, so that it is told while the mailbox is full.)
            let good = MANY - 100;
            let asked = (0..MANY).map(|at| if at == good { Ask::Succeed } else { Ask::Fail });
            let answers = join_all(asked.map(|ask| tried.call(ask))).await;
            assert!(answers[good].is_ok());
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(tried.stats().panics, MANY as u64 - 1);
            assert_eq!(tried.stats().running, 2, "all serve");
        });
    }
}

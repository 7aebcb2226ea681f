//! Serving: requests out of the port, one at a time, each answered.

use rustkernel_gpu::DeviceError;
use rustkernel_gpu::memory::Need;
use rustkernel_port::{Answers, Ending, Envelope, Key};

use super::life::Life;
use super::pacer::Pacer;
use super::{Attempt, End, Instance, Kept, Retry, Told, Wanted, ending, failed};
use crate::allocator::Refused;
use crate::clock;
use crate::error::{CallError, Cancellation, KernelError};
use crate::kernel::{Answer, Asked, Kernel, KernelContext, Request};
use crate::panic::{self, Ended};
use crate::restart::Cause;

impl<K: Kernel> Instance<K> {
    /// Serves requests until something ends this state of the kernel.
    pub(super) async fn live(&self, life: &mut Life<K>, kept: &mut Kept<K>) -> End {
        let end = self.serve(life, kept).await;
        self.shared.port.hand_on();
        end
    }

    async fn serve(&self, life: &mut Life<K>, kept: &mut Kept<K>) -> End {
        let port = &self.shared.port;
        let mut answers = Answers::default();
        let mut pacer = Pacer::new();
        let mut gave_way = false;
        loop {
            if self.seat.is_called() {
                answers.wake();
                if let Some(end) = self.answer_call(life).await {
                    return end;
                }
            }
            let waiting = || port.take(|over| self.drop_guarded(over)).map(Attempt::first);
            let Some(attempt) = self.wanted_again(kept).or_else(waiting) else {
                // What it has to tell can wait while others on its thread have more for it to do.
                if !self.untold.is_empty() && !std::mem::replace(&mut gave_way, true) {
                    answers.wake();
                    tokio::task::yield_now().await;
                    continue;
                }
                self.tell_now();
                port.wait(self.seat.index(), &mut answers, || self.seat.is_called()).await;
                if port.is_stopped() {
                    return End::Left;
                }
                pacer.resume();
                continue;
            };
            gave_way = false;
            if life.cx.is_stale() {
                self.put_aside(attempt, kept);
                answers.wake();
                return End::Died(Cause::DeviceLost(self.client.device().id()));
            }
            self.seat.begin(attempt.envelope.key);
            let died = self.serve_one(attempt, life, &mut answers, kept).await;
            self.seat.end();
            if let Some(cause) = died {
                answers.wake();
                return End::Died(cause);
            }
            if self.untold.is_due() {
                answers.wake();
                self.tell_now();
            }
            if let Some(nanos) = pacer.lap() {
                port.set_pace(nanos);
            }
            if !pacer.may_hold_answers() {
                answers.wake();
            }
            if pacer.budget_is_spent() {
                answers.wake();
                tokio::task::yield_now().await;
                pacer.resume();
            }
        }
    }

    /// The request that is to be tried again. One whose caller has gone or whose deadline has passed
    /// meanwhile is dropped: its end is in the books.
    fn wanted_again(&self, kept: &mut Kept<K>) -> Option<Attempt<K::Request>> {
        let Retry { envelope, before } = kept.take()?;
        if self.shared.port.is_over(envelope.key) {
            self.drop_guarded(envelope);
            return None;
        }
        Some(Attempt { envelope, before: Some(before) })
    }

    /// Does what else its kernel's actor wants. Some end if that ends this state.
    async fn answer_call(&self, life: &mut Life<K>) -> Option<End> {
        match self.seat.wanted() {
            Wanted::Serve => {}
            Wanted::Suspend | Wanted::SuspendNow => return Some(End::Suspended),
            Wanted::Leave => return Some(End::Left),
        }
        if !self.seat.take_check() {
            return None;
        }
        self.seat.set_hook(Some(clock::now() + self.shared.parts.start_timeout));
        let checked = panic::run_guarded(life.kernel.check(&mut life.cx), self.stopped()).await;
        self.seat.set_hook(None);
        let cause = match checked {
            Ended::Done(Ok(())) => return self.checked(life).map(End::Died),
            Ended::GivenUp => return None,
            Ended::Done(Err(error)) => {
                error.ends_instance().unwrap_or_else(|| Cause::Unhealthy(error.to_string()))
            }
            Ended::Panicked(report) => {
                self.shared.count_panic();
                Cause::Panicked(report)
            }
        };
        Some(End::Died(cause))
    }

    /// It is well. Some cause if it asked for its end.
    fn checked(&self, life: &Life<K>) -> Option<Cause> {
        if life.cx.has_served() {
            self.prove();
        }
        life.cx.wants_exit().then_some(Cause::Exited)
    }

    /// Runs one request and answers it. Some cause if it ended the kernel's state.
    async fn serve_one(
        &self,
        Attempt { envelope, before }: Attempt<K::Request>,
        life: &mut Life<K>,
        answers: &mut Answers,
        kept: &mut Kept<K>,
    ) -> Option<Cause> {
        let Envelope { key, id, deadline, request: asked } = envelope;
        let Asked { request, priority, tries, timing } = asked;
        if before.is_none() && self.client.cancels(priority) {
            let device = self.client.device().id();
            let cancellation = Cancellation::MemoryPressure { device };
            let answer = self.cancelled(cancellation, request);
            self.answer(key, Ending::Cancelled, answer, answers);
            return None;
        }
        let Life { kernel, cx, .. } = life;
        cx.begin(Request { id, key, deadline: clock::at(deadline), priority });
        timing.iter().for_each(|timing| timing.take());
        let request = match self.reserve(request, cx, answers, key).await {
            Ok(request) => request,
            Err(unreserved) => {
                cx.end();
                match unreserved {
                    Unreserved::Answered(answer) => {
                        let answer = self.unless_begun(answer, before);
                        let ending = ending(&answer);
                        self.answer(key, ending, answer, answers);
                    }
                    Unreserved::Over => {}
                    Unreserved::Kept(request) => {
                        let request = Asked { request, priority, tries, timing };
                        let envelope = Envelope { key, id, deadline, request };
                        self.put_aside(Attempt { envelope, before }, kept);
                    }
                }
                return None;
            }
        };
        let tries = tries + 1;
        let copy = self.copy(&request, tries);
        let copy = Asked { request: copy, priority, tries, timing: timing.clone() };
        let tried = Envelope { key, id, deadline, request: copy };
        let given_up = self.given_up(key, answers, |wanted| wanted >= Wanted::SuspendNow);
        if let Some(timing) = &timing {
            timing.begin();
            cx.stream().set_watch(timing.watch());
        }
        let ended = panic::run_guarded(kernel.execute(request, cx), given_up).await;
        timing.iter().for_each(|timing| timing.end());
        if let Some((reservation, need)) = cx.reservation() {
            self.shared.learned.note(reservation, need);
        }
        // Memory is back before the caller knows: what it asks for next finds it.
        cx.end();
        let error = match ended {
            Ended::Done(Ok(response)) => {
                self.answer(key, Ending::Completed, Ok(response), answers);
                self.discard(tried.request.request);
                return self.served(life);
            }
            Ended::Done(Err(error)) => error,
            Ended::Panicked(report) => {
                self.shared.count_panic();
                KernelError::Panicked(report)
            }
            Ended::GivenUp => {
                self.discard(tried.request.request);
                return self.was_given_up(key, life, answers).await;
            }
        };
        let (died, again) = self.failed(error, tried, life, answers);
        *kept = again;
        died
    }

    /// A request has failed. Some cause if that ends the kernel's state; then it may be one to be tried again.
    fn failed(
        &self,
        error: KernelError,
        tried: Tried<K::Request>,
        life: &mut Life<K>,
        answers: &mut Answers,
    ) -> (Option<Cause>, Kept<K>) {
        let died = error.ends_instance().or_else(|| self.refused(&error, life));
        let again = died.as_ref().is_some_and(|cause| self.is_tried_again(cause, &tried));
        let Envelope { key, id, deadline, request: asked } = tried;
        let Asked { request, priority, tries, timing } = asked;
        let kept = match request {
            Some(request) if again => {
                let request = Asked { request, priority, tries, timing };
                Some(Retry { envelope: Envelope { key, id, deadline, request }, before: error })
            }
            copy => {
                self.discard(copy);
                self.answer(key, Ending::Failed, failed(error), answers);
                None
            }
        };
        (died.or_else(|| life.cx.wants_exit().then_some(Cause::Exited)), kept)
    }

    /// A copy of a request that may be tried again. None if copying it panics: then this is the last time.
    fn copy(&self, request: &K::Request, tries: u32) -> Option<K::Request> {
        let retry = self.shared.parts.retry.as_ref()?;
        if tries >= retry.policy.attempts {
            return None;
        }
        let copied = panic::guard(|| (retry.clone)(request));
        copied.map_err(|report| self.panicked(report)).ok()
    }

    /// A request that has begun before is not rejected, even if there is no memory to try it again: it has
    /// failed as it did then.
    fn unless_begun(&self, answer: Answer<K>, before: Option<KernelError>) -> Answer<K> {
        match (answer, before) {
            (Err(refused), Some(before)) => {
                if let Some(request) = refused.into_request() {
                    self.drop_guarded(request);
                }
                failed(before)
            }
            (answer, _) => answer,
        }
    }

    /// A request has succeeded. Some cause if the kernel asked for its end.
    fn served(&self, life: &mut Life<K>) -> Option<Cause> {
        life.refused = 0;
        if let Some(retry) = &self.shared.parts.retry {
            self.shared.retries.earn(retry.policy.ratio);
        }
        self.prove();
        life.cx.wants_exit().then_some(Cause::Exited)
    }

    /// If it is the one that is tried after a quarantine, that is over. (It may have been at work all the
    /// while; another that ends what it had begun before proves nothing.)
    fn prove(&self) {
        let tried = self.shared.is_on_trial() && self.seat.wanted() == Wanted::Serve;
        if tried && self.shared.proved() {
            self.tell(Told::Proved);
        }
    }

    /// A request has failed. Some cause if too many in a row have because the driver refused a call.
    fn refused(&self, error: &KernelError, life: &mut Life<K>) -> Option<Cause> {
        let by_driver = matches!(error, KernelError::Device(DeviceError::Driver { .. }));
        life.refused = if by_driver { life.refused + 1 } else { 0 };
        let most = self.shared.parts.restart.launch_failures;
        (life.refused >= most).then_some(Cause::LaunchFailures(life.refused))
    }

    /// Whether a request whose kernel ended while it ran is tried again. One that has ended it as often as it
    /// may is a dead letter.
    fn is_tried_again(&self, cause: &Cause, tried: &Tried<K::Request>) -> bool {
        let Some(retry) = &self.shared.parts.retry else { return false };
        let Asked { request, tries, .. } = &tried.request;
        if !cause.counts() || self.shared.port.is_over(tried.key) {
            return false;
        }
        if *tries >= retry.policy.attempts {
            self.shared.bury(tried.id, *tries, cause);
            return false;
        }
        let again = request.is_some() && self.shared.retries.take();
        if again {
            self.shared.count_retry();
        }
        again
    }

    /// Nobody waits for the answer any more, or the instance is told to give up. What the request has
    /// started on the stream is waited for; some cause if that does not end.
    async fn was_given_up(
        &self,
        key: Key,
        life: &mut Life<K>,
        answers: &mut Answers,
    ) -> Option<Cause> {
        if !self.shared.port.is_over(key) {
            let cause = self.shared.interruption();
            self.answer(key, Ending::Failed, failed(KernelError::Interrupted(cause)), answers);
            answers.wake();
        }
        let stream = life.cx.stream();
        if stream.is_idle() || self.seat.is_given_up() {
            return None;
        }
        let Ok(completion) = stream.completion() else { return None };
        let grace = self.shared.parts.restart.hang_grace;
        let waited = tokio::time::timeout(grace, completion);
        match panic::run_guarded(waited, self.stopped()).await {
            Ended::Done(Err(_elapsed)) => Some(Cause::Hung(grace)),
            // (An error of the work is its request's, which has gone; a lost device is met again.)
            Ended::Done(Ok(_)) | Ended::GivenUp | Ended::Panicked(_) => None,
        }
    }

    /// Reserves what the request declares.
    async fn reserve(
        &self,
        request: K::Request,
        cx: &mut KernelContext,
        answers: &mut Answers,
        key: Key,
    ) -> Result<K::Request, Unreserved<K>> {
        let Some(declare) = &self.shared.parts.need else { return Ok(request) };
        let kind = cx.device().kind();
        let need = match panic::guard(|| declare(&request, kind)) {
            Ok(Need::NOTHING) => return Ok(request),
            Ok(need) => need,
            Err(report) => {
                self.drop_guarded(request);
                return Err(Unreserved::Answered(failed(KernelError::Panicked(report))));
            }
        };
        // (It has not begun: whatever else the instance is to do comes first.)
        let given_up = self.given_up(key, answers, |wanted| wanted != Wanted::Serve);
        let answer = match panic::run_guarded(cx.reserve(need), given_up).await {
            Ended::Done(Ok(())) => return Ok(request),
            Ended::Done(Err(Refused::Rejected(rejection))) => {
                Err(Box::new(CallError::Rejected { rejection, request }))
            }
            Ended::Done(Err(Refused::Cancelled(cancellation))) => {
                self.cancelled(cancellation, request)
            }
            Ended::Panicked(report) => {
                self.drop_guarded(request);
                failed(KernelError::Panicked(report))
            }
            Ended::GivenUp if self.shared.port.is_over(key) => {
                self.drop_guarded(request);
                return Err(Unreserved::Over);
            }
            Ended::GivenUp => return Err(Unreserved::Kept(request)),
        };
        Err(Unreserved::Answered(answer))
    }
}

/// A request that runs, with a copy of it if it can be tried again, and how often its kernel has ended while it
/// ran, should it now.
type Tried<Q> = Envelope<Asked<Option<Q>>>;

/// A request that got no memory.
enum Unreserved<K: Kernel> {
    /// This is its answer.
    Answered(Answer<K>),
    /// Nobody waits for one any more.
    Over,
    /// Something else is wanted of its instance. The request has not begun.
    Kept(K::Request),
}

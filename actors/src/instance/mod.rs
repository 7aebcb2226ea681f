//! An instance: the one place where a kernel's code runs.
//!
//! It lives on its lane as one future that takes requests out of the kernel's port, runs them one at
//! a time, and answers. The port outlives it: when the kernel's code panics, the request that was
//! running is answered with what the panic said, the kernel's state is dropped, and the instance
//! begins again from the factory while the requests that wait stay where they are.
//!
//! ```text
//!   open ──► serve ──► close                (the port was stopped)
//!    ▲         │
//!    └─────────┘ panic, fatal error, device lost: state dropped, factory, open; backoff if that fails
//! ```

mod lane;
mod pacer;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::time::Duration;

use actix::{Message, Recipient};
use rustkernel_gpu::DeviceError;
use rustkernel_gpu::memory::Need;
use rustkernel_port::{Answers, Ending, Envelope, Key};
use slog::Logger;
use tokio::sync::oneshot;

use crate::allocator::{MemoryClient, Refused};
use crate::clock;
use crate::error::{CallError, Cancellation, KernelError, KernelResult};
use crate::kernel::{Answer, Asked, Kernel, KernelContext, Request, Setting, Shared};
use crate::panic::{self, Ended, PanicReport};

pub(crate) use lane::{Lane, Lanes, Threads};
use pacer::Pacer;

/// The first wait after a restart that failed; it doubles up to the last.
const FIRST_BACKOFF: Duration = Duration::from_millis(10);
const LAST_BACKOFF: Duration = Duration::from_secs(1);

/// What an instance tells its kernel's actor.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct InstanceReport {
    pub(crate) instance: usize,
    pub(crate) what: Told,
}

/// What happened to an instance.
pub(crate) enum Told {
    Panicked(PanicReport),
    Failed(String),
    Restarted,
    RestartFailed(String),
}

/// Everything that an instance needs.
pub(crate) struct Instance<K: Kernel> {
    pub(crate) shared: Arc<Shared<K>>,
    pub(crate) index: usize,
    pub(crate) client: MemoryClient,
    pub(crate) inline: bool,
    pub(crate) reports: Recipient<InstanceReport>,
    pub(crate) logger: Logger,
}

/// Why an instance's life ended.
enum Death {
    /// The port was stopped.
    Stopped,
    Panicked(PanicReport),
    Failed(String),
}

impl<K: Kernel> Instance<K> {
    /// Runs until the port is stopped. `started` is told how the first start went; if it failed, that
    /// was all.
    pub(crate) async fn run(self, started: oneshot::Sender<KernelResult>) {
        let mut life = match self.open().await {
            Ok(life) => life,
            Err(error) => return started.send(Err(error)).map_or((), drop),
        };
        started.send(Ok(())).ok();
        loop {
            self.shared.counters.running.fetch_add(1, Ordering::AcqRel);
            let death = self.live(life).await;
            self.shared.counters.running.fetch_sub(1, Ordering::AcqRel);
            match death {
                Death::Stopped => return,
                Death::Panicked(report) => self.panicked(report),
                Death::Failed(error) => self.tell(Told::Failed(error)),
            }
            // Never within the same poll: others on the lane run first.
            tokio::task::yield_now().await;
            match self.reopen().await {
                Some(again) => life = again,
                None => return,
            }
            self.shared.counters.restarts.fetch_add(1, Ordering::AcqRel);
            self.tell(Told::Restarted);
        }
    }

    /// Makes the kernel's state and opens it.
    async fn open(&self) -> KernelResult<(K, KernelContext)> {
        let mut cx = KernelContext::new(Setting {
            kernel: Arc::clone(&self.shared.parts.name),
            instance: self.index,
            client: self.client.clone(),
            inline: self.inline,
            logger: self.logger.clone(),
            status: self.shared.clone(),
        })?;
        let mut kernel =
            panic::guard(|| (self.shared.parts.factory)()).map_err(KernelError::Panicked)?;
        let opened = panic::run_guarded(kernel.open(&mut cx), self.stopped()).await;
        let opened = match opened {
            Ended::Done(opened) => opened,
            Ended::Panicked(report) => Err(KernelError::Panicked(report)),
            Ended::GivenUp => Err(KernelError::failed("the runtime was stopped meanwhile")),
        };
        match opened {
            Ok(()) => Ok((kernel, cx)),
            Err(error) => {
                self.drop_state(kernel);
                Err(error)
            }
        }
    }

    /// Opens again until it works, waiting longer each time. None once the port is stopped.
    async fn reopen(&self) -> Option<(K, KernelContext)> {
        let mut backoff = FIRST_BACKOFF;
        while !self.shared.port.is_stopped() {
            match self.open().await {
                Ok(life) => return Some(life),
                Err(error) => {
                    self.refuse_waiting(&error);
                    self.tell(Told::RestartFailed(error.to_string()));
                }
            }
            if panic::run_guarded(tokio::time::sleep(backoff), self.stopped()).await
                != Ended::Done(())
            {
                return None;
            }
            backoff = (2 * backoff).min(LAST_BACKOFF);
        }
        None
    }

    /// While the device is lost, requests are told so at once instead of waiting for their deadlines.
    fn refuse_waiting(&self, error: &KernelError) {
        let KernelError::Device(lost @ DeviceError::Lost { .. }) = error else { return };
        let mut answers = Answers::default();
        while let Some(Envelope { key, .. }) = self.shared.port.take() {
            let answer = failed(KernelError::Device(lost.clone()));
            self.answer(key, Ending::Failed, answer, &mut answers);
        }
    }

    /// Serves requests until something ends this state of the kernel; then drops the state.
    async fn live(&self, (mut kernel, mut cx): (K, KernelContext)) -> Death {
        let death = self.serve(&mut kernel, &mut cx).await;
        if matches!(death, Death::Stopped)
            && let Ended::Panicked(report) =
                panic::run_guarded(kernel.close(&mut cx), |_| false).await
        {
            self.panicked(report);
        }
        self.drop_state(kernel);
        death
    }

    fn drop_state(&self, kernel: K) {
        if let Err(report) = panic::guard_drop(kernel) {
            self.panicked(report);
        }
    }

    async fn serve(&self, kernel: &mut K, cx: &mut KernelContext) -> Death {
        let port = &self.shared.port;
        let mut answers = Answers::default();
        let mut pacer = Pacer::new();
        loop {
            let envelope = match port.take() {
                Some(envelope) => envelope,
                None => match port.next(self.index, &mut answers).await {
                    Some(envelope) => {
                        pacer.resume();
                        envelope
                    }
                    None => return Death::Stopped,
                },
            };
            if let Some(death) = self.serve_one(envelope, kernel, cx, &mut answers).await {
                return death;
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

    /// Runs one request and answers it. Some death if it ended the kernel's state.
    async fn serve_one(
        &self,
        envelope: Envelope<Asked<K::Request>>,
        kernel: &mut K,
        cx: &mut KernelContext,
        answers: &mut Answers,
    ) -> Option<Death> {
        let Envelope { key, id, deadline, request: Asked { request, priority } } = envelope;
        if self.client.cancels(priority) {
            let device = self.client.device().id();
            let cancellation = Cancellation::MemoryPressure { device };
            let answer = self.cancelled(cancellation, request);
            self.answer(key, Ending::Cancelled, answer, answers);
            return None;
        }
        cx.begin(Request { id, key, deadline: clock::at(deadline), priority });
        let request = match self.reserve(request, cx, answers, key).await {
            Ok(request) => request,
            Err(answer) => {
                cx.end();
                if let Some(answer) = answer {
                    let ending = ending(&answer);
                    self.answer(key, ending, answer, answers);
                }
                return None;
            }
        };
        let ended =
            panic::run_guarded(kernel.execute(request, cx), self.given_up(key, answers)).await;
        if let Some((reservation, need)) = cx.reservation() {
            self.shared.learned.note(reservation, need);
        }
        // Memory is back before the caller knows: what it asks for next finds it.
        cx.end();
        let (answer, death) = match ended {
            Ended::Done(Ok(response)) => (Ok(response), None),
            Ended::Done(Err(error)) => {
                let death = error.ends_instance().then(|| Death::Failed(error.to_string()));
                (failed(error), death)
            }
            Ended::Panicked(report) => {
                let error = KernelError::Panicked(report.clone());
                (failed(error), Some(Death::Panicked(report)))
            }
            Ended::GivenUp => return None,
        };
        let ending = ending(&answer);
        self.answer(key, ending, answer, answers);
        death
    }

    /// Whenever something waits that is no request: it is given up once the port is stopped.
    fn stopped(&self) -> impl FnMut(&mut Context<'_>) -> bool {
        |cx| {
            self.shared.port.wake_when_given_up(self.index, cx.waker());
            self.shared.port.is_stopped()
        }
    }

    /// Whenever the kernel's code waits: callers with answers are woken, and a request that nobody
    /// wants any more is given up.
    fn given_up(&self, key: Key, answers: &mut Answers) -> impl FnMut(&mut Context<'_>) -> bool {
        move |cx| {
            answers.wake();
            self.shared.port.wake_when_given_up(self.index, cx.waker());
            self.shared.port.is_over(key)
        }
    }

    /// Reserves what the request declares. An error is its answer, or none if it was given up.
    async fn reserve(
        &self,
        request: K::Request,
        cx: &mut KernelContext,
        answers: &mut Answers,
        key: Key,
    ) -> Result<K::Request, Option<Answer<K>>> {
        let Some(declare) = &self.shared.parts.need else { return Ok(request) };
        let kind = cx.device().kind();
        let need = match panic::guard(|| declare(&request, kind)) {
            Ok(Need::NOTHING) => return Ok(request),
            Ok(need) => need,
            Err(report) => return Err(Some(failed(KernelError::Panicked(report)))),
        };
        match panic::run_guarded(cx.reserve(need), self.given_up(key, answers)).await {
            Ended::Done(Ok(())) => Ok(request),
            Ended::Done(Err(Refused::Rejected(rejection))) => {
                Err(Some(Err(Box::new(CallError::Rejected { rejection, request }))))
            }
            Ended::Done(Err(Refused::Cancelled(cancellation))) => {
                Err(Some(self.cancelled(cancellation, request)))
            }
            Ended::Panicked(report) => Err(Some(failed(KernelError::Panicked(report)))),
            Ended::GivenUp => Err(None),
        }
    }

    /// The answer to a request that is given up before it starts.
    fn cancelled(&self, cancellation: Cancellation, request: K::Request) -> Answer<K> {
        if let Err(report) = panic::guard_drop(request) {
            self.panicked(report);
        }
        Err(Box::new(CallError::Cancelled(cancellation)))
    }

    fn answer(&self, key: Key, ending: Ending, answer: Answer<K>, answers: &mut Answers) {
        if let Err(late) = self.shared.port.answer(key, ending, answer, answers)
            && let Err(report) = panic::guard_drop(late)
        {
            self.panicked(report);
        }
    }

    fn panicked(&self, report: PanicReport) {
        self.shared.counters.panics.fetch_add(1, Ordering::AcqRel);
        self.tell(Told::Panicked(report));
    }

    /// Tells the kernel's actor. A report that finds its mailbox full is dropped: the counters have it.
    fn tell(&self, what: Told) {
        self.reports.try_send(InstanceReport { instance: self.index, what }).ok();
    }
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

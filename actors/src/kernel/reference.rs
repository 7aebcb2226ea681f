//! How a kernel is called.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use actix::prelude::*;
use rustkernel_port::Refusal;

use super::shared::{Answer, AnyKernel, Asked, KernelStats, Shared};
use super::{Kernel, Priority, Timing};
use crate::clock::{self, Instant};
use crate::error::{CallError, Rejection};

/// A request on its way, or why not and the request.
type Submitted<'a, K> = Result<
    rustkernel_port::Call<'a, Asked<<K as Kernel>::Request>, Answer<K>>,
    (Rejection, <K as Kernel>::Request),
>;

/// A kernel that can be called, from any thread and any executor. Clones call the same kernel.
///
/// Dropping the future of a call gives the request up: it is skipped if it still waits, and its
/// kernel's code is dropped at the next `.await` if it runs.
pub struct KernelRef<K: Kernel> {
    shared: Arc<Shared<K>>,
    pub(super) priority: Priority,
    pub(super) timing: Option<Arc<Timing>>,
    pub(super) gathers: bool,
}

impl<K: Kernel> KernelRef<K> {
    pub(crate) fn new(shared: Arc<Shared<K>>) -> Self {
        Self { priority: shared.parts.priority, shared, timing: None, gathers: false }
    }

    /// The same kernel, to be called with that priority instead of its spec's.
    #[must_use]
    pub fn with_priority(&self, priority: Priority) -> Self {
        Self { priority, ..self.clone() }
    }

    /// The same kernel, whose calls note in `timing` when they were run. For one call at a time.
    #[must_use]
    pub fn with_timing(&self, timing: Arc<Timing>) -> Self {
        Self { timing: Some(timing), ..self.clone() }
    }

    /// The same kernel, for a thread on which many tasks call it: while requests are open, a sleeping instance is
    /// not woken for each more at once, but when the tasks that were ready to run on the thread have had their turn,
    /// for all that they have brought. None of them may keep the thread for long.
    #[must_use]
    pub fn gathering(&self) -> Self {
        Self { gathers: true, ..self.clone() }
    }

    /// The kernel's name.
    pub fn name(&self) -> &str {
        &self.shared.parts.name
    }

    /// A reading of the kernel.
    pub fn stats(&self) -> KernelStats {
        self.shared.stats()
    }

    /// Calls the kernel, within the deadline of its spec. Waits for room if as many requests are open
    /// as the kernel allows.
    ///
    /// # Errors
    /// [`CallError`] says why there is no answer; the request comes back if it was not run.
    pub async fn call(&self, request: K::Request) -> Result<K::Response, CallError<K::Request>> {
        self.call_until(request, self.shared.deadline()).await
    }

    /// Calls the kernel, to be answered before `deadline`. Waits for room as [`call`](Self::call).
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub async fn call_before(
        &self,
        request: K::Request,
        deadline: Instant,
    ) -> Result<K::Response, CallError<K::Request>> {
        self.call_until(request, clock::ticks(deadline)).await
    }

    /// Calls the kernel, to be answered within `timeout`. Waits for room as [`call`](Self::call).
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub async fn call_within(
        &self,
        request: K::Request,
        timeout: Duration,
    ) -> Result<K::Response, CallError<K::Request>> {
        self.call_until(request, clock::after(timeout)).await
    }

    /// Calls the kernel if there is room now.
    ///
    /// # Errors
    /// As [`call`](Self::call), and [`Rejection::QueueFull`] at once where that would wait.
    pub async fn try_call(
        &self,
        request: K::Request,
    ) -> Result<K::Response, CallError<K::Request>> {
        self.try_call_until(request, self.shared.deadline()).await
    }

    /// Calls the kernel if there is room now, to be answered within `timeout`.
    ///
    /// # Errors
    /// As [`try_call`](Self::try_call).
    pub async fn try_call_within(
        &self,
        request: K::Request,
        timeout: Duration,
    ) -> Result<K::Response, CallError<K::Request>> {
        self.try_call_until(request, clock::after(timeout)).await
    }

    async fn try_call_until(
        &self,
        request: K::Request,
        deadline: u64,
    ) -> Result<K::Response, CallError<K::Request>> {
        if let Err(rejection) = self.admit(&request) {
            return Err(self.reject(rejection, request));
        }
        match self.submit(request, deadline).await {
            Ok(call) => call.await.map_err(|error| *error),
            Err((rejection, request)) => Err(self.reject(rejection, request)),
        }
    }

    async fn call_until(
        &self,
        request: K::Request,
        deadline: u64,
    ) -> Result<K::Response, CallError<K::Request>> {
        if let Err(rejection) = self.admit(&request) {
            return Err(self.reject(rejection, request));
        }
        match self.submit(request, deadline).await {
            Ok(call) => call.await.map_err(|error| *error),
            Err((Rejection::QueueFull { .. }, request)) => {
                self.call_when_room(request, deadline).await
            }
            Err((rejection, request)) => Err(self.reject(rejection, request)),
        }
    }

    /// Waits for room; the kernel's actor rouses those whose deadline has passed.
    #[cold]
    async fn call_when_room(
        &self,
        mut request: K::Request,
        deadline: u64,
    ) -> Result<K::Response, CallError<K::Request>> {
        loop {
            let room = self.shared.port.listen_for_room();
            self.shared.reaper.ring();
            let expired = deadline != 0 && clock::ticks(clock::now()) >= deadline;
            let admitted = if expired { Err(self.expired()) } else { self.shared.admission() };
            if let Err(rejection) = admitted {
                return Err(self.reject(rejection, request));
            }
            match self.submit(request, deadline).await {
                Ok(call) => {
                    // What room there is from now on is for others.
                    drop(room);
                    return call.await.map_err(|error| *error);
                }
                Err((Rejection::QueueFull { .. }, back)) => request = back,
                Err((rejection, request)) => return Err(self.reject(rejection, request)),
            }
            room.await;
        }
    }

    fn admit(&self, request: &K::Request) -> Result<(), Rejection> {
        self.shared.admission()?;
        match &self.shared.parts.published {
            Some(published) => Ok((published.check)(request, &published.signature.request)?),
            None => Ok(()),
        }
    }

    /// Brings a request to the port. Ready at once, or, if the answer is not there within a moment,
    /// when it is.
    async fn submit(&self, request: K::Request, deadline: u64) -> Submitted<'_, K> {
        let timing = self.timing.clone();
        let mut request = Some(Asked { request, priority: self.priority, tries: 0, timing });
        let mut brought = None;
        poll_fn(|cx| {
            if let Some(call) = brought.take() {
                return Poll::Ready(Ok(call));
            }
            let request =
                request.take().expect("invariant: a future is not polled after it was ready");
            let mut call = match self.bring(request, deadline, cx.waker()) {
                Ok(call) => call,
                Err(refused) => return Poll::Ready(Err(refused)),
            };
            self.shared.reaper.ring();
            if self.gathers && !call.is_alone() {
                // (It is announced when it is polled next, if it has to wait then.)
                cx.waker().wake_by_ref();
            } else {
                call.announce();
                if call.look() {
                    return Poll::Ready(Ok(call));
                }
            }
            brought = Some(call);
            Poll::Pending
        })
        .await
    }

    /// Tries again where the port was closed and has been opened since.
    fn bring(
        &self,
        mut request: Asked<K::Request>,
        deadline: u64,
        waker: &Waker,
    ) -> Submitted<'_, K> {
        loop {
            let refused = match self.shared.port.submit(request, deadline, waker) {
                Ok(call) => return Ok(call),
                Err(refused) => refused,
            };
            match self.rejection(refused.refusal) {
                Some(rejection) => return Err((rejection, refused.request.request)),
                None => request = refused.request,
            }
        }
    }

    /// Why the port refused; `None` if it is open again.
    fn rejection(&self, refusal: Refusal) -> Option<Rejection> {
        match refusal {
            Refusal::Full if !self.shared.port.is_closed() => Some(self.full()),
            // (Full and closed is closed: whoever waits for room is told now.)
            Refusal::Full | Refusal::Closed => self.shared.closed(),
        }
    }

    fn full(&self) -> Rejection {
        Rejection::QueueFull { kernel: self.name().into(), bound: self.shared.port.bound() }
    }

    fn expired(&self) -> Rejection {
        Rejection::Expired { kernel: self.name().into() }
    }

    /// Counts a request that was refused.
    pub(crate) fn reject<Q>(&self, rejection: Rejection, request: Q) -> CallError<Q> {
        self.shared.port.books().refuse();
        CallError::Rejected { rejection, request }
    }

    /// Starts an actor on the current arbiter whose messages are calls of this kernel, for
    /// applications made of actors: `addr.send(Call(request))`.
    ///
    /// # Panics
    /// If no actix arbiter runs on this thread.
    pub fn start_actor(&self) -> Addr<KernelProxy<K>> {
        KernelProxy { kernel: self.clone() }.start()
    }
}

impl<K: Kernel> Clone for KernelRef<K> {
    fn clone(&self) -> Self {
        let (shared, timing) = (Arc::clone(&self.shared), self.timing.clone());
        Self { shared, priority: self.priority, timing, gathers: self.gathers }
    }
}

impl<K: Kernel> fmt::Debug for KernelRef<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KernelRef").field(&self.name()).finish()
    }
}

/// A call of a kernel, as a message to its [`KernelProxy`].
#[derive(Debug)]
pub struct Call<K: Kernel>(pub K::Request);

impl<K: Kernel> Message for Call<K> {
    type Result = Result<K::Response, CallError<K::Request>>;
}

/// An actor whose messages are calls of a kernel; see [`KernelRef::start_actor`].
///
/// It bounds nothing of its own: the kernel's queue does, over all callers together.
#[derive(Debug)]
pub struct KernelProxy<K: Kernel> {
    kernel: KernelRef<K>,
}

impl<K: Kernel> Actor for KernelProxy<K> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(self.kernel.shared.port.bound());
    }
}

impl<K: Kernel> Handler<Call<K>> for KernelProxy<K> {
    type Result = ResponseFuture<Result<K::Response, CallError<K::Request>>>;

    fn handle(&mut self, Call(request): Call<K>, _: &mut Self::Context) -> Self::Result {
        let kernel = self.kernel.clone();
        Box::pin(async move { kernel.call(request).await })
    }
}

//! Shutting down: refuse, finish, cancel what is left, stop in reverse, give everything back.

use std::fmt;
use std::pin::pin;
use std::time::Duration;

use actix::prelude::*;
use futures_util::future::{Either, join_all, select};
use rustkernel_gpu::DeviceId;
use rustkernel_gpu::memory::MemoryKind;
use rustkernel_port::Ledger;
use slog::{Logger, error, info, warn};
use tokio::sync::watch;

use super::lifecycle::{LifecycleEvent, LifecycleState, Step, transition};
use super::{Child, Shutdown, SupervisorActor};
use crate::allocator::MemoryClient;
use crate::clock::{self, Instant};
use crate::event::{DrainPhase, RuntimeEvent};
use crate::kernel::Order;
#[cfg(feature = "planted")]
use crate::planted::{self, Bug};
use crate::restart::Cause;

/// How long an instance that was told to end may take, before its thread is abandoned.
const STOP_GRACE: Duration = Duration::from_millis(250);

/// How often, and for how long over all devices, it is looked whether streams have passed the memory that is
/// left. With the grace of instances it is less than what a shutdown may take beyond its timeout.
const LOOK: Duration = Duration::from_millis(1);
const LOOKS: Duration = Duration::from_millis(200);

/// How long a device may take to give its idle memory back. One that takes longer goes on alone.
const TRIM: Duration = Duration::from_secs(5);

/// No drain takes longer, whatever is asked for.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

const KINDS: [MemoryKind; 2] = [MemoryKind::Device, MemoryKind::Staging];

/// How a shutdown went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Requests that were cancelled because they did not finish in time.
    pub cancelled: usize,
    /// Threads that did not come back and were abandoned.
    pub abandoned_threads: usize,
    /// Bytes that kernels or callers still held at the end, over all devices; results of requests are not among them.
    pub leaked_bytes: u64,
    /// The books over all kernels; they balance.
    pub ledger: Ledger,
    /// Why the runtime stopped.
    pub reason: StopReason,
}

/// Why a runtime stopped.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum StopReason {
    /// It was asked to.
    #[default]
    Requested,
    /// A kernel ended too often, and its policy says that the runtime stops then.
    KernelFailed {
        /// The kernel.
        kernel: String,
        /// Why it ended the last time.
        cause: Cause,
    },
    /// A device was lost, and the configuration says that the runtime stops then.
    DeviceLost(DeviceId),
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requested => f.write_str("it was asked to"),
            Self::KernelFailed { kernel, cause } => {
                write!(f, "kernel `{kernel}` has ended too often; the last time it {cause}")
            }
            Self::DeviceLost(device) => write!(f, "{device} is lost"),
        }
    }
}

impl ShutdownReport {
    /// Whether every request finished and everything came back.
    pub fn is_clean(&self) -> bool {
        self.cancelled == 0 && self.abandoned_threads == 0 && self.leaked_bytes == 0
    }
}

/// Drains the kernels in reverse order of their start: later ones may use earlier ones. One that has a
/// shutdown timeout of its own is cancelled after that, so that the next can go on. How many requests that
/// were, and whether all were drained in time.
async fn drain_children(children: &[Child], end: &DrainEnd) -> (usize, bool) {
    let mut cancelled = 0;
    let drained = async {
        for child in children.iter().rev() {
            let Some(own) = child.shutdown_timeout else {
                ordered(child, Order::Drain).await;
                continue;
            };
            if tokio::time::timeout(own, ordered(child, Order::Drain)).await.is_err() {
                cancelled += ordered(child, Order::Cancel { timeout: own }).await;
            }
        }
    };
    let in_time = matches!(select(pin!(drained), pin!(end.passed())).await, Either::Left(_));
    (cancelled, in_time)
}

/// When a drain is over, if it takes so long: it may be told to be over earlier.
#[derive(Clone)]
struct DrainEnd {
    began: Instant,
    at: watch::Receiver<Instant>,
}

impl DrainEnd {
    fn deadline(&self) -> Instant {
        *self.at.borrow()
    }

    /// How long it has in all, as it is now.
    fn timeout(&self) -> Duration {
        self.deadline().saturating_duration_since(self.began)
    }

    /// Ready when it is over.
    async fn passed(&self) {
        let mut at = self.at.clone();
        loop {
            let deadline = *at.borrow_and_update();
            match tokio::time::timeout_at(deadline, at.changed()).await {
                Ok(Ok(())) => {}
                // Nobody can tell it to be over earlier any more.
                Ok(Err(_)) => return tokio::time::sleep_until(deadline).await,
                Err(_elapsed) => return,
            }
        }
    }
}

async fn cancel_children(children: &[Child], timeout: Duration) -> usize {
    let mut cancelled = 0;
    for child in children.iter().rev() {
        cancelled += ordered(child, Order::Cancel { timeout }).await;
    }
    cancelled
}

/// Stops the kernels in reverse order of their start; how many threads had to be abandoned. Each has its
/// grace, and all together have until `deadline`, or one grace if that has passed. Once one does not come
/// back in time the rest is stopped side by side, so that those that hang share one further grace.
pub(super) async fn stop_children(children: &[Child], deadline: Instant) -> usize {
    let end = deadline.max(clock::now()) + STOP_GRACE;
    let stop = |child| {
        let grace = STOP_GRACE.min(end.saturating_duration_since(clock::now()));
        ordered(child, Order::Stop { grace })
    };
    let mut rest = children.iter().rev();
    for child in rest.by_ref() {
        let abandoned = stop(child).await;
        if abandoned > 0 {
            return abandoned + join_all(rest.map(stop)).await.into_iter().sum::<usize>();
        }
    }
    0
}

pub(super) async fn ordered(child: &Child, order: Order) -> usize {
    child.orders.send(order).await.map_or(0, |answer| answer.unwrap_or(0))
}

/// Gives all memory back to the devices; the bytes that somebody still holds.
async fn release_memory(clients: &[MemoryClient], logger: &Logger) -> u64 {
    let (mut leaked, until) = (0, clock::now() + LOOKS);
    for client in clients {
        if tokio::time::timeout(TRIM, give_back(client, until)).await.is_err() {
            error!(logger, "device has not given its memory back yet"; "device" => %client.device().id(),
                "after" => ?TRIM);
        }
        leaked += KINDS.map(|kind| held(client, kind)).iter().sum::<u64>();
    }
    leaked
}

/// What is leased, but for results that callers have: those are theirs.
fn held(client: &MemoryClient, kind: MemoryKind) -> u64 {
    let stats = client.memory().stats(kind);
    stats.live.saturating_sub(stats.results)
}

/// Gives back what is idle, and what streams still use for requests that were given up once they have
/// passed it: for a while, because a stream may hang.
async fn give_back(client: &MemoryClient, until: Instant) {
    loop {
        // (Looked at before: what comes to its end between the two is given back by the trim.)
        let busy = KINDS.map(|kind| client.memory().stats(kind).quarantined) != [0, 0];
        client.trim().await;
        if !busy || clock::now() >= until {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

impl SupervisorActor {
    /// The drain, from `Running` on.
    fn drain(&mut self, within: Option<Duration>, ctx: &mut Context<Self>) {
        #[cfg(feature = "planted")]
        if planted::is(Bug::IllegalTransition) {
            self.enter(LifecycleState::Stopped);
        }
        self.enter(LifecycleState::Draining);
        self.board.announcer.tell(RuntimeEvent::Draining(DrainPhase::Finishing));
        // Whoever waits for room finds out that none will come.
        self.children.iter().for_each(|child| child.kernel.rouse_waiting());
        let children = self.children.clone();
        let end = self.begin_drain(within.unwrap_or(self.config.shutdown_timeout));
        let looked_at = end.clone();
        let drained = async move { drain_children(&children, &looked_at).await }.into_actor(self);
        let stopped = drained.then(move |(early, in_time), actor, _| {
            let timeout = end.timeout();
            let cancel = !in_time && transition(actor.state(), LifecycleEvent::DrainTimedOut) == Ok(Step::Cancel);
            let announcer = actor.board.announcer.clone();
            if cancel {
                warn!(actor.config.logger, "drain timed out, cancelling what is left"; "after" => ?timeout);
                announcer.tell(RuntimeEvent::Draining(DrainPhase::Cancelling));
            }
            let children = actor.children.clone();
            let stop = async move {
                let late = if cancel { cancel_children(&children, timeout).await } else { 0 };
                announcer.tell(RuntimeEvent::Draining(DrainPhase::Stopping));
                (early + late, stop_children(&children, end.deadline()).await)
            };
            stop.into_actor(actor)
        });
        ctx.spawn(stopped.then(|(cancelled, abandoned_threads), actor, ctx| {
            actor.report =
                Some(ShutdownReport { cancelled, abandoned_threads, ..ShutdownReport::default() });
            actor.release(ctx)
        }));
    }

    fn begin_drain(&mut self, timeout: Duration) -> DrainEnd {
        let began = clock::now();
        let (end, at) = watch::channel(began + timeout.min(LONGEST));
        self.drain_end = Some(end);
        DrainEnd { began, at }
    }

    /// A drain that is under way is over after `timeout` from now, unless it is earlier anyhow.
    fn hasten_drain(&self, timeout: Duration) {
        if let Some(end) = &self.drain_end {
            let earlier = clock::now() + timeout.min(LONGEST);
            end.send_if_modified(|at| {
                let sooner = earlier < *at;
                *at = earlier.min(*at);
                sooner
            });
        }
    }

    /// Gives everything back and enters `Stopped`.
    pub(super) fn release(&mut self, _: &mut Context<Self>) -> ResponseActFuture<Self, ()> {
        self.board.announcer.tell(RuntimeEvent::Draining(DrainPhase::Releasing));
        let clients = self.clients().to_vec();
        let logger = self.config.logger.clone();
        let released = async move { release_memory(&clients, &logger).await };
        Box::pin(released.into_actor(self).map(|leaked_bytes, actor, _| {
            let mut report = actor.report.take().unwrap_or_default();
            report.leaked_bytes = leaked_bytes;
            report.reason = actor.reason.take().unwrap_or_default();
            report.ledger = actor.children.iter().map(|child| child.kernel.stats().ledger).sum();
            actor.stopped(report);
        }))
    }

    fn stopped(&mut self, report: ShutdownReport) {
        let event = match self.state() {
            LifecycleState::Starting => LifecycleEvent::StartFailed,
            _ => LifecycleEvent::DrainCompleted,
        };
        match transition(self.state(), event) {
            Ok(Step::Stop) => self.enter(LifecycleState::Stopped),
            Ok(step) => error!(self.config.logger, "unexpected step at the end"; "step" => ?step),
            Err(illegal) => error!(self.config.logger, "{illegal}"),
        }
        if let Some(environment) = &self.environment {
            environment.lanes.stop();
            environment.memories.iter().for_each(MemoryClient::stop);
        }
        self.config.end_guard = None;
        let Ledger { submitted, completed, failed, rejected, cancelled } = report.ledger;
        info!(self.config.logger, "all requests answered"; "submitted" => submitted, "completed" => completed,
            "failed" => failed, "rejected" => rejected, "cancelled" => cancelled);
        if report.leaked_bytes > 0 {
            error!(self.config.logger, "memory still held at the end"; "bytes" => report.leaked_bytes);
        }
        self.board.set_report(report.clone());
        for joining in self.joining.drain(..) {
            joining.send(report.clone()).ok();
        }
        // Everybody has been answered; the control thread ends.
        System::current().stop();
    }
}

impl Handler<Shutdown> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, Shutdown { within, done }: Shutdown, ctx: &mut Self::Context) {
        self.joining.extend(done);
        self.shut_down(within, ctx);
    }
}

impl SupervisorActor {
    pub(super) fn shut_down(&mut self, within: Option<Duration>, ctx: &mut Context<Self>) {
        self.shutdown_requested = true;
        match transition(self.state(), LifecycleEvent::ShutdownRequested) {
            Ok(Step::Drain) => self.drain(within, ctx),
            // A start under way has to end first; it is told to.
            Ok(Step::Stop) if self.starting => self.interrupt_start(),
            Ok(Step::Stop) => self.stopped(ShutdownReport::default()),
            // Those who join are answered at the end.
            Ok(_) => within.into_iter().for_each(|timeout| self.hasten_drain(timeout)),
            Err(illegal) => error!(self.config.logger, "{illegal}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::Supervisor;
    use crate::supervisor::world::{Lines, config};

    #[tokio::test]
    async fn a_device_that_hangs_does_not_keep_a_shutdown() {
        let supervisor = Supervisor::new(config(&Lines::default()), Vec::new()).unwrap();
        supervisor.start().await.unwrap();
        let client = supervisor.memory(DeviceId::Host).unwrap();
        let (let_go, held) = mpsc::sync_channel::<()>(0);
        client.arbiter().spawn_fn(move || held.recv().unwrap_or(()));
        let shutdown = tokio::time::timeout(6 * TRIM, supervisor.shutdown());
        assert!(shutdown.await.unwrap().unwrap().is_clean());
        drop(let_go);
    }
}

//! A kernel's actor: starts its instances, watches their deadlines, drains and stops them.
//!
//! It lives on the control arbiter and does nothing that blocks. Requests do not pass through it:
//! they go from callers to instances by the port.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::prelude::*;
use futures_util::future::try_join_all;
use rustkernel_gpu::memory::PressureLevel;
use rustkernel_gpu::{DeviceId, DeviceKind};
use slog::{Logger, debug, error, info, o, warn};
use tokio::sync::oneshot;

use super::Kernel;
use super::shared::{AnyKernel, Shared};
use super::spec::{DeviceChoice, Environment};
use crate::allocator::MemoryClient;
use crate::clock;
use crate::error::{CallError, Cancellation, KernelResult, StartError};
use crate::event::RuntimeEvent;
use crate::instance::{Instance, InstanceReport, Lane, Told};

/// How often open requests are looked at for their deadlines: how late an answer "too late" may be.
const REAP: Duration = Duration::from_millis(5);
/// The reaper sleeps after finding nothing open this often.
const REAP_IDLE: u32 = 200;
/// Reports and orders that may wait for the actor.
const MAILBOX: usize = 1024;

/// One kernel's actor.
pub(crate) struct KernelActor<K: Kernel> {
    shared: Arc<Shared<K>>,
    environment: Environment,
    seats: Vec<Seat>,
    logger: Logger,
}

/// An instance as its actor sees it.
struct Seat {
    lane: Lane,
    left: oneshot::Receiver<()>,
    /// The last question whether the lane responds was answered.
    responded: Arc<AtomicBool>,
}

/// What the supervisor has a kernel do. The answer's number is what the order says.
#[derive(Message)]
#[rtype(result = "Result<usize, StartError>")]
pub(crate) enum Order {
    /// Start every instance. How many there are.
    Start,
    /// Take no more requests; answer when none is open. (0)
    Drain,
    /// Answer whatever is open as cancelled. How many requests that were.
    Cancel { timeout: Duration },
    /// End every instance. How many did not come back within `grace` and were abandoned.
    Stop { grace: Duration },
    /// See which lanes respond. How many had not since the last time.
    Check,
}

impl<K: Kernel> KernelActor<K> {
    /// Makes the actor on the current arbiter.
    pub(crate) fn spawn(shared: Arc<Shared<K>>, environment: Environment) -> Recipient<Order> {
        let address = Self::create(|ctx| {
            ctx.set_mailbox_capacity(MAILBOX);
            let logger = environment.logger.new(o!("kernel" => shared.parts.name.to_string()));
            Self { shared, environment, seats: Vec::new(), logger }
        });
        address.recipient()
    }

    /// The devices for the instances, in turn.
    fn memories(&self) -> Result<Vec<MemoryClient>, StartError> {
        let all = &self.environment.memories;
        let of = |wanted: &dyn Fn(DeviceId) -> bool| -> Vec<MemoryClient> {
            all.iter().filter(|client| wanted(client.device().id())).cloned().collect()
        };
        let found = match self.shared.parts.device {
            DeviceChoice::On(id) => of(&|other| other == id),
            DeviceChoice::Auto => {
                let kinds = [DeviceKind::Cuda, DeviceKind::Host].into_iter();
                let mut kinds = kinds
                    .filter(|kind| K::DEVICES.includes(*kind))
                    .map(|kind| of(&|id| id.kind() == kind));
                kinds.find(|found| !found.is_empty()).unwrap_or_default()
            }
        };
        if found.is_empty() { Err(self.no_device()) } else { self.check_pressure(found) }
    }

    fn no_device(&self) -> StartError {
        let there: Vec<String> = self
            .environment
            .memories
            .iter()
            .map(|client| client.device().id().to_string())
            .collect();
        let wanted = match self.shared.parts.device {
            DeviceChoice::On(id) => id.to_string(),
            DeviceChoice::Auto => "a CUDA device".to_owned(),
        };
        let reason = format!("it needs {wanted}, and this runtime has {}", there.join(", "));
        StartError::NoDevice { kernel: self.shared.parts.name.to_string(), reason }
    }

    /// Under critical pressure no new kernel is started.
    fn check_pressure(&self, clients: Vec<MemoryClient>) -> Result<Vec<MemoryClient>, StartError> {
        let full =
            clients.iter().find(|client| client.memory().pressure() >= PressureLevel::Critical);
        match full {
            None => Ok(clients),
            Some(client) => Err(StartError::UnderPressure {
                kernel: self.shared.parts.name.to_string(),
                device: client.device().id(),
                level: client.memory().pressure(),
            }),
        }
    }

    /// Puts every instance on its lane; the receivers are told how their starts went.
    fn seat_all(
        &mut self,
        ctx: &mut Context<Self>,
    ) -> Result<Vec<oneshot::Receiver<KernelResult>>, StartError> {
        let memories = self.memories()?;
        let devices = memories.iter().cycle().take(self.shared.parts.instances);
        let ids = devices.clone().map(|client| client.device().id()).collect();
        self.shared.counters.devices.set(ids).ok();
        devices.enumerate().map(|(index, client)| self.seat(index, client.clone(), ctx)).collect()
    }

    fn seat(
        &mut self,
        index: usize,
        client: MemoryClient,
        ctx: &mut Context<Self>,
    ) -> Result<oneshot::Receiver<KernelResult>, StartError> {
        let lane = self.environment.lanes.lane(&self.shared.parts.placement)?;
        let (started, start) = oneshot::channel();
        let (leaving, left) = oneshot::channel();
        let device = client.device().id().to_string();
        let logger = self.logger.new(o!("instance" => index, "device" => device));
        let reports = ctx.address().recipient();
        let (shared, inline) = (Arc::clone(&self.shared), lane.is_own());
        let spawned = lane.arbiter().spawn_fn(move || {
            let instance = Instance { shared, index, client, inline, reports, logger };
            actix::spawn(async move {
                instance.run(started).await;
                leaving.send(()).ok();
            });
        });
        if !spawned {
            return Err(StartError::NoThread("the arbiter for it has stopped".into()));
        }
        self.seats.push(Seat { lane, left, responded: Arc::new(AtomicBool::new(true)) });
        Ok(start)
    }

    fn start_all(&mut self, ctx: &mut Context<Self>) -> ResponseFuture<Result<usize, StartError>> {
        let starts = match self.seat_all(ctx) {
            Ok(starts) => starts,
            Err(error) => return Box::pin(std::future::ready(Err(error))),
        };
        self.reap(ctx);
        let (kernel, timeout) =
            (self.shared.parts.name.to_string(), self.shared.parts.start_timeout);
        let (count, announcer, logger) =
            (starts.len(), self.environment.announcer.clone(), self.logger.clone());
        Box::pin(async move {
            let started =
                tokio::time::timeout(timeout, try_join_all(starts.into_iter().map(started))).await;
            match started {
                Ok(Ok(_)) => {
                    info!(logger, "kernel started"; "instances" => count);
                    announcer.tell(RuntimeEvent::KernelStarted { kernel, instances: count });
                    Ok(count)
                }
                Ok(Err(Some(cause))) => Err(StartError::Kernel { kernel, cause }),
                Ok(Err(None)) => Err(StartError::NoThread("the instance's lane has ended".into())),
                Err(_elapsed) => Err(StartError::TimedOut { kernel, timeout }),
            }
        })
    }

    /// Answers requests whose deadlines have passed, for as long as the actor lives.
    fn reap(&self, ctx: &mut Context<Self>) {
        let shared = Arc::clone(&self.shared);
        let reaper = async move {
            let mut idle = 0;
            while !shared.port.is_stopped() {
                let late = || Err(Box::new(CallError::Cancelled(Cancellation::DeadlineExceeded)));
                let now = clock::ticks(clock::now());
                shared.reaper.set_ticks(now);
                shared.port.expire(now, late);
                let waiting = shared.port.room_is_wanted();
                if waiting {
                    shared.port.rouse_waiting();
                }
                idle = if waiting || shared.port.open_requests() > 0 { 0 } else { idle + 1 };
                if idle > REAP_IDLE {
                    shared.reaper.sleep(|| shared.port.open_requests() > 0).await;
                }
                tokio::time::sleep(REAP).await;
            }
        };
        ctx.spawn(reaper.into_actor(self));
    }

    fn drain(&self) -> ResponseFuture<Result<usize, StartError>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            shared.port.close();
            shared.port.drained().await;
            Ok(0)
        })
    }

    fn cancel(&self, timeout: Duration) -> usize {
        self.shared.port.close();
        let cancelled = self
            .shared
            .port
            .cancel_all(|| Err(Box::new(CallError::Cancelled(Cancellation::ShutDown { timeout }))));
        if cancelled > 0 {
            warn!(self.logger, "requests cancelled, they were not finished in time"; "requests" => cancelled);
        }
        cancelled
    }

    fn stop(&mut self, grace: Duration) -> ResponseActFuture<Self, Result<usize, StartError>> {
        self.shared.end_instances();
        let until = clock::now() + grace;
        let seats = std::mem::take(&mut self.seats);
        let stopped = async move {
            let mut abandoned = 0;
            for Seat { lane, left, .. } in seats {
                // An instance that is gone without having said so has left as well.
                match tokio::time::timeout_at(until, left).await {
                    Ok(_) => lane.end(),
                    Err(_elapsed) => {
                        lane.abandon();
                        abandoned += 1;
                    }
                }
            }
            abandoned
        };
        Box::pin(stopped.into_actor(self).map(|abandoned, actor, _| {
            actor.stopped_with(abandoned);
            Ok(abandoned)
        }))
    }

    fn stopped_with(&self, abandoned: usize) {
        self.shared.port.clear();
        self.shared.counters.abandoned.store(abandoned, Ordering::Release);
        match abandoned {
            0 => info!(self.logger, "kernel stopped"),
            _ => {
                error!(self.logger, "kernel stopped; threads that did not come back are abandoned";
                "threads" => abandoned)
            }
        }
        let kernel = self.shared.parts.name.to_string();
        self.environment.announcer.tell(RuntimeEvent::KernelStopped { kernel, abandoned });
    }

    /// Asks each lane to say that it responds, and counts those that have not since the last time.
    fn check(&self) -> usize {
        let silent =
            self.seats.iter().filter(|seat| !seat.responded.swap(false, Ordering::AcqRel)).count();
        for seat in &self.seats {
            let responded = Arc::clone(&seat.responded);
            seat.lane.arbiter().spawn_fn(move || responded.store(true, Ordering::Release));
        }
        self.shared.counters.unresponsive.store(silent, Ordering::Release);
        if silent > 0 {
            debug!(self.logger, "instances busy or hung since the last check"; "instances" => silent);
        }
        silent
    }
}

/// How an instance's start went; `None` if it ended without a word.
async fn started(
    start: oneshot::Receiver<KernelResult>,
) -> Result<(), Option<crate::error::KernelError>> {
    start.await.map_err(|_| None)?.map_err(Some)
}

impl<K: Kernel> Actor for KernelActor<K> {
    type Context = Context<Self>;
}

impl<K: Kernel> Handler<Order> for KernelActor<K> {
    type Result = ResponseActFuture<Self, Result<usize, StartError>>;

    fn handle(&mut self, order: Order, ctx: &mut Self::Context) -> Self::Result {
        match order {
            Order::Start => Box::pin(self.start_all(ctx).into_actor(self)),
            Order::Drain => Box::pin(self.drain().into_actor(self)),
            Order::Cancel { timeout } => Box::pin(actix::fut::ready(Ok(self.cancel(timeout)))),
            Order::Stop { grace } => self.stop(grace),
            Order::Check => Box::pin(actix::fut::ready(Ok(self.check()))),
        }
    }
}

impl<K: Kernel> Handler<InstanceReport> for KernelActor<K> {
    type Result = ();

    fn handle(&mut self, InstanceReport { instance, what }: InstanceReport, _: &mut Self::Context) {
        let kernel = self.shared.parts.name.to_string();
        let announcer = &self.environment.announcer;
        match what {
            Told::Panicked(report) => {
                error!(self.logger, "kernel panicked"; "instance" => instance, "panic" => %report);
                announcer.tell(RuntimeEvent::KernelPanicked { kernel, instance, report });
            }
            Told::Failed(error) => {
                error!(self.logger, "kernel failed"; "instance" => instance, "error" => &error);
                announcer.tell(RuntimeEvent::KernelFailed { kernel, instance, error });
            }
            Told::Restarted => {
                let restarts = self.shared.counters.restarts.load(Ordering::Acquire);
                warn!(self.logger, "kernel restarted"; "instance" => instance, "restarts" => restarts);
                announcer.tell(RuntimeEvent::KernelRestarted { kernel, instance, restarts });
            }
            Told::RestartFailed(error) => {
                error!(self.logger, "kernel restart failed, it is tried again";
                    "instance" => instance, "error" => error);
            }
        }
    }
}

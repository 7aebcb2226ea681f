//! A kernel's actor: starts its instances, watches their deadlines, has them wait and go on, drains and
//! stops them.
//!
//! It lives on the control arbiter and does nothing that blocks. Requests do not pass through it:
//! they go from callers to instances by the port. Nor do restarts, as long as they concern one instance
//! alone; what concerns others is told to the supervisor, whose orders come back.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::prelude::*;
use futures_util::future::{TryFutureExt, try_join_all};
use rustkernel_gpu::DeviceId;
use slog::{Logger, error, info, o, warn};
use tokio::sync::oneshot;

use super::Kernel;
use super::gate::Condition;
use super::places::Places;
use super::shared::{AnyKernel, Shared};
use super::spec::Environment;
use crate::error::{CallError, Cancellation, KernelError, KernelResult, StartError};
use crate::event::RuntimeEvent;
use crate::instance::{InstanceReport, Told};
use crate::restart::{Cause, Circuit, Verdict};

/// Reports and orders that may wait for the actor.
const MAILBOX: usize = 1024;

/// One kernel's actor.
pub(crate) struct KernelActor<K: Kernel> {
    pub(super) shared: Arc<Shared<K>>,
    pub(super) environment: Environment,
    pub(super) places: Places,
    /// Why its instances are not to serve at present.
    pub(super) holds: Vec<Hold>,
    /// Ends a quarantine.
    probe: Option<SpawnHandle>,
    pub(super) logger: Logger,
}

/// Why instances are not to serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Their group is restarted, or they are told to.
    Group,
    /// They have ended too often.
    Quarantine,
    /// Another kernel of their group has.
    Sibling,
    /// They are unloaded.
    Unloaded,
    /// That device is lost; those on others go on.
    Device(DeviceId),
}

impl Hold {
    /// Whether it is for all instances of a kernel, wherever they are.
    fn is_of_all(self) -> bool {
        !matches!(self, Self::Device(_))
    }

    /// Whether it is for instances on that device.
    pub(super) fn concerns(self, device: DeviceId) -> bool {
        self.is_of_all() || self == Self::Device(device)
    }
}

/// What the supervisor has a kernel do. The answer's number is what the order says.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<usize, StartError>")]
pub(crate) enum Order {
    /// Start every instance. How many there are.
    Start,
    /// Have instances finish their requests within that time, drop their state and wait; because of that.
    /// How many did not in time.
    Suspend { hold: Hold, within: Duration, cause: Cause },
    /// Have them go on. How many are up again.
    Resume { hold: Hold },
    /// A kernel of the same group is quarantined: refuse requests until told to go on. (0)
    TurnAway { cause: Cause },
    /// End a quarantine now. (0; 1 if there was one)
    Probe,
    /// Take no more requests, finish those that are open within that time, drop all state and wait. How many instances did
    /// not come back in time and were replaced.
    Unload { within: Duration },
    /// Serve again after that, or end a quarantine now. How many instances are up.
    Load,
    /// The device does not come back: move to another, or end. How many instances have moved.
    Move { from: DeviceId },
    /// Take no more requests; answer when none is open. (0)
    Drain,
    /// Answer whatever is open as cancelled. How many requests that were.
    Cancel { timeout: Duration },
    /// End every instance. How many did not come back within `grace` and were abandoned.
    Stop { grace: Duration },
    /// See which lanes respond, and have instances check their health. How many have not since the last
    /// time.
    Check,
}

/// What a kernel tells its supervisor: something that concerns others too.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct KernelReport {
    pub(crate) kernel: String,
    pub(crate) cause: Cause,
    pub(crate) verdict: Verdict,
}

pub(super) type Ordered<K> = ResponseActFuture<KernelActor<K>, Result<usize, StartError>>;

impl<K: Kernel> KernelActor<K> {
    /// Makes the actor on the current arbiter.
    pub(crate) fn spawn(shared: Arc<Shared<K>>, environment: Environment) -> Recipient<Order> {
        let address = Self::create(|ctx| {
            ctx.set_mailbox_capacity(MAILBOX);
            let logger = environment.logger.new(o!("kernel" => shared.parts.name.to_string()));
            let places = Places::new(shared.parts.instances);
            Self { shared, environment, places, holds: Vec::new(), probe: None, logger }
        });
        address.recipient()
    }

    pub(super) fn name(&self) -> String {
        self.shared.parts.name.to_string()
    }

    pub(super) fn tell(&self, event: RuntimeEvent) {
        self.environment.announcer.tell(event);
    }

    fn start_all(&mut self, ctx: &mut Context<Self>) -> ResponseFuture<Result<usize, StartError>> {
        let starts = match self.seat_all(ctx) {
            Ok(starts) => starts,
            Err(error) => return Box::pin(std::future::ready(Err(error))),
        };
        self.reap(ctx);
        let (kernel, timeout) = (self.name(), self.shared.parts.start_timeout);
        let (count, announcer, logger) =
            (starts.len(), self.environment.announcer.clone(), self.logger.clone());
        let shared = Arc::clone(&self.shared);
        let started = async move {
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
        };
        // A kernel that comes to a runtime that runs may have been called by now.
        Box::pin(started.inspect_err(move |error| shared.did_not_start(error)))
    }

    fn drain(&self) -> ResponseFuture<Result<usize, StartError>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            shared.shut_gate();
            shared.port.drained().await;
            Ok(0)
        })
    }

    fn cancel(&self, timeout: Duration) -> usize {
        self.shared.shut_gate();
        let cancelled = self.shared.port.cancel_all(|started| {
            let cancellation = Cancellation::ShutDown { timeout, started };
            Err(Box::new(CallError::Cancelled(cancellation)))
        });
        if cancelled > 0 {
            warn!(self.logger, "requests cancelled, they were not finished in time"; "requests" => cancelled);
        }
        cancelled
    }

    fn stop(&mut self, grace: Duration) -> Ordered<K> {
        self.shared.end_instances();
        let stopped = self.end_all(grace);
        Box::pin(stopped.into_actor(self).map(|abandoned, actor, _| {
            let abandoned = abandoned + actor.shared.counters.abandoned.load(Ordering::Acquire);
            actor.stopped_with(abandoned);
            Ok(abandoned)
        }))
    }

    fn stopped_with(&self, abandoned: usize) {
        // (Nothing is open but after a start that failed.)
        self.cancel(Duration::ZERO);
        self.shared.clear();
        self.shared.close_mailbox();
        self.shared.counters.abandoned.store(abandoned, Ordering::Release);
        match abandoned {
            0 => info!(self.logger, "kernel stopped"),
            _ => {
                error!(self.logger, "kernel stopped; threads that did not come back are abandoned";
                "threads" => abandoned)
            }
        }
        self.tell(RuntimeEvent::KernelStopped { kernel: self.name(), abandoned });
    }

    // ---- restarts that concern others too

    fn suspend(&mut self, hold: Hold, within: Duration, cause: Cause) -> Ordered<K> {
        self.hold(hold);
        let down = self.all_down(hold);
        let waited = async move { tokio::time::timeout(within, down).await.is_ok() };
        Box::pin(waited.into_actor(self).then(move |in_time, actor, _| {
            if !in_time && actor.holds.contains(&hold) {
                actor.shared.interrupt_for(cause);
                actor.interrupt(hold);
            }
            let down = actor.all_down(hold);
            let grace = actor.shared.parts.restart.hang_grace;
            let waited = async move { tokio::time::timeout(grace, down).await.is_ok() };
            waited.into_actor(actor).map(move |in_time, actor, ctx| {
                // (Those that were told to go on meanwhile are not stuck.)
                let over = in_time || !actor.holds.contains(&hold);
                Ok(if over { 0 } else { actor.replace_stuck(hold, ctx) })
            })
        }))
    }

    fn resume(&mut self, hold: Hold, ctx: &mut Context<Self>) -> Ordered<K> {
        if self.shared.condition() == Condition::Ended {
            return counted(0);
        }
        self.release(hold, ctx);
        self.open_once(self.all_up())
    }

    /// Opens the gate once instances are `up`, or their time for a start is over. How many are.
    fn open_once(&self, up: impl Future<Output = ()> + 'static) -> Ordered<K> {
        let timeout = self.shared.parts.start_timeout;
        let waited = async move { tokio::time::timeout(timeout, up).await.is_ok() };
        Box::pin(waited.into_actor(self).map(|_, actor, _| {
            // (They may have been told to wait once more meanwhile.)
            if !actor.holds.iter().any(|hold| hold.is_of_all()) {
                actor.shared.open_gate();
            }
            Ok(actor.running())
        }))
    }

    fn running(&self) -> usize {
        self.shared.counters.running.load(Ordering::Acquire)
    }

    fn unload(&mut self, within: Duration) -> Ordered<K> {
        if !self.shared.unload() {
            return counted(0);
        }
        let shared = Arc::clone(&self.shared);
        let drained =
            async move { tokio::time::timeout(within, shared.port.drained()).await.is_ok() };
        Box::pin(drained.into_actor(self).then(move |in_time, actor, _| {
            match actor.shared.finished() {
                true => actor.drop_state(in_time),
                // It was loaded again meanwhile.
                false => counted(0),
            }
        }))
    }

    /// Has every instance close, and interrupts what it does if there is no more time for that; requests that wait are
    /// given back.
    fn drop_state(&mut self, in_time: bool) -> Ordered<K> {
        self.shared.refuse_waiting();
        self.hold(Hold::Unloaded);
        if !in_time {
            self.shared.interrupt_for(Cause::Asked);
            self.interrupt(Hold::Unloaded);
        }
        let (down, within) = (self.all_unloaded(), self.shared.close_timeout());
        let waited = async move { tokio::time::timeout(within, down).await.is_ok() };
        let dropped = waited.into_actor(self).then(|down, actor, _| {
            match down || !actor.shared.is_unloaded() {
                true => counted(0),
                false => actor.suspend(Hold::Unloaded, Duration::ZERO, Cause::Asked),
            }
        });
        Box::pin(dropped.map(|replaced, actor, _| {
            if actor.shared.is_unloaded() {
                actor.unloaded(*replaced.as_ref().unwrap_or(&0));
            }
            replaced
        }))
    }

    fn unloaded(&self, replaced: usize) {
        info!(self.logger, "kernel unloaded"; "replaced" => replaced);
        self.shared.note("it is unloaded");
        self.tell(RuntimeEvent::KernelUnloaded { kernel: self.name(), replaced });
    }

    fn load(&mut self, ctx: &mut Context<Self>) -> Ordered<K> {
        let pressure = self.memories().and_then(|memories| self.check_pressure(&memories));
        if let Err(error) = pressure {
            return Box::pin(actix::fut::ready(Err(error)));
        }
        if self.shared.load() {
            info!(self.logger, "kernel is loaded again");
            self.shared.note("it is loaded again");
            self.tell(RuntimeEvent::KernelLoaded { kernel: self.name() });
        }
        self.holds.retain(|hold| *hold != Hold::Unloaded);
        match self.shared.circuit() {
            Circuit::Open => drop(self.end_quarantine(ctx)),
            Circuit::HalfOpen | Circuit::Closed => self.settle(ctx),
        }
        if self.holds.contains(&Hold::Sibling) {
            // It comes back with the one that is quarantined.
            return counted(self.running());
        }
        self.open_once(self.serving())
    }

    fn turn_away(&mut self, cause: Cause) -> usize {
        // (Instances look whether it is quarantined when they are told to wait.)
        self.shared.quarantine_with(cause);
        self.hold(Hold::Sibling);
        0
    }

    /// An instance has ended, and has left to its actor what follows, if not to leave itself.
    pub(super) fn ended(&mut self, cause: Cause, verdict: Verdict, ctx: &mut Context<Self>) {
        match verdict {
            Verdict::Restart(_) => {
                let hold = match cause {
                    Cause::DeviceLost(device) => Hold::Device(device),
                    _ => Hold::Group,
                };
                self.hold(hold);
            }
            Verdict::Leave => return self.left(cause),
            Verdict::Quarantine(time) => self.quarantined(&cause, time, ctx),
            Verdict::Follow => return self.hold_in_quarantine(ctx),
            Verdict::StopRuntime => self.hold(Hold::Quarantine),
        }
        let report = KernelReport { kernel: self.name(), cause, verdict };
        let told = self.environment.supervisor.send(report).into_actor(self);
        ctx.spawn(told.map(|_, _, _| ()));
    }

    fn quarantined(&mut self, cause: &Cause, time: Option<Duration>, ctx: &mut Context<Self>) {
        self.hold_in_quarantine(ctx);
        error!(self.logger, "kernel quarantined, it has ended too often"; "cause" => %cause, "for" => ?time);
        let (kernel, cause) = (self.name(), cause.clone());
        self.tell(RuntimeEvent::KernelQuarantined { kernel, cause, time });
        self.probe = time.map(|time| {
            ctx.run_later(time, |actor, ctx| {
                actor.end_quarantine(ctx);
            })
        });
    }

    /// Holds all, unless the quarantine was lifted while this was on its way.
    fn hold_in_quarantine(&mut self, ctx: &mut Context<Self>) {
        match self.shared.circuit() {
            Circuit::Open => self.hold(Hold::Quarantine),
            Circuit::HalfOpen | Circuit::Closed => self.settle(ctx),
        }
    }

    /// Tries one instance.
    fn end_quarantine(&mut self, ctx: &mut Context<Self>) -> usize {
        if let Some(timer) = self.probe.take() {
            ctx.cancel_future(timer);
        }
        if !self.shared.probe() {
            return 0;
        }
        info!(self.logger, "quarantine over, one instance is tried");
        self.shared.note("its quarantine is over, one instance is tried");
        self.tell(RuntimeEvent::KernelOnTrial { kernel: self.name() });
        if self.shared.shares_fate(&Cause::Asked) {
            // Its group is started again, in order.
            self.holds.retain(|hold| *hold != Hold::Quarantine);
            self.ended(Cause::Asked, Verdict::Restart(Duration::ZERO), ctx);
        } else {
            let resumed = self.resume(Hold::Quarantine, ctx);
            ctx.spawn(resumed.map(|_, _, _| ()));
        }
        1
    }

    fn proved(&mut self, ctx: &mut Context<Self>) {
        info!(self.logger, "kernel has recovered");
        self.shared.note("it has recovered");
        self.tell(RuntimeEvent::KernelRecovered { kernel: self.name() });
        self.settle(ctx);
    }

    /// An instance has left and is not restarted.
    pub(super) fn left(&mut self, cause: Cause) {
        if !self.places.is_empty() {
            return;
        }
        warn!(self.logger, "kernel has ended and is not restarted"; "cause" => %cause);
        self.shared.ended_for_good(cause.clone());
        self.tell(RuntimeEvent::KernelEnded { kernel: self.name(), cause });
    }
}

/// The answer to an order that is carried out at once.
fn counted<K: Kernel>(count: usize) -> Ordered<K> {
    Box::pin(actix::fut::ready(Ok(count)))
}

/// How an instance's start went; `None` if it ended without a word.
async fn started(start: oneshot::Receiver<KernelResult>) -> Result<(), Option<KernelError>> {
    start.await.map_err(|_| None)?.map_err(Some)
}

impl<K: Kernel> Actor for KernelActor<K> {
    type Context = Context<Self>;
}

impl<K: Kernel> Handler<Order> for KernelActor<K> {
    type Result = Ordered<K>;

    fn handle(&mut self, order: Order, ctx: &mut Self::Context) -> Self::Result {
        match order {
            Order::Start => Box::pin(self.start_all(ctx).into_actor(self)),
            Order::Suspend { hold, within, cause } => self.suspend(hold, within, cause),
            Order::Resume { hold } => self.resume(hold, ctx),
            Order::TurnAway { cause } => counted(self.turn_away(cause)),
            Order::Probe => counted(self.end_quarantine(ctx)),
            Order::Unload { within } => self.unload(within),
            Order::Load => self.load(ctx),
            Order::Move { from } => counted(self.move_from(from, ctx)),
            Order::Drain => Box::pin(self.drain().into_actor(self)),
            Order::Cancel { timeout } => counted(self.cancel(timeout)),
            Order::Stop { grace } => self.stop(grace),
            Order::Check => counted(self.check()),
        }
    }
}

impl<K: Kernel> Handler<InstanceReport> for KernelActor<K> {
    type Result = ();

    fn handle(&mut self, report: InstanceReport, ctx: &mut Self::Context) {
        let (kernel, instance) = (self.name(), report.instance);
        match report.what {
            Told::Panicked(report) => {
                error!(self.logger, "kernel panicked"; "instance" => instance, "panic" => %report);
                self.tell(RuntimeEvent::KernelPanicked { kernel, instance, report });
            }
            Told::Ended(cause, verdict) => {
                self.tell_end(instance, &cause);
                if verdict == Verdict::Leave {
                    self.leave(instance, ctx);
                }
                if !matches!(verdict, Verdict::Restart(_)) || self.shared.shares_fate(&cause) {
                    self.ended(cause, verdict, ctx);
                }
            }
            Told::Restarted => {
                let restarts = self.shared.counters.restarts.load(Ordering::Acquire);
                warn!(self.logger, "kernel restarted"; "instance" => instance, "restarts" => restarts);
                self.tell(RuntimeEvent::KernelRestarted { kernel, instance, restarts });
            }
            Told::Proved => self.proved(ctx),
        }
    }
}

impl<K: Kernel> KernelActor<K> {
    pub(super) fn tell_end(&self, instance: usize, cause: &Cause) {
        let kernel = self.name();
        error!(self.logger, "kernel's instance ended: it {cause}"; "instance" => instance);
        self.tell(match cause {
            Cause::Panicked(report) => {
                RuntimeEvent::KernelPanicked { kernel, instance, report: report.clone() }
            }
            cause => RuntimeEvent::KernelFailed { kernel, instance, cause: cause.clone() },
        });
    }
}

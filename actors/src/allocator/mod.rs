//! The allocator: one actor per device, on a thread of its own.
//!
//! It is the one writer of what may be slow: growth, trimming, and the queue of reservations that wait
//! for room or for a lower pressure level. It does what a level asks for once the supervisor has set it,
//! has the application's spill hook called, and learns what others hold of the device. Kernels reach it by a message only when their pool has no block, or when their
//! reservation has to wait; otherwise [`MemoryClient`] serves them on the spot. The fast paths call
//! it by [`Attention`](rustkernel_gpu::memory::Attention), a flag and a wake-up.

mod client;
mod queue;
mod spill;
mod tally;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use rustkernel_gpu::memory::{
    AttentionNeed, DeviceMemory, Grown, Growth, Lease, Need, PressureLevel, Shortage,
};
use rustkernel_gpu::{DeviceError, DeviceId, DeviceKind, DeviceResult};
use slog::{Logger, debug, warn};

use crate::clock::{self, Instant};
use crate::error::{Cancellation, Rejection};
use crate::kernel::Priority;

pub use client::MemoryClient;
use queue::{AGING, Queue, Reply};
use spill::Spilling;
pub use spill::{SpillHook, SpillRequest};
pub use tally::AllocatorStats;
use tally::Tally;

/// Messages that may wait for an allocator. Its clients are the instances, and each waits for the
/// answer to one message at a time.
const MAILBOX: usize = 4096;

/// How long a growth waits for others before it looks again.
const PATIENCE: Duration = Duration::from_millis(1);

/// How often a device that others may use is asked what they hold.
const SAMPLING: Duration = Duration::from_secs(1);

/// The one writer of a device's growth, trimming, and queue of reservations.
pub(crate) struct AllocatorActor {
    memory: Arc<DeviceMemory>,
    supervisor: Recipient<PressureReport>,
    queue: Queue,
    /// When it looks for deadlines that have passed.
    alarm: Option<(Instant, SpawnHandle)>,
    report: Report,
    spilling: Spilling,
    tally: Arc<Tally>,
    logger: Logger,
}

/// What an allocator is made of.
pub(crate) struct Setting {
    pub(crate) memory: Arc<DeviceMemory>,
    pub(crate) supervisor: Recipient<PressureReport>,
    pub(crate) spill: Option<SpillHook>,
    pub(crate) logger: Logger,
}

/// Reports to the supervisor: one at a time is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Report {
    #[default]
    None,
    Sent,
    /// There is news since.
    SentAndDue,
}

/// Why a request got no reservation.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum Refused {
    #[error(transparent)]
    Rejected(#[from] Rejection),
    #[error(transparent)]
    Cancelled(#[from] Cancellation),
}

/// The bytes committed on a device are reason to look at its pressure level. If that changes, the
/// allocator is called by [`AttentionNeed::Level`].
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct PressureReport {
    pub(crate) device: DeviceId,
}

/// Get a block from the device.
#[derive(Message)]
#[rtype(result = "DeviceResult<Lease>")]
pub(crate) struct Grow(pub(crate) Growth);

/// Get a block from the device, for a thread that waits on a channel.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct GrowInto {
    pub(crate) growth: Growth,
    pub(crate) reply: crossbeam_channel::Sender<DeviceResult<Lease>>,
}

/// Grant this as soon as it fits. It is given up when nobody waits for the reply any more.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Reserve {
    pub(crate) need: Need,
    pub(crate) priority: Priority,
    pub(crate) deadline: Option<Instant>,
    /// It is no request but a restart, which waits while the level is `Critical`.
    pub(crate) restart: bool,
    pub(crate) reply: Reply,
}

/// Give all idle memory back to the device. The answer is how many bytes that were.
#[derive(Message)]
#[rtype(result = "u64")]
pub(crate) struct Trim;

impl AllocatorActor {
    /// Starts an allocator on `arbiter`.
    pub(crate) fn start(setting: Setting, arbiter: ArbiterHandle) -> MemoryClient {
        let Setting { memory, supervisor, spill, logger } = setting;
        let (tally, spills) = (Arc::new(Tally::default()), spill.is_some());
        let actor = Self {
            memory: Arc::clone(&memory),
            supervisor,
            queue: Queue::default(),
            alarm: None,
            report: Report::default(),
            spilling: Spilling::new(spill),
            tally: Arc::clone(&tally),
            logger,
        };
        let allocator = Self::start_in_arbiter(&arbiter, move |ctx| {
            ctx.set_mailbox_capacity(MAILBOX);
            actor
        });
        MemoryClient { memory, allocator, arbiter, tally, spills }
    }

    /// Answers each call of the fast paths, for as long as the actor lives.
    fn attend(&self, ctx: &mut Context<Self>) {
        let attention = Arc::clone(self.memory.attention());
        let next = async move { attention.called().await }.into_actor(self);
        ctx.spawn(next.map(|called, actor, ctx| {
            if called(AttentionNeed::Room) {
                actor.serve_waiting();
            }
            if called(AttentionNeed::Ahead) {
                actor.memory.prepare(false);
            }
            if called(AttentionNeed::Release) {
                actor.memory.trim();
            }
            if called(AttentionNeed::Pressure) {
                actor.report_pressure(ctx);
            }
            if called(AttentionNeed::Level) {
                actor.enact_level(ctx);
            }
            actor.attend(ctx);
        }));
    }

    fn report_pressure(&mut self, ctx: &mut Context<Self>) {
        if self.report != Report::None {
            self.report = Report::SentAndDue;
            return;
        }
        self.report = Report::Sent;
        let report = PressureReport { device: self.memory.device().id() };
        let report = self.supervisor.send(report).into_actor(self);
        ctx.spawn(report.map(|_, actor, ctx| {
            if std::mem::take(&mut actor.report) == Report::SentAndDue {
                actor.report_pressure(ctx);
            }
        }));
    }

    /// Learns how much of the device others hold.
    fn look_at_others(&self) {
        if let Err(error) = self.memory.sample_foreign() {
            debug!(self.logger, "the device does not say what others hold"; "error" => %error);
        }
    }

    /// Does what the pressure level asks for, once it has changed.
    fn enact_level(&mut self, ctx: &mut Context<Self>) {
        let level = self.memory.pressure();
        if level >= PressureLevel::Critical {
            let bytes = self.memory.trim();
            debug!(self.logger, "flushed the pools under pressure"; "bytes" => bytes);
        }
        if level == PressureLevel::Emergency {
            self.cancel_low();
            self.relieve(ctx);
        }
        // A lower level lets those pass that were deferred.
        self.serve_waiting();
    }

    /// Cancels what waits and is of low priority.
    fn cancel_low(&mut self) {
        let device = self.memory.device().id();
        let cancelled = self.queue.remove_low();
        if cancelled.is_empty() {
            return;
        }
        warn!(self.logger, "requests of low priority cancelled under pressure";
            "requests" => cancelled.len());
        for waiting in cancelled {
            Tally::add(&self.tally.cancelled, 1);
            waiting.reply.send(Err(Cancellation::MemoryPressure { device }.into())).ok();
        }
    }

    /// Serves those that wait.
    fn serve_waiting(&mut self) {
        self.queue.forget_given_up();
        let attention = Arc::clone(self.memory.attention());
        attention.serve_room(|| self.grant());
    }

    /// Grants what fits, in order; whether there is one that does not. Those deferred do not count: they
    /// wait for another level, not for room.
    fn grant(&mut self) -> bool {
        let level = self.memory.pressure();
        while let Some((number, need)) = self.queue.first(level, clock::now()) {
            let answer = match self.memory.try_reserve(need) {
                Ok(reservation) => Ok(reservation),
                Err(Shortage::NotNow { .. }) => return true,
                Err(shortage) => Err(rejection(shortage, self.memory.device().id()).into()),
            };
            // (If the request was given up meanwhile, the reservation ends here.)
            let first = self.queue.remove(number).expect("invariant: it was just looked at");
            first.reply.send(answer).ok();
        }
        false
    }

    /// Sees to it that this looks when the next deadline passes.
    fn set_alarm(&mut self, ctx: &mut Context<Self>) {
        let Some(next) = self.queue.next_deadline() else { return };
        match self.alarm.take() {
            Some((at, alarm)) if at <= next => return self.alarm = Some((at, alarm)),
            Some((_, alarm)) => drop(ctx.cancel_future(alarm)),
            None => {}
        }
        let left = next.saturating_duration_since(clock::now());
        let alarm = ctx.run_later(left, |actor, ctx| {
            actor.alarm = None;
            actor.expire();
            actor.set_alarm(ctx);
        });
        self.alarm = Some((next, alarm));
    }

    fn expire(&mut self) {
        let (device, level) = (self.memory.device().id(), self.memory.pressure());
        for expired in self.queue.remove_expired(clock::now()) {
            let answer = if queue::is_deferred(expired.priority, level) {
                Err(Rejection::UnderPressure { device, level }.into())
            } else {
                let reserved = self.memory.try_reserve(expired.need);
                reserved.map_err(|shortage| rejection(shortage, device).into())
            };
            expired.reply.send(answer).ok();
        }
        self.serve_waiting();
    }
}

/// What a shortage means for the request.
pub(crate) fn rejection(shortage: Shortage, device: DeviceId) -> Rejection {
    match shortage {
        Shortage::Never { kind, asked, limit } => {
            Rejection::NeverFits { device, kind, asked, limit }
        }
        Shortage::NotNow { kind, asked, .. } => Rejection::OutOfMemory { device, kind, asked },
    }
}

impl Actor for AllocatorActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.memory.attention().attend(true);
        self.memory.prepare(true);
        self.attend(ctx);
        if self.memory.device().kind() == DeviceKind::Cuda {
            self.look_at_others();
            ctx.run_interval(SAMPLING, |actor, _| actor.look_at_others());
        }
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.memory.attention().attend(false);
    }
}

impl Handler<Grow> for AllocatorActor {
    type Result = ResponseActFuture<Self, DeviceResult<Lease>>;

    fn handle(&mut self, Grow(growth): Grow, _: &mut Self::Context) -> Self::Result {
        match growth.run() {
            Ok(Grown::Ready(lease)) => Box::pin(actix::fut::ready(Ok(lease))),
            Ok(Grown::Wait(growth, completion)) => {
                // A stream may have work for longer; then the limit decides.
                let wait = tokio::time::timeout(PATIENCE, completion).into_actor(self);
                Box::pin(wait.then(|_, actor, ctx| actor.handle(Grow(growth), ctx)))
            }
            Ok(Grown::Short(growth)) => {
                let wait = tokio::time::sleep(PATIENCE).into_actor(self);
                Box::pin(wait.then(|(), actor, ctx| actor.handle(Grow(growth), ctx)))
            }
            Err(error) => {
                warn!(self.logger, "the device gave no memory"; "error" => %error);
                Box::pin(actix::fut::ready(Err(error)))
            }
        }
    }
}

impl Handler<GrowInto> for AllocatorActor {
    type Result = ();

    fn handle(&mut self, GrowInto { growth, reply }: GrowInto, ctx: &mut Self::Context) {
        let grown = self.handle(Grow(growth), ctx);
        // (Whoever waited may have stopped waiting; then the lease ends here.)
        ctx.spawn(grown.map(move |lease, _, _| reply.try_send(lease).unwrap_or(())));
    }
}

impl Handler<Reserve> for AllocatorActor {
    type Result = ();

    fn handle(&mut self, asked: Reserve, ctx: &mut Self::Context) {
        let priority = asked.priority;
        self.queue.push(asked, clock::now());
        self.set_alarm(ctx);
        match self.memory.pressure() {
            // The level rose while this came.
            PressureLevel::Emergency => self.cancel_low(),
            level if queue::is_deferred(priority, level) => Tally::add(&self.tally.deferred, 1),
            _ => {}
        }
        for steps in 1..=priority.classes_above() {
            // With age another may be the first, and fit.
            ctx.run_later(steps * AGING, |actor, _| actor.serve_waiting());
        }
        self.serve_waiting();
    }
}

impl Handler<Trim> for AllocatorActor {
    type Result = u64;

    fn handle(&mut self, _: Trim, _: &mut Self::Context) -> u64 {
        self.memory.trim()
    }
}

/// The allocator has stopped, and with it its device's memory.
fn stopped(device: DeviceId) -> DeviceError {
    DeviceError::AllocatorStopped { device }
}

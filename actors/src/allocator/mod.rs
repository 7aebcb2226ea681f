//! The allocator: one actor per device, on a thread of its own.
//!
//! It is the one writer of what may be slow: growth, trimming, and the queue of reservations that do
//! not fit at present. Kernels reach it by a message only when their pool has no block, or when their
//! reservation has to wait; otherwise [`MemoryClient`] serves them on the spot. The fast paths call
//! it by [`Attention`](rustkernel_gpu::memory::Attention), a flag and a wake-up.

mod client;

use std::collections::VecDeque;
use std::sync::Arc;

use actix::prelude::*;
use rustkernel_gpu::memory::{
    AttentionNeed, DeviceMemory, Grown, Growth, Lease, Need, PressureLevel, Reservation, Shortage,
};
use rustkernel_gpu::{DeviceError, DeviceId, DeviceResult};
use slog::{Logger, debug, warn};
use tokio::sync::oneshot;

use crate::clock::{self, Instant};
use crate::error::Rejection;

pub use client::MemoryClient;

/// Messages that may wait for an allocator. Its clients are the instances, and each waits for the
/// answer to one message at a time.
const MAILBOX: usize = 4096;

/// The one writer of a device's growth, trimming, and queue of reservations.
pub(crate) struct AllocatorActor {
    memory: Arc<DeviceMemory>,
    supervisor: Recipient<PressureReport>,
    waiting: VecDeque<Waiting>,
    arrivals: u64,
    report: Report,
    logger: Logger,
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

/// A reservation that waits until it fits, first come first served.
struct Waiting {
    number: u64,
    need: Need,
    reply: oneshot::Sender<Result<Reservation, Rejection>>,
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

/// Grant this as soon as it fits.
#[derive(Message)]
#[rtype(result = "Result<Reservation, Rejection>")]
pub(crate) struct Reserve {
    pub(crate) need: Need,
    pub(crate) deadline: Option<Instant>,
}

/// Give all idle memory back to the device. The answer is how many bytes that were.
#[derive(Message)]
#[rtype(result = "u64")]
pub(crate) struct Trim;

impl AllocatorActor {
    /// Starts the allocator of `memory` on `arbiter`.
    pub(crate) fn start(
        memory: &Arc<DeviceMemory>,
        supervisor: Recipient<PressureReport>,
        arbiter: &ArbiterHandle,
        logger: Logger,
    ) -> Addr<Self> {
        let memory = Arc::clone(memory);
        Self::start_in_arbiter(arbiter, move |ctx| {
            ctx.set_mailbox_capacity(MAILBOX);
            let (waiting, report) = (VecDeque::new(), Report::default());
            Self { memory, supervisor, waiting, arrivals: 0, report, logger }
        })
    }

    /// Answers each call of the fast paths, for as long as the actor lives.
    fn attend(&self, ctx: &mut Context<Self>) {
        let attention = Arc::clone(self.memory.attention());
        let next = async move { attention.called().await }.into_actor(self);
        ctx.spawn(next.map(|called, actor, ctx| {
            if called(AttentionNeed::Room) {
                actor.serve_waiting();
            }
            if called(AttentionNeed::Release) {
                actor.memory.trim();
            }
            if called(AttentionNeed::Pressure) {
                actor.report_pressure(ctx);
            }
            if called(AttentionNeed::Level) {
                actor.enact_level();
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

    /// Does what the pressure level asks for, once it has changed.
    fn enact_level(&self) {
        if self.memory.pressure() >= PressureLevel::Critical {
            let bytes = self.memory.trim();
            debug!(self.logger, "flushed the pools under pressure"; "bytes" => bytes);
        }
    }

    fn serve_waiting(&mut self) {
        while let Some(first) = self.waiting.front() {
            let answer = match self.memory.try_reserve(first.need) {
                // Its request may have been given up; then the next one is served.
                _ if first.reply.is_closed() => None,
                Ok(reservation) => Some(Ok(reservation)),
                Err(Shortage::NotNow { .. }) => break,
                Err(shortage) => Some(Err(rejection(shortage, self.memory.device().id()))),
            };
            let first = self.waiting.pop_front().expect("invariant: it was just looked at");
            if let Some(answer) = answer {
                // (If the request was given up meanwhile, the reservation ends here.)
                first.reply.send(answer).ok();
            }
        }
        self.memory.attention().want_room(!self.waiting.is_empty());
    }

    fn expire(&mut self, number: u64) {
        let device = self.memory.device().id();
        let Some(index) = self.waiting.iter().position(|waiting| waiting.number == number) else {
            return;
        };
        let expired = self.waiting.remove(index).expect("invariant: the index was just found");
        let (kind, asked) = match self.memory.try_reserve(expired.need) {
            Err(Shortage::NotNow { kind, asked, .. } | Shortage::Never { kind, asked, .. }) => {
                (kind, asked)
            }
            Ok(reservation) => return expired.reply.send(Ok(reservation)).map_or((), drop),
        };
        expired.reply.send(Err(Rejection::OutOfMemory { device, kind, asked })).ok();
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
        self.attend(ctx);
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
                let wait = completion.into_actor(self);
                Box::pin(wait.then(|passed, actor, ctx| match passed {
                    Ok(()) => actor.handle(Grow(growth), ctx),
                    Err(error) => Box::pin(actix::fut::ready(Err(error))),
                }))
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
    type Result = ResponseFuture<Result<Reservation, Rejection>>;

    fn handle(
        &mut self,
        Reserve { need, deadline }: Reserve,
        ctx: &mut Self::Context,
    ) -> Self::Result {
        let (reply, answer) = oneshot::channel();
        self.arrivals += 1;
        let number = self.arrivals;
        self.waiting.push_back(Waiting { number, need, reply });
        if let Some(deadline) = deadline {
            let left = deadline.saturating_duration_since(clock::now());
            ctx.run_later(left, move |actor, _| actor.expire(number));
        }
        self.serve_waiting();
        // Whatever came back between the look and the flag is looked at again.
        if !self.waiting.is_empty() {
            self.serve_waiting();
        }
        Box::pin(async move { answer.await.unwrap_or(Err(Rejection::Stopped)) })
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

//! The spill hook: the application's own code, asked to spare memory.
//!
//! It is asked under `Emergency` pressure, and before an allocation is refused for want of memory. It
//! runs on a thread of its own, so that the allocator goes on meanwhile: what the hook drops comes back
//! to the pools as always. One call at a time, and at most one a dwell for each device.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use actix::prelude::*;
use rustkernel_gpu::DeviceId;
use rustkernel_gpu::memory::PressureLevel;
use slog::{error, info, warn};
use tokio::sync::oneshot;

use super::{AllocatorActor, Tally};
use crate::clock::{self, Instant};
use crate::panic::{self, PanicReport};
use crate::supervisor::DWELL;

/// How long the allocator and those who wait for memory wait for a hook. It goes on after that, alone.
const PATIENCE: Duration = Duration::from_secs(1);

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread runs a spill hook: one that allocates itself is refused rather than asked again.
pub(super) fn inside_hook() -> bool {
    INSIDE.get()
}

/// What a spill hook is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpillRequest {
    /// The device that is short of memory.
    pub device: DeviceId,
    /// As many bytes would help. Fewer do some good too.
    pub bytes: u64,
    /// How full the device is.
    pub pressure: PressureLevel,
}

/// Code of the application's that drops, or moves elsewhere, what it can spare of a device's memory,
/// and returns how many bytes that were. Clones are the same hook.
#[derive(Clone)]
pub struct SpillHook {
    hook: Arc<Hook>,
}

struct Hook {
    function: Box<dyn Fn(SpillRequest) -> u64 + Send + Sync>,
    running: AtomicBool,
}

impl SpillHook {
    /// A hook that runs `function`. It may block; it must not wait for memory or for a kernel.
    pub fn new(function: impl Fn(SpillRequest) -> u64 + Send + Sync + 'static) -> Self {
        let (function, running) = (Box::new(function), AtomicBool::new(false));
        Self { hook: Arc::new(Hook { function, running }) }
    }

    /// Runs the hook on a thread of its own. `None` if it runs already, or there is no thread.
    fn call(&self, request: SpillRequest) -> Option<oneshot::Receiver<Result<u64, PanicReport>>> {
        if self.hook.running.swap(true, Ordering::AcqRel) {
            return None;
        }
        let (reply, answer) = oneshot::channel();
        let hook = Arc::clone(&self.hook);
        let run = move || {
            INSIDE.set(true);
            let freed = panic::guard(|| (hook.function)(request));
            hook.running.store(false, Ordering::Release);
            // (The allocator may have lost its patience.)
            reply.send(freed).ok();
        };
        let spawned = thread::Builder::new().name("rk-spill".into()).spawn(run);
        if spawned.is_err() {
            self.hook.running.store(false, Ordering::Release);
        }
        spawned.is_ok().then_some(answer)
    }
}

impl fmt::Debug for SpillHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpillHook").field("running", &self.hook.running).finish_non_exhaustive()
    }
}

/// What an allocator knows of its hook.
#[derive(Debug)]
pub(super) struct Spilling {
    hook: Option<SpillHook>,
    last: Option<Instant>,
    running: bool,
    /// Those who want memory and wait for the hook to end. Each thread and instance waits once.
    waiting: Vec<oneshot::Sender<u64>>,
}

impl Spilling {
    pub(super) fn new(hook: Option<SpillHook>) -> Self {
        Self { hook, last: None, running: false, waiting: Vec::new() }
    }

    /// How long until the hook may be asked again.
    fn rest(&self) -> Duration {
        let due = self.last.map(|last| last + DWELL);
        due.map_or(Duration::ZERO, |due| due.saturating_duration_since(clock::now()))
    }
}

/// Ask the spill hook for that many bytes, unless it was asked just now. The answer is how many it freed.
#[derive(Message)]
#[rtype(result = "u64")]
pub(crate) struct Spill(pub(crate) u64);

/// The same for a thread that waits on a channel.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct SpillInto {
    pub(crate) bytes: u64,
    pub(crate) reply: crossbeam_channel::Sender<u64>,
}

impl AllocatorActor {
    /// Asks the hook for what has to come back before `Emergency` ends, as soon as it may be asked.
    pub(super) fn relieve(&mut self, ctx: &mut Context<Self>) {
        if self.memory.pressure() < PressureLevel::Emergency || self.spilling.hook.is_none() {
            return;
        }
        let rest = self.spilling.rest();
        if rest > Duration::ZERO {
            ctx.run_later(rest, Self::relieve);
        } else if !self.spilling.running {
            self.ask(self.memory.pressure_excess(), ctx);
        }
    }

    /// Tells `reply` how many bytes the hook freed, asking it if it may be asked.
    fn spill(&mut self, bytes: u64, reply: oneshot::Sender<u64>, ctx: &mut Context<Self>) {
        self.spilling.waiting.push(reply);
        if self.spilling.running {
            return;
        }
        if self.spilling.rest() > Duration::ZERO || !self.ask(bytes, ctx) {
            self.answer_spills(0);
        }
    }

    /// Whether the hook was asked.
    fn ask(&mut self, bytes: u64, ctx: &mut Context<Self>) -> bool {
        let (device, pressure) = (self.memory.device().id(), self.memory.pressure());
        let request = SpillRequest { device, bytes, pressure };
        let asked = self.spilling.hook.as_ref().and_then(|hook| hook.call(request));
        let Some(freed) = asked else { return false };
        (self.spilling.running, self.spilling.last) = (true, Some(clock::now()));
        Tally::add(&self.tally.spills, 1);
        let freed = tokio::time::timeout(PATIENCE, freed).into_actor(self);
        ctx.spawn(freed.map(|freed, actor, ctx| actor.spilled(freed, ctx)));
        true
    }

    fn spilled(
        &mut self,
        outcome: Result<Result<Result<u64, PanicReport>, oneshot::error::RecvError>, Elapsed>,
        ctx: &mut Context<Self>,
    ) {
        self.spilling.running = false;
        let freed = match outcome {
            Ok(Ok(Ok(freed))) => {
                info!(self.logger, "spilled"; "bytes" => freed);
                freed
            }
            Ok(Ok(Err(report))) => {
                Tally::add(&self.tally.spill_panics, 1);
                error!(self.logger, "the spill hook panicked"; "panic" => %report);
                0
            }
            Ok(Err(_)) | Err(_) => {
                warn!(self.logger, "the spill hook has not returned; it is not waited for";
                    "after" => ?PATIENCE);
                0
            }
        };
        Tally::add(&self.tally.spilled_bytes, freed);
        if self.memory.pressure() >= PressureLevel::Critical {
            self.memory.trim();
        }
        self.answer_spills(freed);
        // For as long as there is something to spare, and need of it.
        if freed > 0 {
            self.relieve(ctx);
        }
    }

    fn answer_spills(&mut self, freed: u64) {
        for waiting in self.spilling.waiting.drain(..) {
            waiting.send(freed).ok();
        }
    }
}

type Elapsed = tokio::time::error::Elapsed;

impl Handler<Spill> for AllocatorActor {
    type Result = ResponseFuture<u64>;

    fn handle(&mut self, Spill(bytes): Spill, ctx: &mut Self::Context) -> Self::Result {
        let (reply, answer) = oneshot::channel();
        self.spill(bytes, reply, ctx);
        Box::pin(async move { answer.await.unwrap_or(0) })
    }
}

impl Handler<SpillInto> for AllocatorActor {
    type Result = ();

    fn handle(&mut self, SpillInto { bytes, reply }: SpillInto, ctx: &mut Self::Context) {
        let (freed, answer) = oneshot::channel();
        self.spill(bytes, freed, ctx);
        let told = answer.into_actor(self);
        // (Whoever waited may have stopped waiting.)
        ctx.spawn(told.map(move |freed, _, _| reply.try_send(freed.unwrap_or(0)).unwrap_or(())));
    }
}

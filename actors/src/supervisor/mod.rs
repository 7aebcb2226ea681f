//! The supervisor: the one writer of the lifecycle and of the pressure levels.
//!
//! It starts kernels in the order in which they were given, and stops them in reverse. All its work is
//! sending orders to kernel actors and hearing reports; nothing in it blocks.

mod drain;
mod group;
mod lifecycle;
mod loss;
mod pressure;
mod start;
#[cfg(test)]
pub(crate) mod world;

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use actix::prelude::*;
use rustkernel_gpu::host::ThreadBudget;
use rustkernel_gpu::memory::MemoryLimits;
use rustkernel_gpu::memory::record::Recorder;
use rustkernel_gpu::{Device, DeviceId};
use slog::{Logger, debug, info, warn};
use tokio::sync::{Notify, oneshot, watch};

use crate::allocator::{MemoryClient, SpillHook};
use crate::clock::{self, Instant};
use crate::error::StartError;
use crate::event::{Announcer, RuntimeEvent};
use crate::instance::{Lanes, Threads};
use crate::kernel::{AnyKernel, AnySpec, Environment, KernelReport, Order};
use crate::restart::{DeadLetter, DeadLetters, Group};

pub use drain::{ShutdownReport, StopReason};
use group::GroupRestart;
pub(crate) use lifecycle::LifecycleCell;
pub use lifecycle::{IllegalTransition, LifecycleEvent, LifecycleState, Step, transition};
pub use loss::OnDeviceLoss;
pub(crate) use start::{Limits, check_limits};

pub(crate) use pressure::DWELL;
use pressure::Dwell;

/// Orders and reports that may wait for the supervisor.
const MAILBOX: usize = 1024;

/// What a supervisor is given to work with.
#[derive(Debug)]
pub struct SupervisorConfig {
    /// The devices.
    pub devices: Vec<DeviceConfig>,
    /// Most instances, over all kernels.
    pub max_kernel_instances: usize,
    /// Threads that instances share.
    pub worker_threads: usize,
    /// Threads that may block: those of instances with a thread of their own, and of host streams.
    pub threads: Arc<ThreadBudget>,
    /// How long a drain waits for what is in flight.
    pub shutdown_timeout: Duration,
    /// How often devices and lanes are looked at.
    pub health_check_interval: Duration,
    /// How long either side of a call looks for the other before it sleeps.
    pub spin: Duration,
    /// Kernels that are restarted together, as their specs name them.
    pub groups: Vec<Group>,
    /// What is done when a device is lost.
    pub on_device_loss: OnDeviceLoss,
    /// Makes the jitter of restarts; any number.
    pub seed: u64,
    /// What is asked to spare memory, if anything is.
    pub spill: Option<SpillHook>,
    /// Where log lines go.
    pub logger: Logger,
    /// Dropped after the last line of the supervisor's: what flushes the log, say.
    pub log_guard: Option<Box<dyn Any + Send>>,
    /// Dropped when everything is released, and before anybody is told of the end: what has to be
    /// complete by then. Dropping it may block for a moment.
    pub end_guard: Option<Box<dyn Any + Send>>,
}

/// A device that a supervisor is given.
#[derive(Debug)]
pub struct DeviceConfig {
    /// The device.
    pub device: Device,
    /// What may be used of its memory.
    pub limits: MemoryLimits,
    /// Whoever is told what happens to its memory, from the start on.
    pub recorder: Option<Recorder>,
}

/// What everybody may read of a runtime, and what the supervisor alone writes.
pub(crate) struct Board {
    pub(crate) lifecycle: Arc<LifecycleCell>,
    pub(crate) announcer: Announcer,
    registry: RwLock<Registry>,
    report: OnceLock<ShutdownReport>,
    /// Told when the report is there.
    ended: Notify,
    dead_letters: Arc<DeadLetters>,
}

#[derive(Default)]
struct Registry {
    kernels: BTreeMap<String, Arc<dyn AnyKernel>>,
    memories: Vec<MemoryClient>,
    started: Option<Instant>,
    health_checks: u64,
}

impl Board {
    pub(crate) fn new() -> Self {
        Self {
            lifecycle: Arc::new(LifecycleCell::new()),
            announcer: Announcer::new(),
            registry: RwLock::default(),
            report: OnceLock::new(),
            ended: Notify::new(),
            dead_letters: Arc::default(),
        }
    }

    fn read<R>(&self, look: impl FnOnce(&Registry) -> R) -> R {
        look(&self.registry.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<R>(&self, change: impl FnOnce(&mut Registry) -> R) -> R {
        change(&mut self.registry.write().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn kernel(&self, name: &str) -> Option<Arc<dyn AnyKernel>> {
        self.read(|registry| registry.kernels.get(name).cloned())
    }

    pub(crate) fn kernels(&self) -> Vec<Arc<dyn AnyKernel>> {
        self.read(|registry| registry.kernels.values().cloned().collect())
    }

    pub(crate) fn memories(&self) -> Vec<MemoryClient> {
        self.read(|registry| registry.memories.clone())
    }

    /// How the shutdown went, once it is over.
    pub(crate) fn report(&self) -> Option<ShutdownReport> {
        self.report.get().cloned()
    }

    fn set_report(&self, report: ShutdownReport) {
        self.report.set(report).expect("invariant: a runtime stops once");
        self.ended.notify_waiters();
    }

    /// The report, once there is one.
    pub(crate) async fn ended(&self) -> ShutdownReport {
        loop {
            let ended = self.ended.notified();
            if let Some(report) = self.report() {
                return report;
            }
            ended.await;
        }
    }

    pub(crate) fn dead_letters(&self) -> Vec<DeadLetter> {
        self.dead_letters.read()
    }

    pub(crate) fn uptime(&self) -> Duration {
        let started = self.read(|registry| registry.started);
        started.map_or(Duration::ZERO, |started| clock::now().saturating_duration_since(started))
    }

    pub(crate) fn health_checks(&self) -> u64 {
        self.read(|registry| registry.health_checks)
    }
}

/// A kernel as its supervisor sees it.
#[derive(Clone)]
struct Child {
    name: String,
    instances: usize,
    threads: usize,
    group: Option<String>,
    shutdown_timeout: Option<Duration>,
    kernel: Arc<dyn AnyKernel>,
    orders: Recipient<Order>,
}

/// The supervisor's actor.
pub(crate) struct SupervisorActor {
    config: SupervisorConfig,
    board: Arc<Board>,
    /// Those to start; taken by the start.
    specs: Vec<Box<dyn AnySpec>>,
    /// In the order of their start.
    children: Vec<Child>,
    environment: Option<Environment>,
    /// Whoever waits for the end of a shutdown.
    joining: Vec<oneshot::Sender<ShutdownReport>>,
    report: Option<ShutdownReport>,
    /// Why it stops, if not because it was asked to.
    reason: Option<StopReason>,
    /// Groups that are being restarted.
    group_restarts: BTreeMap<String, GroupRestart>,
    /// A start is under way.
    starting: bool,
    shutdown_requested: bool,
    /// When the drain that is under way is over, for it to look at.
    drain_end: Option<watch::Sender<Instant>>,
    drop_errors: BTreeMap<DeviceId, u64>,
    lost: Vec<DeviceId>,
    dwells: BTreeMap<DeviceId, Dwell>,
    /// Simulations have one thread, whose clock they pause.
    threads: Threads,
}

/// Start every kernel. (The answers of this and of [`Shutdown`] go past the mailbox: the control
/// thread may end with them.)
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Start {
    pub(crate) done: oneshot::Sender<Result<(), StartError>>,
}

/// Start one more kernel.
#[derive(Message)]
#[rtype(result = "Result<(), StartError>")]
pub(crate) struct AddKernel(pub(crate) Box<dyn AnySpec>);

/// Try a quarantined kernel now. False if it is not quarantined, none if there is no such kernel.
#[derive(Message)]
#[rtype(result = "Option<bool>")]
pub(crate) struct Lift(pub(crate) String);

/// Restart a kernel, and those of its group with it. False if there is no such kernel.
#[derive(Message)]
#[rtype(result = "bool")]
pub(crate) struct Restart(pub(crate) String);

/// Have a kernel drop its state. How many instances were replaced for it; none if there is no such kernel.
#[derive(Message)]
#[rtype(result = "Option<usize>")]
pub(crate) struct Unload(pub(crate) String);

/// Have it serve again. How many instances are up; none if there is no such kernel.
#[derive(Message)]
#[rtype(result = "Option<Result<usize, StartError>>")]
pub(crate) struct Load(pub(crate) String);

/// Answer, to show that there is somebody to.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Ping;

/// Drain and stop; joins a shutdown that is under way, and has it end earlier if this one would.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Shutdown {
    /// How long to wait for what is in flight; as configured if nothing is said.
    pub(crate) within: Option<Duration>,
    pub(crate) done: Option<oneshot::Sender<ShutdownReport>>,
}

impl SupervisorActor {
    pub(crate) fn new(
        config: SupervisorConfig,
        board: Arc<Board>,
        specs: Vec<Box<dyn AnySpec>>,
        threads: Threads,
    ) -> Self {
        Self {
            config,
            board,
            specs,
            children: Vec::new(),
            environment: None,
            joining: Vec::new(),
            report: None,
            reason: None,
            group_restarts: BTreeMap::new(),
            starting: false,
            shutdown_requested: false,
            drain_end: None,
            drop_errors: BTreeMap::new(),
            lost: Vec::new(),
            dwells: BTreeMap::new(),
            threads,
        }
    }

    fn state(&self) -> LifecycleState {
        self.board.lifecycle.get()
    }

    /// The only way the state changes.
    fn enter(&self, to: LifecycleState) {
        let from = self.state();
        self.board.lifecycle.set(to);
        info!(self.config.logger, "runtime is {to}"; "was" => from.name());
        self.board.announcer.tell(RuntimeEvent::StateChanged { from, to });
    }

    fn child(&self, name: &str) -> Option<Child> {
        self.children.iter().find(|child| child.name == name).cloned()
    }

    fn clients(&self) -> &[MemoryClient] {
        self.environment.as_ref().map_or(&[], |environment| &environment.memories)
    }

    /// Looks at devices and lanes.
    fn check_health(&mut self, ctx: &mut Context<Self>) {
        self.board.write(|registry| registry.health_checks += 1);
        for client in self.clients().to_vec() {
            self.check_device(&client, ctx);
        }
        for child in &self.children {
            let check = child.orders.send(Order::Check).into_actor(self);
            ctx.spawn(check.map(|_, _, _| ()));
        }
    }

    fn check_device(&mut self, client: &MemoryClient, ctx: &mut Context<Self>) {
        let device = client.device();
        let errors = device.drop_errors();
        let known = self.drop_errors.insert(device.id(), errors).unwrap_or(0);
        if errors > known {
            warn!(self.config.logger, "driver errors while dropping handles";
                "device" => %device.id(), "errors" => errors - known);
        }
        if device.health().is_err() {
            self.device_lost(device.id(), ctx);
        }
    }
}

impl Actor for SupervisorActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        ctx.run_interval(self.config.health_check_interval, |actor, ctx| {
            if actor.state() == LifecycleState::Running {
                actor.check_health(ctx);
            }
        });
        debug!(self.config.logger, "supervisor started"; "kernels" => self.specs.len());
    }
}

impl Handler<Ping> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, Ping: Ping, _: &mut Self::Context) {}
}

/// Everything that a supervisor needs to make its kernels' surroundings.
fn surroundings(
    config: &SupervisorConfig,
    board: &Board,
    memories: Vec<MemoryClient>,
    supervisor: Recipient<KernelReport>,
    threads: Threads,
) -> Result<Environment, StartError> {
    let lanes = Lanes::start(config.worker_threads, Arc::clone(&config.threads), threads)?;
    Ok(Environment {
        lifecycle: Arc::clone(&board.lifecycle),
        memories,
        lanes: Arc::new(lanes),
        announcer: board.announcer.clone(),
        logger: config.logger.clone(),
        spin: config.spin,
        supervisor,
        dead_letters: Arc::clone(&board.dead_letters),
        groups: config.groups.clone().into(),
        seed: config.seed,
    })
}

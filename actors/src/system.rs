//! A supervisor with a control thread of its own.
//!
//! actix actors live in an actix `System`; callers need not. The control thread has the system, and
//! everything here works from any thread and any executor.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use actix::prelude::*;
use futures_util::future::BoxFuture;
use rustkernel_gpu::memory::PressureThresholds;
use rustkernel_gpu::{DeviceError, DeviceId, DeviceResult};
use slog::{Logger, warn};
use tokio::sync::oneshot;

use crate::allocator::MemoryClient;
use crate::error::{CallError, StartError};
use crate::event::Events;
use crate::hosted::HostedActor;
use crate::instance::Threads;
use crate::kernel::{
    AnyKernel, AnySpec, ChangeError, Kernel, KernelChange, KernelRef, NamedKernel, Shared,
};
use crate::message::{Fields, Signature};
use crate::panic;
use crate::restart::DeadLetter;
use crate::stats::RuntimeStats;
use crate::supervisor::{
    AddKernel, Board, LifecycleState, Lift, Limits, Load, Ping, Restart, Shutdown, ShutdownReport,
    Start, SupervisorActor, SupervisorConfig, Unload, check_limits,
};

/// A supervisor and its kernels.
///
/// Dropping it while it runs shuts it down at once, in the background, and says so in the log. Dropping
/// it when it has stopped waits until the log is written.
pub struct Supervisor {
    board: Arc<Board>,
    address: Addr<SupervisorActor>,
    logger: Logger,
    control: Option<JoinHandle<()>>,
    changing: Mutex<()>,
}

/// Why a kernel was not found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// There is no kernel of that name.
    #[error("there is no kernel `{name}`; there is {}", .known.join(", "))]
    Unknown {
        /// The name.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// The kernel of that name is of another type.
    #[error("kernel `{0}` is of another type than asked for")]
    OtherType(String),
    /// The kernel cannot be called by name.
    #[error("kernel `{0}` cannot be called by name; its spec lacks `.publish()`")]
    NotPublished(String),
}

/// Why a kernel was not loaded again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// There is none of that name.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// It cannot be started now.
    #[error(transparent)]
    Start(#[from] StartError),
}

impl Supervisor {
    /// Checks the kernels against the limits and starts the control thread. Nothing of the kernels
    /// runs until [`start`](Self::start).
    ///
    /// # Errors
    /// [`StartError`] for the first kernel that makes no sense, or is one too many.
    pub fn new(
        mut config: SupervisorConfig,
        specs: Vec<Box<dyn AnySpec>>,
    ) -> Result<Self, StartError> {
        check(&config, &specs)?;
        panic::install_hook();
        let (board, logger) = (Arc::new(Board::new()), config.logger.clone());
        let (ready, address) = std::sync::mpsc::sync_channel(1);
        let (own, log_guard) = (Arc::clone(&board), config.log_guard.take());
        let control = move || {
            let _log_guard = log_guard;
            let system = System::new();
            let address = system
                .block_on(async { SupervisorActor::new(config, own, specs, Threads::Own).start() });
            ready.send(address).ok();
            if let Err(error) = system.run() {
                unreachable!("invariant: the system is stopped, not failed: {error}");
            }
        };
        let no_thread = |error: String| StartError::NoThread(error);
        let control = thread::Builder::new()
            .name("rk-control".into())
            .spawn(control)
            .map_err(|error| no_thread(error.to_string()))?;
        let address = address.recv().map_err(|error| no_thread(error.to_string()))?;
        Ok(Self { board, address, logger, control: Some(control), changing: Mutex::default() })
    }

    /// As [`new`](Self::new), with everything on the current arbiter: the supervisor, the kernels'
    /// actors, the allocators and the instances, whatever their placement. On a runtime whose clock is
    /// paused all of it runs as fast as it can, and always in the same order. The `System` stops with the
    /// supervisor.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    ///
    /// # Panics
    /// If no actix arbiter runs on this thread.
    #[doc(hidden)]
    pub fn on_this_thread(
        config: SupervisorConfig,
        specs: Vec<Box<dyn AnySpec>>,
    ) -> Result<Self, StartError> {
        check(&config, &specs)?;
        panic::install_hook();
        let (board, logger) = (Arc::new(Board::new()), config.logger.clone());
        let actor = SupervisorActor::new(config, Arc::clone(&board), specs, Threads::This);
        let (address, changing) = (actor.start(), Mutex::default());
        Ok(Self { board, address, logger, control: None, changing })
    }

    /// Starts every kernel, in order.
    ///
    /// # Errors
    /// If one does not start; then all are stopped again, and so is the supervisor.
    pub async fn start(&self) -> Result<(), StartError> {
        if self.state() == LifecycleState::Stopped {
            return Err(StartError::NotNew(LifecycleState::Stopped));
        }
        let (done, outcome) = oneshot::channel();
        self.address.send(Start { done }).await.map_err(|_| StartError::SupervisorGone)?;
        outcome.await.unwrap_or(Err(StartError::SupervisorGone))
    }

    /// Starts one more kernel while running.
    ///
    /// # Errors
    /// If it makes no sense, is one too many, is refused under memory pressure, or does not start.
    pub async fn add_kernel(&self, spec: Box<dyn AnySpec>) -> Result<(), StartError> {
        if self.state() != LifecycleState::Running {
            return Err(StartError::NotNew(self.state()));
        }
        self.address.send(AddKernel(spec)).await.unwrap_or(Err(StartError::SupervisorGone))
    }

    /// Drains and stops: new requests are refused, those in flight finish within the shutdown
    /// timeout, the rest is cancelled, everything is released. Called again it waits for the same end.
    /// None if the supervisor is gone without a report.
    pub async fn shutdown(&self) -> Option<ShutdownReport> {
        self.shut_down(None).await
    }

    /// As [`shutdown`](Self::shutdown) with that timeout. A shutdown that is under way goes on with
    /// whichever end is the earlier; zero has it cancel what is in flight at once.
    pub async fn shutdown_within(&self, timeout: Duration) -> Option<ShutdownReport> {
        self.shut_down(Some(timeout)).await
    }

    async fn shut_down(&self, within: Option<Duration>) -> Option<ShutdownReport> {
        if let Some(report) = self.board.report() {
            return Some(report);
        }
        let (done, report) = oneshot::channel();
        // If the supervisor ends at this very moment, its report is on the board.
        let sent = self.address.send(Shutdown { within, done: Some(done) }).await;
        let report = if sent.is_ok() { report.await.ok() } else { None };
        report.or_else(|| self.board.report())
    }

    /// Waits until it has stopped, for whatever reason, without asking it to.
    pub async fn stopped(&self) -> ShutdownReport {
        self.board.ended().await
    }

    /// Changes kernels and pressure thresholds while it runs: all of it, or nothing. Thresholds are those
    /// of every device, and are not looked at here: they have to grow, and to be fractions.
    ///
    /// # Errors
    /// Every change that cannot be made.
    pub fn change(
        &self,
        kernels: &BTreeMap<String, KernelChange>,
        thresholds: Option<PressureThresholds>,
    ) -> Result<(), Vec<ChangeError>> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut found, mut errors) = (Vec::new(), Vec::new());
        for (name, change) in kernels {
            match self.changeable(name, change) {
                Ok(kernel) => found.push((kernel, change)),
                Err(error) => errors.push(error),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        found.iter().for_each(|(kernel, change)| kernel.change(change));
        if let Some(thresholds) = thresholds {
            let memories = self.board.memories();
            memories.iter().for_each(|client| client.memory().set_thresholds(thresholds));
        }
        Ok(())
    }

    /// The kernel of that name, if the change can be made to it.
    fn changeable(
        &self,
        name: &str,
        change: &KernelChange,
    ) -> Result<Arc<dyn AnyKernel>, ChangeError> {
        let kernel = self.board.kernel(name).ok_or_else(|| {
            let known = self.board.kernels().iter().map(|one| one.name().to_owned()).collect();
            ChangeError::Unknown { name: name.into(), known }
        })?;
        kernel.check_change(change)?;
        Ok(kernel)
    }

    /// Whether the supervisor, and with it the thread of all kernels' actors, answers within that time.
    pub async fn responds(&self, within: Duration) -> bool {
        matches!(tokio::time::timeout(within, self.address.send(Ping)).await, Ok(Ok(())))
    }

    /// Restarts a kernel: each instance finishes its request, drops its state, and begins again from the
    /// factory; and so do those of its group that are restarted with it. It does not count against
    /// restart intensities. Returns when that has begun.
    ///
    /// # Errors
    /// [`LookupError::Unknown`] if there is none of that name.
    pub async fn restart_kernel(&self, name: &str) -> Result<(), LookupError> {
        let known = self.address.send(Restart(name.to_owned())).await.unwrap_or(false);
        if known { Ok(()) } else { Err(self.unknown(name)) }
    }

    /// Lifts a kernel's quarantine: one instance is tried now. False if it was not quarantined.
    ///
    /// # Errors
    /// [`LookupError::Unknown`] if there is none of that name.
    pub async fn lift_quarantine(&self, name: &str) -> Result<bool, LookupError> {
        let lifted = self.address.send(Lift(name.to_owned())).await.ok().flatten();
        lifted.ok_or_else(|| self.unknown(name))
    }

    /// Unloads a kernel: it takes no more requests, finishes those that are open within its shutdown timeout, and each
    /// instance drops its state, with all memory that it holds. Returns how many instances did not come back in time
    /// and were replaced by fresh ones, which wait. One that is unloaded stays so.
    ///
    /// # Errors
    /// [`LookupError::Unknown`] if there is none of that name.
    pub async fn unload_kernel(&self, name: &str) -> Result<usize, LookupError> {
        let replaced = self.address.send(Unload(name.to_owned())).await.ok().flatten();
        replaced.ok_or_else(|| self.unknown(name))
    }

    /// Loads a kernel that is unloaded, and lifts its quarantine if there is one. Returns how many instances are up
    /// once all are, or its start timeout is over.
    ///
    /// # Errors
    /// [`LoadError`] if there is none of that name, or memory is too short for it.
    pub async fn load_kernel(&self, name: &str) -> Result<usize, LoadError> {
        let up = self.address.send(Load(name.to_owned())).await.ok().flatten();
        Ok(up.ok_or_else(|| self.unknown(name))??)
    }

    /// Requests that ended their kernel each time that they were tried: the last of them, the oldest
    /// first. [`KernelStats::dead_letters`](crate::kernel::KernelStats) counts all.
    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        self.board.dead_letters()
    }

    /// Where it is in its life.
    pub fn state(&self) -> LifecycleState {
        self.board.lifecycle.get()
    }

    /// A reading of everything.
    pub fn stats(&self) -> RuntimeStats {
        RuntimeStats::read(&self.board)
    }

    /// The events from now on.
    pub fn events(&self) -> Events {
        self.board.announcer.subscribe()
    }

    /// The kernel of that name and type.
    ///
    /// # Errors
    /// [`LookupError`] if there is none; there is none before the start.
    pub fn kernel<K: Kernel>(&self, name: &str) -> Result<KernelRef<K>, LookupError> {
        let kernel = self.board.kernel(name).ok_or_else(|| self.unknown(name))?;
        let shared = kernel.into_any().downcast::<Shared<K>>();
        shared.map(KernelRef::new).map_err(|_| LookupError::OtherType(name.into()))
    }

    /// The address of the supervised actor of that name and type.
    ///
    /// # Errors
    /// [`LookupError`] if there is none; there is none before the start.
    pub fn actor<A: HostedActor>(&self, name: &str) -> Result<Addr<A>, LookupError> {
        let kernel = self.board.kernel(name).ok_or_else(|| self.unknown(name))?;
        let address = kernel.mailbox().and_then(|mailbox| mailbox.address().downcast_ref());
        address.cloned().ok_or_else(|| LookupError::OtherType(name.into()))
    }

    /// Calls a published kernel by name.
    ///
    /// # Errors
    /// [`LookupError`] if there is no such kernel, or it is not published.
    pub fn call_by_name(
        &self,
        name: &str,
        fields: Fields,
    ) -> Result<BoxFuture<'static, Result<Fields, CallError<Fields>>>, LookupError> {
        let kernel = self.board.kernel(name).ok_or_else(|| self.unknown(name))?;
        kernel.call_by_name(fields).ok_or_else(|| LookupError::NotPublished(name.into()))
    }

    /// The published kernel of that name, to be called often.
    ///
    /// # Errors
    /// As [`call_by_name`](Self::call_by_name).
    pub fn named_kernel(&self, name: &str) -> Result<NamedKernel, LookupError> {
        let kernel = self.board.kernel(name).ok_or_else(|| self.unknown(name))?;
        NamedKernel::new(kernel).ok_or_else(|| LookupError::NotPublished(name.into()))
    }

    /// The signatures of the published kernels, by name.
    pub fn signatures(&self) -> Vec<Signature> {
        self.board.kernels().iter().filter_map(|kernel| kernel.signature().cloned()).collect()
    }

    /// The memory of a device.
    ///
    /// # Errors
    /// [`DeviceError::NoDevice`] if this supervisor has no such device, as before the start.
    pub fn memory(&self, device: DeviceId) -> DeviceResult<MemoryClient> {
        let memories = self.board.memories();
        let available = memories.iter().map(|client| client.device().id()).collect();
        let client = memories.into_iter().find(|client| client.device().id() == device);
        client.ok_or(DeviceError::NoDevice { device, available })
    }

    /// The devices, in the order of the configuration.
    pub fn devices(&self) -> Vec<DeviceId> {
        self.board.memories().iter().map(|client| client.device().id()).collect()
    }

    fn unknown(&self, name: &str) -> LookupError {
        let known = self.board.kernels().iter().map(|kernel| kernel.name().to_owned()).collect();
        LookupError::Unknown { name: name.into(), known }
    }
}

fn check(config: &SupervisorConfig, specs: &[Box<dyn AnySpec>]) -> Result<(), StartError> {
    let limits = Limits::of(config);
    for (index, spec) in specs.iter().enumerate() {
        let before =
            specs[..index].iter().map(|spec| (spec.name(), spec.instances(), spec.threads()));
        check_limits(&**spec, before, &limits)?;
    }
    Ok(())
}

impl Supervisor {
    /// Waits for the control thread, which has nothing left to do but to flush the log.
    fn join(&mut self) {
        let Some(control) = self.control.take() else { return };
        if control.thread().id() != thread::current().id() {
            control.join().ok();
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        let state = self.state();
        if state == LifecycleState::Stopped {
            return self.join();
        }
        if state != LifecycleState::Starting {
            warn!(self.logger, "runtime dropped while {state}; it is shut down at once";
                "hint" => "call shutdown().await to let requests in flight finish");
        }
        self.address.try_send(Shutdown { within: Some(Duration::ZERO), done: None }).ok();
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor").field("state", &self.state()).finish_non_exhaustive()
    }
}

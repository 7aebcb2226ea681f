//! A runtime's handle.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use rustkernel_actors::kernel::{Kernel, KernelRef, KernelSpec, NamedKernel};
use rustkernel_actors::message::{Fields, Signature};
use rustkernel_actors::supervisor::{LifecycleState, ShutdownReport};
use rustkernel_actors::{
    ActorSpec, Addr, CallError, DeadLetter, Events, HostedActor, LoadError, LookupError,
    RuntimeStats, StartError, Supervisor,
};
use rustkernel_gpu::{DeviceId, DeviceResult};
use slog::Logger;

use super::{LiveConfig, ReconfigureError, RuntimeConfig};
use crate::memory::{About, KernelMemoryManager, MemoryKind, MemoryMap, Recording};
use crate::observability::{LevelCell, LogLevel};

/// A runtime: kernels, their supervisor, and the devices that they run on.
///
/// It works from any thread and any executor. Dropping it while it runs shuts it down at once, in the
/// background, and says so in the log; [`shutdown`](Self::shutdown) lets requests finish.
#[derive(Debug)]
pub struct Runtime {
    config: RuntimeConfig,
    supervisor: Supervisor,
    recordings: Vec<Arc<About>>,
    logger: Logger,
    /// Of the log, if it is the runtime's own.
    level: Option<LevelCell>,
}

/// Why a shutdown could not be followed to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShutdownError {
    /// The supervisor has ended without a report.
    #[error("the runtime's supervisor ended without a report")]
    SupervisorLost,
}

impl Runtime {
    pub(super) fn new(
        config: RuntimeConfig,
        supervisor: Supervisor,
        recordings: Vec<Arc<About>>,
        (logger, level): (Logger, Option<LevelCell>),
    ) -> Self {
        Self { config, supervisor, recordings, logger, level }
    }

    /// The configuration that it was built with.
    pub fn config(&self) -> &RuntimeConfig {
        &self.config
    }

    /// Where it is in its life.
    pub fn state(&self) -> LifecycleState {
        self.supervisor.state()
    }

    /// Starts every kernel, in order; requests are taken when all have started.
    ///
    /// # Errors
    /// If one does not start; then those before it are stopped again, and so is the runtime.
    pub async fn start(&self) -> Result<(), StartError> {
        self.supervisor.start().await
    }

    /// Drains and stops. New requests are refused at once, those waiting and running finish; what has
    /// not finished within the shutdown timeout is cancelled and told so; then everything is released.
    /// Called again, it waits for the same end and gives the same report.
    ///
    /// # Errors
    /// [`ShutdownError`] if the supervisor is gone without a report.
    pub async fn shutdown(&self) -> Result<ShutdownReport, ShutdownError> {
        self.supervisor.shutdown().await.ok_or(ShutdownError::SupervisorLost)
    }

    /// As [`shutdown`](Self::shutdown), waiting for requests in flight no longer than `timeout`. A
    /// shutdown that is under way goes on with whichever end is the earlier; zero cancels at once.
    ///
    /// # Errors
    /// As [`shutdown`](Self::shutdown).
    pub async fn shutdown_within(
        &self,
        timeout: Duration,
    ) -> Result<ShutdownReport, ShutdownError> {
        self.supervisor.shutdown_within(timeout).await.ok_or(ShutdownError::SupervisorLost)
    }

    /// Waits until the runtime has stopped, for whatever reason, without asking it to.
    pub async fn stopped(&self) -> ShutdownReport {
        self.supervisor.stopped().await
    }

    /// Changes what can be changed while it runs: all that is asked for, or nothing of it. Calls from
    /// several threads are made one after the other.
    ///
    /// # Errors
    /// [`ReconfigureError`] has everything that cannot be changed.
    pub fn reconfigure(&self, live: &LiveConfig) -> Result<(), ReconfigureError> {
        let level = match (live.log_level, &self.level) {
            (Some(_), None) => return Err(ReconfigureError::ForeignLog),
            (wanted, level) => wanted.zip(level.as_ref()),
        };
        if self.state() != LifecycleState::Running {
            return Err(ReconfigureError::NotRunning(self.state()));
        }
        let thresholds = live.thresholds()?;
        self.supervisor.change(&live.kernels, thresholds).map_err(ReconfigureError::Kernels)?;
        if let Some((wanted, level)) = level {
            level.set(wanted);
        }
        Ok(())
    }

    /// Its log, for what belongs to it. What is logged after it has stopped may be lost.
    pub fn logger(&self) -> &Logger {
        &self.logger
    }

    /// Of what level and above lines are logged now; `None` if the log is the application's own.
    pub fn log_level(&self) -> Option<LogLevel> {
        self.level.as_ref().map(LevelCell::get)
    }

    /// Whether its control thread answers within that time: what a watchdog is to be told by.
    pub async fn responds(&self, within: Duration) -> bool {
        self.supervisor.responds(within).await
    }

    /// Restarts a kernel: each instance finishes its request, drops its state, and begins again from the
    /// factory; and so do those of its group that are restarted with it. It does not count against
    /// restart intensities. Returns when that has begun.
    ///
    /// # Errors
    /// [`LookupError::Unknown`] if there is none of that name.
    pub async fn restart_kernel(&self, name: &str) -> Result<(), LookupError> {
        self.supervisor.restart_kernel(name).await
    }

    /// Lifts a kernel's quarantine: one instance is tried now. False if it was not quarantined.
    ///
    /// # Errors
    /// [`LookupError::Unknown`] if there is none of that name.
    pub async fn lift_quarantine(&self, name: &str) -> Result<bool, LookupError> {
        self.supervisor.lift_quarantine(name).await
    }

    /// Unloads a kernel: it takes no more requests, finishes those that are open within its shutdown timeout, and each
    /// instance drops its state, with all memory that it holds. Returns how many instances did not come back in time
    /// and were replaced by fresh ones, which wait. One that is unloaded stays so.
    ///
    /// # Errors
    /// [`LookupError::Unknown`] if there is none of that name.
    pub async fn unload_kernel(&self, name: &str) -> Result<usize, LookupError> {
        self.supervisor.unload_kernel(name).await
    }

    /// Loads a kernel that is unloaded, and lifts its quarantine if there is one. Returns how many instances are up
    /// once all are, or its start timeout is over.
    ///
    /// # Errors
    /// [`LoadError`] if there is none of that name, or memory is too short for it.
    pub async fn load_kernel(&self, name: &str) -> Result<usize, LoadError> {
        self.supervisor.load_kernel(name).await
    }

    /// Requests that ended their kernel each time that they were tried: the last 256, the oldest first.
    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        self.supervisor.dead_letters()
    }

    /// The kernel of that name and type.
    ///
    /// # Errors
    /// [`LookupError`] if there is none; there is none before the start.
    pub fn kernel<K: Kernel>(&self, name: &str) -> Result<KernelRef<K>, LookupError> {
        self.supervisor.kernel(name)
    }

    /// The address of the [supervised actor](super::RuntimeBuilder::with_actor) of that name and type.
    ///
    /// # Errors
    /// [`LookupError`] if there is none; there is none before the start.
    pub fn actor<A: HostedActor>(&self, name: &str) -> Result<Addr<A>, LookupError> {
        self.supervisor.actor(name)
    }

    /// Starts one more supervised actor while running.
    ///
    /// # Errors
    /// As [`add_kernel`](Self::add_kernel).
    pub async fn add_actor<A: HostedActor>(&self, spec: ActorSpec<A>) -> Result<(), StartError> {
        self.supervisor.add_kernel(spec.into()).await
    }

    /// Starts one more kernel while running.
    ///
    /// # Errors
    /// If it makes no sense, is one too many, is refused under memory pressure, or does not start.
    pub async fn add_kernel<K: Kernel>(&self, spec: KernelSpec<K>) -> Result<(), StartError> {
        self.supervisor.add_kernel(Box::new(spec)).await
    }

    /// Calls a published kernel by name.
    ///
    /// # Errors
    /// [`LookupError`] if there is no such kernel, or it is not published; the future's error says why
    /// there is no answer.
    pub fn call_by_name(
        &self,
        name: &str,
        fields: Fields,
    ) -> Result<impl Future<Output = Result<Fields, CallError<Fields>>> + Send + use<>, LookupError>
    {
        self.supervisor.call_by_name(name, fields)
    }

    /// The published kernel of that name, to be called often.
    ///
    /// # Errors
    /// As [`call_by_name`](Self::call_by_name).
    pub fn named_kernel(&self, name: &str) -> Result<NamedKernel, LookupError> {
        self.supervisor.named_kernel(name)
    }

    /// The signatures of the published kernels, by name.
    pub fn signatures(&self) -> Vec<Signature> {
        self.supervisor.signatures()
    }

    /// A reading of everything.
    pub fn stats(&self) -> RuntimeStats {
        self.supervisor.stats()
    }

    /// What happens from now on.
    pub fn events(&self) -> Events {
        self.supervisor.events()
    }

    /// The recordings of device memory, one for each device if they were
    /// [asked for](super::RuntimeBuilder::with_memory_recording). They have ended once
    /// [`shutdown`](Self::shutdown) returns.
    pub fn recordings(&self) -> Vec<Recording> {
        self.recordings.iter().map(|about| about.read()).collect()
    }

    /// Memory of the first device, from the runtime's pools: of the first CUDA device if there is one.
    ///
    /// # Errors
    /// Before the start there is none.
    pub fn memory(&self) -> DeviceResult<KernelMemoryManager> {
        let first = self.supervisor.devices().first().copied().unwrap_or(DeviceId::Host);
        self.memory_of(first)
    }

    /// Memory of that device, from the runtime's pools.
    ///
    /// # Errors
    /// If the runtime has no such device, as before the start.
    pub fn memory_of(&self, device: DeviceId) -> DeviceResult<KernelMemoryManager> {
        self.supervisor.memory(device).map(KernelMemoryManager::of_runtime)
    }

    /// What lies where in the addresses of that kind of memory of that device, at this moment. None where they are
    /// not one range: without pooling, or virtual memory. It looks at every range; not for each request.
    ///
    /// # Errors
    /// As [`memory_of`](Self::memory_of).
    pub fn memory_map(
        &self,
        device: DeviceId,
        kind: MemoryKind,
    ) -> DeviceResult<Option<MemoryMap>> {
        self.supervisor.memory(device).map(|client| client.map(kind))
    }
}

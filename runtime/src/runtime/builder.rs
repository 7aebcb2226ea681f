//! Building a runtime.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rustkernel_actors::kernel::{AnySpec, Kernel, KernelSpec};
use rustkernel_actors::supervisor::{DeviceConfig, OnDeviceLoss, SupervisorConfig};
use rustkernel_actors::{
    ActorSpec, Group, HostedActor, SpillHook, SpillRequest, StartError, Strategy, Supervisor,
};
use rustkernel_gpu::host::ThreadBudget;
use rustkernel_gpu::{Device, DeviceError, DeviceId};
use slog::Logger;

use super::{InvalidConfig, Runtime, RuntimeConfig, RuntimePreset, devices};
use crate::config::{KernelConfig, ProductionConfig, SupervisionConfig};
use crate::memory::{InvalidMemoryConfig, MemoryConfig, RecordConfig, RecordError, Writers};
use crate::observability::{self, Log, LogConfig};

/// Builds a [`Runtime`].
///
/// Later calls win over earlier ones; [`preset`](Self::preset) sets every value of the configuration, of
/// memory too, and [`config`](Self::config) every one but those.
#[derive(Default)]
pub struct RuntimeBuilder {
    config: RuntimeConfig,
    memory: MemoryConfig,
    recording: Option<RecordConfig>,
    logger: Option<Logger>,
    spill: Option<SpillHook>,
    groups: Vec<Group>,
    specs: Vec<Box<dyn AnySpec>>,
    supervision: SupervisionConfig,
    kernels: BTreeMap<String, KernelConfig>,
}

/// Why a runtime cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A value of the configuration makes no sense.
    #[error(transparent)]
    Config(#[from] InvalidConfig),
    /// A value of the memory configuration makes no sense.
    #[error("memory: {0}")]
    Memory(#[from] InvalidMemoryConfig),
    /// A device that the configuration names is not there.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Memory cannot be recorded.
    #[error(transparent)]
    Recording(#[from] RecordError),
    /// The configuration has a section for a kernel that the application does not have.
    #[error("the configuration names the kernel `{name}`; there are {}", known.join(", "))]
    NoSuchKernel {
        /// The name.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// A kernel makes no sense, or is one too many.
    #[error(transparent)]
    Kernel(#[from] StartError),
}

impl RuntimeBuilder {
    /// A builder with the default configuration and no kernels.
    pub fn new() -> Self {
        Self::default()
    }

    /// A builder with that configuration and no kernels.
    pub(crate) fn configured(config: &ProductionConfig) -> Self {
        Self {
            config: config.runtime_config(),
            memory: config.memory,
            groups: config.supervision.groups().collect(),
            supervision: config.supervision.clone(),
            kernels: config.kernels.clone(),
            ..Self::default()
        }
    }

    /// Sets every value to those of a preset, the limits of memory too: as a file that names it does.
    #[must_use]
    pub fn preset(self, preset: RuntimePreset) -> Self {
        self.config(RuntimeConfig::preset(preset)).with_memory(MemoryConfig::preset(preset))
    }

    /// Sets every value but those of memory.
    #[must_use]
    pub fn config(mut self, config: RuntimeConfig) -> Self {
        self.config = config;
        self
    }

    /// Sets the limits of memory.
    #[must_use]
    pub fn with_memory(mut self, memory: MemoryConfig) -> Self {
        self.memory = memory;
        self
    }

    /// Records each allocation and free of device memory in a file, or in one for each device, from the
    /// start of the runtime to its end. [`Runtime::recordings`] tells how that went.
    #[must_use]
    pub fn with_memory_recording(mut self, recording: RecordConfig) -> Self {
        self.recording = Some(recording);
        self
    }

    /// Uses CUDA devices, or not.
    #[must_use]
    pub fn with_gpu_enabled(mut self, enabled: bool) -> Self {
        self.config.gpu_enabled = enabled;
        self
    }

    /// Uses these devices and no others; all there are if none is named.
    #[must_use]
    pub fn with_devices(mut self, devices: impl IntoIterator<Item = DeviceId>) -> Self {
        self.config.devices = devices.into_iter().collect();
        self
    }

    /// Sets the most kernel instances at once.
    #[must_use]
    pub fn with_max_instances(mut self, count: usize) -> Self {
        self.config.max_kernel_instances = count;
        self
    }

    /// Sets how many threads instances share.
    #[must_use]
    pub fn with_worker_threads(mut self, count: usize) -> Self {
        self.config.worker_threads = count;
        self
    }

    /// Sets the most threads that may block.
    #[must_use]
    pub fn with_blocking_threads(mut self, count: usize) -> Self {
        self.config.blocking_threads = count;
        self
    }

    /// Sets how long a shutdown waits for requests in flight.
    #[must_use]
    pub fn with_shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.config.shutdown_timeout = timeout;
        self
    }

    /// Sets how often devices and instances are looked at.
    #[must_use]
    pub fn with_health_check_interval(mut self, interval: Duration) -> Self {
        self.config.health_check_interval = interval;
        self
    }

    /// Sets what is done when a device is lost.
    #[must_use]
    pub fn with_device_loss(mut self, on_device_loss: OnDeviceLoss) -> Self {
        self.config.on_device_loss = on_device_loss;
        self
    }

    /// Sets what is logged, and how.
    #[must_use]
    pub fn with_log(mut self, log: LogConfig) -> Self {
        self.config.log = log;
        self
    }

    /// Logs to a logger of the application's; the log configuration is then not used.
    #[must_use]
    pub fn with_logger(mut self, logger: Logger) -> Self {
        self.logger = Some(logger);
        self
    }

    /// Has the application asked to spare memory: under `Emergency` pressure, and before an allocation is
    /// refused for want of memory. `hook` drops what it can spare of the device, or moves it elsewhere, and
    /// returns how many bytes that were.
    ///
    /// It runs on a thread of its own, one call at a time and at most one in 50 ms for each device; it may
    /// block, and is waited for a second. Memory that it allocates itself is refused, not asked for by
    /// asking it again. If it panics that is counted and logged, and it is asked again the next time.
    #[must_use]
    pub fn with_spill_hook(
        mut self,
        hook: impl Fn(SpillRequest) -> u64 + Send + Sync + 'static,
    ) -> Self {
        self.spill = Some(SpillHook::new(hook));
        self
    }

    /// Adds a group of kernels that are restarted together; [`KernelSpec::group`] says which belong to it.
    #[must_use]
    pub fn with_group(mut self, name: impl Into<String>, strategy: Strategy) -> Self {
        self.groups.push(Group::new(name, strategy));
        self
    }

    /// Adds a kernel. Kernels start in the order in which they were added, and stop in reverse.
    #[must_use]
    pub fn with_kernel<K: Kernel>(self, spec: KernelSpec<K>) -> Self {
        self.with_any_kernel(Box::new(spec))
    }

    /// Adds an actor of the application's, as one more child beside the kernels: started in the order in which
    /// it was added, restarted by the same policies, and stopped in reverse. [`ActorSpec`] says what a restart
    /// keeps.
    ///
    /// ```
    /// use actix::{Actor, Context, Handler, Message};
    /// use rustkernel_core::prelude::*;
    ///
    /// #[derive(Default)]
    /// struct Sum(u32);
    ///
    /// impl Actor for Sum {
    ///     type Context = Context<Self>;
    /// }
    ///
    /// #[derive(Message)]
    /// #[rtype(result = "u32")]
    /// struct Add(u32);
    ///
    /// impl Handler<Add> for Sum {
    ///     type Result = u32;
    ///
    ///     fn handle(&mut self, Add(number): Add, _: &mut Context<Self>) -> u32 {
    ///         self.0 = self.0.checked_add(number).expect("it fits");
    ///         self.0
    ///     }
    /// }
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let runtime = RuntimeBuilder::new().with_actor(ActorSpec::new("sum", Sum::default)).build()?;
    /// runtime.start().await?;
    /// let sum = runtime.actor::<Sum>("sum")?;
    /// assert_eq!(sum.send(Add(2)).await?, 2);
    /// assert!(sum.send(Add(u32::MAX)).await.is_err(), "it panics, and is restarted");
    /// assert_eq!(sum.send(Add(5)).await?, 5, "at the same address, with fresh state");
    /// # runtime.shutdown().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_actor<A: HostedActor>(self, spec: ActorSpec<A>) -> Self {
        self.with_any_kernel(spec.into())
    }

    /// Adds a kernel of whatever type.
    #[must_use]
    pub fn with_any_kernel(mut self, spec: Box<dyn AnySpec>) -> Self {
        self.specs.push(spec);
        self
    }

    /// Puts the kernels into the order that the configuration names, and has its sections hold for them.
    fn configure_kernels(&mut self) -> Result<(), BuildError> {
        let named = self.kernels.keys().chain(&self.supervision.start_order);
        let unknown =
            named.into_iter().find(|name| self.specs.iter().all(|spec| spec.name() != *name));
        if let Some(name) = unknown {
            let known = self.specs.iter().map(|spec| spec.name().to_owned()).collect();
            return Err(BuildError::NoSuchKernel { name: name.clone(), known });
        }
        let order = &self.supervision.start_order;
        let place = |spec: &dyn AnySpec| order.iter().position(|name| name == spec.name());
        self.specs.sort_by_key(|spec| place(&**spec).unwrap_or(order.len()));
        for spec in &mut self.specs {
            spec.set_restart(self.supervision.restart.over(spec.restart()));
            if let Some(own) = self.kernels.get(spec.name()) {
                own.apply(&mut **spec);
            }
        }
        Ok(())
    }

    fn writers(&self, devices: &[Device], logger: &Logger) -> Result<Writers, RecordError> {
        let Some(recording) = &self.recording else { return Ok(Writers::default()) };
        let devices: Vec<DeviceId> = devices.iter().map(Device::id).collect();
        Writers::start(recording, &devices, logger)
    }

    /// Builds the runtime. Its kernels start with [`Runtime::start`].
    ///
    /// # Errors
    /// [`BuildError`] for the first value that makes no sense, or the first kernel too many.
    pub fn build(mut self) -> Result<Runtime, BuildError> {
        self.config.validate()?;
        self.memory.validate()?;
        self.configure_kernels()?;
        let (logger, guard, level) = match &self.logger {
            Some(logger) => (logger.clone(), None, None),
            None => {
                let Log { logger, guard, level } = observability::log(&self.config.log);
                (logger, Some(guard), Some(level))
            }
        };
        let threads = ThreadBudget::new(self.config.blocking_threads);
        let found = devices::open(&self.config, &self.memory, &threads, &logger)?;
        let writers = self.writers(&found, &logger)?;
        let recordings = writers.about();
        let devices = found.into_iter().map(|device| {
            let limits = self.memory.limits(device.info());
            let recorder = writers.recorder(device.id());
            DeviceConfig { device, limits, recorder }
        });
        let supervisor = SupervisorConfig {
            devices: devices.collect(),
            max_kernel_instances: self.config.max_kernel_instances,
            worker_threads: self.config.worker_threads,
            threads,
            shutdown_timeout: self.config.shutdown_timeout,
            health_check_interval: self.config.health_check_interval,
            spin: self.config.spin,
            groups: self.groups,
            on_device_loss: self.config.on_device_loss,
            seed: fastrand::u64(..),
            spill: self.spill,
            logger: logger.clone(),
            log_guard: guard.map(|guard| Box::new(guard) as Box<dyn Any + Send>),
            end_guard: Some(Box::new(writers)),
        };
        let supervisor = Supervisor::new(supervisor, self.specs)?;
        Ok(Runtime::new(self.config, supervisor, recordings, (logger, level)))
    }
}

impl fmt::Debug for RuntimeBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kernels: Vec<&str> = self.specs.iter().map(|spec| spec.name()).collect();
        f.debug_struct("RuntimeBuilder")
            .field("config", &self.config)
            .field("memory", &self.memory)
            .field("kernels", &kernels)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Loader;

    #[test]
    fn a_preset_is_the_same_in_code_and_in_a_file() {
        for preset in RuntimePreset::ALL {
            let text = format!("environment = \"{}\"\n", preset.name());
            let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
            std::fs::write(file.path(), text).unwrap();
            let loaded = Loader::new().file(file.path()).load().unwrap().config;
            let (read, said) = (loaded.runtime_builder(), RuntimeBuilder::new().preset(preset));
            assert_eq!(said.config, read.config, "{preset:?}");
            assert_eq!(said.memory, read.memory, "{preset:?}");
            assert_eq!(said.supervision, read.supervision, "{preset:?}");
        }
    }

    #[test]
    fn of_a_preset_and_a_value_the_later_holds() {
        let own = MemoryConfig { max_gpu_memory: 1 << 20, ..MemoryConfig::default() };
        let preset = RuntimePreset::Development;
        let builder = RuntimeBuilder::new;
        assert_eq!(builder().preset(preset).with_memory(own).memory, own);
        let all = builder().with_memory(own).preset(preset);
        assert_eq!(all.memory, MemoryConfig::preset(preset));
        let threads = all.with_worker_threads(3).config(RuntimeConfig::default());
        assert_eq!(threads.memory, MemoryConfig::preset(preset), "`config` leaves memory alone");
    }
}

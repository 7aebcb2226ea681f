//! How a runtime is set up.

use std::thread::available_parallelism;
use std::time::Duration;

use rustkernel_actors::supervisor::OnDeviceLoss;
use rustkernel_gpu::{DeviceId, DeviceKind};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::RuntimePreset;
use crate::config::values::{choice, devices_schema, duration_schema, texts};
use crate::observability::{LogConfig, LogFormat, LogLevel};

/// How a runtime is set up. Every field has a default: `RuntimeConfig { …, ..Default::default() }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RuntimeConfig {
    /// Use CUDA devices. Where there are none, kernels that can run on the host do.
    pub gpu_enabled: bool,
    /// The devices to use; all there are if empty. The host, if it is named or the list is empty, is
    /// always there; a CUDA device that is named and not there is an error.
    #[serde(with = "texts")]
    #[schemars(schema_with = "devices_schema")]
    pub devices: Vec<DeviceId>,
    /// Most kernel instances at once, over all kernels.
    #[schemars(range(min = 1))]
    pub max_kernel_instances: usize,
    /// Threads shared by the instances of kernels that are placed on shared threads.
    #[schemars(range(min = 1, max = RuntimeConfig::MOST_WORKERS), extend("x-default" = "the number of CPUs, at most 4096"))]
    pub worker_threads: usize,
    /// Most threads that may block: those of instances with a thread of their own, and those that
    /// run host streams, of which there is one in any case.
    #[schemars(range(min = 1))]
    pub blocking_threads: usize,
    /// How long a shutdown waits for requests in flight before it cancels them.
    #[serde(with = "humantime_serde")]
    #[schemars(schema_with = "duration_schema")]
    pub shutdown_timeout: Duration,
    /// How often devices and instances are looked at.
    #[serde(with = "humantime_serde")]
    #[schemars(schema_with = "duration_schema")]
    pub health_check_interval: Duration,
    /// What is done when a device is lost.
    #[serde(with = "choice")]
    #[schemars(schema_with = "choice::schema::<OnDeviceLoss>")]
    pub on_device_loss: OnDeviceLoss,
    /// How long either side of a call looks for the other before it sleeps. It is spent only while it
    /// pays off; zero saves the most power and costs a call two wake-ups of a thread.
    #[serde(with = "humantime_serde")]
    #[schemars(schema_with = "duration_schema")]
    pub spin: Duration,
    /// What is logged, and how. (In a file: `observability.log`.)
    #[serde(skip)]
    pub log: LogConfig,
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        Self {
            gpu_enabled: true,
            devices: Vec::new(),
            max_kernel_instances: 1000,
            worker_threads: available_parallelism().map_or(1, usize::from).min(Self::MOST_WORKERS),
            blocking_threads: 512,
            shutdown_timeout: Duration::from_secs(30),
            health_check_interval: Duration::from_secs(10),
            on_device_loss: OnDeviceLoss::Recover,
            spin: Duration::from_micros(10),
            log: LogConfig::default(),
        }
    }
}

impl RuntimeConfig {
    /// Most `worker_threads`.
    pub const MOST_WORKERS: usize = 4096;

    /// Relaxed timeouts, a talkative log.
    pub fn development() -> Self {
        Self {
            shutdown_timeout: Duration::from_secs(120),
            health_check_interval: Duration::from_secs(30),
            log: LogConfig { level: LogLevel::Debug, format: LogFormat::Auto },
            ..Self::default()
        }
    }

    /// Reliability first.
    pub fn production() -> Self {
        Self {
            shutdown_timeout: Duration::from_secs(30),
            health_check_interval: Duration::from_secs(5),
            log: LogConfig { level: LogLevel::Info, format: LogFormat::Auto },
            ..Self::default()
        }
    }

    /// Throughput first.
    pub fn high_performance() -> Self {
        Self { spin: Duration::from_micros(50), ..Self::production() }
    }

    /// The values of a preset.
    pub fn preset(preset: RuntimePreset) -> Self {
        match preset {
            RuntimePreset::Development => Self::development(),
            RuntimePreset::Production => Self::production(),
            RuntimePreset::HighPerformance => Self::high_performance(),
        }
    }

    /// Whether the device is to be used.
    pub(crate) fn uses(&self, device: DeviceId) -> bool {
        let enabled = self.gpu_enabled || device.kind() == DeviceKind::Host;
        enabled && (self.devices.is_empty() || self.devices.contains(&device))
    }

    /// Checks that the values make sense.
    ///
    /// # Errors
    /// [`InvalidConfig`] names the first that does not.
    pub fn validate(&self) -> Result<(), InvalidConfig> {
        self.problems().into_iter().next().map_or(Ok(()), Err)
    }

    /// Every value that makes no sense.
    pub(crate) fn problems(&self) -> Vec<InvalidConfig> {
        let devices = self.devices.iter().filter(|device| !self.uses(**device)).map(|device| {
            let reason = format!("it names {device}, and gpu_enabled is false");
            InvalidConfig { name: "devices", reason }
        });
        let counts = [
            ("max_kernel_instances", self.max_kernel_instances),
            ("worker_threads", self.worker_threads),
            ("blocking_threads", self.blocking_threads),
        ];
        let counts = counts.into_iter().filter(|(_, value)| *value == 0).map(|(name, _)| {
            InvalidConfig { name, reason: "it is 0; it has to be at least 1".into() }
        });
        let crowded = (self.worker_threads > Self::MOST_WORKERS).then(|| {
            let reason = format!(
                "it is {}; it has to be at most {}",
                self.worker_threads,
                Self::MOST_WORKERS
            );
            InvalidConfig { name: "worker_threads", reason }
        });
        let most = Duration::from_secs(24 * 60 * 60);
        let durations = [
            ("shutdown_timeout", self.shutdown_timeout, Duration::ZERO, most),
            ("health_check_interval", self.health_check_interval, Duration::from_millis(1), most),
            ("spin", self.spin, Duration::ZERO, Duration::from_millis(1)),
        ];
        let durations = durations
            .into_iter()
            .filter(|(_, value, least, most)| !(least..=most).contains(&value))
            .map(|(name, value, least, most)| InvalidConfig {
                name,
                reason: format!("it is {value:?}; it has to be {least:?} to {most:?}"),
            });
        devices.chain(counts).chain(crowded).chain(durations).collect()
    }
}

/// A value of a [`RuntimeConfig`] that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("runtime.{name}: {reason}")]
pub struct InvalidConfig {
    /// The field.
    pub name: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_the_specification() {
        let config = RuntimeConfig::default();
        assert!(config.gpu_enabled);
        assert_eq!((config.max_kernel_instances, config.blocking_threads), (1000, 512));
        assert_eq!(config.worker_threads, available_parallelism().unwrap().get());
        assert_eq!(config.shutdown_timeout, Duration::from_secs(30));
    }

    #[test]
    fn every_preset_makes_sense_and_nonsense_is_named() {
        for preset in RuntimePreset::ALL {
            RuntimeConfig::preset(preset).validate().unwrap();
        }
        let default = RuntimeConfig::default;
        for (name, config) in [
            ("max_kernel_instances", RuntimeConfig { max_kernel_instances: 0, ..default() }),
            ("worker_threads", RuntimeConfig { worker_threads: 0, ..default() }),
            ("blocking_threads", RuntimeConfig { blocking_threads: 0, ..default() }),
            (
                "health_check_interval",
                RuntimeConfig { health_check_interval: Duration::ZERO, ..default() },
            ),
            ("spin", RuntimeConfig { spin: Duration::from_secs(1), ..default() }),
        ] {
            assert_eq!(config.validate().unwrap_err().name, name);
        }
    }
}

//! How much memory may be used, and how.

use rustkernel_gpu::DeviceInfo;
use rustkernel_gpu::memory::{MemoryLimits, PressureThresholds};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::values::size;
use crate::runtime::{RuntimePreset, usable_memory};

const GIB: u64 = 1 << 30;

/// How much memory of each device may be used, and how.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MemoryConfig {
    /// Most bytes of a device's memory, of the host's too where kernels run there. What the device
    /// has is a limit as well: on the host what the machine has or, if that is less, what the process's
    /// control groups (a container) leave it. On CUDA a tenth of it is not promised to requests: parts of
    /// pages are lost between blocks.
    #[serde(with = "size")]
    #[schemars(schema_with = "size::schema")]
    pub max_gpu_memory: u64,
    /// Most bytes of staging (pinned) memory for each device; no more than the host's memory, as above.
    #[serde(with = "size")]
    #[schemars(schema_with = "size::schema")]
    pub max_staging_memory: u64,
    /// Keep blocks for the next lease. If not, each allocation really allocates and releases.
    pub pooling_enabled: bool,
    /// From this part of the limit on, pressure is `Warning`.
    #[schemars(range(min = 0.0, max = 1.0), extend("x-live" = true))]
    pub pressure_threshold: f64,
    /// From this part of the limit on, pressure is `Critical`.
    #[schemars(range(min = 0.0, max = 1.0), extend("x-live" = true))]
    pub critical_threshold: f64,
    /// Above this part of the limit, pressure is `Emergency`.
    #[schemars(range(min = 0.0, max = 1.0), extend("x-live" = true))]
    pub emergency_threshold: f64,
    /// Let free memory move, or make way, for a block that does not fit beside it. If not, such an allocation
    /// is refused.
    pub auto_defrag: bool,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        let thresholds = PressureThresholds::default();
        Self {
            max_gpu_memory: 8 * GIB,
            max_staging_memory: 2 * GIB,
            pooling_enabled: true,
            pressure_threshold: thresholds.warning,
            critical_threshold: thresholds.critical,
            emergency_threshold: thresholds.emergency,
            auto_defrag: true,
        }
    }
}

/// A memory configuration that makes no sense.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidMemoryConfig {
    /// A size of zero.
    #[error("{0} is 0; it has to be at least 1 MiB")]
    TooSmall(&'static str),
    /// Thresholds out of order or range.
    #[error(
        "the pressure thresholds {warning}, {critical}, {emergency} have to grow, from above 0.05 to at most 1"
    )]
    Thresholds {
        /// `pressure_threshold`.
        warning: f64,
        /// `critical_threshold`.
        critical: f64,
        /// `emergency_threshold`.
        emergency: f64,
    },
}

impl InvalidMemoryConfig {
    /// The field; of the thresholds, the first.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::TooSmall(name) => name,
            Self::Thresholds { .. } => "pressure_threshold",
        }
    }
}

impl MemoryConfig {
    /// The values of a preset. In development less of the machine is taken.
    pub fn preset(preset: RuntimePreset) -> Self {
        match preset {
            RuntimePreset::Development => {
                Self { max_gpu_memory: 2 * GIB, max_staging_memory: GIB / 2, ..Self::default() }
            }
            RuntimePreset::Production | RuntimePreset::HighPerformance => Self::default(),
        }
    }

    /// Checks that the values make sense.
    ///
    /// # Errors
    /// [`InvalidMemoryConfig`] names the first that does not.
    pub fn validate(&self) -> Result<(), InvalidMemoryConfig> {
        self.problems().into_iter().next().map_or(Ok(()), Err)
    }

    /// Every value that makes no sense.
    pub(crate) fn problems(&self) -> Vec<InvalidMemoryConfig> {
        let sizes = [
            ("max_gpu_memory", self.max_gpu_memory),
            ("max_staging_memory", self.max_staging_memory),
        ];
        let small = sizes.into_iter().filter(|(_, bytes)| *bytes < 1 << 20);
        let mut problems: Vec<_> =
            small.map(|(name, _)| InvalidMemoryConfig::TooSmall(name)).collect();
        let (warning, critical, emergency) =
            (self.pressure_threshold, self.critical_threshold, self.emergency_threshold);
        let in_order =
            PressureThresholds::HYSTERESIS < warning && warning < critical && critical < emergency;
        if !in_order || emergency > 1.0 {
            problems.push(InvalidMemoryConfig::Thresholds { warning, critical, emergency });
        }
        problems
    }

    /// The limits for one device.
    pub(crate) fn limits(&self, device: &DeviceInfo) -> MemoryLimits {
        MemoryLimits {
            device_bytes: self.max_gpu_memory.min(device.memory_bytes),
            staging_bytes: self.max_staging_memory.min(usable_memory()),
            pooling: self.pooling_enabled,
            defrag: self.auto_defrag,
            thresholds: PressureThresholds {
                warning: self.pressure_threshold,
                critical: self.critical_threshold,
                emergency: self.emergency_threshold,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_makes_sense_and_nonsense_is_named() {
        let default = MemoryConfig::default();
        default.validate().unwrap();
        let error = MemoryConfig { max_gpu_memory: 0, ..default }.validate().unwrap_err();
        assert!(error.to_string().contains("max_gpu_memory"));
        for (warning, critical, emergency) in [
            (0.9, 0.85, 0.95),
            (0.7, 0.95, 0.95),
            (0.7, 0.85, 1.5),
            (0.01, 0.85, 0.95),
            (f64::NAN, 0.85, 0.95),
        ] {
            let config = MemoryConfig {
                pressure_threshold: warning,
                critical_threshold: critical,
                emergency_threshold: emergency,
                ..default
            };
            assert!(config.validate().is_err(), "{warning} {critical} {emergency}");
        }
    }
}

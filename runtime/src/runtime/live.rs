//! What can be changed while a runtime runs.

use std::collections::BTreeMap;

use rustkernel_actors::kernel::{ChangeError, KernelChange};
use rustkernel_gpu::memory::PressureThresholds;

use super::LifecycleState;
use crate::memory::{InvalidMemoryConfig, MemoryConfig};
use crate::observability::LogLevel;

/// What is to change of a runtime that runs; see
/// [`Runtime::reconfigure`](super::Runtime::reconfigure). What is not given stays as it is.
///
/// ```
/// use rustkernel_core::kernel::KernelChange;
/// use rustkernel_core::observability::LogLevel;
/// use rustkernel_core::runtime::LiveConfig;
///
/// let live = LiveConfig {
///     log_level: Some(LogLevel::Debug),
///     kernels: [("gemm".to_owned(), KernelChange { queue: Some(64), ..KernelChange::default() })].into(),
///     ..LiveConfig::default()
/// };
/// # assert!(live.pressure_thresholds.is_none());
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LiveConfig {
    /// Of what level and above lines are logged, where the log is the runtime's own.
    pub log_level: Option<LogLevel>,
    /// Where the levels of memory pressure begin, on every device. A level that is wrong by them is
    /// changed at once if it rises, and after its usual while if it falls.
    pub pressure_thresholds: Option<PressureThresholds>,
    /// Changes to kernels, by name.
    pub kernels: BTreeMap<String, KernelChange>,
}

/// Why a runtime was not changed. Nothing of it was.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReconfigureError {
    /// It does not run.
    #[error("the runtime is {0}; only one that is running can be changed")]
    NotRunning(LifecycleState),
    /// The log is not the runtime's own.
    #[error("the log is the application's own, and its level is set there")]
    ForeignLog,
    /// The pressure thresholds make no sense.
    #[error(transparent)]
    Thresholds(#[from] InvalidMemoryConfig),
    /// Changes to kernels that cannot be made.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Kernels(Vec<ChangeError>),
}

impl LiveConfig {
    /// The thresholds, checked by the rules of [`MemoryConfig`].
    pub(super) fn thresholds(&self) -> Result<Option<PressureThresholds>, InvalidMemoryConfig> {
        let Some(thresholds) = self.pressure_thresholds else { return Ok(None) };
        let PressureThresholds { warning, critical, emergency } = thresholds;
        let memory = MemoryConfig {
            pressure_threshold: warning,
            critical_threshold: critical,
            emergency_threshold: emergency,
            ..MemoryConfig::default()
        };
        memory.validate().map(|()| Some(thresholds))
    }
}

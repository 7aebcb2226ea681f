//! A reading of a whole runtime.

use std::time::Duration;

use rustkernel_gpu::DeviceInfo;
use rustkernel_gpu::memory::{MemoryKind, MemoryStats, PressureLevel};
use rustkernel_port::Ledger;

use crate::allocator::{AllocatorStats, MemoryClient};
use crate::kernel::KernelStats;
use crate::supervisor::{Board, LifecycleState};

/// A reading of a runtime: each number is true for a moment, not all for the same one.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RuntimeStats {
    /// Where it is in its life.
    pub state: LifecycleState,
    /// How long ago it was started; zero before.
    pub uptime: Duration,
    /// The books over all kernels.
    pub ledger: Ledger,
    /// Each kernel, by name.
    pub kernels: Vec<KernelStats>,
    /// Each device, in the order of the configuration.
    pub devices: Vec<DeviceStats>,
    /// How often devices and lanes were looked at.
    pub health_checks: u64,
}

/// A reading of one device.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DeviceStats {
    /// What it is.
    pub info: DeviceInfo,
    /// Why it cannot be used, if it cannot.
    pub lost: Option<String>,
    /// How full it is.
    pub pressure: PressureLevel,
    /// How often each pressure level was entered, from `Normal` on: its transitions.
    pub pressure_entered: [u64; 4],
    /// Its own memory.
    pub device: MemoryStats,
    /// Its staging memory.
    pub staging: MemoryStats,
    /// What its allocator does where memory is short.
    pub allocator: AllocatorStats,
    /// Driver errors met while dropping handles.
    pub drop_errors: u64,
}

impl RuntimeStats {
    pub(crate) fn read(board: &Board) -> Self {
        let kernels: Vec<KernelStats> =
            board.kernels().iter().map(|kernel| kernel.stats()).collect();
        Self {
            state: board.lifecycle.get(),
            uptime: board.uptime(),
            ledger: kernels.iter().map(|kernel| kernel.ledger).sum(),
            kernels,
            devices: board.memories().iter().map(DeviceStats::read).collect(),
            health_checks: board.health_checks(),
        }
    }
}

impl DeviceStats {
    fn read(client: &MemoryClient) -> Self {
        let (device, memory) = (client.device(), client.memory());
        Self {
            info: device.info().clone(),
            lost: device.health().err().map(|error| error.to_string()),
            pressure: memory.pressure(),
            pressure_entered: memory.pressure_entered(),
            device: memory.stats(MemoryKind::Device),
            staging: memory.stats(MemoryKind::Staging),
            allocator: client.allocator_stats(),
            drop_errors: device.drop_errors(),
        }
    }
}

//! Leases of our pool, as kernels get them: with the books, the limit and the pressure level.

use std::sync::Arc;

use rustkernel_gpu::Device;
use rustkernel_gpu::host::{self, HostOptions, ThreadBudget};
use rustkernel_gpu::memory::{
    DeviceMemory, Grown, Lease, Leased, MemoryKind, MemoryLimits, PressureThresholds,
};

use super::{Hand, Peer};

/// More than is live at once.
const BYTES: u64 = 1 << 30;

/// Our pool on a device.
#[derive(Debug, Clone)]
pub struct Leases(Arc<DeviceMemory>);

impl Leases {
    /// On the host.
    pub fn on_host() -> Self {
        let device = host::open(HostOptions {
            name: "bench".into(),
            memory_bytes: BYTES,
            staging_bytes: BYTES,
            threads: ThreadBudget::new(1),
        });
        Self::on(device, true)
    }

    /// On that device. Without `pooling` each lease is a call of its driver, and its end another.
    pub fn on(device: Device, pooling: bool) -> Self {
        let limits = MemoryLimits {
            device_bytes: device.info().memory_bytes.min(BYTES),
            staging_bytes: BYTES,
            pooling,
            defrag: true,
            thresholds: PressureThresholds::default(),
        };
        Self(DeviceMemory::new(device, &limits))
    }
}

impl Peer for Leases {
    type Hand = Self;

    fn hand(&self) -> Self {
        self.clone()
    }
}

impl Hand for Leases {
    type Block = Lease;

    /// # Panics
    /// If there is no memory.
    fn allocate(&mut self, bytes: usize) -> Lease {
        let leased = self.0.lease(MemoryKind::Device, bytes, None, None);
        match leased.expect("a block within the limit") {
            Leased::Ready(lease) => lease,
            Leased::NeedsGrowth(growth) => match growth.run().expect("memory of the device") {
                Grown::Ready(lease) => lease,
                Grown::Wait(..) => unreachable!("invariant: nothing is busy without a stream"),
            },
        }
    }

    fn free(&mut self, lease: Lease) {
        drop(lease);
    }
}

//! Leases of our pool, as kernels get them: with the books, the limit and the pressure level.

use std::sync::Arc;

use rustkernel_gpu::host::{self, HostOptions, ThreadBudget};
use rustkernel_gpu::memory::{
    DeviceMemory, Grown, Lease, Leased, MemoryKind, MemoryLimits, MemoryMap, Need,
    PressureThresholds, Reservation,
};
use rustkernel_gpu::{Device, Stream, StreamOptions};

use super::{Hand, Peer};

/// More than is live at once.
const BYTES: u64 = 1 << 30;

/// Our pool on a device; each thread has a stream.
#[derive(Debug, Clone)]
pub struct Leases {
    memory: Arc<DeviceMemory>,
    streams: bool,
    reserved: u64,
}

/// What one thread holds of it.
#[derive(Debug)]
pub struct Lessee {
    memory: Arc<DeviceMemory>,
    stream: Option<Stream>,
    reservation: Option<Reservation>,
}

impl Leases {
    /// On the host.
    pub fn on_host() -> Self {
        let device = host::open(HostOptions {
            name: "bench".into(),
            memory_bytes: BYTES,
            staging_bytes: BYTES,
            threads: ThreadBudget::new(2),
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
        Self { memory: DeviceMemory::new(device, &limits), streams: true, reserved: 0 }
    }

    /// Each thread reserves so many bytes, and leases out of them.
    #[must_use]
    pub fn reserving(self, bytes: u64) -> Self {
        Self { reserved: bytes, ..self }
    }

    /// What lies where in its addresses.
    pub fn map(&self) -> Option<MemoryMap> {
        self.memory.pool(MemoryKind::Device).map()
    }

    /// Leases are for no stream, and so come from no magazine.
    #[must_use]
    pub fn without_streams(self) -> Self {
        Self { streams: false, ..self }
    }
}

impl Peer for Leases {
    type Hand = Lessee;

    /// # Panics
    /// If the device opens no stream, or has not so much memory.
    fn hand(&self) -> Lessee {
        let memory = Arc::clone(&self.memory);
        let open = || memory.open_stream(&StreamOptions::default()).expect("a stream");
        let stream = self.streams.then(open);
        let need = (self.reserved > 0).then_some(Need::device(self.reserved));
        let reserve = |need| memory.try_reserve(need).expect("less than the limit");
        let reservation = need.map(reserve);
        Lessee { memory, stream, reservation }
    }
}

impl Hand for Lessee {
    type Block = Lease;

    /// # Panics
    /// If there is no memory.
    fn allocate(&mut self, bytes: usize) -> Lease {
        let (stream, reservation) = (self.stream.as_ref(), self.reservation.as_ref());
        let leased = self.memory.lease(MemoryKind::Device, bytes, stream, reservation);
        match leased.expect("a block within the limit") {
            Leased::Ready(lease) => lease,
            Leased::NeedsGrowth(growth) => match growth.run().expect("memory of the device") {
                Grown::Ready(lease) => lease,
                Grown::Wait(..) | Grown::Short(_) => {
                    unreachable!("invariant: nothing is submitted, or busy, and little is live")
                }
            },
        }
    }

    fn free(&mut self, lease: Lease) {
        drop(lease);
    }
}

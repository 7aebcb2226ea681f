//! A device's two pools and their books.

use std::sync::Arc;

use super::MemoryKind;
use super::attention::Attention;
use super::lease::{Charge, Lease};
use super::pool::{Growth, Pool};
use super::pressure::{PressureCell, PressureLevel, PressureThresholds};
use super::reservation::{Need, Reservation, Shortage};
use super::stats::MemoryStats;
use crate::device::{Device, MemoryInfo};
use crate::error::{DeviceError, DeviceResult};
use crate::stream::Stream;

/// How much memory of a device may be used, and how.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MemoryLimits {
    /// Most bytes of device memory.
    pub device_bytes: u64,
    /// Most bytes of staging memory.
    pub staging_bytes: u64,
    /// Keep memory for the next lease. If not, each lease really allocates and releases.
    pub pooling: bool,
    /// Let free pages move, or cached blocks make way, for a block that does not fit beside them. If
    /// not, it is refused.
    pub defrag: bool,
    /// Where the pressure levels begin.
    pub thresholds: PressureThresholds,
}

impl MemoryLimits {
    /// Most bytes of that kind.
    pub fn of(&self, kind: MemoryKind) -> u64 {
        match kind {
            MemoryKind::Device => self.device_bytes,
            MemoryKind::Staging => self.staging_bytes,
        }
    }
}

/// A device's memory: two pools, their books, and the pressure level.
#[derive(Debug)]
pub struct DeviceMemory {
    device: Device,
    device_pool: Arc<Pool>,
    staging_pool: Arc<Pool>,
    attention: Arc<Attention>,
    pressure: Arc<PressureCell>,
    thresholds: PressureThresholds,
}

/// The answer to a request for a lease.
#[derive(Debug)]
#[must_use]
pub enum Leased {
    /// From what is there.
    Ready(Lease),
    /// There is none: the allocator has to run the growth.
    NeedsGrowth(Growth),
}

impl DeviceMemory {
    /// The memory of `device` within `limits`. Nothing is allocated yet.
    pub fn new(device: Device, limits: &MemoryLimits) -> Arc<Self> {
        let attention = Arc::new(Attention::default());
        let pressure = Arc::new(PressureCell::new(&limits.thresholds, limits.device_bytes));
        let pool = |kind, pressure| {
            Pool::new(device.clone(), kind, limits, pressure, Arc::clone(&attention))
        };
        let device_pool = pool(MemoryKind::Device, Some(Arc::clone(&pressure)));
        let staging_pool = pool(MemoryKind::Staging, None);
        let thresholds = limits.thresholds;
        Arc::new(Self { device, device_pool, staging_pool, attention, pressure, thresholds })
    }

    /// The device that it is memory of.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The pool of that kind.
    pub fn pool(&self, kind: MemoryKind) -> &Arc<Pool> {
        match kind {
            MemoryKind::Device => &self.device_pool,
            MemoryKind::Staging => &self.staging_pool,
        }
    }

    /// Leases a block of at least `bytes`, for work of `stream` if one is given, out of a
    /// reservation if one is given.
    ///
    /// # Errors
    /// [`DeviceError::OutOfMemory`] if the bytes cannot be committed now;
    /// [`DeviceError::DeclaredTooLittle`] if the reservation has too few left.
    pub fn lease(
        &self,
        kind: MemoryKind,
        bytes: usize,
        stream: Option<&Stream>,
        reservation: Option<&Reservation>,
    ) -> DeviceResult<Leased> {
        let pool = self.pool(kind);
        let bytes = pool.block_bytes(bytes)?;
        let charge = charge(pool, bytes as u64, reservation)?;
        let home = stream.map(|stream| Arc::clone(stream.timeline()));
        Ok(match pool.take(bytes, home.as_ref()) {
            Some(memory) => Leased::Ready(Lease::new(memory, Arc::clone(pool), charge, home)),
            None => Leased::NeedsGrowth(Growth { pool: Arc::clone(pool), bytes, charge, home }),
        })
    }

    /// Promises bytes to a request: all of them, or none.
    ///
    /// # Errors
    /// [`Shortage`] says whether waiting could help.
    pub fn try_reserve(&self, need: Need) -> Result<Reservation, Shortage> {
        Reservation::try_new(need, self.device_pool.ledger(), self.staging_pool.ledger())
    }

    /// Whether a reservation could be granted if nobody held anything.
    ///
    /// # Errors
    /// [`Shortage::Never`] if it could not.
    pub fn could_reserve(&self, need: Need) -> Result<(), Shortage> {
        for kind in [MemoryKind::Staging, MemoryKind::Device] {
            let ledger = self.pool(kind).ledger();
            let (asked, limit) = (ledger.sizes().reservation_bytes(need.of(kind)), ledger.limit());
            if asked > limit {
                return Err(Shortage::Never { kind, asked, limit });
            }
        }
        Ok(())
    }

    /// The pressure level now.
    pub fn pressure(&self) -> PressureLevel {
        self.pressure.level()
    }

    /// The level that the committed bytes make now, coming from the current one.
    pub fn next_pressure(&self) -> PressureLevel {
        let ledger = self.device_pool.ledger();
        self.thresholds.next(self.pressure(), ledger.committed(), ledger.attainable())
    }

    /// Sets the pressure level. For its one writer, the supervisor.
    pub fn set_pressure(&self, level: PressureLevel) {
        self.pressure.set(level);
    }

    /// Has the allocator called once the committed bytes belong to another level or, while the level is
    /// about to fall, once they no longer belong to a lower one. For the same writer, each time that it
    /// has looked at the level.
    pub fn watch_pressure(&self, falling: bool) {
        let ledger = self.device_pool.ledger();
        self.pressure.set_band(&self.thresholds, falling, ledger.attainable());
        // What was committed meanwhile was measured against the band before.
        ledger.watch(ledger.committed());
    }

    /// Bytes that have to come back before the pressure level can fall.
    pub fn pressure_excess(&self) -> u64 {
        let ledger = self.device_pool.ledger();
        self.thresholds.excess(self.pressure(), ledger.committed(), ledger.attainable())
    }

    /// How often each pressure level was entered, from `Normal` on.
    pub fn pressure_entered(&self) -> [u64; 4] {
        self.pressure.entered()
    }

    /// Asks the device how much of it others hold, and keeps what is committed from now on within what they
    /// leave. For the allocator: nothing grows or shrinks meanwhile. Not for the host, which has no such
    /// number: free memory there is what the system has not found a use for.
    ///
    /// # Errors
    /// If the device is lost, or its driver fails; then what was known stays.
    pub fn sample_foreign(&self) -> DeviceResult {
        let MemoryInfo { free, total } = self.device.memory_info()?;
        let own = self.device_pool.stats().mapped;
        let foreign = total.saturating_sub(free).saturating_sub(own);
        self.device_pool.ledger().set_foreign(foreign, total);
        Ok(())
    }

    /// How the fast paths call this memory's allocator.
    pub fn attention(&self) -> &Arc<Attention> {
        &self.attention
    }

    /// A snapshot of that kind.
    pub fn stats(&self, kind: MemoryKind) -> MemoryStats {
        self.pool(kind).stats()
    }

    /// Gives all idle memory back to the device; the bytes given back. May wait for it.
    pub fn trim(&self) -> u64 {
        self.device_pool.trim(0) + self.staging_pool.trim(0)
    }
}

/// Takes the bytes of a lease from the reservation, if it declared any of this kind; if not, commits
/// them for the lease alone.
fn charge(pool: &Pool, bytes: u64, reservation: Option<&Reservation>) -> DeviceResult<Charge> {
    let ledger = Arc::clone(pool.ledger());
    let account = reservation.map(|reservation| reservation.account(pool.kind()));
    let Some(declared) = account.filter(|account| account.declared() > 0) else {
        return if ledger.commit(bytes) {
            // What was not declared is counted, so that it can be learned.
            Ok(Charge::new(ledger, account.inspect(|account| account.count(bytes)).cloned(), bytes))
        } else {
            Err(pool.out_of_memory(bytes))
        };
    };
    match declared.debit(bytes) {
        Ok(()) => Ok(Charge::new(ledger, Some(Arc::clone(declared)), bytes)),
        Err(left) => {
            let (kind, declared) = (pool.kind(), declared.declared());
            Err(DeviceError::DeclaredTooLittle { kind, declared, left, asked: bytes })
        }
    }
}

//! A device's two pools and their books.

use std::sync::Arc;

use super::MemoryKind;
use super::attention::Attention;
use super::lease::{Charge, Held, Home, Lease};
use super::pool::{Growth, Pool};
use super::pressure::{PressureCell, PressureLevel, PressureThresholds};
use super::record::Recorder;
use super::reservation::{Account, Need, Reservation, Shortage};
use super::stats::MemoryStats;
use crate::device::Device;
use crate::error::DeviceResult;
use crate::stream::{Stream, StreamOptions};

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
        let account = account(pool, reservation);
        let magazine = stream.and_then(|stream| stream.magazine(pool));
        if let Some(magazine) = magazine
            && let Some(lease) = magazine.take(pool, bytes, account)
        {
            return Ok(Leased::Ready(lease));
        }
        pool.charge(bytes as u64, account).or_else(|_| {
            // Streams may keep some of the bytes; an error that stays is the answer.
            pool.settle_magazines();
            pool.charge(bytes as u64, account)
        })?;
        let charge = Charge::new(pool, account, bytes as u64);
        let home = stream.map(|stream| Home {
            timeline: Arc::clone(stream.timeline()),
            magazine: magazine.cloned(),
        });
        Ok(match pool.take(bytes, home.as_ref().map(|home| &home.timeline)) {
            Some(memory) => Leased::Ready(Lease::new(Box::new(Held { memory, home, charge }))),
            None => Leased::NeedsGrowth(Growth { bytes, home, charge, waits: 0 }),
        })
    }

    /// Opens a stream that keeps small blocks of this memory at hand, for itself to use again.
    ///
    /// # Errors
    /// As [`Device::open_stream`].
    pub fn open_stream(&self, options: &StreamOptions) -> DeviceResult<Stream> {
        let mut stream = self.device.open_stream(options)?;
        if let Some(magazine) = self.device_pool.magazine(stream.timeline()) {
            stream.keep_blocks(magazine);
        }
        Ok(stream)
    }

    /// Promises bytes to a request: all of them, or none.
    ///
    /// # Errors
    /// [`Shortage`] says whether waiting could help.
    pub fn try_reserve(&self, need: Need) -> Result<Reservation, Shortage> {
        let (device, staging) = (self.device_pool.ledger(), self.staging_pool.ledger());
        match Reservation::try_new(need, device, staging) {
            Err(Shortage::NotNow { .. }) => {
                // Streams may keep some of the bytes.
                self.device_pool.settle_magazines();
                Reservation::try_new(need, device, staging)
            }
            tried => tried,
        }
    }

    /// The pressure level now.
    pub fn pressure(&self) -> PressureLevel {
        self.pressure.level()
    }

    /// The level that the committed bytes make now, coming from the current one.
    pub fn next_pressure(&self) -> PressureLevel {
        let ledger = self.device_pool.ledger();
        self.thresholds.next(self.pressure(), ledger.committed(), ledger.limit())
    }

    /// Sets the pressure level. For its one writer, the supervisor.
    pub fn set_pressure(&self, level: PressureLevel) {
        self.pressure.set(level, &self.thresholds, self.device_pool.ledger().limit());
    }

    /// How the fast paths call this memory's allocator.
    pub fn attention(&self) -> &Arc<Attention> {
        &self.attention
    }

    /// A snapshot of that kind.
    pub fn stats(&self, kind: MemoryKind) -> MemoryStats {
        self.pool(kind).stats()
    }

    /// Gets memory ahead of need, for the allocator: what is needed from the start, or as it has shown
    /// since. May be slow.
    pub fn prepare(&self, at_start: bool) {
        self.device_pool.prepare(at_start);
        self.staging_pool.prepare(at_start);
    }

    /// Tells `recorder` of each lease of device memory and of its end, from now on.
    ///
    /// # Errors
    /// If there is a recorder already: it stays, and this one comes back.
    pub fn record(&self, recorder: Recorder) -> Result<(), Recorder> {
        self.device_pool.record(recorder)
    }

    /// Gives all idle memory back to the device; the bytes given back. May wait for it.
    pub fn trim(&self) -> u64 {
        self.device_pool.trim(0) + self.staging_pool.trim(0)
    }
}

/// What the request declared of this kind, if it declared any.
fn account<'a>(pool: &Pool, reservation: Option<&'a Reservation>) -> Option<&'a Arc<Account>> {
    let account = reservation.map(|reservation| reservation.account(pool.kind()));
    account.filter(|account| account.declared() > 0)
}

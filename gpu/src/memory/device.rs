//! A device's two pools and their books.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::MemoryKind;
use super::attention::Attention;
use super::lease::{Charge, Held, Home, Lease};
use super::map::MemoryMap;
use super::pool::{Growth, Pool};
use super::pressure::{PressureCell, PressureLevel, PressureThresholds};
use super::record::Recorder;
use super::reservation::{Account, Need, Reservation, Shortage};
use super::stats::MemoryStats;
use crate::device::{Device, MemoryInfo};
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
    /// Locked while the band of the level is set by them.
    thresholds: Mutex<PressureThresholds>,
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
        let thresholds = Mutex::new(limits.thresholds);
        let memory = Self { device, device_pool, staging_pool, attention, pressure, thresholds };
        memory.watch_pressure(false);
        Arc::new(memory)
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
    /// [`OutOfMemory`](crate::DeviceError::OutOfMemory) if the bytes cannot be committed now;
    /// [`DeclaredTooLittle`](crate::DeviceError::DeclaredTooLittle) if the reservation has too few left.
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
        if let Some(stream) = stream {
            // What is lost shall not keep memory from what is not.
            self.device.check(stream.timeline().epoch())?;
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

    /// Whether a reservation could be granted if nobody held anything.
    ///
    /// # Errors
    /// [`Shortage::Never`] if it could not.
    pub fn could_reserve(&self, need: Need) -> Result<(), Shortage> {
        Reservation::could_be(need, self.device_pool.ledger(), self.staging_pool.ledger())
    }

    /// The pressure level now.
    pub fn pressure(&self) -> PressureLevel {
        self.pressure.level()
    }

    /// The level that the committed bytes make now, coming from the current one.
    pub fn next_pressure(&self) -> PressureLevel {
        let ledger = self.device_pool.ledger();
        self.thresholds().next(self.pressure(), ledger.committed(), ledger.attainable())
    }

    /// Sets the pressure level. For its one writer, the supervisor.
    pub fn set_pressure(&self, level: PressureLevel) {
        self.pressure.set(level);
    }

    /// Has the allocator called once the committed bytes belong to another level or, while the level is
    /// about to fall, once they no longer belong to a lower one. For the same writer, each time that it
    /// has looked at the level.
    pub fn watch_pressure(&self, falling: bool) {
        self.set_band(&self.lock_thresholds(), falling);
    }

    fn set_band(&self, thresholds: &PressureThresholds, falling: bool) {
        let ledger = self.device_pool.ledger();
        self.pressure.set_band(thresholds, falling, ledger.attainable());
        // What was committed meanwhile was measured against the band before.
        ledger.watch(ledger.committed());
    }

    /// Where the pressure levels begin.
    pub fn thresholds(&self) -> PressureThresholds {
        *self.lock_thresholds()
    }

    fn lock_thresholds(&self) -> MutexGuard<'_, PressureThresholds> {
        self.thresholds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets where the pressure levels begin. If what is committed belongs to another level now, the
    /// allocator is called, as if the bytes had changed.
    pub fn set_thresholds(&self, thresholds: PressureThresholds) {
        let mut current = self.lock_thresholds();
        *current = thresholds;
        self.set_band(&current, false);
    }

    /// Bytes that have to come back before the pressure level can fall.
    pub fn pressure_excess(&self) -> u64 {
        let ledger = self.device_pool.ledger();
        self.thresholds().excess(self.pressure(), ledger.committed(), ledger.attainable())
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
        let left = self.device_pool.promise(total.saturating_sub(foreign));
        self.device_pool.ledger().set_foreign(foreign, left);
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

    /// What lies where in the addresses of that kind; none where they are not one range, as without pooling.
    pub fn map(&self, kind: MemoryKind) -> Option<MemoryMap> {
        self.pool(kind).map()
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

/// The request's account for memory of this kind.
fn account<'a>(pool: &Pool, reservation: Option<&'a Reservation>) -> Option<&'a Arc<Account>> {
    reservation.map(|reservation| reservation.account(pool.kind()))
}

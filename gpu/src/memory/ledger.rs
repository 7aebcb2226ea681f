//! Bytes promised against a limit: one atomic, taken before anything else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::attention::{Attention, Need};
use super::class::BlockSizes;
use super::pressure::{PressureCell, PressureLevel};

/// The books of one kind of memory of one device.
///
/// `committed` counts what reservations hold and what is leased outside of any; it is at most the limit
/// at every moment.
#[derive(Debug)]
pub struct Ledger {
    limit: u64,
    sizes: BlockSizes,
    committed: AtomicU64,
    /// Only the device's own memory makes pressure; staging has a hard limit and queues.
    pressure: Option<Arc<PressureCell>>,
    attention: Arc<Attention>,
}

impl Ledger {
    pub(crate) fn new(
        limit: u64,
        sizes: BlockSizes,
        pressure: Option<Arc<PressureCell>>,
        attention: Arc<Attention>,
    ) -> Self {
        Self { limit, sizes, committed: 0.into(), pressure, attention }
    }

    /// The most that may ever be committed.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// How large the blocks are that are counted here.
    pub fn sizes(&self) -> BlockSizes {
        self.sizes
    }

    /// Bytes promised now.
    pub fn committed(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }

    /// Bytes that could be committed now.
    pub fn free(&self) -> u64 {
        self.limit - self.committed()
    }

    /// Whether somebody waits for bytes to come back.
    pub(super) fn is_room_wanted(&self) -> bool {
        self.attention.is_room_wanted()
    }

    /// How full the device is; `Normal` for memory that makes no pressure.
    pub(super) fn pressure(&self) -> PressureLevel {
        self.pressure.as_ref().map_or(PressureLevel::Normal, |pressure| pressure.level())
    }

    /// Promises bytes, all or nothing.
    #[must_use = "the bytes were promised only if this is true"]
    pub(crate) fn commit(&self, bytes: u64) -> bool {
        let fits = |committed: u64| committed.checked_add(bytes).filter(|sum| *sum <= self.limit);
        match self.committed.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits) {
            Ok(before) => {
                self.watch(before + bytes);
                true
            }
            Err(_) => false,
        }
    }

    pub(crate) fn uncommit(&self, bytes: u64) {
        let before = self.committed.fetch_sub(bytes, Ordering::AcqRel);
        assert!(before >= bytes, "invariant: more bytes came back than were promised");
        self.watch(before - bytes);
        self.attention.room();
    }

    fn watch(&self, committed: u64) {
        if self.pressure.as_ref().is_some_and(|pressure| pressure.leaves_band(committed)) {
            self.attention.raise(Need::Pressure);
        }
    }
}

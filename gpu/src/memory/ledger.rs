//! Bytes promised against a limit: one atomic, taken before anything else.

use std::sync::Arc;

use super::attention::{Attention, Need};
use super::class::BlockSizes;
use super::pressure::{PressureCell, PressureLevel};
use super::sync::{Apart, AtomicU64, Ordering};

/// The books of one kind of memory of one device.
///
/// `committed` counts what reservations hold and what is leased outside of any; it is at most the limit
/// at every moment. Where others use the device too, or much is lost in parts of pages, there may be less to
/// have than the limit says; nothing is committed beyond that, and what was before stays.
///
/// What is committed, the ceiling and the room are read and written sequentially consistently, as is the flag that
/// says that somebody waits for room: of who gives bytes back and then looks at the flag, and who sets
/// the flag and then looks for bytes, at least one sees the other.
#[derive(Debug)]
pub struct Ledger {
    limit: u64,
    /// What others leave of the device.
    ceiling: AtomicU64,
    /// What whole pages leave.
    room: AtomicU64,
    foreign: AtomicU64,
    sizes: BlockSizes,
    committed: Apart<AtomicU64>,
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
        let (ceiling, room) = (u64::MAX.into(), u64::MAX.into());
        let (foreign, committed) = (0.into(), Apart(0.into()));
        Self { limit, ceiling, room, foreign, sizes, committed, pressure, attention }
    }

    /// The most that may ever be committed.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// The most that can be committed at present: the limit, or what others leave of the device, or what is
    /// not lost in parts of pages.
    pub fn attainable(&self) -> u64 {
        let most = self.ceiling.load(Ordering::SeqCst).min(self.room.load(Ordering::SeqCst));
        self.limit.min(most)
    }

    /// Bytes of the device that others hold: other processes, and contexts and modules of this one.
    pub fn foreign(&self) -> u64 {
        self.foreign.load(Ordering::Acquire)
    }

    /// Others hold that many bytes of the device, which leaves so many to promise.
    pub(crate) fn set_foreign(&self, foreign: u64, ceiling: u64) {
        self.foreign.store(foreign, Ordering::Release);
        self.bound(&self.ceiling, ceiling);
    }

    /// Of the memory's pages so much is left to promise, with what was promised before.
    pub(super) fn set_room(&self, room: u64) {
        let room = if room < self.limit { room } else { u64::MAX };
        if self.room.load(Ordering::Relaxed) != room {
            self.bound(&self.room, room);
        }
    }

    fn bound(&self, bound: &AtomicU64, most: u64) {
        let before = bound.swap(most, Ordering::SeqCst);
        if before.min(self.limit) != most.min(self.limit) {
            self.attention.raise(Need::Pressure);
            self.attention.room();
        }
    }

    /// How large the blocks are that are counted here.
    pub fn sizes(&self) -> BlockSizes {
        self.sizes
    }

    /// Bytes promised now.
    pub fn committed(&self) -> u64 {
        self.committed.0.load(Ordering::SeqCst)
    }

    /// Bytes that could be committed now.
    pub fn free(&self) -> u64 {
        self.attainable().saturating_sub(self.committed())
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
        let most = self.attainable();
        // (Nothing always fits, also where others have taken what was to be had.)
        let fits =
            |committed: u64| committed.checked_add(bytes).filter(|sum| *sum <= most || bytes == 0);
        match self.committed.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fits) {
            Ok(before) => {
                self.watch(before + bytes);
                true
            }
            Err(_) => false,
        }
    }

    pub(crate) fn uncommit(&self, bytes: u64) {
        let before = self.committed.0.fetch_sub(bytes, Ordering::SeqCst);
        assert!(before >= bytes, "invariant: more bytes came back than were promised");
        self.watch(before - bytes);
        self.attention.room();
    }

    /// Calls the allocator if that many committed bytes are reason to look at the pressure level.
    pub(crate) fn watch(&self, committed: u64) {
        if self.pressure.as_ref().is_some_and(|pressure| pressure.leaves_band(committed)) {
            self.attention.raise(Need::Pressure);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_promised_than_the_least_that_is_left() {
        let ledger = Ledger::new(1000, BlockSizes::classes(1), None, Arc::default());
        assert!(ledger.commit(700));
        ledger.set_room(900);
        ledger.set_foreign(200, 800);
        assert_eq!((ledger.attainable(), ledger.free()), (800, 100));
        assert!(!ledger.commit(101) && ledger.commit(100));
        ledger.set_room(600);
        assert_eq!((ledger.free(), ledger.committed()), (0, 800), "what was promised stays");
        assert!(!ledger.commit(1) && ledger.commit(0));
        ledger.uncommit(800);
        assert!(!ledger.commit(601) && ledger.commit(600));
        ledger.set_foreign(0, 5000);
        ledger.set_room(5000);
        assert!(ledger.commit(400) && !ledger.commit(1));
    }
}

//! Bytes promised to a request before it starts.

use std::sync::{Arc, OnceLock, Weak};

use super::MemoryKind;
use super::ledger::Ledger;
use super::stream_magazine::StreamMagazine;
use super::sync::{AtomicU64, Ordering};

/// What a request declares that it will hold at most, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Need {
    /// Of the device's own memory.
    pub device: u64,
    /// Of staging memory.
    pub staging: u64,
}

impl Need {
    /// Nothing: such a request allocates as it goes, and may be refused half-way.
    pub const NOTHING: Self = Self { device: 0, staging: 0 };

    /// That many bytes of device memory.
    pub const fn device(bytes: u64) -> Self {
        Self { device: bytes, staging: 0 }
    }

    /// From this size on, in bytes, host memory for an answer comes from the pool of a host device. Below, to
    /// reserve and to lease would cost as much as to compute, and the heap gives it.
    pub const POOLED_FROM: u64 = 64 << 10;

    /// Memory of a host device for answers of those sizes, in bytes: for those that come from its pool.
    pub fn host<const N: usize>(bytes: [u64; N]) -> Self {
        let pooled = bytes.into_iter().filter(|bytes| *bytes >= Self::POOLED_FROM);
        Self::device(pooled.fold(0, u64::saturating_add))
    }

    /// The bytes of that kind.
    pub const fn of(&self, kind: MemoryKind) -> u64 {
        match kind {
            MemoryKind::Device => self.device,
            MemoryKind::Staging => self.staging,
        }
    }
}

/// Why a reservation was not granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Shortage {
    /// It is larger than the limit: it never can be.
    Never {
        /// Which memory is too small.
        kind: MemoryKind,
        /// Bytes that would have to be committed.
        asked: u64,
        /// The most that can be.
        limit: u64,
    },
    /// Not while others hold what they hold.
    NotNow {
        /// Which memory is short.
        kind: MemoryKind,
        /// Bytes that would have to be committed.
        asked: u64,
        /// Bytes that could be.
        free: u64,
    },
}

/// Bytes promised to one request; what it leases is taken from them. Dropping it gives back what is
/// left; blocks still leased then keep their own bytes committed until they are dropped.
#[derive(Debug)]
pub struct Reservation {
    device: Arc<Account>,
    staging: Arc<Account>,
}

impl Reservation {
    /// All or nothing, device memory first: nobody holds one kind while waiting for the other.
    pub(crate) fn try_new(
        need: Need,
        device: &Arc<Ledger>,
        staging: &Arc<Ledger>,
    ) -> Result<Self, Shortage> {
        // Looked at first, so that what can never be is said at once.
        Self::could_be(need, device, staging)?;
        let device = Account::open(MemoryKind::Device, need.device, device)?;
        match Account::open(MemoryKind::Staging, need.staging, staging) {
            Ok(staging) => Ok(Self { device, staging }),
            Err(shortage) => {
                device.close();
                Err(shortage)
            }
        }
    }

    /// Whether it could be granted if nobody held anything.
    pub(crate) fn could_be(need: Need, device: &Ledger, staging: &Ledger) -> Result<(), Shortage> {
        for (kind, ledger) in [(MemoryKind::Staging, staging), (MemoryKind::Device, device)] {
            let (asked, limit) = (ledger.sizes().reservation_bytes(need.of(kind)), ledger.limit());
            if asked > limit {
                return Err(Shortage::Never { kind, asked, limit });
            }
        }
        Ok(())
    }

    pub(crate) fn account(&self, kind: MemoryKind) -> &Arc<Account> {
        match kind {
            MemoryKind::Device => &self.device,
            MemoryKind::Staging => &self.staging,
        }
    }

    /// Most bytes of that kind that were leased with it at once, declared or not.
    pub fn peak(&self, kind: MemoryKind) -> u64 {
        self.account(kind).peak()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.device.close();
        self.staging.close();
    }
}

/// Whether both are of one reservation, or of none.
pub(super) fn is_same(one: Option<&Arc<Account>>, other: Option<&Arc<Account>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => true,
        _ => false,
    }
}

/// Bytes go back to where they came from: to the reservation, or to the ledger.
pub(super) fn give_back(account: Option<&Arc<Account>>, ledger: &Ledger, bytes: u64) {
    match account {
        _ if bytes == 0 => {}
        Some(account) => account.credit(bytes),
        None => ledger.uncommit(bytes),
    }
}

/// One kind of memory of a reservation. Leases debit and credit it from any thread, each by one atomic.
#[derive(Debug)]
pub(crate) struct Account {
    ledger: Arc<Ledger>,
    /// What the request said, before rounding.
    declared: u64,
    /// What was committed for it.
    granted: u64,
    /// Bytes that may still be leased, or that are leased where none were declared; and whether the
    /// reservation has ended: [`CLOSED`].
    left: AtomicU64,
    peak: AtomicU64,
    /// The magazine that may keep bytes of it between two leases.
    keeper: OnceLock<Weak<StreamMagazine>>,
}

/// Set in [`Account::left`] once the reservation has ended. No sum of bytes that are leased reaches it.
const CLOSED: u64 = 1 << 63;

impl Account {
    fn open(kind: MemoryKind, declared: u64, ledger: &Arc<Ledger>) -> Result<Arc<Self>, Shortage> {
        let granted = ledger.sizes().reservation_bytes(declared);
        if !ledger.commit(granted) {
            return Err(Shortage::NotNow { kind, asked: granted, free: ledger.free() });
        }
        let (left, peak) = (granted.into(), 0.into());
        let (ledger, keeper) = (Arc::clone(ledger), OnceLock::new());
        Ok(Arc::new(Self { ledger, declared, granted, left, peak, keeper }))
    }

    pub(crate) fn declared(&self) -> u64 {
        self.declared
    }

    pub(super) fn is_closed(&self) -> bool {
        self.left.load(Ordering::Acquire) & CLOSED != 0
    }

    /// Whether that magazine may keep bytes of it: the first that asks.
    pub(super) fn is_kept_by(&self, magazine: &Weak<StreamMagazine>) -> bool {
        self.keeper.get_or_init(|| Weak::clone(magazine)).ptr_eq(magazine)
    }

    /// Has its bytes back from whoever keeps them between leases.
    pub(super) fn recall(&self) {
        if let Some(keeper) = self.keeper.get().and_then(Weak::upgrade) {
            keeper.settle();
        }
    }

    /// Takes bytes for a lease, or says how many are left.
    pub(crate) fn debit(&self, bytes: u64) -> Result<(), u64> {
        let take = |left: u64| (left & CLOSED == 0).then(|| left.checked_sub(bytes)).flatten();
        let before = self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, take);
        let before = before.map_err(|left| left & !CLOSED)?;
        self.note_peak(self.granted - (before - bytes));
        Ok(())
    }

    /// Counts bytes that were committed for a lease alone, because none were declared: then `left` is what
    /// is leased.
    pub(crate) fn count(&self, bytes: u64) {
        let before = self.left.fetch_add(bytes, Ordering::AcqRel) & !CLOSED;
        self.note_peak(before + bytes);
    }

    /// More is leased, out of what a stream keeps; so much is still kept.
    pub(super) fn note_leased(&self, kept: u64) {
        let left = self.left.load(Ordering::Acquire) & !CLOSED;
        let spent = if self.declared == 0 { left } else { self.granted - left };
        self.note_peak(spent.saturating_sub(kept));
    }

    fn note_peak(&self, spent: u64) {
        if spent > self.peak.load(Ordering::Relaxed) {
            self.peak.fetch_max(spent, Ordering::Relaxed);
        }
    }

    /// A lease ended. While the reservation lives its request may use the bytes again.
    pub(crate) fn credit(&self, bytes: u64) {
        let open = if self.declared == 0 {
            self.left.fetch_sub(bytes, Ordering::AcqRel);
            false
        } else {
            self.left.fetch_add(bytes, Ordering::AcqRel) & CLOSED == 0
        };
        if !open {
            self.ledger.uncommit(bytes);
        }
    }

    fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    fn close(&self) {
        if self.declared == 0 {
            self.left.fetch_or(CLOSED, Ordering::AcqRel);
        } else {
            self.ledger.uncommit(self.left.swap(CLOSED, Ordering::AcqRel));
        }
        self.recall();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::BlockSizes;
    use crate::memory::attention::Attention;

    fn ledger(limit: u64) -> Arc<Ledger> {
        Arc::new(Ledger::new(limit, BlockSizes::classes(1), None, Arc::new(Attention::default())))
    }

    #[test]
    fn what_is_credited_after_the_end_leaves_the_books() {
        let ledger = ledger(10_000);
        let account = Account::open(MemoryKind::Device, 1000, &ledger).unwrap();
        let granted = ledger.committed();
        account.debit(300).unwrap();
        account.debit(200).unwrap();
        account.credit(200);
        assert_eq!((ledger.committed(), account.peak()), (granted, 500));
        assert_eq!(account.debit(granted), Err(granted - 300));
        account.close();
        assert_eq!(ledger.committed(), 300);
        assert_eq!(account.debit(1), Err(0), "nothing is leased from what has ended");
        account.credit(300);
        assert_eq!(ledger.committed(), 0);
    }

    #[test]
    fn bytes_are_counted_once_whenever_the_reservation_ends() {
        let ledger = ledger(1 << 40);
        for round in 0..2000_u64 {
            let account = Account::open(MemoryKind::Device, 1 << 20, &ledger).unwrap();
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        for bytes in 1..round % 40 {
                            if account.debit(bytes).is_ok() {
                                account.credit(bytes);
                            }
                        }
                    });
                }
                account.close();
            });
            assert_eq!(ledger.committed(), 0, "round {round}");
        }
    }
}

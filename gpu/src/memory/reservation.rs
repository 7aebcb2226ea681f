//! Bytes promised to a request before it starts.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::MemoryKind;
use super::ledger::Ledger;

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
        let staging_bytes = staging.sizes().reservation_bytes(need.staging);
        if staging_bytes > staging.limit() {
            // Looked at first, so that what can never be is said at once.
            return Err(never(MemoryKind::Staging, staging_bytes, staging));
        }
        let device = Account::open(MemoryKind::Device, need.device, device)?;
        match Account::open(MemoryKind::Staging, need.staging, staging) {
            Ok(staging) => Ok(Self { device, staging }),
            Err(shortage) => {
                device.close();
                Err(shortage)
            }
        }
    }

    pub(crate) fn account(&self, kind: MemoryKind) -> &Arc<Account> {
        match kind {
            MemoryKind::Device => &self.device,
            MemoryKind::Staging => &self.staging,
        }
    }

    /// Most bytes of that kind that were leased with it at once, declared or not.
    pub fn peak(&self, kind: MemoryKind) -> u64 {
        self.account(kind).state().peak
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.device.close();
        self.staging.close();
    }
}

fn never(kind: MemoryKind, asked: u64, ledger: &Ledger) -> Shortage {
    Shortage::Never { kind, asked, limit: ledger.limit() }
}

/// One kind of memory of a reservation.
#[derive(Debug)]
pub(crate) struct Account {
    ledger: Arc<Ledger>,
    /// What the request said, before rounding.
    declared: u64,
    state: Mutex<AccountState>,
}

#[derive(Debug)]
struct AccountState {
    left: u64,
    spent: u64,
    peak: u64,
    open: bool,
}

impl Account {
    fn open(kind: MemoryKind, declared: u64, ledger: &Arc<Ledger>) -> Result<Arc<Self>, Shortage> {
        let asked = ledger.sizes().reservation_bytes(declared);
        if asked > ledger.limit() {
            return Err(never(kind, asked, ledger));
        }
        if !ledger.commit(asked) {
            return Err(Shortage::NotNow { kind, asked, free: ledger.free() });
        }
        let state = AccountState { left: asked, spent: 0, peak: 0, open: true };
        Ok(Arc::new(Self { ledger: Arc::clone(ledger), declared, state: Mutex::new(state) }))
    }

    pub(crate) fn declared(&self) -> u64 {
        self.declared
    }

    /// Takes bytes for a lease, or says how many are left.
    pub(crate) fn debit(&self, bytes: u64) -> Result<(), u64> {
        let mut state = self.state();
        if bytes > state.left {
            return Err(state.left);
        }
        state.left -= bytes;
        state.spent += bytes;
        state.peak = state.peak.max(state.spent);
        Ok(())
    }

    /// Counts bytes that were committed for a lease alone, because none were declared.
    pub(crate) fn count(&self, bytes: u64) {
        let mut state = self.state();
        state.spent += bytes;
        state.peak = state.peak.max(state.spent);
    }

    /// A lease ended. While the reservation lives its request may use the bytes again.
    pub(crate) fn credit(&self, bytes: u64) {
        let mut state = self.state();
        state.spent -= bytes;
        if state.open && self.declared > 0 {
            state.left += bytes;
        } else {
            drop(state);
            self.ledger.uncommit(bytes);
        }
    }

    fn close(&self) {
        let mut state = self.state();
        state.open = false;
        let left = std::mem::take(&mut state.left);
        drop(state);
        self.ledger.uncommit(left);
    }

    fn state(&self) -> MutexGuard<'_, AccountState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

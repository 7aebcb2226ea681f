//! Bytes in the books that no lease has: a stream spends and saves them without touching the books.
//!
//! What a lease gives back stays counted, within a bound, for the next lease of the same reservation
//! (or of none). The books are shared by all threads; this is the stream's own.

use std::sync::Arc;

use super::lease::Charge;
use super::ledger::Ledger;
use super::reservation::{Account, give_back, is_same};

/// A part of the limit that a stream may keep counted, at most.
const PART: u64 = 1024;
const MOST: u64 = 1 << 20;

#[derive(Debug)]
pub(super) struct Allowance {
    ledger: Arc<Ledger>,
    account: Option<Arc<Account>>,
    bytes: u64,
    most: u64,
}

impl Allowance {
    pub(super) fn new(ledger: &Arc<Ledger>) -> Self {
        let most = (ledger.limit() / PART).min(MOST);
        Self { ledger: Arc::clone(ledger), account: None, bytes: 0, most }
    }

    /// Bytes that are committed for no reservation.
    pub(super) fn unreserved(&self) -> u64 {
        if self.account.as_ref().is_none_or(|account| account.declared() == 0) {
            self.bytes
        } else {
            0
        }
    }

    /// Takes the bytes of a lease, if there are as many of that account. If not, what there is goes back,
    /// so that the account knows exactly what is leased.
    pub(super) fn spend(&mut self, account: Option<&Arc<Account>>, bytes: u64) -> bool {
        if !is_same(self.account.as_ref(), account) {
            return false;
        }
        if self.bytes < bytes {
            self.settle();
            return false;
        }
        self.bytes -= bytes;
        account.inspect(|account| account.note_leased(self.bytes));
        true
    }

    /// Takes over what a lease leaves, if it may be kept. Nothing is while somebody waits for room.
    pub(super) fn save(&mut self, charge: &mut Charge, keep: impl Fn(&Account) -> bool) {
        let account = charge.account();
        if self.ledger.is_room_wanted() || self.bytes + charge.bytes() > self.most {
            return;
        }
        // An account that has ended is told nothing more; one has a single keeper.
        if account.is_some_and(|account| account.is_closed()) {
            return;
        }
        if !is_same(self.account.as_ref(), account) {
            if account.is_some_and(|account| !keep(account)) {
                return;
            }
            self.settle();
            self.account = account.cloned();
        }
        self.bytes += charge.take_bytes();
        // It may have ended just now, before it knew who keeps bytes of it.
        if self.account.as_ref().is_some_and(|account| account.is_closed()) {
            self.settle();
        }
    }

    /// Gives the bytes back to the books.
    pub(super) fn settle(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        give_back(self.account.take().as_ref(), &self.ledger, bytes);
    }
}

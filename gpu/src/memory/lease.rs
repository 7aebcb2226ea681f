//! One block in use.
#![allow(
    unsafe_code,
    reason = "device memory is reached by address; each block says why it is sound"
)]

use std::fmt;
use std::sync::Arc;

use super::ledger::Ledger;
use super::pool::Pool;
use super::record::Action;
use super::reservation::Account;
use super::{MemoryKind, RawMemory};
use crate::device::{Device, DeviceKind, Epoch};
use crate::timeline::Timeline;

/// The bytes of a lease in the books: committed for it alone, or taken from a reservation. They
/// leave the books when the charge is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    ledger: Arc<Ledger>,
    account: Option<Arc<Account>>,
    bytes: u64,
}

impl Charge {
    /// For bytes that were committed on the ledger, or debited from the account.
    pub(crate) fn new(ledger: Arc<Ledger>, account: Option<Arc<Account>>, bytes: u64) -> Self {
        ledger.lease(bytes);
        Self { ledger, account, bytes }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.ledger.unlease(self.bytes);
        match &self.account {
            Some(account) => account.credit(self.bytes),
            None => self.ledger.uncommit(self.bytes),
        }
    }
}

/// One block of memory in use. Dropping it gives the block back to its pool, from any thread and
/// without waiting: the pool hands it on only when the stream has passed what used it.
pub struct Lease {
    /// Taken on drop.
    memory: Option<RawMemory>,
    pool: Arc<Pool>,
    home: Option<Arc<Timeline>>,
    /// After `memory` in drop order: a block is back before its bytes can be promised again.
    charge: Charge,
}

impl Lease {
    pub(crate) fn new(
        memory: RawMemory,
        pool: Arc<Pool>,
        charge: Charge,
        home: Option<Arc<Timeline>>,
    ) -> Self {
        pool.tell(Action::Allocate, &memory, home.as_ref());
        Self { memory: Some(memory), pool, home, charge }
    }

    fn memory(&self) -> &RawMemory {
        self.memory.as_ref().expect("invariant: taken only on drop")
    }

    /// The address, in the device's own terms.
    pub fn address(&self) -> u64 {
        self.memory().address
    }

    /// The size of the block, in bytes: at least what was asked for.
    pub fn bytes(&self) -> usize {
        self.memory().bytes
    }

    /// Which memory it is.
    pub fn kind(&self) -> MemoryKind {
        self.pool.kind()
    }

    /// The device that it is memory of.
    pub fn device(&self) -> &Device {
        self.pool.device()
    }

    /// The block's bytes, where the host can reach them: host and staging memory that no stream uses.
    pub fn host_bytes(&self) -> Option<&[u8]> {
        self.is_for_host().then(|| {
            // SAFETY: the block is host memory, initialised by its backend, and live as long as the
            // lease; without a stream nobody else touches it.
            unsafe { std::slice::from_raw_parts(self.address() as *const u8, self.bytes()) }
        })
    }

    /// The same, to write.
    pub fn host_bytes_mut(&mut self) -> Option<&mut [u8]> {
        self.is_for_host().then(|| {
            // SAFETY: as in `host_bytes`; the lease is exclusive.
            unsafe { std::slice::from_raw_parts_mut(self.address() as *mut u8, self.bytes()) }
        })
    }

    fn is_for_host(&self) -> bool {
        let host = self.device().kind() == DeviceKind::Host || self.kind() == MemoryKind::Staging;
        host && self.home.is_none()
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.memory().epoch
    }

    pub(crate) fn home(&self) -> Option<&Arc<Timeline>> {
        self.home.as_ref()
    }

    /// From now on the block is used by that stream, and follows it when dropped.
    pub(crate) fn set_home(&mut self, home: Arc<Timeline>) {
        self.home = Some(home);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take() {
            self.pool.tell(Action::Free, &memory, self.home.as_ref());
            self.pool.put(memory, self.home.as_ref());
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Charge { bytes, .. } = self.charge;
        f.debug_struct("Lease")
            .field("device", &self.device().id())
            .field("kind", &self.kind())
            .field("bytes", &bytes)
            .finish_non_exhaustive()
    }
}

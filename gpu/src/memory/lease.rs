//! One block in use.
#![allow(
    unsafe_code,
    reason = "device memory is reached by address; each block says why it is sound"
)]

use std::fmt;
use std::sync::Arc;

use super::pool::Pool;
use super::record::Action;
use super::reservation::{Account, give_back, is_same};
use super::stream_magazine::StreamMagazine;
use super::{MemoryKind, RawMemory};
use crate::device::{Device, DeviceKind, Epoch};
#[cfg(feature = "planted")]
use crate::planted::{self, Bug};
use crate::timeline::Timeline;

/// The bytes of a lease in the books: committed for it alone, or taken from a reservation. They
/// leave the books when the charge is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    pool: Arc<Pool>,
    account: Option<Arc<Account>>,
    bytes: u64,
}

impl Charge {
    /// For bytes that were committed, or debited from the account.
    pub(crate) fn new(pool: &Arc<Pool>, account: Option<&Arc<Account>>, bytes: u64) -> Self {
        Self { pool: Arc::clone(pool), account: account.cloned(), bytes }
    }

    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    pub(super) fn account(&self) -> Option<&Arc<Account>> {
        self.account.as_ref()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Somebody else answers for the bytes from now on.
    pub(super) fn take_bytes(&mut self) -> u64 {
        std::mem::take(&mut self.bytes)
    }

    /// Charges anew, once the old charge is settled. The count of references to an account changes
    /// only when the account does: within a request nothing is counted.
    pub(super) fn renew(&mut self, account: Option<&Arc<Account>>, bytes: u64) {
        if !is_same(self.account.as_ref(), account) {
            self.account = account.cloned();
        }
        self.bytes = bytes;
    }

    pub(super) fn settle(&mut self) {
        let bytes = self.take_bytes();
        #[cfg(feature = "planted")]
        if planted::is(Bug::DoubleFree) {
            give_back(self.account.as_ref(), self.pool.ledger(), bytes);
        }
        give_back(self.account.as_ref(), self.pool.ledger(), bytes);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.settle();
    }
}

/// Whose work a block is used by: a stream, with its magazine if it has one.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    pub(crate) timeline: Arc<Timeline>,
    pub(crate) magazine: Option<Arc<StreamMagazine>>,
}

/// A block and all that belongs to it. In a box, because it goes into its stream's magazine and out of
/// it as it is: a hit moves a pointer and counts no reference.
#[derive(Debug)]
pub(crate) struct Held {
    pub(super) memory: RawMemory,
    pub(super) home: Option<Home>,
    /// Dropped after the memory is back: else its bytes could be promised before they are there.
    pub(super) charge: Charge,
}

impl Held {
    /// Into the magazine that it is of, or back to the pool.
    fn give_back(self: Box<Self>) {
        let magazine = self.home.as_ref().and_then(|home| home.magazine.as_ref());
        let Some(magazine) = magazine.map(Arc::as_ptr) else { return self.give_to_pool() };
        // SAFETY: `self` keeps the magazine alive until it is parked. From then on the magazine is kept
        // by `self` in it, which is taken out only under the lock that `park` holds to its end.
        let parked = unsafe { &*magazine }.park(self);
        if let Err(refused) = parked {
            refused.give_to_pool();
        }
    }

    fn give_to_pool(self) {
        let Self { memory, home, charge } = self;
        charge.pool.put(memory, home.as_ref().map(|home| &home.timeline));
        drop(charge);
    }
}

/// One block of memory in use. Dropping it gives the block back to its pool, from any thread and
/// without waiting: the pool hands it on only when the stream has passed what used it.
pub struct Lease {
    /// Taken on drop.
    held: Option<Box<Held>>,
}

impl Lease {
    pub(crate) fn new(held: Box<Held>) -> Self {
        let home = held.home.as_ref().map(|home| &home.timeline);
        held.charge.pool.tell(Action::Allocate, &held.memory, home);
        Self { held: Some(held) }
    }

    fn held(&self) -> &Held {
        self.held.as_ref().expect("invariant: taken only on drop")
    }

    /// The address, in the device's own terms.
    pub fn address(&self) -> u64 {
        self.held().memory.address
    }

    /// The size of the block, in bytes: at least what was asked for.
    pub fn bytes(&self) -> usize {
        self.held().memory.bytes
    }

    /// Which memory it is.
    pub fn kind(&self) -> MemoryKind {
        self.held().charge.pool.kind()
    }

    /// The device that it is memory of.
    pub fn device(&self) -> &Device {
        self.held().charge.pool.device()
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
        host && self.home().is_none()
    }

    pub(crate) fn pool(&self) -> &Arc<Pool> {
        self.held().charge.pool()
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.held().memory.epoch
    }

    pub(crate) fn home(&self) -> Option<&Arc<Timeline>> {
        self.held().home.as_ref().map(|home| &home.timeline)
    }

    /// From now on the block is used by that stream, and follows it when dropped.
    pub(crate) fn set_home(&mut self, timeline: &Arc<Timeline>) {
        if self.home().is_some_and(|home| Arc::ptr_eq(home, timeline)) {
            return;
        }
        let held = self.held.as_mut().expect("invariant: taken only on drop");
        held.home = Some(Home { timeline: Arc::clone(timeline), magazine: None });
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            #[cfg(feature = "planted")]
            if planted::is(Bug::LeakOnPanic) && std::thread::panicking() {
                return std::mem::forget(held);
            }
            // Before it is back: somebody else may have the address then.
            let home = held.home.as_ref().map(|home| &home.timeline);
            held.charge.pool.tell(Action::Free, &held.memory, home);
            held.give_back();
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("device", &self.device().id())
            .field("kind", &self.kind())
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

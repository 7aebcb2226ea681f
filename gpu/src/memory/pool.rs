//! What a device gives and gets back, and the books of it.
//!
//! Taking a block that is there and putting one back are all that happen on a kernel's thread. Getting
//! memory from the device and giving it back ([`Growth`], [`Pool::trim`]) may be slow or wait for the
//! device, and is left to the one allocator of the device.
//!
//! Behind it is an [arena](super::arena) where the device has virtual memory, and a cache of blocks by
//! size class where it has not, or where pooling is off.

use std::fmt;
use std::sync::Arc;

use super::arena::LastUse;
use super::attention::{Attention, Need};
use super::cache::Cache;
use super::class::BlockSizes;
use super::lease::{Charge, Lease};
use super::ledger::Ledger;
use super::pressure::PressureCell;
use super::space::Space;
use super::stats::MemoryStats;
use super::{MemoryKind, MemoryLimits, RawMemory};
use crate::device::Device;
use crate::error::{DeviceError, DeviceResult};
use crate::timeline::{Completion, Position, Timeline};

/// The memory of one kind that a device gives, with what of it is not in use.
pub struct Pool {
    device: Device,
    kind: MemoryKind,
    ledger: Arc<Ledger>,
    attention: Arc<Attention>,
    /// Whether memory is kept for the next lease.
    keep: bool,
    store: Box<dyn Store>,
}

/// Where blocks come from and go to.
pub(super) trait Store: Send + Sync {
    /// A block that is there and ready for work of the stream of `home`.
    fn take(&self, bytes: usize, home: Option<&Arc<Timeline>>) -> Option<RawMemory>;
    /// Takes a block back, in use up to `last_use`.
    fn put(&self, memory: RawMemory, last_use: Option<StreamUse>);
    /// Gets memory from the device for a block. May be slow.
    fn grow(&self, bytes: usize, home: Option<&Arc<Timeline>>) -> Result<RawMemory, NoRoom>;
    /// Gives memory that is not in use back to the device, until at most `keep` bytes are left of it.
    fn trim(&self, keep: u64) -> u64;
    /// Forgets the memory of earlier epochs, if there can be any.
    fn forget_lost(&self) {}
    /// Fills in what it knows.
    fn describe(&self, stats: &mut MemoryStats);
}

/// Up to where a stream may still use a block.
#[derive(Debug, Clone)]
pub(super) struct StreamUse {
    timeline: Arc<Timeline>,
    position: Position,
}

impl StreamUse {
    /// Up to what the stream was told until now.
    pub(super) fn until_now(timeline: &Arc<Timeline>) -> Self {
        Self { timeline: Arc::clone(timeline), position: timeline.issued() }
    }

    /// Of that stream, whenever.
    pub(super) fn any(timeline: &Arc<Timeline>) -> Self {
        Self { timeline: Arc::clone(timeline), position: 0 }
    }

    pub(super) fn is_of(&self, timeline: &Arc<Timeline>) -> bool {
        Arc::ptr_eq(&self.timeline, timeline)
    }

    pub(super) fn completion(&self) -> Completion {
        Completion::new(Arc::clone(&self.timeline), self.position)
    }
}

impl LastUse for StreamUse {
    fn is_over(&self) -> bool {
        self.timeline.has_reached(self.position)
    }

    fn is_same_stream(&self, other: &Self) -> bool {
        self.is_of(&other.timeline)
    }

    fn later(self, other: Self) -> Self {
        if self.position < other.position { other } else { self }
    }
}

impl Pool {
    pub(crate) fn new(
        device: Device,
        kind: MemoryKind,
        limits: &MemoryLimits,
        pressure: Option<Arc<PressureCell>>,
        attention: Arc<Attention>,
    ) -> Arc<Self> {
        let (store, sizes) = store(&device, kind, limits);
        let (limit, keep) = (limits.of(kind), limits.pooling);
        let ledger = Arc::new(Ledger::new(limit, sizes, pressure, Arc::clone(&attention)));
        Arc::new(Self { device, kind, ledger, attention, keep, store })
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    pub(crate) fn kind(&self) -> MemoryKind {
        self.kind
    }

    pub(crate) fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// The size of the block for `bytes`.
    ///
    /// # Errors
    /// [`DeviceError::OutOfMemory`] if it would be larger than the limit.
    pub fn block_bytes(&self, bytes: usize) -> DeviceResult<usize> {
        let block = self.ledger.sizes().block_bytes(bytes);
        let block = block.filter(|block| *block as u64 <= self.ledger.limit());
        block.ok_or_else(|| self.out_of_memory(bytes as u64))
    }

    pub(crate) fn out_of_memory(&self, asked: u64) -> DeviceError {
        let (free, limit) = (self.ledger.free(), self.ledger.limit());
        DeviceError::OutOfMemory { device: self.device.id(), kind: self.kind, asked, free, limit }
    }

    /// Whom work on a block comes after by itself. Host writes to staging memory come after nobody.
    fn order<'a>(&self, stream: Option<&'a Arc<Timeline>>) -> Option<&'a Arc<Timeline>> {
        stream.filter(|_| self.kind == MemoryKind::Device)
    }

    /// Serves a lease from what is there.
    pub(crate) fn take(&self, bytes: usize, stream: Option<&Arc<Timeline>>) -> Option<RawMemory> {
        self.store.take(bytes, self.order(stream))
    }

    fn grow(&self, bytes: usize, stream: Option<&Arc<Timeline>>) -> Result<RawMemory, NoRoom> {
        self.store.grow(bytes, self.order(stream))
    }

    /// Takes a block back, with the position up to which `stream` may still use it.
    pub(crate) fn put(&self, memory: RawMemory, stream: Option<&Arc<Timeline>>) {
        self.store.put(memory, stream.map(StreamUse::until_now));
        if !self.keep {
            self.release_soon();
        }
    }

    /// Memory must not be kept: the allocator gives it back, or this thread where there is none.
    fn release_soon(&self) {
        if self.attention.is_attended() {
            self.attention.raise(Need::Release);
        } else {
            self.trim(0);
        }
    }

    /// Gives idle memory back to the device until at most `keep` bytes are left that are not in use.
    /// Returns the bytes given back. May wait for the device.
    pub fn trim(&self, keep: u64) -> u64 {
        self.store.trim(keep)
    }

    /// Forgets the memory of earlier epochs.
    pub fn forget_lost(&self) {
        self.store.forget_lost();
    }

    /// A snapshot of the pool and its ledger.
    pub fn stats(&self) -> MemoryStats {
        let ledger = &self.ledger;
        let (live, committed) = (ledger.live(), ledger.committed());
        let mut stats = MemoryStats {
            limit: ledger.limit(),
            attainable: ledger.attainable(),
            foreign: ledger.foreign(),
            committed,
            live,
            reserved: committed.saturating_sub(live),
            peak_live: ledger.peak_live(),
            ..MemoryStats::default()
        };
        self.store.describe(&mut stats);
        stats
    }
}

/// An arena where the device has virtual memory and memory is kept, else a cache.
fn store(device: &Device, kind: MemoryKind, limits: &MemoryLimits) -> (Box<dyn Store>, BlockSizes) {
    let (limit, keep, defrag) = (limits.of(kind), limits.pooling, limits.defrag);
    match keep.then(|| Space::open(device, kind, limit, defrag)).flatten() {
        Some(space) => {
            let bytes = space.geometry().grain;
            (Box::new(space), BlockSizes::Grains { bytes })
        }
        None => {
            let cache = Cache::new(device.clone(), kind, limit, defrag || !keep);
            (Box::new(cache), BlockSizes::Classes)
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.trim(0);
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("device", &self.device.id())
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// Why the device gives no memory.
pub(super) enum NoRoom {
    /// There would be room, but a stream still uses it.
    Busy(Completion),
    /// The limit is reached.
    Full,
    /// The device says so.
    Device(DeviceError),
}

/// A lease whose bytes are committed and for which the pool has no block: the allocator's work.
#[derive(Debug)]
#[must_use = "a growth that is dropped gives its bytes back"]
pub struct Growth {
    pub(crate) pool: Arc<Pool>,
    pub(crate) bytes: usize,
    pub(crate) charge: Charge,
    pub(crate) home: Option<Arc<Timeline>>,
}

/// How far a [`Growth`] got.
#[derive(Debug)]
#[must_use]
pub enum Grown {
    /// The lease.
    Ready(Lease),
    /// There will be room once this is complete; then run the growth again.
    Wait(Growth, Completion),
}

impl Growth {
    /// Gets the block from the device. May be slow; not for a kernel's thread.
    ///
    /// # Errors
    /// If the device has no such block, although the limit allows it, or is lost.
    pub fn run(self) -> DeviceResult<Grown> {
        // Somebody may have put one back meanwhile.
        if let Some(memory) = self.pool.take(self.bytes, self.home.as_ref()) {
            return Ok(Grown::Ready(self.finish(memory)));
        }
        match self.pool.grow(self.bytes, self.home.as_ref()) {
            Ok(memory) => Ok(Grown::Ready(self.finish(memory))),
            Err(NoRoom::Busy(completion)) => Ok(Grown::Wait(self, completion)),
            Err(NoRoom::Full) => Err(self.pool.out_of_memory(self.bytes as u64)),
            Err(NoRoom::Device(error)) => Err(error),
        }
    }

    fn finish(self, memory: RawMemory) -> Lease {
        Lease::new(memory, self.pool, self.charge, self.home)
    }
}

//! What a device gives and gets back, and the books of it.
//!
//! Taking a block that is there and putting one back are all that happen on a kernel's thread. Getting
//! memory from the device and giving it back ([`Growth`], [`Pool::trim`]) may be slow or wait for the
//! device, and is left to the one allocator of the device.
//!
//! Behind it is an [arena](super::arena) where the device has virtual memory, and a cache of blocks by
//! size class where it has not, or where pooling is off.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use super::arena::{LastUse, Manner};
use super::attention::{Attention, Need};
use super::cache::Cache;
use super::class::{BlockSizes, GRAIN};
use super::lease::{Charge, Held, Home, Lease};
use super::ledger::Ledger;
use super::magazine::PART_OF_LIMIT;
use super::map::MemoryMap;
use super::pressure::{PressureCell, PressureLevel};
use super::record::{Action, Recorder};
use super::reservation::Account;
use super::space::Space;
use super::stats::{ClassStats, MemoryStats};
use super::stream_magazine::{ParkedAt, Reading, StreamMagazine};
use super::{MemoryKind, MemoryLimits, RawMemory};
use crate::device::Device;
use crate::error::{DeviceError, DeviceResult};
use crate::timeline::{Completion, Position, Timeline};

/// How often a growth waits for streams to pass: for a minute, if each time is a millisecond.
const MOST_WAITS: u32 = 60_000;
/// How often it waits for others to give blocks back: for five seconds.
const MOST_WAITS_SHORT: u32 = 5000;

/// The memory of one kind that a device gives, with what of it is not in use.
pub struct Pool {
    device: Device,
    kind: MemoryKind,
    ledger: Arc<Ledger>,
    attention: Arc<Attention>,
    /// Whether memory is kept for the next lease.
    keep: bool,
    /// Whether blocks share pages, so that not all of the memory is promised.
    shares_pages: bool,
    store: Box<dyn Store>,
    magazines: Mutex<Vec<Weak<StreamMagazine>>>,
    /// How many look for memory that is nowhere but in magazines: none is put there meanwhile.
    short: AtomicUsize,
    counters: Counters,
    recorder: OnceLock<Recorder>,
}

#[derive(Default)]
struct Counters {
    /// Leases served from what is there, by the store, or by magazines that are closed.
    hits: AtomicU64,
    /// Leases that the allocator had to serve.
    grown: AtomicU64,
    /// Leases refused although their bytes were committed.
    unkept: AtomicU64,
    /// Bytes of leases that are results of requests.
    results: AtomicU64,
}

/// Bytes of a lease that is a result, which count as such until this is dropped.
pub(super) struct ResultBytes {
    pool: Arc<Pool>,
    bytes: u64,
}

impl ResultBytes {
    pub(super) fn new(pool: &Arc<Pool>, bytes: u64) -> Self {
        pool.counters.results.fetch_add(bytes, Ordering::Relaxed);
        Self { pool: Arc::clone(pool), bytes }
    }
}

impl Drop for ResultBytes {
    fn drop(&mut self) {
        self.pool.counters.results.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Where blocks share pages, parts of pages are lost between them: a tenth of the memory is not promised,
/// which is more than any measured workload has lost (docs/memory.md). Where more is lost, that is not promised
/// either.
const KEPT_BACK: u64 = 10;

fn promise(bytes: u64, shares_pages: bool) -> u64 {
    if shares_pages { bytes - bytes / KEPT_BACK } else { bytes }
}

/// Where blocks come from and go to.
pub(super) trait Store: Send + Sync {
    /// Takes blocks that are there and ready for work of the stream of `home`, up to a number. Of the
    /// present epoch, as it is now or was while this ran.
    fn take(
        &self,
        bytes: usize,
        home: Option<&Arc<Timeline>>,
        most: usize,
        to: &mut dyn FnMut(RawMemory),
    );
    /// Takes blocks back, in use up to `last_use`. Those of a lost epoch are forgotten.
    fn put(&self, memory: &mut dyn Iterator<Item = RawMemory>, last_use: Option<StreamUse>);
    /// Gets memory from the device for a block. May be slow.
    fn grow(
        &self,
        bytes: usize,
        home: Option<&Arc<Timeline>>,
        manner: Manner,
    ) -> Result<RawMemory, NoRoom>;
    /// Gets memory ahead of need.
    fn prepare(&self, _at_start: bool) {}
    /// Gives memory that is not in use back to the device, until at most `keep` bytes are left of it.
    fn trim(&self, keep: u64) -> u64;
    /// Forgets the memory of earlier epochs, if there can be any.
    fn forget_lost(&self);
    /// Fills in what it knows; what lies in magazines is in use to it.
    fn describe(&self, stats: &mut MemoryStats);
    /// What lies where, if all lies in one range of addresses. Magazines have what is `parked`, in order.
    fn map(&self, _parked: &[ParkedAt]) -> Option<MemoryMap> {
        None
    }
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

    /// The same, if it can be a use of that memory at all: a stream uses none of another epoch.
    pub(super) fn of_memory(last_use: Option<&Self>, memory: &RawMemory) -> Option<Self> {
        last_use.filter(|last_use| last_use.timeline.epoch() == memory.epoch).cloned()
    }

    pub(super) fn is_of(&self, timeline: &Arc<Timeline>) -> bool {
        Arc::ptr_eq(&self.timeline, timeline)
    }

    pub(super) fn completion(&self) -> Completion {
        Completion::of_passing(Arc::clone(&self.timeline), self.position)
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
        // An arena where the device has virtual memory and memory is kept, else a cache.
        let opened = limits.pooling.then(|| device.backend().address_space(kind, limits.of(kind)));
        let opened = opened.flatten();
        let geometry = opened.as_ref().map(|(geometry, _)| geometry);
        let sizes = geometry.map_or(BlockSizes::classes(GRAIN), BlockSizes::of_arena);
        let shares_pages = geometry.is_some_and(|geometry| geometry.grain < geometry.page);
        let limit = promise(limits.of(kind), shares_pages);
        let ledger = Arc::new(Ledger::new(limit, sizes, pressure, Arc::clone(&attention)));
        let store: Box<dyn Store> = match opened {
            Some(opened) => Box::new(Space::new((&device, kind), opened, limits, &ledger)),
            None => {
                let make_way = limits.defrag || !limits.pooling;
                Box::new(Cache::new(device.clone(), kind, limits.of(kind), make_way))
            }
        };
        Arc::new(Self {
            device,
            kind,
            ledger,
            attention,
            keep: limits.pooling,
            shares_pages,
            store,
            magazines: Mutex::default(),
            short: AtomicUsize::new(0),
            counters: Counters::default(),
            recorder: OnceLock::new(),
        })
    }

    /// How much may be promised of so much memory.
    pub(super) fn promise(&self, bytes: u64) -> u64 {
        promise(bytes, self.shares_pages)
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

    /// Tells `recorder` of each lease and its end from now on.
    pub(super) fn record(&self, recorder: Recorder) -> Result<(), Recorder> {
        self.recorder.set(recorder)
    }

    pub(super) fn tell(&self, action: Action, memory: &RawMemory, home: Option<&Arc<Timeline>>) {
        if let Some(recorder) = self.recorder.get() {
            recorder.tell(action, (memory.address, memory.bytes as u64), home);
        }
    }

    /// A magazine for a stream, if blocks are kept and come after what used them.
    pub(crate) fn magazine(
        self: &Arc<Self>,
        timeline: &Arc<Timeline>,
    ) -> Option<Arc<StreamMagazine>> {
        let most = self.ledger.limit() / PART_OF_LIMIT;
        if !self.keep || most < self.ledger.sizes().grain || self.order(Some(timeline)).is_none() {
            return None;
        }
        let magazine = StreamMagazine::new(self, timeline, most);
        let mut magazines = self.magazines();
        magazines.retain(|magazine| magazine.strong_count() > 0);
        magazines.push(Arc::downgrade(&magazine));
        Some(magazine)
    }

    /// Whether magazines may keep blocks: not while somebody is short of them.
    pub(super) fn fills_magazines(&self) -> bool {
        self.short.load(Ordering::SeqCst) == 0 && self.ledger.pressure() < PressureLevel::Critical
    }

    /// Whether magazines may get more blocks than are wanted.
    pub(super) fn refills_magazines(&self) -> bool {
        self.short.load(Ordering::SeqCst) == 0 && self.ledger.pressure() == PressureLevel::Normal
    }

    /// Takes back what magazines keep; how many bytes that are.
    fn flush_magazines(&self) -> u64 {
        self.open_magazines().iter().map(|magazine| magazine.flush()).sum()
    }

    /// Has bytes back that streams keep counted between leases.
    pub(super) fn settle_magazines(&self) {
        self.open_magazines().iter().for_each(|magazine| magazine.settle());
    }

    /// Takes the bytes of a lease from what the request declared, or commits them for the lease alone.
    pub(super) fn charge(&self, bytes: u64, account: Option<&Arc<Account>>) -> DeviceResult {
        match account.filter(|account| account.declared() > 0) {
            Some(account) => account.debit(bytes).map_err(|left| {
                let (kind, declared) = (self.kind, account.declared());
                DeviceError::DeclaredTooLittle { kind, declared, left, asked: bytes }
            }),
            None if self.ledger.commit(bytes) => {
                // What was not declared is counted, so that it can be learned.
                account.inspect(|account| account.count(bytes));
                Ok(())
            }
            None => Err(self.out_of_memory(bytes)),
        }
    }

    pub(super) fn note_hits(&self, hits: u64) {
        self.counters.hits.fetch_add(hits, Ordering::Relaxed);
    }

    /// Serves a lease from what is there.
    pub(super) fn take(&self, bytes: usize, stream: Option<&Arc<Timeline>>) -> Option<RawMemory> {
        let mut taken = None;
        self.store.take(bytes, self.order(stream), 1, &mut |memory| taken = Some(memory));
        self.note_hits(u64::from(taken.is_some()));
        taken
    }

    /// Blocks for a magazine, which counts its leases itself.
    pub(super) fn take_several(
        &self,
        bytes: usize,
        stream: &Arc<Timeline>,
        most: usize,
    ) -> Vec<RawMemory> {
        let mut taken = Vec::with_capacity(most);
        self.store.take(bytes, self.order(Some(stream)), most, &mut |memory| taken.push(memory));
        taken
    }

    /// A block that is not there, from the device or from whoever keeps one and does not use it.
    fn grow(
        &self,
        bytes: usize,
        stream: Option<&Arc<Timeline>>,
        wait: bool,
    ) -> Result<RawMemory, NoRoom> {
        self.forget_lost();
        let home = self.order(stream);
        let refused = match self.store.grow(bytes, home, Manner { wait, remap: false }) {
            Ok(memory) => return Ok(memory),
            Err(refused) => refused,
        };
        self.short.fetch_add(1, Ordering::SeqCst);
        let flushed = self.flush_magazines();
        // The device has none, and does not have more by being asked again.
        let in_vain = matches!(refused, NoRoom::Device(_)) && flushed == 0;
        let grown = match in_vain {
            true => Err(refused),
            false => self.store.grow(bytes, home, Manner { wait, remap: true }),
        };
        self.short.fetch_sub(1, Ordering::SeqCst);
        grown
    }

    /// Takes a block back, with the position up to which `stream` may still use it.
    pub(crate) fn put(&self, memory: RawMemory, stream: Option<&Arc<Timeline>>) {
        self.store.put(&mut std::iter::once(memory), stream.map(StreamUse::until_now));
        if !self.keep {
            self.release_soon();
        }
    }

    /// Takes blocks back that a stream kept.
    pub(super) fn put_several(
        &self,
        memory: &mut dyn Iterator<Item = RawMemory>,
        stream: &Arc<Timeline>,
    ) {
        self.store.put(memory, Some(StreamUse::until_now(stream)));
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
        self.forget_lost();
        self.flush_magazines();
        self.store.trim(keep)
    }

    /// Gets memory ahead of need: what is needed from the start, or as it has shown since. May be slow.
    pub(super) fn prepare(&self, at_start: bool) {
        self.forget_lost();
        if self.ledger.pressure() == PressureLevel::Normal {
            self.store.prepare(at_start);
        }
    }

    /// Forgets the memory of earlier epochs. Streams of them keep none from now on.
    pub fn forget_lost(&self) {
        let epoch = self.device.epoch();
        let magazines = self.open_magazines();
        magazines.iter().filter(|magazine| magazine.epoch() < epoch).for_each(|lost| lost.close());
        self.store.forget_lost();
    }

    /// A snapshot of the pool and its ledger.
    pub fn stats(&self) -> MemoryStats {
        let (ledger, counters) = (&self.ledger, &self.counters);
        let hits = counters.hits.load(Ordering::Relaxed);
        let mut stats = MemoryStats {
            limit: ledger.limit(),
            attainable: ledger.attainable(),
            foreign: ledger.foreign(),
            committed: ledger.committed(),
            leases: hits + counters.grown.load(Ordering::Relaxed),
            hits,
            unkept: counters.unkept.load(Ordering::Relaxed),
            results: counters.results.load(Ordering::Relaxed),
            ..MemoryStats::default()
        };
        self.store.describe(&mut stats);
        self.describe_magazines(&mut stats);
        stats.reserved = stats.committed.saturating_sub(stats.live);
        stats
    }

    /// What lies where in the pool's addresses. None where it has no range of them, but a block of the device's for
    /// each block of its own. It looks at every range, so not for a fast path.
    pub fn map(&self) -> Option<MemoryMap> {
        // Before the store and not under its lock: who has a magazine's lock may wait for the store's.
        let magazines = self.open_magazines();
        let mut parked: Vec<ParkedAt> =
            magazines.iter().flat_map(|magazine| magazine.places()).collect();
        parked.sort_unstable();
        self.store.map(&parked)
    }

    fn describe_magazines(&self, stats: &mut MemoryStats) {
        let mut classes = BTreeMap::<u64, u64>::new();
        for magazine in self.open_magazines() {
            let Reading { blocks, unreserved, hits } = magazine.read();
            stats.parked += blocks.iter().sum::<u64>();
            stats.magazine_hits += hits;
            stats.committed = stats.committed.saturating_sub(unreserved);
            blocks.iter().for_each(|bytes| *classes.entry(*bytes).or_default() += 1);
        }
        stats.live = stats.live.saturating_sub(stats.parked);
        stats.cached += stats.parked;
        stats.leases += stats.magazine_hits;
        stats.hits += stats.magazine_hits;
        let class = |(block_bytes, cached)| ClassStats { block_bytes, cached };
        stats.magazines = classes.into_iter().map(class).collect();
    }

    fn open_magazines(&self) -> Vec<Arc<StreamMagazine>> {
        self.magazines().iter().filter_map(Weak::upgrade).collect()
    }

    fn magazines(&self) -> MutexGuard<'_, Vec<Weak<StreamMagazine>>> {
        self.magazines.lock().unwrap_or_else(PoisonError::into_inner)
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
    pub(super) bytes: usize,
    pub(super) home: Option<Home>,
    pub(super) charge: Charge,
    /// How often it has waited for others.
    pub(super) waits: u32,
}

/// How far a [`Growth`] got.
#[derive(Debug)]
#[must_use]
pub enum Grown {
    /// The lease.
    Ready(Lease),
    /// There will be room, or better room, once this is complete. Then run the growth again; or before, if
    /// that takes long: it does not wait again while the limit allows otherwise.
    Wait(Growth, Completion),
    /// The bytes are there, but only where they cannot be had before others' blocks come back: between these, or
    /// in pages that may not move. Run the growth again after a while, or [give it up](Growth::give_up).
    Short(Growth),
}

impl Growth {
    /// Gets the block from the device. May be slow; not for a kernel's thread.
    ///
    /// # Errors
    /// If the device has no such block, although the limit allows it, or is lost.
    pub fn run(mut self) -> DeviceResult<Grown> {
        let pool = Arc::clone(self.charge.pool());
        let timeline = self.home.as_ref().map(|home| &home.timeline);
        if let Some(timeline) = timeline {
            // The stream could do nothing with it any more.
            pool.device.check(timeline.epoch())?;
        }
        // Somebody may have put one back meanwhile.
        if let Some(memory) = pool.take(self.bytes, timeline) {
            return Ok(Grown::Ready(self.finish(memory)));
        }
        match pool.grow(self.bytes, timeline, self.waits == 0) {
            Ok(memory) => {
                pool.attention.raise(Need::Ahead);
                pool.counters.grown.fetch_add(1, Ordering::Relaxed);
                Ok(Grown::Ready(self.finish(memory)))
            }
            Err(NoRoom::Busy(completion)) if self.waits < MOST_WAITS => {
                self.waits += 1;
                Ok(Grown::Wait(self, completion))
            }
            Err(NoRoom::Full) if self.waits < MOST_WAITS_SHORT => {
                self.waits += 1;
                Ok(Grown::Short(self))
            }
            Err(NoRoom::Busy(_) | NoRoom::Full) => Err(self.give_up()),
            Err(NoRoom::Device(error)) => Err(error),
        }
    }

    /// Gives its bytes back: the promise of them is not kept, which is counted.
    pub fn give_up(self) -> DeviceError {
        let pool = self.charge.pool();
        pool.counters.unkept.fetch_add(1, Ordering::Relaxed);
        pool.out_of_memory(self.bytes as u64)
    }

    fn finish(self, memory: RawMemory) -> Lease {
        let Self { home, charge, .. } = self;
        Lease::new(Box::new(Held { memory, home, charge }))
    }
}

//! Blocks not in use, by size class.
//!
//! Taking a block from the cache and putting one back are all that happens on a kernel's thread.
//! Getting memory from the device and giving it back ([`Growth`], [`Pool::trim`]) may be slow or
//! wait for the device, and is left to the one allocator of the device.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::attention::{Attention, Need};
use super::class::class_bytes;
use super::lease::{Charge, Lease};
use super::ledger::Ledger;
use super::stats::{ClassStats, MemoryStats};
use super::{MemoryKind, RawMemory};
use crate::device::Device;
use crate::error::{DeviceError, DeviceResult};
use crate::timeline::{Completion, Position, Timeline};

/// The cache of one kind of memory of one device.
pub struct Pool {
    device: Device,
    kind: MemoryKind,
    ledger: Arc<Ledger>,
    attention: Arc<Attention>,
    /// Whether blocks are kept for the next lease.
    keep: bool,
    /// Whether cached blocks of other classes make way for a block that does not fit.
    defrag: bool,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    blocks: BTreeMap<usize, Vec<Parked>>,
    cached: u64,
    mapped: u64,
    leases: u64,
    hits: u64,
    growths: u64,
    releases: u64,
    forgotten: u64,
}

/// A block in the cache. The stream that used it last may still do so up to a position.
struct Parked {
    memory: RawMemory,
    last_use: Option<(Arc<Timeline>, Position)>,
}

impl Parked {
    /// Nothing uses the block any more.
    fn is_idle(&self) -> bool {
        self.last_use.as_ref().is_none_or(|(timeline, position)| timeline.has_reached(*position))
    }

    /// Work of `stream` comes after what may still use the block. Host writes to staging memory are
    /// not ordered by any stream, so there it has to be idle.
    fn serves(&self, kind: MemoryKind, stream: Option<&Arc<Timeline>>) -> bool {
        let same = || match (&self.last_use, stream) {
            (Some((timeline, _)), Some(stream)) => Arc::ptr_eq(timeline, stream),
            _ => false,
        };
        self.is_idle() || (kind == MemoryKind::Device && same())
    }
}

impl Pool {
    pub(crate) fn new(
        device: Device,
        kind: MemoryKind,
        ledger: Arc<Ledger>,
        attention: Arc<Attention>,
        limits: &super::MemoryLimits,
    ) -> Arc<Self> {
        let (keep, defrag) = (limits.pooling, limits.defrag);
        Arc::new(Self { device, kind, ledger, attention, keep, defrag, cache: Mutex::default() })
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
    pub(crate) fn class(&self, bytes: usize) -> DeviceResult<usize> {
        let class = class_bytes(bytes).filter(|class| *class as u64 <= self.ledger.limit());
        class.ok_or_else(|| self.out_of_memory(bytes as u64))
    }

    pub(crate) fn out_of_memory(&self, asked: u64) -> DeviceError {
        let (free, limit) = (self.ledger.free(), self.ledger.limit());
        DeviceError::OutOfMemory { device: self.device.id(), kind: self.kind, asked, free, limit }
    }

    /// Serves a lease from the cache.
    pub(crate) fn take(&self, class: usize, stream: Option<&Arc<Timeline>>) -> Option<RawMemory> {
        let mut cache = self.cache();
        let parked = cache.blocks.get_mut(&class)?;
        let index = parked.iter().rposition(|block| block.serves(self.kind, stream))?;
        let memory = parked.swap_remove(index).memory;
        cache.cached -= class as u64;
        cache.hits += 1;
        cache.leases += 1;
        Some(memory)
    }

    /// Takes a block back. It is parked with the position up to which `stream` may still use it.
    pub(crate) fn put(&self, memory: RawMemory, stream: Option<&Arc<Timeline>>) {
        if memory.epoch != self.device.epoch() {
            return self.forget(memory);
        }
        let last_use = stream.map(|timeline| (Arc::clone(timeline), timeline.issued()));
        let bytes = memory.bytes;
        let mut cache = self.cache();
        cache.blocks.entry(bytes).or_default().push(Parked { memory, last_use });
        cache.cached += bytes as u64;
        drop(cache);
        if !self.keep {
            self.release_soon();
        }
    }

    /// The device that the memory was of is gone, and the memory with it.
    fn forget(&self, memory: RawMemory) {
        let mut cache = self.cache();
        cache.mapped -= memory.bytes as u64;
        cache.forgotten += 1;
    }

    /// Blocks must not be kept: the allocator gives them back, or this thread where there is none.
    fn release_soon(&self) {
        if self.attention.is_attended() {
            self.attention.raise(Need::Release);
        } else {
            self.trim(0);
        }
    }

    /// Gives idle cached blocks back to the device, the largest first, until at most `keep` bytes
    /// are cached. Returns the bytes given back. May wait for the device.
    pub fn trim(&self, keep: u64) -> u64 {
        self.forget_lost();
        let evicted = self.cache().evict(|cache| cache.cached <= keep);
        self.release(evicted)
    }

    fn release(&self, evicted: Vec<RawMemory>) -> u64 {
        let bytes = evicted.iter().map(|memory| memory.bytes as u64).sum();
        for memory in evicted {
            self.device.backend().release(self.kind, memory);
        }
        bytes
    }

    /// Forgets the cached blocks of earlier epochs.
    pub fn forget_lost(&self) {
        let epoch = self.device.epoch();
        let mut cache = self.cache();
        let (mut bytes, mut count) = (0, 0);
        for parked in cache.blocks.values_mut() {
            for block in parked.extract_if(.., |block| block.memory.epoch != epoch) {
                bytes += block.memory.bytes as u64;
                count += 1;
            }
        }
        cache.cached -= bytes;
        cache.mapped -= bytes;
        cache.forgotten += count;
    }

    /// Makes way for a block of `class` bytes and counts it as mapped.
    fn make_way(&self, class: usize) -> Result<Vec<RawMemory>, NoRoom> {
        let limit = self.ledger.limit();
        let mut cache = self.cache();
        let room = |cache: &Cache| cache.mapped + class as u64 <= limit;
        let evicted = if self.defrag || !self.keep { cache.evict(room) } else { Vec::new() };
        if room(&cache) {
            cache.mapped += class as u64;
            return Ok(evicted);
        }
        let busy = cache.first_busy();
        drop(cache);
        self.release(evicted);
        Err(busy.map_or(NoRoom::Full, NoRoom::Busy))
    }

    fn grow(&self, class: usize) -> Result<RawMemory, NoRoom> {
        let evicted = self.make_way(class)?;
        self.release(evicted);
        let backend = self.device.backend();
        let grown = backend.allocate(self.kind, class).or_else(|error| match error {
            // Others use the device too: give it all that is not in use, and ask once more.
            DeviceError::OutOfMemory { .. } if self.trim(0) > 0 => {
                backend.allocate(self.kind, class)
            }
            error => Err(error),
        });
        let mut cache = self.cache();
        match grown {
            Ok(memory) => {
                cache.growths += 1;
                cache.leases += 1;
                Ok(memory)
            }
            Err(error) => {
                cache.mapped -= class as u64;
                Err(NoRoom::Device(error))
            }
        }
    }

    /// A snapshot of the pool and its ledger.
    pub fn stats(&self) -> MemoryStats {
        let ledger = &self.ledger;
        let cache = self.cache();
        let (live, committed) = (ledger.live(), ledger.committed());
        let classes = cache.blocks.iter().filter(|(_, parked)| !parked.is_empty());
        let class = |(bytes, parked): (&usize, &Vec<Parked>)| ClassStats {
            block_bytes: *bytes as u64,
            cached: parked.len() as u64,
        };
        MemoryStats {
            limit: ledger.limit(),
            committed,
            live,
            reserved: committed.saturating_sub(live),
            mapped: cache.mapped,
            cached: cache.cached,
            peak_live: ledger.peak_live(),
            leases: cache.leases,
            hits: cache.hits,
            growths: cache.growths,
            releases: cache.releases,
            forgotten: cache.forgotten,
            classes: classes.map(class).collect(),
        }
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache {
    /// Takes idle blocks out, the largest first, until `enough`.
    fn evict(&mut self, enough: impl Fn(&Self) -> bool) -> Vec<RawMemory> {
        let mut evicted = Vec::new();
        let classes: Vec<usize> = self.blocks.keys().rev().copied().collect();
        for class in classes {
            while !enough(self) {
                let Some(memory) = self.take_idle(class) else { break };
                self.cached -= class as u64;
                self.mapped -= class as u64;
                self.releases += 1;
                evicted.push(memory);
            }
        }
        evicted
    }

    fn take_idle(&mut self, class: usize) -> Option<RawMemory> {
        let parked = self.blocks.get_mut(&class)?;
        let index = parked.iter().position(Parked::is_idle)?;
        Some(parked.swap_remove(index).memory)
    }

    fn first_busy(&self) -> Option<Completion> {
        let mut blocks = self.blocks.values().flatten();
        let (timeline, position) = blocks.find(|block| !block.is_idle())?.last_use.as_ref()?;
        Some(Completion::new(Arc::clone(timeline), *position))
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

enum NoRoom {
    /// Cached blocks would make way, but a stream still uses them.
    Busy(Completion),
    Full,
    Device(DeviceError),
}

/// A lease whose bytes are committed and for which the pool has no block: the allocator's work.
#[derive(Debug)]
#[must_use = "a growth that is dropped gives its bytes back"]
pub struct Growth {
    pub(crate) pool: Arc<Pool>,
    pub(crate) class: usize,
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
        if let Some(memory) = self.pool.take(self.class, self.home.as_ref()) {
            return Ok(Grown::Ready(self.finish(memory)));
        }
        match self.pool.grow(self.class) {
            Ok(memory) => Ok(Grown::Ready(self.finish(memory))),
            Err(NoRoom::Busy(completion)) => Ok(Grown::Wait(self, completion)),
            Err(NoRoom::Full) => Err(self.pool.out_of_memory(self.class as u64)),
            Err(NoRoom::Device(error)) => Err(error),
        }
    }

    fn finish(self, memory: RawMemory) -> Lease {
        Lease::new(memory, self.pool, self.charge, self.home)
    }
}

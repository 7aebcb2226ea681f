//! Blocks that are not split: kept by size class for the next lease.
//!
//! For memory that the device gives in pieces: pinned host memory, CUDA memory where the driver has no
//! virtual memory, and all memory where pooling is off.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::arena::{LastUse, Manner};
use super::pool::{NoRoom, Store, StreamUse};
use super::stats::{ClassStats, MemoryStats};
use super::{MemoryKind, RawMemory};
use crate::device::{Device, Epoch};
use crate::error::{DeviceError, DeviceResult};
use crate::timeline::{Completion, Timeline};

/// A cache of blocks.
pub(super) struct Cache {
    device: Device,
    kind: MemoryKind,
    limit: u64,
    /// Whether blocks in the cache make way for one that does not fit beside them.
    make_way: bool,
    blocks: Mutex<Blocks>,
}

#[derive(Default)]
struct Blocks {
    by_class: BTreeMap<usize, Vec<Parked>>,
    cached: u64,
    mapped: u64,
    peak_live: u64,
    growths: u64,
    releases: u64,
    forgotten: u64,
}

/// A block in the cache. The stream that used it last may still do so up to a position.
struct Parked {
    memory: RawMemory,
    last_use: Option<StreamUse>,
}

impl Parked {
    /// Nothing uses the block any more.
    fn is_idle(&self) -> bool {
        self.last_use.as_ref().is_none_or(LastUse::is_over)
    }

    /// The block is of that epoch, and work of `home` comes after what may still use it.
    fn serves(&self, epoch: Epoch, home: Option<&Arc<Timeline>>) -> bool {
        if self.memory.epoch != epoch {
            return false;
        }
        let last_use = self.last_use.as_ref();
        self.is_idle() || last_use.zip(home).is_some_and(|(last_use, home)| last_use.is_of(home))
    }
}

impl Cache {
    pub(super) fn new(device: Device, kind: MemoryKind, limit: u64, make_way: bool) -> Self {
        Self { device, kind, limit, make_way, blocks: Mutex::default() }
    }

    fn release(&self, evicted: Vec<RawMemory>) -> u64 {
        let bytes = evicted.iter().map(|memory| memory.bytes as u64).sum();
        for memory in evicted {
            self.device.backend().release(self.kind, memory);
        }
        bytes
    }

    /// Makes way for a block of `class` bytes and counts it as mapped.
    fn make_way(&self, class: usize) -> Result<Vec<RawMemory>, NoRoom> {
        let mut blocks = self.blocks();
        let room = |blocks: &Blocks| blocks.mapped + class as u64 <= self.limit;
        let evicted = if self.make_way { blocks.evict(room) } else { Vec::new() };
        if room(&blocks) {
            blocks.mapped += class as u64;
            return Ok(evicted);
        }
        let busy = blocks.first_busy();
        drop(blocks);
        self.release(evicted);
        Err(busy.map_or(NoRoom::Full, NoRoom::Busy))
    }

    fn allocate(&self, class: usize) -> DeviceResult<RawMemory> {
        let backend = self.device.backend();
        backend.allocate(self.kind, class).or_else(|error| match error {
            // Others use the device too: give it all that is not in use, and ask once more.
            DeviceError::OutOfMemory { .. } if self.trim(0) > 0 => {
                backend.allocate(self.kind, class)
            }
            error => Err(error),
        })
    }

    fn blocks(&self) -> MutexGuard<'_, Blocks> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for Cache {
    fn take(
        &self,
        class: usize,
        home: Option<&Arc<Timeline>>,
        most: usize,
        to: &mut dyn FnMut(RawMemory),
    ) {
        let epoch = self.device.epoch();
        let mut blocks = self.blocks();
        for _ in 0..most {
            let Some(parked) = blocks.by_class.get_mut(&class) else { return };
            let serves = |block: &Parked| block.serves(epoch, home);
            let Some(index) = parked.iter().rposition(serves) else { return };
            to(parked.swap_remove(index).memory);
            blocks.cached -= class as u64;
            blocks.note_peak();
        }
    }

    fn put(&self, memory: &mut dyn Iterator<Item = RawMemory>, last_use: Option<StreamUse>) {
        let epoch = self.device.epoch();
        let mut blocks = self.blocks();
        for memory in memory {
            let bytes = memory.bytes;
            if memory.epoch != epoch {
                blocks.mapped -= bytes as u64;
                blocks.forgotten += 1;
                continue;
            }
            let last_use = StreamUse::of_memory(last_use.as_ref(), &memory);
            let parked = Parked { memory, last_use };
            blocks.by_class.entry(bytes).or_default().push(parked);
            blocks.cached += bytes as u64;
        }
    }

    fn grow(
        &self,
        class: usize,
        _: Option<&Arc<Timeline>>,
        _: Manner,
    ) -> Result<RawMemory, NoRoom> {
        let evicted = self.make_way(class)?;
        self.release(evicted);
        let grown = self.allocate(class);
        let mut blocks = self.blocks();
        match grown {
            Ok(memory) => {
                blocks.growths += 1;
                blocks.note_peak();
                Ok(memory)
            }
            Err(error) => {
                blocks.mapped -= class as u64;
                Err(NoRoom::Device(error))
            }
        }
    }

    fn trim(&self, keep: u64) -> u64 {
        let evicted = self.blocks().evict(|blocks| blocks.cached <= keep);
        self.release(evicted)
    }

    fn forget_lost(&self) {
        let epoch = self.device.epoch();
        let mut blocks = self.blocks();
        let (mut bytes, mut count) = (0, 0);
        for parked in blocks.by_class.values_mut() {
            for block in parked.extract_if(.., |block| block.memory.epoch != epoch) {
                bytes += block.memory.bytes as u64;
                count += 1;
            }
        }
        blocks.cached -= bytes;
        blocks.mapped -= bytes;
        blocks.forgotten += count;
    }

    fn describe(&self, stats: &mut MemoryStats) {
        let blocks = self.blocks();
        stats.live = blocks.mapped - blocks.cached;
        stats.peak_live = blocks.peak_live;
        stats.mapped = blocks.mapped;
        stats.cached = blocks.cached;
        stats.growths = blocks.growths;
        stats.releases = blocks.releases;
        stats.forgotten = blocks.forgotten;
        let busy = blocks.by_class.values().flatten().filter(|block| !block.is_idle());
        stats.quarantined = busy.map(|block| block.memory.bytes as u64).sum();
        let classes = blocks.by_class.iter().filter(|(_, parked)| !parked.is_empty());
        let class = |(bytes, parked): (&usize, &Vec<Parked>)| ClassStats {
            block_bytes: *bytes as u64,
            cached: parked.len() as u64,
        };
        stats.classes = classes.map(class).collect();
    }
}

impl Blocks {
    fn note_peak(&mut self) {
        self.peak_live = self.peak_live.max(self.mapped - self.cached);
    }

    /// Takes idle blocks out, the largest first, until `enough`.
    fn evict(&mut self, enough: impl Fn(&Self) -> bool) -> Vec<RawMemory> {
        let mut evicted = Vec::new();
        let classes: Vec<usize> = self.by_class.keys().rev().copied().collect();
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
        let parked = self.by_class.get_mut(&class)?;
        let index = parked.iter().position(Parked::is_idle)?;
        Some(parked.swap_remove(index).memory)
    }

    fn first_busy(&self) -> Option<Completion> {
        let mut blocks = self.by_class.values().flatten();
        let busy = blocks.find(|block| !block.is_idle())?;
        busy.last_use.as_ref().map(StreamUse::completion)
    }
}

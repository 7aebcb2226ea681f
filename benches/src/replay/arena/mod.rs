//! The runtime's own: its arena, with a magazine for each stream in front of it.
//!
//! Everything is as the runtime does it (`gpu/src/memory/{pool,space,stream_magazine}.rs`): how large
//! blocks and magazines are, how many blocks come at a miss, when magazines are emptied, what is
//! mapped ahead of need. Two things are not here. Requests declare nothing, so that nothing but the
//! limit keeps one from coming in; and no supervisor makes pressure, so that magazines stay open.
//!
//! Traces with units of their own (their pages are smaller than those of a device) have blocks of exact
//! sizes and no magazines: their bytes are too few for either to mean anything.

mod clock;
mod shared;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustkernel_gpu::memory::arena::{Block, Geometry};
use rustkernel_gpu::memory::magazine::{Magazine, PART_OF_LIMIT};
use rustkernel_gpu::memory::{BlockSizes, GRAIN};

use super::error::ReplayError;
use super::policy::{Counters, Policy, Setup, Worker};
use crate::trace::{PAGE, Step};
use shared::Shared;

/// What stands for no limit.
const UNLIMITED: u64 = 1 << 40;

/// The policy, and one thread's hold of it. With several threads each has the magazines of its own
/// streams, and can empty no others; but threads are told of no limit.
#[derive(Debug)]
pub struct Arena {
    shared: Arc<Mutex<Shared>>,
    streams: Streams,
    live: Vec<Option<Lease>>,
    sizes: BlockSizes,
    hits: u64,
}

/// A block, and the stream that it was taken for.
#[derive(Debug)]
struct Lease {
    block: Block,
    stream: u32,
}

/// What streams keep at hand.
#[derive(Debug)]
struct Streams(Vec<OneStream>);

#[derive(Debug)]
struct OneStream {
    magazine: Magazine<Block>,
    /// When it was last given something to do, in microseconds.
    last: f64,
}

impl Streams {
    /// Gives back everything that is at hand.
    fn flush(&mut self, shared: &mut Shared) {
        for (number, stream) in self.0.iter_mut().enumerate() {
            let last_use = shared.use_until(number as u32, stream.last);
            let blocks = stream.magazine.empty();
            blocks.into_iter().for_each(|block| shared.put(block, last_use.clone()));
        }
    }
}

impl Arena {
    fn over(shared: &Arc<Mutex<Shared>>, setup: &Setup) -> Self {
        let sizes = sizes(setup);
        let [limit, _] = limits(setup);
        let most = if sizes.classes_to > 0 { limit / PART_OF_LIMIT } else { 0 };
        let stream = |_| OneStream { magazine: Magazine::new(sizes, most), last: 0.0 };
        let streams = Streams((0..setup.streams).map(stream).collect());
        let live = (0..setup.ids).map(|_| None).collect();
        Self { shared: Arc::clone(shared), streams, live, sizes, hits: 0 }
    }

    /// A block from the arena, and some more for the next misses; or what a message gets.
    fn miss(&mut self, bytes: u64, step: &Step) -> Option<Block> {
        let mut shared = lock(&self.shared);
        shared.advance(step.t_us);
        let home = shared.use_until(step.stream, step.t_us);
        let magazine = &mut self.streams.0[step.stream as usize].magazine;
        let refill = magazine.refill(bytes);
        let Some(block) = shared.take(bytes, &home) else {
            return shared.message(bytes, &home, |shared| self.streams.flush(shared));
        };
        for _ in 0..refill {
            let Some(block) = shared.take(bytes, &home) else { break };
            let place = magazine.place(bytes);
            place.expect("invariant: there was room for as many").put(block);
        }
        Some(block)
    }

    /// Gives a block back to the arena, and half of what its stream has at hand of the size if that is
    /// full.
    fn give_back(&mut self, block: Block, full: bool, step: &Step) {
        let mut shared = lock(&self.shared);
        shared.advance(step.t_us);
        let last_use = shared.use_until(step.stream, step.t_us);
        if full {
            let half = self.streams.0[step.stream as usize].magazine.half(block.bytes());
            half.into_iter().for_each(|block| shared.put(block, last_use.clone()));
        }
        shared.put(block, last_use);
    }

    /// Where the block of an id lies and how long it is, in bytes; none if it is not live.
    pub fn place(&self, id: usize) -> Option<(u64, u64)> {
        self.live[id].as_ref().map(|lease| (lease.block.start(), lease.block.bytes()))
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn sizes(setup: &Setup) -> BlockSizes {
    let grain = GRAIN.min(setup.page);
    if setup.page < PAGE {
        return BlockSizes { grain, classes_to: 0, step: grain };
    }
    BlockSizes::of_arena(&Geometry { page: setup.page, grain, span: setup.page })
}

/// The soft limit and the hard one, in bytes.
fn limits(setup: &Setup) -> [u64; 2] {
    let most = setup.capacity.unwrap_or(UNLIMITED);
    [setup.soft.unwrap_or(most).min(most), most]
}

impl Worker for Arena {
    fn allocate(&mut self, step: &Step) -> bool {
        let bytes = usize::try_from(step.bytes).ok();
        let Some(bytes) = bytes.and_then(|bytes| self.sizes.block_bytes(bytes)) else {
            return false;
        };
        let stream = &mut self.streams.0[step.stream as usize];
        stream.last = step.t_us;
        let at_hand = stream.magazine.take(bytes as u64);
        self.hits += u64::from(at_hand.is_some());
        let block = at_hand.or_else(|| self.miss(bytes as u64, step));
        self.live[step.id as usize] = block.map(|block| Lease { block, stream: step.stream });
        self.live[step.id as usize].is_some()
    }

    fn free(&mut self, step: &Step) {
        let Some(lease) = self.live[step.id as usize].take() else { return };
        let stream = &mut self.streams.0[step.stream as usize];
        stream.last = step.t_us;
        // What another stream used last goes back to all.
        let keeps = lease.stream == step.stream && stream.magazine.keeps(lease.block.bytes());
        match stream.magazine.place(lease.block.bytes()).filter(|_| keeps) {
            Some(place) => place.put(lease.block),
            None => self.give_back(lease.block, keeps, step),
        }
    }
}

impl Policy for Arena {
    type Worker = Self;

    fn new(setup: &Setup) -> Result<Self, ReplayError> {
        Ok(Self::workers(setup, 1)?.remove(0))
    }

    fn workers(setup: &Setup, threads: usize) -> Result<Vec<Self>, ReplayError> {
        let shared = Shared::new(setup.page, sizes(setup).grain, limits(setup));
        let shared = Arc::new(Mutex::new(shared));
        Ok((0..threads).map(|_| Self::over(&shared, setup)).collect())
    }

    fn mapped(&self) -> u64 {
        lock(&self.shared).mapped()
    }

    fn counters(&self) -> Counters {
        Counters { hits: self.hits, ..lock(&self.shared).counters }
    }
}

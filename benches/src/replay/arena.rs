//! The runtime's own arena, without the magazines that are to come in front of it.
//!
//! A range whose last use is not over is waited for where the arena says so: the clock of the replay
//! then goes on to the end of that use.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustkernel_gpu::memory::arena::{
    Arena as Books, Block, Geometry, LastUse, Manner, NoRoom, Provision,
};

use super::error::ReplayError;
use super::locked::Locked;
use super::order::DELAY_US;
use super::policy::{Counters, Policy, Setup, Worker};
use crate::trace::Step;

/// Blocks begin at multiples of this.
const GRAIN: u64 = 512;
/// Addresses for each byte of the limit, as the runtime has them; and what stands for no limit.
const SPARSENESS: u64 = 64;
const UNLIMITED: u64 = 1 << 40;

/// As the runtime's allocator does it.
const MANNER: Manner = Manner { wait: true, remap: true };

/// The time of the replay, in microseconds, as bits.
#[derive(Debug, Clone, Default)]
struct Clock(Arc<AtomicU64>);

impl Clock {
    fn now(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }

    /// Times are not negative, and so are ordered as their bits are.
    fn advance(&self, to: f64) {
        self.0.fetch_max(to.to_bits(), Ordering::Relaxed);
    }
}

/// Work of a stream, until when.
#[derive(Debug, Clone)]
struct Use {
    stream: u32,
    over: f64,
    clock: Clock,
}

impl LastUse for Use {
    fn is_over(&self) -> bool {
        self.clock.now() >= self.over
    }

    fn is_same_stream(&self, other: &Self) -> bool {
        self.stream == other.stream
    }

    fn later(self, other: Self) -> Self {
        if self.over < other.over { other } else { self }
    }
}

/// The policy.
#[derive(Debug)]
pub struct Arena {
    books: Books<Use>,
    clock: Clock,
    live: Vec<Option<Block>>,
    soft: u64,
    capacity: u64,
    counters: Counters,
}

impl Arena {
    fn last_use(&self, step: &Step) -> Use {
        Use { stream: step.stream, over: step.t_us + DELAY_US, clock: self.clock.clone() }
    }

    fn provide(&mut self, bytes: u64, limit: u64, home: &Use) -> Option<Provision> {
        loop {
            match self.books.provide(bytes, limit, MANNER, Some(home)) {
                Ok(provision) => return Some(provision),
                Err(NoRoom::Busy(user)) => {
                    self.counters.stream_waits += 1;
                    self.clock.advance(user.over);
                }
                Err(NoRoom::Full) => return None,
            }
        }
    }

    fn grow(&mut self, bytes: u64, home: &Use) -> Option<Block> {
        self.counters.messages += 1;
        let provision = self.provide(bytes, self.soft.min(self.capacity), home);
        let provision = provision.or_else(|| self.provide(bytes, self.capacity, home))?;
        let Provision { block, unmap, map, rest } = provision;
        if let Some(rest) = rest {
            self.books.free(rest, None).expect("invariant: nobody else has it");
        }
        let page = self.books.geometry().page;
        self.counters.driver_calls += unmap.len() as u64 + u64::from(map.is_some());
        self.counters.remaps += unmap.iter().map(|pages| pages.bytes / page).sum::<u64>();
        Some(block)
    }

    /// Where the block of an id lies and how long it is, in bytes; none if it is not live.
    pub fn place(&self, id: usize) -> Option<(u64, u64)> {
        self.live[id].as_ref().map(|block| (block.start(), block.bytes()))
    }
}

impl Worker for Arena {
    fn allocate(&mut self, step: &Step) -> bool {
        self.clock.advance(step.t_us);
        let home = self.last_use(step);
        let block = self.books.allocate(step.bytes, Some(&home));
        let block = block.or_else(|| self.grow(step.bytes, &home));
        self.live[step.id as usize] = block;
        self.live[step.id as usize].is_some()
    }

    fn free(&mut self, step: &Step) {
        self.clock.advance(step.t_us);
        let Some(block) = self.live[step.id as usize].take() else { return };
        let last_use = self.last_use(step);
        self.books.free(block, Some(last_use)).expect("invariant: it was live");
    }
}

impl Policy for Arena {
    type Worker = Locked<Self>;

    fn new(setup: &Setup) -> Result<Self, ReplayError> {
        let Setup { ids, page, soft, capacity, .. } = *setup;
        let most = capacity.unwrap_or(UNLIMITED);
        let span = (most * SPARSENESS).next_multiple_of(page);
        Ok(Self {
            books: Books::new(Geometry { page, grain: GRAIN.min(page), span }),
            clock: Clock::default(),
            live: (0..ids).map(|_| None).collect(),
            soft: soft.unwrap_or(u64::MAX),
            capacity: most,
            counters: Counters::default(),
        })
    }

    fn workers(setup: &Setup, threads: usize) -> Result<Vec<Locked<Self>>, ReplayError> {
        Locked::several(setup, threads)
    }

    fn mapped(&self) -> u64 {
        self.books.mapped()
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}

//! One range of memory, best fit, neighbours merged: the textbook's policy.
//!
//! It never gives memory back and never moves any. Among free ranges it takes the smallest that
//! fits, of these the lowest, whoever used it last; where that was another stream just now, the
//! stream waits. A range that was merged counts as used throughout when its parts were last.

use std::collections::{BTreeMap, BTreeSet};

use super::error::ReplayError;
use super::locked::Locked;
use super::order::LastUse;
use super::policy::{Counters, Policy, Setup, Worker};
use crate::trace::Step;

/// Blocks begin at multiples of this, as those of CUDA do.
const GRANULE: u64 = 256;

/// As good as endless, and far from overflow.
const ENDLESS: u64 = 1 << 60;

#[derive(Debug, Clone, Copy)]
struct Free {
    bytes: u64,
    /// None: never used.
    last_use: Option<LastUse>,
}

/// The policy.
#[derive(Debug)]
pub struct BestFit {
    free: BTreeMap<u64, Free>,
    by_size: BTreeSet<(u64, u64)>,
    /// Offset and bytes of each id that is live.
    live: Vec<Option<(u64, u64)>>,
    granule: u64,
    page: u64,
    mapped: u64,
    counters: Counters,
}

impl BestFit {
    fn put(&mut self, offset: u64, free: Free) {
        self.free.insert(offset, free);
        self.by_size.insert((free.bytes, offset));
    }

    fn take(&mut self, offset: u64) -> Option<Free> {
        let free = self.free.remove(&offset)?;
        self.by_size.remove(&(free.bytes, offset));
        Some(free)
    }

    /// Pages count as mapped from their first use on.
    fn map(&mut self, end: u64) {
        if end > self.mapped {
            self.mapped = end.next_multiple_of(self.page);
            self.counters.driver_calls += 1;
        }
    }

    /// The free range that ends where this begins.
    fn before(&self, offset: u64) -> Option<u64> {
        let (start, free) = self.free.range(..offset).next_back()?;
        (start + free.bytes == offset).then_some(*start)
    }

    /// Where the block of an id lies and how long it is, in bytes; none if it is not live.
    pub fn place(&self, id: usize) -> Option<(u64, u64)> {
        self.live[id]
    }
}

fn joined(first: Free, second: Free) -> Free {
    let last_use = match (first.last_use, second.last_use) {
        (Some(one), Some(other)) => Some(one.merged(other)),
        (one, other) => one.or(other),
    };
    Free { bytes: first.bytes + second.bytes, last_use }
}

impl Worker for BestFit {
    fn allocate(&mut self, step: &Step) -> bool {
        let bytes = step.bytes.max(1).next_multiple_of(self.granule);
        let Some(&(_, offset)) = self.by_size.range((bytes, 0)..).next() else { return false };
        let Some(free) = self.take(offset) else { return false };
        if free.last_use.is_some_and(|last| last.delays(step)) {
            self.counters.stream_waits += 1;
        }
        if free.bytes > bytes {
            self.put(offset + bytes, Free { bytes: free.bytes - bytes, ..free });
        }
        self.map(offset + bytes);
        self.live[step.id as usize] = Some((offset, bytes));
        true
    }

    fn free(&mut self, step: &Step) {
        let Some((mut offset, bytes)) = self.live[step.id as usize].take() else { return };
        let mut free = Free { bytes, last_use: Some(LastUse::new(step)) };
        if let Some(next) = self.take(offset + bytes) {
            free = joined(free, next);
        }
        if let Some(start) = self.before(offset) {
            let before = self.take(start).expect("invariant: it was found there");
            (offset, free) = (start, joined(before, free));
        }
        self.put(offset, free);
    }
}

impl Policy for BestFit {
    type Worker = Locked<Self>;

    fn new(setup: &Setup) -> Result<Self, ReplayError> {
        let mut new = Self {
            free: BTreeMap::new(),
            by_size: BTreeSet::new(),
            live: vec![None; setup.ids],
            granule: GRANULE.min(setup.page),
            page: setup.page,
            mapped: 0,
            counters: Counters::default(),
        };
        new.put(0, Free { bytes: setup.capacity.unwrap_or(ENDLESS), last_use: None });
        Ok(new)
    }

    fn workers(setup: &Setup, threads: usize) -> Result<Vec<Locked<Self>>, ReplayError> {
        Locked::several(setup, threads)
    }

    fn mapped(&self) -> u64 {
        self.mapped
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}

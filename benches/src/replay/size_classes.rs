//! Powers of two, each block got from the driver and cached by class and stream: what the simplest
//! pools do.
//!
//! A free block serves its own stream at once and another when the work is over. Where there is no
//! room for one more, a stream waits for another's block; where there is none of the class either,
//! cached blocks are given back, the largest first.

use std::collections::VecDeque;

use super::error::ReplayError;
use super::locked::Locked;
use super::order::LastUse;
use super::policy::{Counters, Policy, Setup, Worker};
use crate::trace::Step;

const SMALLEST: u64 = 512;
const CLASSES: usize = 64;

#[derive(Debug, Clone, Copy)]
struct Block {
    /// Its address: each mapped block gets a new one.
    address: u64,
    bytes: u64,
}

#[derive(Debug, Clone, Copy)]
struct Cached {
    block: Block,
    last_use: LastUse,
}

/// The policy.
#[derive(Debug)]
pub struct SizeClasses {
    /// By class and stream, the longest free first.
    cache: Vec<VecDeque<Cached>>,
    streams: usize,
    live: Vec<Option<Block>>,
    soft: u64,
    capacity: u64,
    mapped: u64,
    next_address: u64,
    counters: Counters,
}

impl SizeClasses {
    fn lists(&mut self, bytes: u64) -> &mut [VecDeque<Cached>] {
        let class = bytes.trailing_zeros() as usize;
        &mut self.cache[class * self.streams..][..self.streams]
    }

    /// A cached block that can be used without waiting.
    fn ready(&mut self, bytes: u64, step: &Step) -> Option<Block> {
        let lists = self.lists(bytes);
        if let Some(own) = lists[step.stream as usize].pop_back() {
            return Some(own.block);
        }
        let over =
            |list: &VecDeque<Cached>| list.front().is_some_and(|it| !it.last_use.delays(step));
        let list = lists.iter_mut().find(|list| over(list))?;
        list.pop_front().map(|cached| cached.block)
    }

    /// A cached block of another stream, which is waited for.
    fn waited_for(&mut self, bytes: u64) -> Option<Block> {
        let cached = self.lists(bytes).iter_mut().find_map(VecDeque::pop_front)?;
        self.counters.stream_waits += 1;
        Some(cached.block)
    }

    /// A new block, if mapped bytes stay within `most`.
    fn map(&mut self, bytes: u64, most: u64) -> Option<Block> {
        self.mapped = Some(self.mapped + bytes).filter(|mapped| *mapped <= most)?;
        self.counters.driver_calls += 1;
        let address = self.next_address;
        self.next_address += bytes;
        Some(Block { address, bytes })
    }

    /// Gives cached blocks back until one more has room within `most`, or none is left.
    fn trim(&mut self, bytes: u64, most: u64) {
        for list in self.cache.iter_mut().rev() {
            while self.mapped + bytes > most
                && let Some(cached) = list.pop_front()
            {
                self.mapped -= cached.block.bytes;
                self.counters.driver_calls += 1;
            }
        }
    }

    fn find(&mut self, step: &Step) -> Option<Block> {
        let bytes = step.bytes.max(SMALLEST).next_power_of_two();
        let soft = self.soft;
        self.ready(bytes, step)
            .or_else(|| self.map(bytes, soft))
            .or_else(|| self.waited_for(bytes))
            .or_else(|| {
                self.trim(bytes, soft);
                self.map(bytes, self.capacity)
            })
    }

    /// Where the block of an id lies and how long it is, in bytes; none if it is not live.
    pub fn place(&self, id: usize) -> Option<(u64, u64)> {
        self.live[id].map(|block| (block.address, block.bytes))
    }
}

impl Worker for SizeClasses {
    fn allocate(&mut self, step: &Step) -> bool {
        let block = self.find(step);
        self.live[step.id as usize] = block;
        block.is_some()
    }

    fn free(&mut self, step: &Step) {
        let Some(block) = self.live[step.id as usize].take() else { return };
        let cached = Cached { block, last_use: LastUse::new(step) };
        self.lists(block.bytes)[step.stream as usize].push_back(cached);
    }
}

impl Policy for SizeClasses {
    type Worker = Locked<Self>;

    fn new(setup: &Setup) -> Result<Self, ReplayError> {
        let capacity = setup.capacity.unwrap_or(u64::MAX);
        Ok(Self {
            cache: vec![VecDeque::new(); CLASSES * setup.streams],
            streams: setup.streams,
            live: vec![None; setup.ids],
            soft: setup.soft.unwrap_or(capacity).min(capacity),
            capacity,
            mapped: 0,
            next_address: 0,
            counters: Counters::default(),
        })
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

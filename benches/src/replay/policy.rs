//! What is replayed to.

use super::error::ReplayError;
use super::options::Backend;
use crate::trace::{Step, Trace};

/// What a policy is made for.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// How many blocks there will be: ids are below.
    pub ids: usize,
    /// How many streams: their numbers are below.
    pub streams: usize,
    /// Bytes of a page of device memory.
    pub page: u64,
    /// Mapped bytes stay below this wherever other ways are left: waiting for another stream,
    /// trimming, remapping. It may be passed where none is.
    pub soft: Option<u64>,
    /// Mapped bytes never pass this: where no way is left, an allocation fails.
    pub capacity: Option<u64>,
    /// Where the memory is.
    pub backend: Backend,
}

impl Setup {
    /// For a trace, without limits.
    pub fn new(trace: &Trace, backend: Backend) -> Self {
        let Trace { ids, streams, page, .. } = *trace;
        Self { ids, streams, page, soft: None, capacity: None, backend }
    }
}

/// What a policy did so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Calls to the driver that get, map, unmap or give back memory.
    pub driver_calls: u64,
    /// Pages moved from one address to another.
    pub remaps: u64,
    /// Allocations that made a stream wait for another.
    pub stream_waits: u64,
    /// Allocations that needed a message to the allocator.
    pub messages: u64,
    /// Allocations served by what their stream had at hand.
    pub hits: u64,
}

impl Counters {
    /// What was done since an earlier moment.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            driver_calls: self.driver_calls - earlier.driver_calls,
            remaps: self.remaps - earlier.remaps,
            stream_waits: self.stream_waits - earlier.stream_waits,
            messages: self.messages - earlier.messages,
            hits: self.hits - earlier.hits,
        }
    }
}

/// Takes and gives back blocks, on one thread.
///
/// Steps have dense ids, and times that do not go back. On offsets, work that uses a block is over
/// [`DELAY_US`](super::DELAY_US) after the block's free.
pub trait Worker: Send {
    /// Takes a block; false if there is no room for it.
    fn allocate(&mut self, step: &Step) -> bool;

    /// Gives back the block with the id of an earlier [`allocate`](Self::allocate).
    fn free(&mut self, step: &Step);
}

/// A way to place blocks in memory.
pub trait Policy: Worker + Sized {
    /// What one of several threads works with.
    type Worker: Worker;

    /// One with nothing mapped.
    ///
    /// # Errors
    /// If the backend's memory is not to be had.
    fn new(setup: &Setup) -> Result<Self, ReplayError>;

    /// As many workers as threads, over one and the same memory. Of each block, all steps go to one
    /// worker, and of each stream too.
    ///
    /// # Errors
    /// If the backend's memory is not to be had.
    fn workers(setup: &Setup, threads: usize) -> Result<Vec<Self::Worker>, ReplayError>;

    /// Bytes that are mapped now.
    fn mapped(&self) -> u64;

    /// What was done so far.
    fn counters(&self) -> Counters;

    /// Why an allocation failed, if it was not for want of room.
    fn failure(&self) -> Option<ReplayError> {
        None
    }
}

//! A stream's magazine: blocks of one pool that the stream has used, for the stream to use again.
//!
//! Work of the stream comes after all that used them, so there is nothing to wait for. The lock is
//! for those who drop a lease on another thread, and for the allocator, which empties magazines when
//! memory is short: nobody who leases or drops waits for it, who finds it taken goes to the pool.

use std::sync::{Arc, Weak};
use std::thread;

use try_lock::{Locked, TryLock};

use super::RawMemory;
use super::allowance::Allowance;
use super::lease::{Charge, Held, Home, Lease};
use super::magazine::Magazine;
use super::pool::Pool;
use super::reservation::Account;
use crate::device::Epoch;
use crate::timeline::Timeline;

/// The magazine of a stream in front of a pool; in cache lines of its own, for each thread has another.
#[repr(align(64))]
pub(crate) struct StreamMagazine {
    this: Weak<Self>,
    pool: Weak<Pool>,
    timeline: Arc<Timeline>,
    state: TryLock<State>,
}

struct State {
    /// (Each keeps the magazine alive that it is in, until the stream closes it.)
    blocks: Magazine<Box<Held>>,
    allowance: Allowance,
    open: bool,
    hits: u64,
}

/// What a magazine has, in bytes.
pub(super) struct Reading {
    /// The size of each block.
    pub(super) blocks: Vec<u64>,
    /// Committed for no lease and no reservation.
    pub(super) unreserved: u64,
    /// Leases served.
    pub(super) hits: u64,
}

/// Where a block lies: the epoch of its addresses, its address, and its size in bytes.
pub(super) type ParkedAt = (Epoch, u64, u64);

impl StreamMagazine {
    /// For at most so many bytes.
    pub(super) fn new(pool: &Arc<Pool>, timeline: &Arc<Timeline>, most: u64) -> Arc<Self> {
        let blocks = Magazine::new(pool.ledger().sizes(), most);
        let allowance = Allowance::new(pool.ledger());
        let state = TryLock::new(State { blocks, allowance, open: true, hits: 0 });
        let (pool, timeline) = (Arc::downgrade(pool), Arc::clone(timeline));
        Arc::new_cyclic(|this| Self { this: Weak::clone(this), pool, timeline, state })
    }

    pub(crate) fn is_of(&self, pool: &Arc<Pool>) -> bool {
        std::ptr::eq(self.pool.as_ptr(), Arc::as_ptr(pool))
    }

    /// The epoch that the stream is of.
    pub(super) fn epoch(&self) -> Epoch {
        self.timeline.epoch()
    }

    /// A lease of a block of that size: from here, or from the pool, together with some that the next
    /// leases will find here. None if neither has one, or the bytes are not to be had: the pool knows why.
    pub(super) fn take(
        self: &Arc<Self>,
        pool: &Arc<Pool>,
        bytes: usize,
        account: Option<&Arc<Account>>,
    ) -> Option<Lease> {
        let mut state = self.state.try_lock().filter(|state| state.open)?;
        let mut held = match state.blocks.take(bytes as u64) {
            Some(held) => held,
            None => self.refill(&mut state, pool, bytes)?,
        };
        let size = bytes as u64;
        if !state.allowance.spend(account, size) && pool.charge(size, account).is_err() {
            // (There is a place: it was in it just now, or is the first.)
            match state.blocks.place(size) {
                Some(place) => place.put(held),
                None => self.give_to_pool(pool, [held]),
            }
            return None;
        }
        state.hits += 1;
        drop(state);
        held.charge.renew(account, size);
        Some(Lease::new(held))
    }

    /// A block from the pool, and some more for the next misses.
    fn refill(
        self: &Arc<Self>,
        state: &mut State,
        pool: &Arc<Pool>,
        bytes: usize,
    ) -> Option<Box<Held>> {
        let refill = if pool.refills_magazines() { state.blocks.refill(bytes as u64) } else { 0 };
        let mut memory = pool.take_several(bytes, &self.timeline, 1 + refill).into_iter();
        let first = self.held(pool, memory.next()?);
        for memory in memory {
            let place = state.blocks.place(bytes as u64);
            place.expect("invariant: there was room for as many").put(self.held(pool, memory));
        }
        Some(first)
    }

    /// A block for the stream, not yet charged.
    fn held(self: &Arc<Self>, pool: &Arc<Pool>, memory: RawMemory) -> Box<Held> {
        let home = Home { timeline: Arc::clone(&self.timeline), magazine: Some(Arc::clone(self)) };
        Box::new(Held { memory, home: Some(home), charge: Charge::new(pool, None, 0) })
    }

    /// Keeps a block for the stream.
    ///
    /// # Errors
    /// The block, if it is not for here.
    pub(super) fn park(&self, mut held: Box<Held>) -> Result<(), Box<Held>> {
        let Some(mut state) = self.state.try_lock() else { return Err(held) };
        let bytes = held.memory.bytes as u64;
        if !state.open || !state.blocks.keeps(bytes) || !held.charge.pool().fills_magazines() {
            return Err(held);
        }
        let State { blocks, allowance, .. } = &mut *state;
        let Some(place) = blocks.place(bytes) else {
            let half = blocks.half(bytes);
            self.give_to_pool(held.charge.pool(), half);
            return Err(held);
        };
        // Whoever is promised these bytes and misses them in the pool empties the magazines, for which it
        // has to wait for this lock.
        allowance.save(&mut held.charge, |account| account.is_kept_by(&self.this));
        held.charge.settle();
        place.put(held);
        Ok(())
    }

    /// Gives bytes that are counted for no lease back to the books.
    pub(super) fn settle(&self) {
        self.lock().allowance.settle();
    }

    /// Gives everything back to the pool, and to the books; how many bytes went to the pool.
    pub(super) fn flush(&self) -> u64 {
        // Dropped after the lock: the last to hold a pool empties its magazines.
        let Some(pool) = self.pool.upgrade() else { return 0 };
        let mut state = self.lock();
        state.allowance.settle();
        let bytes = state.blocks.bytes();
        let blocks = state.blocks.empty();
        self.give_to_pool(&pool, blocks);
        bytes
    }

    /// The stream ends, or its epoch has: nothing is kept from now on.
    pub(crate) fn close(&self) {
        self.lock().open = false;
        self.flush();
        if let Some(pool) = self.pool.upgrade() {
            pool.note_hits(std::mem::take(&mut self.lock().hits));
        }
    }

    /// What is in it.
    pub(super) fn read(&self) -> Reading {
        let state = self.lock();
        Reading {
            blocks: state.blocks.iter().map(|held| held.memory.bytes as u64).collect(),
            unreserved: state.allowance.unreserved(),
            hits: state.hits,
        }
    }

    /// Where its blocks lie.
    pub(super) fn places(&self) -> Vec<ParkedAt> {
        let place = |memory: &RawMemory| (memory.epoch, memory.address, memory.bytes as u64);
        self.lock().blocks.iter().map(|held| place(&held.memory)).collect()
    }

    /// Under the lock: no block is ever neither here nor there.
    fn give_to_pool(&self, pool: &Pool, blocks: impl IntoIterator<Item = Box<Held>>) {
        let mut memory = blocks.into_iter().map(|held| held.memory);
        pool.put_several(&mut memory, &self.timeline);
    }

    /// (Nobody keeps the lock for longer than it takes to give some blocks back.)
    fn lock(&self) -> Locked<'_, State> {
        loop {
            match self.state.try_lock() {
                Some(state) => return state,
                None => thread::yield_now(),
            }
        }
    }
}

impl std::fmt::Debug for StreamMagazine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamMagazine").finish_non_exhaustive()
    }
}

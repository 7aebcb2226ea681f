//! What all threads of a replay share: the arena, and the allocator that grows it.
//!
//! A range whose last use is not over is waited for where the arena says so: the clock of the replay
//! then goes on to the end of that use.

use rustkernel_gpu::memory::arena::{
    Arena as Books, Block, Geometry, Manner, NoRoom, Provision, Terms,
};

use super::clock::{Clock, Use};
use crate::replay::order::DELAY_US;
use crate::replay::policy::Counters;

/// As many addresses as a replay could want.
const MOST_ADDRESSES: u64 = 1 << 62;

/// The arena behind the magazines.
#[derive(Debug)]
pub(super) struct Shared {
    books: Books<Use>,
    clock: Clock,
    /// The most that is mapped, in bytes: as long as there is another way, and in any case.
    limits: [u64; 2],
    pub(super) counters: Counters,
}

/// Within a limit, with nothing promised.
fn terms(limit: u64) -> Terms {
    Terms { limit, promised: 0 }
}

/// A block for the stream of `home`, with at most `most` bytes mapped.
#[derive(Clone, Copy)]
struct Wish<'a> {
    bytes: u64,
    home: &'a Use,
    most: u64,
}

impl Shared {
    pub(super) fn new(page: u64, grain: u64, limits: [u64; 2]) -> Self {
        let geometry = Geometry::sparse(page, grain, limits[1], MOST_ADDRESSES);
        let books = Books::new(geometry.expect("invariant: a limit is far below all addresses"));
        Self { books, clock: Clock::default(), limits, counters: Counters::default() }
    }

    pub(super) fn mapped(&self) -> u64 {
        self.books.mapped()
    }

    /// It is now at least so late.
    pub(super) fn advance(&self, to: f64) {
        self.clock.advance(to);
    }

    /// What a stream was given to do until then, in microseconds.
    pub(super) fn use_until(&self, stream: u32, at: f64) -> Use {
        Use { stream, over: at + DELAY_US, clock: self.clock.clone() }
    }

    pub(super) fn take(&mut self, bytes: u64, home: &Use) -> Option<Block> {
        self.books.allocate(bytes, terms(self.limits[1]), Some(home))
    }

    pub(super) fn put(&mut self, block: Block, last_use: Use) {
        self.books.free(block, Some(last_use)).expect("invariant: it was live");
    }

    /// What a message to the allocator gets. `flush` empties the magazines.
    pub(super) fn message(
        &mut self,
        bytes: u64,
        home: &Use,
        mut flush: impl FnMut(&mut Self),
    ) -> Option<Block> {
        self.counters.messages += 1;
        let wishes = self.limits.map(|most| Wish { bytes, home, most });
        let block = wishes.into_iter().find_map(|wish| self.grow(wish, &mut flush))?;
        self.extend();
        Some(block)
    }

    /// Waits for one that is as good as new memory only once, as the runtime does.
    fn grow(&mut self, wish: Wish<'_>, flush: &mut impl FnMut(&mut Self)) -> Option<Block> {
        let mut wait = true;
        loop {
            match self.try_grow(wish, wait, flush) {
                Ok(provision) => return Some(self.apply(provision)),
                Err(NoRoom::Busy(user)) => {
                    self.counters.stream_waits += 1;
                    self.clock.advance(user.over);
                    wait = false;
                }
                Err(NoRoom::Full) => return None,
            }
        }
    }

    /// What lies in magazines comes before pages that move.
    fn try_grow(
        &mut self,
        wish: Wish<'_>,
        wait: bool,
        flush: &mut impl FnMut(&mut Self),
    ) -> Result<Provision, NoRoom<Use>> {
        let Wish { bytes, home, most } = wish;
        let manner = |remap| Manner { wait, remap };
        self.books.provide(bytes, terms(most), manner(false), Some(home)).or_else(|_| {
            flush(self);
            self.books.provide(bytes, terms(most), manner(true), Some(home))
        })
    }

    fn apply(&mut self, provision: Provision) -> Block {
        let Provision { block, unmap, map, rest } = provision;
        if let Some(rest) = rest {
            self.books.free(rest, None).expect("invariant: nobody else has it");
        }
        let page = self.books.geometry().page;
        self.counters.driver_calls += unmap.len() as u64 + u64::from(map.is_some());
        self.counters.remaps += unmap.iter().map(|pages| pages.bytes / page).sum::<u64>();
        block
    }

    /// Maps memory ahead of need, after somebody had to ask for some.
    fn extend(&mut self) {
        let ahead = self.books.headroom();
        if ahead == 0 {
            return;
        }
        let Some(provision) = self.books.extend(ahead, self.limits[0]) else { return };
        let block = self.apply(provision);
        self.books.free(block, None).expect("invariant: nobody else had it");
    }
}

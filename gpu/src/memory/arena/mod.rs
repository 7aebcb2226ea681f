//! One address space that splits, merges and moves its pages.
//!
//! An arena hands out blocks of a range of addresses of which only some pages have memory behind them.
//! It is bookkeeping only: who owns it maps and unmaps pages as it says ([`Provision`]), in virtual
//! memory of a CUDA device, in anonymous memory of the host, or nowhere, in a simulation.
//!
//! ```text
//!  allocate ── smallest mapped range that fits and is ready for the stream
//!     │ none
//!  provide ─┬─ merged with neighbours that have become idle, a range fits after all
//!           ├─ new pages, as few as possible: next to free ranges (up to 5/4 of what was ever live)
//!           ├─ a range that others still use, after waiting for them
//!           ├─ new pages up to the limit
//!           └─ wholly free pages from elsewhere take the place of new ones
//! ```
//!
//! Small blocks, to an eighth of a page, have a region of addresses of their own: where they lie among large
//! ones they hold parts of pages, which stay behind when the large ones go. Each takes what is free
//! in the other's region before new pages.
//!
//! A page that is moved is not copied: nobody uses what was in it. So no request fails for want of
//! *contiguous* memory, and what is lost to fragmentation are parts of pages only. What is not lost may be
//! promised ([`Arena::promisable`]), and is kept for whom it was promised ([`Terms`]): where a block could leave
//! too few whole pages for the others, it takes parts of pages, or the place after the last block of its
//! region. Blocks that lie there one after another are as long as the pages under them, but for the last page;
//! so whatever the sizes of the blocks to come, they fit if their bytes do. The design is that
//! of expandable segments (PyTorch) and of virtual-memory pools (openvm's VPMM), with best fit across
//! classes as Doug Lea's allocator has it, and one arena for all sizes.

mod index;
mod provide;
mod ranges;

pub(super) use index::class;
pub use provide::{Manner, NoRoom, Pages, Provision};

use std::collections::BTreeMap;

use index::Index;
use ranges::{Range, RangeId, Ranges, State};

use super::map::{MapRange, RangeState};
use super::stats::ClassStats;

/// How many times larger than its neighbour in use an idle range may be, to be merged and wait with it.
/// Without a bound all free memory would wait for a small block in its middle; without such merges memory
/// falls into more pieces (on the workloads of docs/memory.md less needs more to finish, and more has
/// more mapped where there is no limit, and streams wait more often where there is one).
const MOST_DELAYED: u64 = 8;

/// Addresses for each byte of memory.
const SPARSENESS: u64 = 64;
/// A block is small to such a part of a page (256 KiB of CUDA's 2 MiB, as far as there are size classes).
const SMALL: u64 = 8;
/// The part of the addresses that is the small blocks'.
const SMALL_REGION: u64 = 4;
/// Pages that are not promised: two for a block that was placed while somebody was promised more, and one
/// that is begun when a region has no more addresses at its end.
const SPARE_PAGES: u64 = 3;
/// The part of the limit that is not promised because what is given back and taken again, out of one promise,
/// is lost in parts of pages in between.
const SPARE: u64 = 32;
/// More than such a part of the limit is never spared.
const MOST_SPARED: u64 = 10;
/// With fewer than so many for each an address space is of no use.
const FEWEST: u64 = 4;

/// Up to where a range may still be used: a position in a stream.
pub trait LastUse: Clone {
    /// Nothing uses the range any more.
    fn is_over(&self) -> bool;

    /// Whether both are of one stream: then whoever comes later on it comes after both.
    fn is_same_stream(&self, other: &Self) -> bool;

    /// The later of two of the same stream.
    fn later(self, other: Self) -> Self;
}

/// How an arena's addresses are divided. All numbers are bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// What is mapped and unmapped at once.
    pub page: u64,
    /// What blocks are multiples of: a power of two that divides the page.
    pub grain: u64,
    /// All addresses. Many times what will be mapped at once, so that there is always a hole for the
    /// next block.
    pub span: u64,
}

/// What the arena has to keep, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The most that may be mapped.
    pub limit: u64,
    /// What was promised in all: what is in use, and what is still to be asked for.
    pub promised: u64,
}

/// Where in the address space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Region {
    Small,
    Large,
}

impl Region {
    fn other(self) -> Self {
        match self {
            Self::Small => Self::Large,
            Self::Large => Self::Small,
        }
    }
}

impl Geometry {
    /// For as much as `limit` bytes of memory, in at most `most` addresses, a multiple of the page.
    /// Addresses cost nothing, and the more there are for each byte the less likely it is that no hole is
    /// long enough for a block because other blocks lie scattered. None where there would be too few.
    ///
    /// # Panics
    /// If the page is larger than `most`.
    pub fn sparse(page: u64, grain: u64, limit: u64, most: u64) -> Option<Self> {
        let span = limit.checked_next_multiple_of(page)?.saturating_mul(SPARSENESS);
        let span = span.clamp(page, most);
        (limit <= span / FEWEST).then_some(Self { page, grain, span })
    }

    /// Where the region of small blocks ends; one page from there is never used. Nowhere if blocks are
    /// whole pages, or there are few addresses.
    pub fn border(&self) -> Option<u64> {
        let pages = self.span / self.page / SMALL_REGION;
        (self.grain < self.page && pages > 0).then(|| pages * self.page)
    }

    /// The region that a block of so many bytes belongs in.
    fn region_of(&self, bytes: u64) -> Region {
        if bytes <= self.page / SMALL { Region::Small } else { Region::Large }
    }

    /// The pages that lie wholly between two addresses. (Of few ranges it is asked that are as long as a
    /// page, and dividing takes long.)
    fn whole_pages(&self, start: u64, end: u64) -> Option<Pages> {
        let page = self.page;
        if end - start < page {
            return None;
        }
        let (start, end) = (start.next_multiple_of(page), end / page * page);
        (start < end).then(|| Pages { start, bytes: end - start })
    }
}

/// A block in use. Not `Clone`: freeing it consumes it.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a block that is dropped is never free again"]
pub struct Block {
    id: RangeId,
    generation: u32,
    start: u64,
    bytes: u64,
}

impl Block {
    /// Where it begins, in bytes from the arena's first address.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Its size, in bytes: at least what was asked for.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// The block is not in use here: it is of another arena, or of one that was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the block at {start} is not in use")]
pub struct StaleBlock {
    start: u64,
}

/// The bookkeeping of one address space.
#[derive(Debug)]
pub struct Arena<U> {
    geometry: Geometry,
    ranges: Ranges<U>,
    /// By region.
    index: [Index; 2],
    first: RangeId,
    /// Where the large blocks' region begins.
    border: u64,
    /// Free bytes in whole pages, but for pages that lie in two ranges.
    whole: u64,
    live: u64,
    peak_live: u64,
    mapped: u64,
}

impl<U: LastUse> Arena<U> {
    /// An arena without any memory.
    ///
    /// # Panics
    /// If the grain is no power of two, the page no multiple of the grain, or the span none of the page.
    pub fn new(geometry: Geometry) -> Self {
        let Geometry { page, grain, span } = geometry;
        let divides = page % grain == 0 && span % page == 0 && span > 0;
        assert!(grain.is_power_of_two() && divides, "{geometry:?}");
        let (mut ranges, first) = Ranges::new(span);
        let border = geometry.border().unwrap_or(0);
        if border > 0 {
            let wall = ranges.split(first, border, State::Wall);
            ranges.split(wall, page, State::Hole);
        }
        let index = [Index::new(), Index::new()];
        let (whole, live, peak_live, mapped) = (0, 0, 0, 0);
        Self { geometry, ranges, index, first, border, whole, live, peak_live, mapped }
    }

    /// How its addresses are divided.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Bytes in use.
    pub fn live(&self) -> u64 {
        self.live
    }

    /// Bytes with memory behind them: those in use, and those that are free.
    pub fn mapped(&self) -> u64 {
        self.mapped
    }

    /// The most bytes that were ever in use at once.
    pub fn peak_live(&self) -> u64 {
        self.peak_live
    }

    /// Free bytes that somebody still uses.
    pub fn quarantined(&self) -> u64 {
        let free = self.in_order().map(|id| &self.ranges[id]);
        let busy = free.filter(|range| match &range.state {
            State::Free(last_use) => last_use.as_ref().is_some_and(|last_use| !last_use.is_over()),
            _ => false,
        });
        busy.map(|range| range.bytes).sum()
    }

    /// Free bytes in pages that are partly in use: they can neither move nor be given back.
    pub fn stranded(&self) -> u64 {
        let free: u64 = self.mapped - self.live;
        let whole = self.free_runs().map(|(start, end)| self.geometry.whole_pages(start, end));
        free - whole.flatten().map(|pages| pages.bytes).sum::<u64>()
    }

    /// About the same, at most a page more for each range that waits for somebody; without a search.
    pub fn lost(&self) -> u64 {
        self.mapped - self.live - self.whole
    }

    /// How much may be promised of a limit, what is in use included, so that all of it is there in blocks of
    /// whatever sizes: what is not lost. Whoever is promised more than that may be refused it.
    pub fn promisable(&self, limit: u64) -> u64 {
        if self.geometry.grain == self.geometry.page {
            return limit;
        }
        let spare = SPARE_PAGES * self.geometry.page + limit / SPARE;
        limit.saturating_sub(self.lost() + spare.min(limit / MOST_SPARED))
    }

    /// Nothing is in use: no block, and no range that was freed while somebody used it.
    pub fn is_quiet(&self) -> bool {
        let busy = |id: &RangeId| match &self.ranges[*id].state {
            State::Live => true,
            State::Free(last_use) => last_use.as_ref().is_some_and(|last_use| !last_use.is_over()),
            State::Hole | State::Wall | State::Vacant => false,
        };
        !self.in_order().any(|id| busy(&id))
    }

    /// The size of the block for so many bytes, or `None` if no block is that large. An empty block
    /// has a place of its own too.
    pub fn block_bytes(&self, bytes: u64) -> Option<u64> {
        let mask = self.geometry.grain - 1;
        Some(bytes.max(1).checked_add(mask)? & !mask)
    }

    /// A block of at least so many bytes, out of what is mapped and ready: idle, or last used by the
    /// stream of `home`. None if there is no such range, or it had better be kept for what was promised.
    pub fn allocate(&mut self, bytes: u64, terms: Terms, home: Option<&U>) -> Option<Block> {
        let bytes = self.block_bytes(bytes)?;
        let range = self.best_fit(bytes, self.is_tight(bytes, terms), home)?;
        Some(self.cut(range, bytes))
    }

    /// Whether a block of so many bytes could take so many parts of pages that what else was promised would
    /// not find enough whole ones.
    fn is_tight(&self, bytes: u64, terms: Terms) -> bool {
        let unspent = terms.promised.saturating_sub(self.live.saturating_add(bytes));
        // It lies in so many more pages than it is long.
        let most = bytes.saturating_add(2 * self.geometry.page);
        let whole = terms.limit.saturating_sub(self.mapped) + self.whole;
        whole < unspent.saturating_add(most) && self.geometry.grain < self.geometry.page
    }

    /// What is free, by powers of two: how many ranges have at least so many bytes, and less than
    /// twice as many.
    pub fn free_by_class(&self) -> Vec<ClassStats> {
        let mut classes = BTreeMap::<u64, u64>::new();
        for id in self.in_order().filter(|id| self.ranges[*id].is_free()) {
            let class = 1 << self.ranges[id].bytes.ilog2();
            *classes.entry(class).or_default() += 1;
        }
        let stats = |(block_bytes, cached)| ClassStats { block_bytes, cached };
        classes.into_iter().map(stats).collect()
    }

    /// What has memory, range by range in the order of addresses.
    pub fn map(&self) -> impl Iterator<Item = MapRange> {
        let ranges = self.in_order().map(|id| &self.ranges[id]);
        ranges.filter_map(|range| {
            let state = match &range.state {
                State::Live => RangeState::Live,
                State::Free(last_use) if last_use.as_ref().is_none_or(U::is_over) => {
                    RangeState::Free
                }
                State::Free(_) => RangeState::Quarantined,
                State::Hole | State::Wall | State::Vacant => return None,
            };
            Some(MapRange { start: range.start, bytes: range.bytes, state })
        })
    }

    /// The smallest range that fits and is ready, of several the one with the lowest address; one of its own
    /// region if there is any. If memory is `tight`, one out of which it takes no more whole pages than it
    /// is long.
    fn best_fit(&self, bytes: u64, tight: bool, home: Option<&U>) -> Option<RangeId> {
        let region = self.geometry.region_of(bytes);
        let fits = |range: &Range<U>| {
            let fits = range.bytes >= bytes && is_ready(&range.state, home);
            fits && (!tight || self.cost(range, bytes) <= bytes)
        };
        let of_region = |region: Region| {
            let heads = self.index[region as usize].heads_from(self.grains(bytes));
            heads.into_iter().find_map(|head| self.best_of_class(head, fits))
        };
        of_region(region).or_else(|| of_region(region.other()))
    }

    fn best_of_class(&self, head: RangeId, fits: impl Fn(&Range<U>) -> bool) -> Option<RangeId> {
        let mut best: Option<(u64, u64, RangeId)> = None;
        let mut next = head.some();
        while let Some(id) = next {
            let range = &self.ranges[id];
            let key = (range.bytes, range.start, id);
            let better = best.is_none_or(|(size, start, _)| (key.0, key.1) < (size, start));
            if better && fits(range) {
                best = Some(key);
            }
            next = self.ranges.next_in_class(id);
        }
        best.map(|(_, _, id)| id)
    }

    /// Bytes of whole pages that a block takes out of a free range.
    fn cost(&self, range: &Range<U>, bytes: u64) -> u64 {
        let whole = |start| self.whole_bytes(start, range.end());
        whole(range.start) - whole(range.start + bytes)
    }

    fn whole_bytes(&self, start: u64, end: u64) -> u64 {
        self.geometry.whole_pages(start, end).map_or(0, |pages| pages.bytes)
    }

    /// Takes the first `bytes` of a free range that has as many.
    fn cut(&mut self, id: RangeId, bytes: u64) -> Block {
        self.unlist(id);
        self.split_off(id, bytes);
        self.occupy(id)
    }

    /// Leaves `bytes` to a range and lists the rest, if there is any, as free as it was.
    fn split_off(&mut self, id: RangeId, bytes: u64) {
        if self.ranges[id].bytes > bytes {
            let state = std::mem::replace(&mut self.ranges[id].state, State::Free(None));
            let rest = self.ranges.split(id, bytes, state);
            self.list(rest);
        }
    }

    fn occupy(&mut self, id: RangeId) -> Block {
        let range = &mut self.ranges[id];
        range.state = State::Live;
        self.live += range.bytes;
        self.peak_live = self.peak_live.max(self.live);
        Block { id, generation: range.generation, start: range.start, bytes: range.bytes }
    }

    /// Takes a block back, still in use up to `last_use`.
    ///
    /// # Errors
    /// [`StaleBlock`] if it is not in use. Nothing happens then.
    pub fn free(&mut self, block: Block, last_use: Option<U>) -> Result<(), StaleBlock> {
        let Block { id, generation, start, bytes } = block;
        let known = self.ranges.get(id).is_some_and(|range| {
            let same = (range.generation, range.start, range.bytes) == (generation, start, bytes);
            range.is_live() && same
        });
        if !known {
            return Err(StaleBlock { start });
        }
        self.live -= bytes;
        let range = &mut self.ranges[id];
        range.generation = range.generation.wrapping_add(1);
        range.state = State::Free(last_use);
        self.settle(id);
        Ok(())
    }

    /// Merges a free range that is not listed with its neighbours where that makes little wait, and
    /// lists the result.
    fn settle(&mut self, id: RangeId) -> RangeId {
        let (previous, next) = (self.ranges.previous(id), self.ranges.next(id));
        [Some(id), previous, next].into_iter().flatten().for_each(|id| self.look(id));
        if let Some(next) = next
            && self.merges(id, next)
        {
            self.unlist(next);
            self.absorb_next(id);
        }
        let id = match previous {
            Some(previous) if self.merges(previous, id) => {
                self.unlist(previous);
                self.absorb_next(previous);
                previous
            }
            _ => id,
        };
        self.list(id);
        id
    }

    /// Looks whether the use of a free range is over. What was seen is what counts afterwards.
    fn look(&mut self, id: RangeId) {
        if let State::Free(last_use) = &mut self.ranges[id].state
            && last_use.as_ref().is_some_and(U::is_over)
        {
            *last_use = None;
        }
    }

    /// Whether two neighbours are as good as one: both idle when looked at, or both used by the same stream;
    /// or one is idle and not much larger, so that little has to wait for the other.
    fn merges(&self, a: RangeId, b: RangeId) -> bool {
        let (bytes_a, bytes_b) = (self.ranges[a].bytes, self.ranges[b].bytes);
        let (State::Free(a), State::Free(b)) = (&self.ranges[a].state, &self.ranges[b].state)
        else {
            return false;
        };
        match (a, b) {
            (None, None) => true,
            (Some(a), Some(b)) => a.is_same_stream(b),
            (Some(_), None) => bytes_b <= MOST_DELAYED * bytes_a,
            (None, Some(_)) => bytes_a <= MOST_DELAYED * bytes_b,
        }
    }

    /// Makes one range of two free neighbours, neither of which is listed.
    fn absorb_next(&mut self, id: RangeId) {
        let State::Free(b) = self.ranges.absorb_next(id) else {
            unreachable!("invariant: only free ranges are merged")
        };
        let State::Free(a) = &mut self.ranges[id].state else {
            unreachable!("invariant: only free ranges are merged")
        };
        *a = match (a.take(), b) {
            (Some(a), Some(b)) => Some(a.later(b)),
            (a, b) => a.or(b),
        };
    }

    /// (A shift: dividing takes as long as half of an allocation.)
    fn grains(&self, bytes: u64) -> u64 {
        bytes >> self.geometry.grain.trailing_zeros()
    }

    fn list(&mut self, id: RangeId) {
        let Range { start, bytes, .. } = self.ranges[id];
        let (region, grains) = (self.region(start), self.grains(bytes));
        self.index[region as usize].insert(&mut self.ranges, id, grains);
        self.whole += self.whole_bytes(start, start + bytes);
    }

    fn unlist(&mut self, id: RangeId) {
        let Range { start, bytes, .. } = self.ranges[id];
        let (region, grains) = (self.region(start), self.grains(bytes));
        self.index[region as usize].remove(&mut self.ranges, id, grains);
        self.whole -= self.whole_bytes(start, start + bytes);
    }

    /// The region of an address.
    fn region(&self, start: u64) -> Region {
        if start < self.border { Region::Small } else { Region::Large }
    }
}

/// Whether work of the stream of `home` comes after all that may use the range.
fn is_ready<U: LastUse>(state: &State<U>, home: Option<&U>) -> bool {
    let State::Free(last_use) = state else { return false };
    last_use.as_ref().is_none_or(|last_use| is_past(last_use, home))
}

/// Whether work of the stream of `home` comes after that use.
fn is_past<U: LastUse>(last_use: &U, home: Option<&U>) -> bool {
    home.is_some_and(|home| home.is_same_stream(last_use)) || last_use.is_over()
}

//! The arena against a naive model: which bytes are in use, which pages are mapped, and who may still
//! use what was freed.
//!
//! `ARENA_OPERATIONS=1000000 cargo test -p rustkernel-tests --test arena_model` for longer runs.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rustkernel_gpu::memory::arena::{
    Arena, Block, Geometry, LastUse, Manner, NoRoom, Pages, Provision, Terms,
};
use rustkernel_gpu::memory::{MapRange, MemoryMap, RangeState};
use rustkernel_tests::simulated::{Clock, Use};

const STREAMS: u32 = 3;
const MANNER: Manner = Manner { wait: true, remap: true };
const TERMS: Terms = Terms { limit: u64::MAX, promised: 0 };

struct Model {
    geometry: Geometry,
    limit: u64,
    /// Whatever was promised, what fits is not refused: pages move.
    promised: u64,
    arena: Arena<Use>,
    /// Goes on with each look at it.
    clock: Arc<Clock>,
    /// What is in use, and the stream that it is for.
    held: Vec<(Block, Option<u32>)>,
    /// Until when each stream is busy.
    busy: [u64; STREAMS as usize],
    /// Start and end of what is in use.
    live: BTreeMap<u64, u64>,
    /// Numbers of mapped pages.
    mapped: BTreeSet<u64>,
    /// What was freed, and who may still use it.
    uses: Vec<(Range<u64>, Use)>,
    remapped: u64,
    refused: u64,
}

impl Model {
    fn new(geometry: Geometry, limit: u64) -> Self {
        Self {
            geometry,
            limit,
            promised: 0,
            arena: Arena::new(geometry),
            clock: Arc::new(Clock::ticking()),
            held: Vec::new(),
            busy: [0; STREAMS as usize],
            live: BTreeMap::new(),
            mapped: BTreeSet::new(),
            uses: Vec::new(),
            remapped: 0,
            refused: 0,
        }
    }

    /// What a stream does from now on takes that long, and is over after all that it did before.
    fn last_use(&mut self, stream: u32, time: u64) -> Use {
        let busy = &mut self.busy[stream as usize];
        *busy = (*busy).max(self.clock.now()) + time;
        Use { stream, over: *busy, clock: Arc::clone(&self.clock) }
    }

    fn pages(&self, pages: Pages) -> Range<u64> {
        let Geometry { page, span, .. } = self.geometry;
        assert!(pages.bytes > 0 && pages.start.is_multiple_of(page), "{pages:?}");
        assert!(pages.bytes.is_multiple_of(page) && pages.start + pages.bytes <= span, "{pages:?}");
        pages.start / page..(pages.start + pages.bytes) / page
    }

    fn unmap(&mut self, pages: Pages) {
        let bytes = pages.start..pages.start + pages.bytes;
        assert!(!self.is_live(&bytes), "{bytes:?} is in use");
        let users = self.uses.iter().filter(|(used, _)| overlap(used, &bytes));
        users.for_each(|(_, user)| assert!(user.is_over(), "{bytes:?} is used by {user:?}"));
        for page in self.pages(pages) {
            assert!(self.mapped.remove(&page), "page {page} was not mapped");
        }
    }

    fn map(&mut self, pages: Pages) {
        for page in self.pages(pages) {
            assert!(self.mapped.insert(page), "page {page} was mapped");
        }
    }

    fn is_live(&self, bytes: &Range<u64>) -> bool {
        let before = self.live.range(..bytes.end).next_back();
        before.is_some_and(|(_, end)| *end > bytes.start)
    }

    fn allocate(&mut self, bytes: u64, stream: Option<u32>, manner: Manner) {
        let home = stream.map(|stream| self.last_use(stream, 0));
        let home = home.as_ref();
        let promised = if manner.remap { self.promised } else { 0 };
        let terms = Terms { limit: self.limit, promised };
        if let Some(block) = self.arena.allocate(bytes, terms, home) {
            return self.hold(block, bytes, home);
        }
        loop {
            match self.arena.provide(bytes, terms, manner, home) {
                Ok(Provision { block, unmap, map, rest }) => {
                    self.remapped += u64::from(!unmap.is_empty());
                    unmap.into_iter().for_each(|pages| self.unmap(pages));
                    // Others allocate while pages are being mapped, and get none of these.
                    let meanwhile = self.arena.allocate(self.geometry.grain, terms, home);
                    if let Some(other) = meanwhile {
                        self.hold(other, 1, home);
                    }
                    map.into_iter().for_each(|pages| self.map(pages));
                    if let Some(rest) = rest {
                        self.arena.free(rest, None).unwrap();
                    }
                    return self.hold(block, bytes, home);
                }
                Err(NoRoom::Busy(user)) => {
                    self.clock.advance_to(user.over);
                }
                Err(NoRoom::Full) => break,
            }
        }
        self.refused += 1;
        self.check_refusal(bytes, manner.remap);
    }

    /// What fits is not refused: with `remap`, everything does for which there are pages, and
    /// addresses.
    fn check_refusal(&self, bytes: u64, remap: bool) {
        let Some(block) = self.arena.block_bytes(bytes) else { return };
        let page = self.geometry.page;
        let whole = |number: &&u64| !self.is_live(&(**number * page..(**number + 1) * page));
        let free = self.mapped.iter().filter(whole).count() as u64;
        let new = (self.limit / page).saturating_sub(self.mapped.len() as u64);
        let needed = block.div_ceil(page);
        if self.longest_gap() < (needed + 2) * page {
            return;
        }
        assert!(!remap || free + new < needed, "{block} bytes, {free} free pages, {new} new ones");
        assert!(new < needed, "{block} bytes, {new} new pages");
    }

    /// The most addresses between two blocks of a region, in bytes.
    fn longest_gap(&self) -> u64 {
        let wall = self.geometry.border().map(|border| (border, border + self.geometry.page));
        let mut taken: Vec<(u64, u64)> =
            self.live.iter().map(|(start, end)| (*start, *end)).collect();
        taken.extend(wall.into_iter().chain([(self.geometry.span, self.geometry.span)]));
        taken.sort_unstable();
        let ends = std::iter::once(0).chain(taken.iter().map(|(_, end)| *end));
        taken.iter().zip(ends).map(|((start, _), end)| start - end).max().unwrap_or(0)
    }

    fn hold(&mut self, block: Block, asked: u64, home: Option<&Use>) {
        let bytes = block.start()..block.start() + block.bytes();
        assert!(
            block.bytes() >= asked.max(1) && block.bytes() < asked.max(1) + self.geometry.grain
        );
        assert!(block.start().is_multiple_of(self.geometry.grain));
        assert!(!self.is_live(&bytes), "{bytes:?} is in use already");
        for page in bytes.start / self.geometry.page..bytes.end.div_ceil(self.geometry.page) {
            assert!(self.mapped.contains(&page), "page {page} of {bytes:?} is not mapped");
        }
        self.uses.retain(|(_, user)| !user.is_over());
        for (_, user) in self.uses.iter().filter(|(used, _)| overlap(used, &bytes)) {
            let ordered = home.is_some_and(|home| home.is_same_stream(user));
            assert!(ordered, "{bytes:?} is used by {user:?}");
        }
        self.live.insert(bytes.start, bytes.end);
        self.held.push((block, home.map(|home| home.stream)));
    }

    fn free(&mut self, which: usize, time: u64) {
        let (block, stream) = self.held.swap_remove(which);
        let last_use = stream.map(|stream| self.last_use(stream, time));
        let start = block.start();
        let end = self.live.remove(&start).unwrap();
        self.uses.extend(last_use.clone().map(|last_use| (start..end, last_use)));
        self.arena.free(block, last_use).unwrap();
    }

    fn trim(&mut self, keep: u64) {
        for pages in self.arena.trim(keep) {
            self.unmap(pages);
        }
    }

    /// Memory ahead of need: pages that nobody has until they are mapped.
    fn extend(&mut self, bytes: u64) {
        let (live, peak) = (self.arena.live(), self.arena.peak_live());
        if let Some(Provision { block, unmap, map, rest }) = self.arena.extend(bytes, self.limit) {
            assert!(unmap.is_empty() && map.is_some() && rest.is_none());
            map.into_iter().for_each(|pages| self.map(pages));
            self.arena.free(block, None).unwrap();
        }
        assert_eq!((self.arena.live(), self.arena.peak_live()), (live, peak));
    }

    /// What is said of free memory is what there is.
    fn check_free(&self) {
        let page = self.geometry.page;
        let stranded = self.mapped.iter().map(|number| {
            let (start, end) = (number * page, (number + 1) * page);
            let live = self.live.range(..end).rev().take_while(|(_, live_end)| **live_end > start);
            let used: u64 = live.map(|(from, to)| end.min(*to) - start.max(*from)).sum();
            if used > 0 { page - used } else { 0 }
        });
        assert_eq!(self.arena.stranded(), stranded.sum::<u64>());
        assert!(self.arena.quarantined() <= self.arena.mapped() - self.arena.live());
    }

    /// The map has what is mapped, what is in use is in it as that, and its sums are those of the books.
    fn check_map(&self) {
        let waiting_before = self.arena.quarantined();
        let map = MemoryMap::new(&self.geometry, self.arena.map());
        // (Each look may find that more is over.)
        assert!((self.arena.quarantined()..=waiting_before).contains(&map.quarantined));
        assert_eq!((map.live, map.mapped()), (self.arena.live(), self.arena.mapped()));
        assert_eq!((map.parked, map.left_out), (0, 0));
        let page = self.geometry.page;
        let sum = |state| {
            let ranges = map.ranges.iter().filter(|range: &&MapRange| range.state == state);
            ranges.map(|range| range.bytes).sum::<u64>()
        };
        assert_eq!(
            [RangeState::Live, RangeState::Quarantined, RangeState::Free].map(sum),
            [map.live, map.quarantined, map.free]
        );
        for pair in map.ranges.windows(2) {
            let apart = pair[0].end() < pair[1].start;
            let differ = pair[0].end() == pair[1].start && pair[0].state != pair[1].state;
            assert!(apart || differ, "{pair:?}");
        }
        let all = joined(map.ranges.iter().map(|range| (range.start, range.end())));
        let pages = self.mapped.iter().map(|number| (number * page, (number + 1) * page));
        assert_eq!(all, joined(pages), "it is what is mapped");
        let live = map.ranges.iter().filter(|range| range.state == RangeState::Live);
        let blocks = self.live.iter().map(|(start, end)| (*start, *end));
        assert_eq!(joined(live.map(|range| (range.start, range.end()))), joined(blocks));
    }

    fn check_books(&self) {
        let live: u64 = self.live.iter().map(|(start, end)| end - start).sum();
        assert_eq!(self.arena.live(), live);
        assert_eq!(self.arena.mapped(), self.mapped.len() as u64 * self.geometry.page);
        assert!(self.arena.mapped() <= self.limit);
    }
}

/// Ranges in order; those that touch are one.
fn joined(ranges: impl Iterator<Item = (u64, u64)>) -> Vec<(u64, u64)> {
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (start, end) in ranges {
        match joined.last_mut() {
            Some(last) if last.1 == start => last.1 = end,
            _ => joined.push((start, end)),
        }
    }
    joined
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

/// The largest block.
fn largest(geometry: Geometry) -> u64 {
    geometry.span - geometry.border().map_or(0, |border| border + geometry.page)
}

/// Small ones often, all doublings up to a gibibyte, and what can never be.
fn size(random: &mut impl Rng) -> u64 {
    match random.random_range(0..100u32) {
        0 => 0,
        1 => 1,
        2 => u64::MAX,
        3 => 1 << 30,
        _ => {
            let doubling = random.random_range(0..29u32);
            random.random_range(1 << doubling..2u64 << doubling)
        }
    }
}

fn operations() -> u64 {
    let asked = std::env::var("ARENA_OPERATIONS").ok();
    asked.map_or(60_000, |asked| asked.parse().unwrap())
}

fn run(geometry: Geometry, limit: u64, seed: u64) {
    let random = &mut ChaCha8Rng::seed_from_u64(seed);
    let mut model = Model::new(geometry, limit);
    for _ in 0..operations() {
        model.clock.advance_by(random.random_range(0..20));
        // Phases of growth and of shrinking.
        let grows = (model.clock.now() / 4000).is_multiple_of(2);
        let frees = random.random_ratio(if grows { 45 } else { 55 }, 100);
        let stream = random.random_ratio(9, 10).then(|| random.random_range(0..STREAMS));
        if random.random_ratio(1, 200) {
            model.extend(random.random_range(0..=limit / 8));
        } else if random.random_ratio(1, 500) {
            model.check_free();
            model.check_map();
            model.trim(random.random_range(0..=limit));
        } else if frees && !model.held.is_empty() {
            let which = random.random_range(0..model.held.len());
            model.free(which, random.random_range(0..40));
        } else {
            let (wait, remap) = (random.random_ratio(3, 4), random.random_ratio(3, 4));
            model.promised = random.random_range(0..=2 * limit);
            model.allocate(size(random), stream, Manner { wait, remap });
        }
        model.check_books();
    }
    assert!(model.remapped > 0 && model.refused > 0, "both happen");
    while !model.held.is_empty() {
        model.free(0, 0);
    }
    model.clock.advance_by(1 << 40);
    model.trim(0);
    assert_eq!((model.arena.live(), model.arena.mapped()), (0, 0));
    assert!(model.arena.is_quiet());
    // Nothing is left but a hole in each region: the whole of it can be given out.
    model.limit = u64::MAX;
    let all = largest(geometry);
    model.allocate(all, None, Manner { wait: false, remap: false });
    assert_eq!(model.arena.live(), all);
}

#[test]
fn pages_of_cuda() {
    run(Geometry { page: 2 << 20, grain: 512, span: 1 << 36 }, 1 << 30, 1);
}

#[test]
fn pages_that_are_blocks() {
    run(Geometry { page: 4096, grain: 4096, span: 1 << 32 }, 256 << 20, 2);
}

#[test]
fn a_block_that_is_not_in_use_is_known() {
    let geometry = Geometry { page: 4096, grain: 512, span: 1 << 20 };
    let (mut arena, mut other) = (Arena::<Use>::new(geometry), Arena::<Use>::new(geometry));
    // (The pages have more than is asked for.)
    let provide = |arena: &mut Arena<Use>, bytes| {
        let Provision { block, rest, .. } = arena.provide(bytes, TERMS, MANNER, None).unwrap();
        arena.free(rest.unwrap(), None).unwrap();
        block
    };
    let block = provide(&mut arena, 100);
    let text = other.free(block, None).unwrap_err().to_string();
    assert_eq!(text, "the block at 0 is not in use");
    // The slot was used before, for another block.
    let first = provide(&mut other, 512);
    other.free(first, None).unwrap();
    let again = other.allocate(512, TERMS, None).unwrap();
    arena.free(again, None).unwrap_err();
    assert_eq!((arena.live(), other.live()), (512, 512), "nothing happened");
}

#[test]
fn a_provision_that_cannot_be_carried_out_is_undone() {
    let mut arena = Arena::<Use>::new(Geometry { page: 4096, grain: 512, span: 1 << 20 });
    let first = arena.provide(4096, TERMS, MANNER, None).unwrap();
    let second = arena.provide(10_000, TERMS, MANNER, None).unwrap();
    arena.cancel(second, None);
    assert_eq!((arena.live(), arena.mapped()), (4096, 4096));
    arena.cancel(first, None);
    assert_eq!((arena.live(), arena.mapped()), (0, 0));
    let all = largest(arena.geometry());
    assert_eq!(arena.provide(all, TERMS, MANNER, None).unwrap().block.bytes(), all);
}

#[test]
fn what_a_stream_uses_stays_its_own_when_a_provision_is_undone() {
    let mut arena = Arena::<Use>::new(Geometry { page: 4096, grain: 512, span: 1 << 20 });
    let use_of = |stream| Use { stream, over: 100, clock: Arc::new(Clock::ticking()) };
    let block = arena.provide(4096, TERMS, MANNER, Some(&use_of(0))).unwrap().block;
    let start = block.start();
    arena.free(block, Some(use_of(0))).unwrap();
    // The stream's own next block may lie where it still works, and on a new page.
    let larger = arena.provide(8192, TERMS, MANNER, Some(&use_of(0))).unwrap();
    assert_eq!((larger.block.start(), larger.map.unwrap().bytes), (start, 4096));
    arena.cancel(larger, Some(use_of(0)));
    assert_eq!(arena.mapped(), 4096);
    assert!(arena.allocate(4096, TERMS, Some(&use_of(1))).is_none(), "another stream has to wait");
    assert_eq!(arena.allocate(4096, TERMS, Some(&use_of(0))).unwrap().start(), start);
}

#[test]
fn neighbours_in_the_other_region_serve_a_stream_that_is_past_both() {
    let mut arena = Arena::<Use>::new(Geometry { page: 2 << 20, grain: 512, span: 1 << 36 });
    let use_of = |stream| Use { stream, over: u64::MAX, clock: Arc::new(Clock::ticking()) };
    let used_later = arena.provide(10 << 20, TERMS, MANNER, None).unwrap().block;
    let pages = arena.provide(6 << 20, TERMS, MANNER, None).unwrap().block;
    arena.free(pages, None).unwrap();
    let in_use = arena.allocate((6 << 20) - (260 << 10), TERMS, None).unwrap();
    let small = arena.allocate(20 << 10, TERMS, None).unwrap();
    arena.free(small, Some(use_of(1))).unwrap();
    arena.free(used_later, Some(use_of(2))).unwrap();
    // 20 KiB that the stream used last, and 240 KiB that nobody uses: more than eight times as much, so they
    // are two ranges. All pages are mapped.
    let terms = Terms { limit: 16 << 20, promised: 0 };
    let provision = arena.provide(256 << 10, terms, MANNER, Some(&use_of(1))).unwrap();
    assert_eq!(
        (provision.block.start(), provision.block.bytes()),
        (in_use.start() + in_use.bytes(), 256 << 10)
    );
    assert_eq!((provision.unmap, provision.map, provision.rest), (vec![], None, None));
}

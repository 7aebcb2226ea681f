//! Every range of the address space, in the order of addresses.
//!
//! The metadata is here and not in the memory, which the host may be unable to read. A range is a slot
//! of a slab; whoever holds a block holds its slot and its generation, so freeing takes no search and
//! a block that was freed before is known.

use std::ops::{Index, IndexMut};

/// A slot of the slab.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct RangeId(pub(super) u32);

impl RangeId {
    pub(super) const NONE: Self = Self(u32::MAX);

    pub(super) fn some(self) -> Option<Self> {
        (self != Self::NONE).then_some(self)
    }
}

/// What a range is.
#[derive(Debug)]
pub(super) enum State<U> {
    /// In use: somebody holds its block.
    Live,
    /// Mapped and not in use, but for work up to there.
    Free(Option<U>),
    /// Addresses without memory.
    Hole,
    /// Addresses between two regions, never with memory.
    Wall,
    /// A slot without a range.
    Vacant,
}

/// A range of addresses. All numbers are bytes.
#[derive(Debug)]
pub(super) struct Range<U> {
    pub(super) start: u64,
    pub(super) bytes: u64,
    pub(super) state: State<U>,
    pub(super) generation: u32,
    /// Neighbours by address.
    previous: RangeId,
    next: RangeId,
    /// Neighbours in the index, while it is free; the next vacant slot, while it is vacant.
    link_previous: RangeId,
    link_next: RangeId,
}

impl<U> Range<U> {
    pub(super) fn end(&self) -> u64 {
        self.start + self.bytes
    }

    pub(super) fn is_free(&self) -> bool {
        matches!(self.state, State::Free(_))
    }

    pub(super) fn is_hole(&self) -> bool {
        matches!(self.state, State::Hole)
    }

    pub(super) fn is_live(&self) -> bool {
        matches!(self.state, State::Live)
    }
}

/// The slab.
#[derive(Debug)]
pub(super) struct Ranges<U> {
    slots: Vec<Range<U>>,
    vacant: RangeId,
}

impl<U> Ranges<U> {
    /// One hole over all addresses from 0 to `bytes`.
    pub(super) fn new(bytes: u64) -> (Self, RangeId) {
        let mut ranges = Self { slots: Vec::new(), vacant: RangeId::NONE };
        let first = ranges.slot(0, bytes, State::Hole);
        (ranges, first)
    }

    fn slot(&mut self, start: u64, bytes: u64, state: State<U>) -> RangeId {
        let none = RangeId::NONE;
        if let Some(id) = self.vacant.some() {
            let slot = &mut self[id];
            let vacant = slot.link_next;
            (slot.start, slot.bytes, slot.state) = (start, bytes, state);
            (slot.link_previous, slot.link_next) = (none, none);
            self.vacant = vacant;
            return id;
        }
        let id =
            RangeId(u32::try_from(self.slots.len()).expect("invariant: fewer than 2^32 ranges"));
        let (previous, next, link_previous, link_next) = (none, none, none, none);
        let generation = 0;
        self.slots.push(Range {
            start,
            bytes,
            state,
            generation,
            previous,
            next,
            link_previous,
            link_next,
        });
        id
    }

    /// The range of a slot that somebody names, if there is such a slot.
    pub(super) fn get(&self, id: RangeId) -> Option<&Range<U>> {
        self.slots.get(id.0 as usize)
    }

    pub(super) fn previous(&self, id: RangeId) -> Option<RangeId> {
        self[id].previous.some()
    }

    pub(super) fn next(&self, id: RangeId) -> Option<RangeId> {
        self[id].next.some()
    }

    pub(super) fn next_in_class(&self, id: RangeId) -> Option<RangeId> {
        self[id].link_next.some()
    }

    /// Cuts a range in two: it keeps the first `bytes`, a new range gets the rest and `state`.
    pub(super) fn split(&mut self, id: RangeId, bytes: u64, state: State<U>) -> RangeId {
        let (start, whole, after) = (self[id].start, self[id].bytes, self[id].next);
        debug_assert!(0 < bytes && bytes < whole);
        let rest = self.slot(start + bytes, whole - bytes, state);
        self[id].bytes = bytes;
        self[id].next = rest;
        (self[rest].previous, self[rest].next) = (id, after);
        if after != RangeId::NONE {
            self[after].previous = rest;
        }
        rest
    }

    /// Adds the range after `id` to it; `id` keeps its own state.
    pub(super) fn absorb_next(&mut self, id: RangeId) -> State<U> {
        let next = self[id].next;
        let after = self[next].next;
        self[id].bytes += self[next].bytes;
        self[id].next = after;
        if after != RangeId::NONE {
            self[after].previous = id;
        }
        let vacant = self.vacant;
        let slot = &mut self[next];
        slot.generation = slot.generation.wrapping_add(1);
        slot.link_next = vacant;
        self.vacant = next;
        std::mem::replace(&mut self[next].state, State::Vacant)
    }
}

impl<U> Index<RangeId> for Ranges<U> {
    type Output = Range<U>;

    fn index(&self, id: RangeId) -> &Range<U> {
        &self.slots[id.0 as usize]
    }
}

impl<U> IndexMut<RangeId> for Ranges<U> {
    fn index_mut(&mut self, id: RangeId) -> &mut Range<U> {
        &mut self.slots[id.0 as usize]
    }
}

/// Neighbours in a class of the index.
pub(super) trait Links {
    fn links(&self, range: RangeId) -> (RangeId, RangeId);
    fn set_links(&mut self, range: RangeId, previous: RangeId, next: RangeId);
    fn set_previous(&mut self, range: RangeId, previous: RangeId);
    fn set_next(&mut self, range: RangeId, next: RangeId);
}

impl<U> Links for Ranges<U> {
    fn links(&self, range: RangeId) -> (RangeId, RangeId) {
        (self[range].link_previous, self[range].link_next)
    }

    fn set_links(&mut self, range: RangeId, previous: RangeId, next: RangeId) {
        let range = &mut self[range];
        (range.link_previous, range.link_next) = (previous, next);
    }

    fn set_previous(&mut self, range: RangeId, previous: RangeId) {
        self[range].link_previous = previous;
    }

    fn set_next(&mut self, range: RangeId, next: RangeId) {
        self[range].link_next = next;
    }
}

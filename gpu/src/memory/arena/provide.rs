//! Where the next block comes from when nothing that is mapped and ready fits.
//!
//! Rare, and it may look at every range.

use super::ranges::{RangeId, State};
use super::{Arena, Block, LastUse, is_past, is_ready};

/// A run of pages, in bytes from the arena's first address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pages {
    /// Where it begins.
    pub start: u64,
    /// How long it is.
    pub bytes: u64,
}

/// A block, and what has to happen before it may be used: wait, then unmap, then map.
#[derive(Debug)]
#[must_use]
pub struct Provision<U> {
    /// The block.
    pub block: Block,
    /// Who may still use the block, or pages that are unmapped.
    pub waits: Vec<U>,
    /// Pages that lose their memory.
    pub unmap: Vec<Pages>,
    /// Pages that get memory: as many as were unmapped, or more.
    pub map: Option<Pages>,
}

impl Pages {
    /// The last so many bytes of the run, or all of it.
    fn last(self, bytes: u64) -> Self {
        let bytes = bytes.min(self.bytes);
        Self { start: self.start + self.bytes - bytes, bytes }
    }
}

/// There is no such block within the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRoom;

/// A hole that could be filled, in part, so that a block fits.
#[derive(Debug, Clone, Copy)]
struct Site {
    /// The first and the last range that the block lies in, the hole among them.
    first: RangeId,
    hole: RangeId,
    last: RangeId,
    /// What is filled.
    fill: Pages,
    /// Whether the block ends where the last range does, and not begins where the first does.
    at_end: bool,
    /// The size of the hole, to prefer tight ones.
    room: u64,
}

/// Free bytes next to a hole, and the ranges that they are in.
#[derive(Debug, Clone, Copy)]
struct Shore {
    end: RangeId,
    bytes: u64,
}

impl<U: LastUse> Arena<U> {
    /// A block of at least `bytes`, with at most `limit` bytes mapped; see the module for how.
    /// `remap` allows pages to move.
    ///
    /// # Errors
    /// [`NoRoom`] if there is none. Nothing has changed then.
    pub fn provide(
        &mut self,
        bytes: u64,
        limit: u64,
        remap: bool,
        home: Option<&U>,
    ) -> Result<Provision<U>, NoRoom> {
        let bytes = self.block_bytes(bytes).ok_or(NoRoom)?;
        self.merge_idle();
        if let Some(range) = self.best_fit(bytes, home) {
            return Ok(at_once(self.cut(range, bytes)));
        }
        let ready = |state: &State<U>| is_ready(state, home);
        let cheap = self.pages_below(limit.min(self.roomy(bytes)));
        if let Some(site) = self.best_site(bytes, ready, cheap) {
            return Ok(self.fill(site, bytes, home));
        }
        if let Some((first, last)) = self.best_span(bytes) {
            return Ok(self.take_span(first, last, bytes, home));
        }
        let new = self.pages_below(limit);
        if let Some(site) = self.best_site(bytes, ready, new) {
            return Ok(self.fill(site, bytes, home));
        }
        if !remap {
            return Err(NoRoom);
        }
        let any = |state: &State<U>| matches!(state, State::Free(_));
        let site = self.best_site(bytes, any, u64::MAX).ok_or(NoRoom)?;
        let missing = site.fill.bytes.saturating_sub(new);
        let elsewhere = self.donors().filter(|donor| !self.is_in(donor.id, &site));
        if elsewhere.map(|donor| donor.pages.bytes).sum::<u64>() < missing {
            return Err(NoRoom);
        }
        let mut provision = self.fill(site, bytes, home);
        self.steal(missing, &mut provision);
        Ok(provision)
    }

    /// Bytes of whole pages that can be mapped with at most `limit` bytes mapped.
    fn pages_below(&self, limit: u64) -> u64 {
        limit.saturating_sub(self.mapped) / self.geometry.page * self.geometry.page
    }

    /// How much may be mapped only so that nobody has to wait: a quarter more than was ever in use.
    fn roomy(&self, bytes: u64) -> u64 {
        let peak = self.peak_live.max(self.live.saturating_add(bytes));
        peak.saturating_add(peak / 4)
    }

    /// Merges free neighbours of which one was still in use when the other was freed.
    fn merge_idle(&mut self) {
        let mut next = Some(self.first);
        while let Some(id) = next {
            if let State::Free(last_use) = &mut self.ranges[id].state
                && last_use.as_ref().is_some_and(U::is_over)
            {
                *last_use = None;
            }
            match self.ranges.next(id) {
                Some(after) if self.merges(id, after) => {
                    self.unlist(id);
                    self.unlist(after);
                    self.absorb_next(id);
                    self.list(id);
                }
                after => next = after,
            }
        }
    }

    /// The hole that has to be filled the least, with at most `most` bytes; of several the tightest.
    fn best_site(&self, bytes: u64, usable: impl Fn(&State<U>) -> bool, most: u64) -> Option<Site> {
        let holes = self.in_order().filter(|id| self.ranges[*id].is_hole());
        let sites = holes.filter_map(|id| self.site(id, bytes, &usable));
        sites.filter(|site| site.fill.bytes <= most).min_by_key(|site| (site.fill.bytes, site.room))
    }

    /// How a hole could be filled for a block of so many bytes, if it could.
    fn site(&self, hole: RangeId, bytes: u64, usable: impl Fn(&State<U>) -> bool) -> Option<Site> {
        let before = self.shore(hole, bytes, |id| self.ranges.previous(id), &usable);
        let after = self.shore(hole, bytes, |id| self.ranges.next(id), &usable);
        let (start, room) = (self.ranges[hole].start, self.ranges[hole].bytes);
        let pages = |missing: u64| missing.next_multiple_of(self.geometry.page);
        let (low, high) =
            (pages(bytes.saturating_sub(before.bytes)), pages(bytes.saturating_sub(after.bytes)));
        let site = |first, last, fill, at_end| Site { first, hole, last, fill, at_end, room };
        if low <= room && low <= high {
            return Some(site(before.end, hole, Pages { start, bytes: low }, false));
        }
        if high <= room {
            let fill = Pages { start: start + room - high, bytes: high };
            return Some(site(hole, after.end, fill, true));
        }
        let missing = bytes.checked_sub(before.bytes + room)?;
        let after = self.shore(hole, missing, |id| self.ranges.next(id), &usable);
        let fill = Pages { start, bytes: room };
        (after.bytes >= missing).then(|| site(before.end, after.end, fill, false))
    }

    /// The free bytes that lie in one direction of a hole, no more ranges of them than are needed.
    fn shore(
        &self,
        hole: RangeId,
        needed: u64,
        step: impl Fn(RangeId) -> Option<RangeId>,
        usable: impl Fn(&State<U>) -> bool,
    ) -> Shore {
        let mut shore = Shore { end: hole, bytes: 0 };
        while shore.bytes < needed
            && let Some(id) = step(shore.end)
            && usable(&self.ranges[id].state)
        {
            shore = Shore { end: id, bytes: shore.bytes + self.ranges[id].bytes };
        }
        shore
    }

    /// The shortest run of free neighbours with so many bytes, whoever uses them.
    fn best_span(&self, bytes: u64) -> Option<(RangeId, RangeId)> {
        let spans = self.in_order().filter_map(|first| {
            let mut span = (0, first);
            let free = std::iter::successors(Some(first), |id| self.ranges.next(*id))
                .take_while(|id| self.ranges[*id].is_free());
            for id in free {
                span = (span.0 + self.ranges[id].bytes, id);
                if span.0 >= bytes {
                    return Some((span.0, first, span.1));
                }
            }
            None
        });
        spans.min_by_key(|(sum, ..)| *sum).map(|(_, first, last)| (first, last))
    }

    fn take_span(
        &mut self,
        first: RangeId,
        last: RangeId,
        bytes: u64,
        home: Option<&U>,
    ) -> Provision<U> {
        let waits = self.join(first, last, bytes, home);
        let block = self.occupy(first);
        Provision { block, waits, unmap: Vec::new(), map: None }
    }

    /// Makes one unlisted range out of listed free ones, `bytes` long; what is left of the last stays
    /// free. Returns whom the stream of `home` has to wait for.
    fn join(&mut self, first: RangeId, last: RangeId, bytes: u64, home: Option<&U>) -> Vec<U> {
        let mut waits = Vec::new();
        let left = self.ranges[last].end() - self.ranges[first].start - bytes;
        if left > 0 {
            self.unlist(last);
            let keep = self.ranges[last].bytes - left;
            let last_use = self.take_last_use(last);
            let rest = self.ranges.split(last, keep, State::Free(last_use.clone()));
            self.ranges[last].state = State::Free(last_use);
            self.list(last);
            self.list(rest);
        }
        self.unlist(first);
        waits.extend(self.take_last_use(first));
        let mut joined = first;
        while joined != last {
            let next = self.ranges.next(first).expect("invariant: the last comes after the first");
            joined = next;
            self.unlist(next);
            waits.extend(self.take_last_use(next));
            self.absorb_next(first);
        }
        waits.retain(|last_use| !is_past(last_use, home));
        waits
    }

    fn take_last_use(&mut self, id: RangeId) -> Option<U> {
        match &mut self.ranges[id].state {
            State::Free(last_use) => last_use.take(),
            _ => None,
        }
    }

    /// Fills a hole as planned and takes the block.
    fn fill(&mut self, site: Site, bytes: u64, home: Option<&U>) -> Provision<U> {
        let Site { first, hole, last, fill, at_end, .. } = site;
        let filled = self.map_part(hole, fill);
        let mut first = if first == hole { filled } else { first };
        let last = if last == hole { filled } else { last };
        let left = self.ranges[last].end() - self.ranges[first].start - bytes;
        if at_end && left > 0 {
            first = self.split_listed(first, left);
        }
        let waits = self.join(first, last, bytes, home);
        let block = self.occupy(first);
        Provision { block, waits, unmap: Vec::new(), map: Some(fill) }
    }

    /// Cuts the first `bytes` off a listed free range; the rest.
    fn split_listed(&mut self, id: RangeId, bytes: u64) -> RangeId {
        self.unlist(id);
        let rest = self.ranges.split(id, bytes, State::Free(None));
        self.list(id);
        self.list(rest);
        rest
    }

    /// Gives pages of a hole memory: a free range of its own, listed.
    fn map_part(&mut self, hole: RangeId, fill: Pages) -> RangeId {
        let offset = fill.start - self.ranges[hole].start;
        let part = if offset > 0 { self.ranges.split(hole, offset, State::Hole) } else { hole };
        if self.ranges[part].bytes > fill.bytes {
            self.ranges.split(part, fill.bytes, State::Hole);
        }
        self.ranges[part].state = State::Free(None);
        self.mapped += fill.bytes;
        self.list(part);
        part
    }

    /// Takes so many bytes of wholly free pages: idle ones if there are enough.
    fn steal(&mut self, bytes: u64, provision: &mut Provision<U>) {
        let mut donors: Vec<Donor> = self.donors().collect();
        donors.sort_by_key(|donor| (donor.is_busy, donor.pages.bytes, donor.pages.start));
        let mut missing = bytes;
        for Donor { id, pages, .. } in donors {
            if missing == 0 {
                break;
            }
            let pages = pages.last(missing);
            let last_use = self.unmap_part(id, pages);
            provision.waits.extend(last_use.filter(|last_use| !last_use.is_over()));
            provision.unmap.push(pages);
            missing -= pages.bytes;
        }
    }

    /// Wholly free pages, in the order of addresses.
    fn donors(&self) -> impl Iterator<Item = Donor> {
        self.in_order().filter_map(|id| {
            let State::Free(last_use) = &self.ranges[id].state else { return None };
            let is_busy = last_use.as_ref().is_some_and(|last_use| !last_use.is_over());
            self.whole_pages(id).map(|pages| Donor { id, pages, is_busy })
        })
    }

    /// All ranges in the order of addresses.
    fn in_order(&self) -> impl Iterator<Item = RangeId> {
        std::iter::successors(Some(self.first), |id| self.ranges.next(*id))
    }

    fn is_in(&self, id: RangeId, site: &Site) -> bool {
        let all = self.ranges[site.first].start..self.ranges[site.last].end();
        all.contains(&self.ranges[id].start)
    }

    /// The pages that lie wholly in a range.
    fn whole_pages(&self, id: RangeId) -> Option<Pages> {
        let page = self.geometry.page;
        let range = &self.ranges[id];
        let (start, end) = (range.start.next_multiple_of(page), range.end() / page * page);
        (start < end).then(|| Pages { start, bytes: end - start })
    }

    /// Takes the memory of pages that lie in a free range: a hole is left. Returns who may still use
    /// them.
    fn unmap_part(&mut self, id: RangeId, pages: Pages) -> Option<U> {
        self.unlist(id);
        let last_use = self.take_last_use(id);
        let offset = pages.start - self.ranges[id].start;
        let hole = if offset > 0 {
            let hole = self.ranges.split(id, offset, State::Hole);
            self.ranges[id].state = State::Free(last_use.clone());
            self.list(id);
            hole
        } else {
            self.ranges[id].state = State::Hole;
            id
        };
        if self.ranges[hole].bytes > pages.bytes {
            let rest = self.ranges.split(hole, pages.bytes, State::Free(last_use.clone()));
            self.list(rest);
        }
        self.mapped -= pages.bytes;
        self.merge_holes(hole);
        last_use
    }

    fn merge_holes(&mut self, hole: RangeId) {
        let is_hole =
            |arena: &Self, id: Option<RangeId>| id.filter(|id| arena.ranges[*id].is_hole());
        if is_hole(self, self.ranges.next(hole)).is_some() {
            self.ranges.absorb_next(hole);
        }
        if let Some(previous) = is_hole(self, self.ranges.previous(hole)) {
            self.ranges.absorb_next(previous);
        }
    }

    /// Takes idle pages that are wholly free, the highest first, until at most `keep` bytes are
    /// mapped. They are to be unmapped.
    pub fn trim(&mut self, keep: u64) -> Vec<Pages> {
        self.merge_idle();
        let mut idle: Vec<Donor> = self.donors().filter(|donor| !donor.is_busy).collect();
        let mut unmap = Vec::new();
        while self.mapped > keep
            && let Some(Donor { id, pages, .. }) = idle.pop()
        {
            let excess = (self.mapped - keep).next_multiple_of(self.geometry.page);
            let pages = pages.last(excess);
            self.unmap_part(id, pages);
            unmap.push(pages);
        }
        unmap
    }
}

struct Donor {
    id: RangeId,
    pages: Pages,
    is_busy: bool,
}

fn at_once<U>(block: Block) -> Provision<U> {
    Provision { block, waits: Vec::new(), unmap: Vec::new(), map: None }
}

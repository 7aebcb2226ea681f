//! Where the next block comes from when nothing that is mapped and ready fits.
//!
//! Rare, and it may look at every range. It looks once at which uses are over (`merge_idle`), and goes
//! by that to its end: a use that ends meanwhile would make one step contradict another.

use super::ranges::{Range, RangeId, State};
use super::{Arena, Block, LastUse, Region, Terms};

/// A run of pages, in bytes from the arena's first address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pages {
    /// Where it begins.
    pub start: u64,
    /// How long it is.
    pub bytes: u64,
}

/// What may be done for a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manner {
    /// Wait for another stream rather than map much more than was ever in use.
    pub wait: bool,
    /// Move pages.
    pub remap: bool,
}

/// A block, and what has to happen before it may be used: first unmap, then map.
#[derive(Debug)]
#[must_use]
pub struct Provision {
    /// The block.
    pub block: Block,
    /// Pages that lose their memory. Nothing uses them.
    pub unmap: Vec<Pages>,
    /// Pages that get memory: as many as are unmapped, or more.
    pub map: Option<Pages>,
    /// What of these the block does not need. A block too, so that nobody has it before it is mapped; then
    /// it is to be freed.
    pub rest: Option<Block>,
}

impl Provision {
    /// A block that has memory as it is.
    fn of_mapped(block: Block) -> Self {
        Self { block, unmap: Vec::new(), map: None, rest: None }
    }
}

impl Pages {
    /// The last so many bytes of the run, or all of it.
    fn last(self, bytes: u64) -> Self {
        let bytes = bytes.min(self.bytes);
        Self { start: self.start + self.bytes - bytes, bytes }
    }
}

/// There is no such block within the limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoRoom<U> {
    /// There may be one, or a better one, once this use is over.
    Busy(U),
    /// Not while everybody keeps what they have.
    Full,
}

/// The most that is mapped ahead of need.
const MOST_HEADROOM: u64 = 64 << 20;

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

/// A block that is wanted.
#[derive(Debug)]
struct Wish<'a, U> {
    bytes: u64,
    region: Region,
    home: Option<&'a U>,
}

/// Free bytes next to a hole, and the ranges that they are in.
#[derive(Debug, Clone, Copy)]
struct Shore {
    end: RangeId,
    bytes: u64,
}

impl<U: LastUse> Arena<U> {
    /// A block of at least `bytes`, within `terms`; see the module for how.
    ///
    /// # Errors
    /// [`NoRoom`] if there is none, or somebody should be waited for first. Nothing has changed then.
    pub fn provide(
        &mut self,
        bytes: u64,
        terms: Terms,
        manner: Manner,
        home: Option<&U>,
    ) -> Result<Provision, NoRoom<U>> {
        let bytes = self.block_bytes(bytes).ok_or(NoRoom::Full)?;
        self.merge_idle();
        let tight = self.is_tight(bytes, terms);
        if let Some(range) = self.best_fit(bytes, tight, home) {
            return Ok(Provision::of_mapped(self.cut(range, bytes)));
        }
        if tight {
            match self.append(bytes, terms.limit, manner, home) {
                // More was promised than there is: then whatever there is helps.
                Err(NoRoom::Full) if manner.remap => {}
                appended => return appended,
            }
        }
        let wish = &Wish { bytes, region: self.geometry.region_of(bytes), home };
        if let Some(provision) = self.take_span(wish) {
            return Ok(provision);
        }
        let cheap = self.pages_below(terms.limit.min(self.roomy(bytes)));
        if let Some(site) = self.best_site(wish, cheap) {
            return Ok(self.fill(site, bytes));
        }
        if manner.wait
            && let Some(user) = self.user_of_best_span(wish)
        {
            return Err(NoRoom::Busy(user));
        }
        let new = self.pages_below(terms.limit);
        if let Some(site) = self.best_site(wish, new) {
            return Ok(self.fill(site, bytes));
        }
        if let Some(provision) = self.take_span(&Wish { region: wish.region.other(), ..*wish }) {
            return Ok(provision);
        }
        if manner.remap { self.remap(wish, new) } else { Err(self.no_room()) }
    }

    /// Neighbours that are ready and long enough together.
    fn take_span(&mut self, wish: &Wish<'_, U>) -> Option<Provision> {
        let good = |id| self.region_of(id) == wish.region && self.was_ready(id, wish.home);
        let (first, last) = self.best_span(wish.bytes, good)?;
        self.join(first, last, wish.bytes);
        Some(Provision::of_mapped(self.occupy(first)))
    }

    /// A block at the end of its region, where one lies after another without a gap: together they take
    /// no more whole pages than they are long, whatever their sizes are.
    fn append(
        &mut self,
        bytes: u64,
        limit: u64,
        manner: Manner,
        home: Option<&U>,
    ) -> Result<Provision, NoRoom<U>> {
        let holes = self.holes(self.geometry.region_of(bytes));
        let hole = holes.max_by_key(|id| self.ranges[*id].bytes).ok_or(NoRoom::Full)?;
        let free = |id: &RangeId| self.ranges[*id].is_free();
        let before = || self.back_from(hole).skip(1).take_while(free);
        if let Some(user) = before().find_map(|id| self.user(id, home)) {
            return Err(NoRoom::Busy(user));
        }
        let first = before().last().unwrap_or(hole);
        let Range { start, bytes: room, .. } = self.ranges[hole];
        if bytes > start + room - self.ranges[first].start {
            return Err(NoRoom::Full);
        }
        let end = self.ranges[first].start + bytes;
        let last = before().find(|id| self.ranges[*id].start < end && end <= start);
        if let Some(last) = last {
            self.join(first, last, bytes);
            return Ok(Provision::of_mapped(self.occupy(first)));
        }
        let fill = Pages { start, bytes: (end - start).next_multiple_of(self.geometry.page) };
        let site = Site { first, hole, last: hole, fill, at_end: false, room };
        let missing = fill.bytes.saturating_sub(self.pages_below(limit));
        if missing > 0 && (!manner.remap || missing > self.elsewhere(&site)) {
            return Err(self.no_room());
        }
        Ok(self.fill_from_elsewhere(site, bytes, missing))
    }

    /// Memory ahead of need: at most `bytes` of new pages, with at most `limit` bytes mapped. A block, so
    /// that nobody has it before it is mapped; then it is to be freed. None if there is no room.
    pub fn extend(&mut self, bytes: u64, limit: u64) -> Option<Provision> {
        let page = self.geometry.page;
        let bytes = bytes.checked_next_multiple_of(page)?.min(self.pages_below(limit));
        let site = self.bare_site(bytes, Region::Large).filter(|_| bytes > 0)?;
        let peak_live = self.peak_live;
        let provision = self.fill(site, bytes);
        self.peak_live = peak_live;
        Some(provision)
    }

    /// How much is to be mapped ahead now, in bytes, so that few have to wait for it: a sixteenth of what
    /// is mapped, at most 64 MiB, and never more than nobody would wait for.
    pub fn headroom(&self) -> u64 {
        let wanted = (self.mapped / 16).min(MOST_HEADROOM);
        let free = self.mapped - self.live;
        wanted.saturating_sub(free).min(self.roomy(0).saturating_sub(self.mapped))
    }

    /// Fills a hole with pages from elsewhere: the one that needs the fewest, or, if it would have
    /// to take them from where the block itself is to lie, one that has nothing around it. If its own region
    /// has none, one in the other.
    fn remap(&mut self, wish: &Wish<'_, U>, new: u64) -> Result<Provision, NoRoom<U>> {
        let missing = |site: &Site| site.fill.bytes.saturating_sub(new);
        let regions = [wish.region, wish.region.other()].into_iter();
        let mut sites = regions.flat_map(|region| {
            let nearest = self.best_site(&Wish { region, ..*wish }, u64::MAX);
            [nearest, self.bare_site(wish.bytes, region)].into_iter().flatten()
        });
        let site = sites.find(|site| missing(site) <= self.elsewhere(site));
        let site = site.ok_or_else(|| self.no_room())?;
        let missing = missing(&site);
        Ok(self.fill_from_elsewhere(site, wish.bytes, missing))
    }

    /// Fills a site with pages of which so many bytes have to come from elsewhere.
    fn fill_from_elsewhere(&mut self, site: Site, bytes: u64, missing: u64) -> Provision {
        let mut provision = self.fill(site, bytes);
        provision.unmap = self.take_pages(missing);
        provision
    }

    /// Bytes of idle pages that are wholly free, and not where the site is.
    fn elsewhere(&self, site: &Site) -> u64 {
        let site = self.ranges[site.first].start..self.ranges[site.last].end();
        let idle = self.idle_pages().filter(|(_, pages)| !site.contains(&pages.start));
        idle.map(|(_, pages)| pages.bytes).sum()
    }

    /// The tightest hole of a region that has room for all of a block.
    fn bare_site(&self, bytes: u64, region: Region) -> Option<Site> {
        let bytes = bytes.checked_next_multiple_of(self.geometry.page)?;
        let holes = self.holes(region).filter(|id| self.ranges[*id].bytes >= bytes);
        let hole = holes.min_by_key(|id| self.ranges[*id].bytes)?;
        let Range { start, bytes: room, .. } = self.ranges[hole];
        let fill = Pages { start, bytes };
        Some(Site { first: hole, hole, last: hole, fill, at_end: false, room })
    }

    fn no_room(&self) -> NoRoom<U> {
        let mut users = self.in_order().filter_map(|id| self.user(id, None));
        users.next().map_or(NoRoom::Full, NoRoom::Busy)
    }

    /// Who used a free range when it was looked at, so that the stream of `home` would have to wait.
    fn user(&self, id: RangeId, home: Option<&U>) -> Option<U> {
        let comes_after = |last_use: &U| home.is_some_and(|home| home.is_same_stream(last_use));
        self.last_use(id).filter(|last_use| !comes_after(last_use)).cloned()
    }

    /// Whether a range was free when it was looked at, and ready for the stream of `home`.
    fn was_ready(&self, id: RangeId, home: Option<&U>) -> bool {
        self.ranges[id].is_free() && self.user(id, home).is_none()
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

    /// Takes back a block whose pages could not be mapped. Parts of it may have been in use by the
    /// stream that it was for, up to `last_use`.
    pub fn cancel(&mut self, provision: Provision, last_use: Option<U>) {
        let Provision { block, map, rest, .. } = provision;
        self.live -= block.bytes();
        let mut whole = block.id;
        if let Some(rest) = rest {
            self.live -= rest.bytes();
            whole = if rest.start < block.start { rest.id } else { block.id };
            self.ranges.absorb_next(whole);
        }
        self.ranges[whole].state = State::Free(last_use);
        let range = self.settle(whole);
        if let Some(pages) = map {
            self.unmap_part(range, pages);
        }
    }

    /// Looks at every use, once, and merges what is as good as one.
    fn merge_idle(&mut self) {
        let all: Vec<RangeId> = self.in_order().collect();
        all.iter().for_each(|id| self.look(*id));
        let mut next = Some(self.first);
        while let Some(id) = next {
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
    fn best_site(&self, wish: &Wish<'_, U>, most: u64) -> Option<Site> {
        let sites = self.holes(wish.region).filter_map(|id| self.site(id, wish));
        sites.filter(|site| site.fill.bytes <= most).min_by_key(|site| (site.fill.bytes, site.room))
    }

    /// How a hole could be filled for a block, if it could; not if what is beside it is enough without it.
    fn site(&self, hole: RangeId, wish: &Wish<'_, U>) -> Option<Site> {
        let Wish { bytes, home, .. } = *wish;
        let before = self.shore(hole, bytes, |id| self.ranges.previous(id), home);
        let after = self.shore(hole, bytes, |id| self.ranges.next(id), home);
        let (start, room) = (self.ranges[hole].start, self.ranges[hole].bytes);
        let pages = |missing: u64| missing.next_multiple_of(self.geometry.page);
        let (low, high) =
            (pages(bytes.saturating_sub(before.bytes)), pages(bytes.saturating_sub(after.bytes)));
        if low == 0 || high == 0 {
            return None;
        }
        let site = |first, last, fill, at_end| Site { first, hole, last, fill, at_end, room };
        if low <= room && low <= high {
            return Some(site(before.end, hole, Pages { start, bytes: low }, false));
        }
        if high <= room {
            let fill = Pages { start: start + room - high, bytes: high };
            return Some(site(hole, after.end, fill, true));
        }
        let missing = bytes.checked_sub(before.bytes + room)?;
        let after = self.shore(hole, missing, |id| self.ranges.next(id), home);
        let fill = Pages { start, bytes: room };
        (after.bytes >= missing).then(|| site(before.end, after.end, fill, false))
    }

    /// The free bytes that lie in one direction of a hole, no more ranges of them than are needed.
    fn shore(
        &self,
        hole: RangeId,
        needed: u64,
        step: impl Fn(RangeId) -> Option<RangeId>,
        home: Option<&U>,
    ) -> Shore {
        let mut shore = Shore { end: hole, bytes: 0 };
        while shore.bytes < needed
            && let Some(id) = step(shore.end)
            && self.was_ready(id, home)
        {
            shore = Shore { end: id, bytes: shore.bytes + self.ranges[id].bytes };
        }
        shore
    }

    /// The shortest run of neighbours that are `good` and have so many bytes: its first and its last.
    fn best_span(&self, bytes: u64, good: impl Fn(RangeId) -> bool) -> Option<(RangeId, RangeId)> {
        let spans = self.in_order().filter_map(|first| {
            let mut sum = 0;
            let last = self.from(first).take_while(|id| good(*id)).find(|id| {
                sum += self.ranges[*id].bytes;
                sum >= bytes
            })?;
            Some((sum, first, last))
        });
        spans.min_by_key(|(sum, ..)| *sum).map(|(_, first, last)| (first, last))
    }

    /// Somebody who still uses the shortest run of free neighbours that a block would fit in.
    fn user_of_best_span(&self, wish: &Wish<'_, U>) -> Option<U> {
        let good = |id| self.region_of(id) == wish.region && self.ranges[id].is_free();
        let (first, last) = self.best_span(wish.bytes, good)?;
        let end = self.ranges[last].end();
        let mut span = self.from(first).take_while(|id| self.ranges[*id].start < end);
        span.find_map(|id| self.user(id, wish.home))
    }

    /// Makes one unlisted range out of listed free ones, `bytes` long; what is left of the last stays
    /// free.
    fn join(&mut self, first: RangeId, last: RangeId, bytes: u64) {
        let left = self.ranges[last].end() - self.ranges[first].start - bytes;
        let last_use = self.last_use(last).cloned();
        self.unlist(first);
        let mut joined = first;
        while joined != last {
            joined = self.ranges.next(first).expect("invariant: the last comes after the first");
            self.unlist(joined);
            self.ranges.absorb_next(first);
        }
        let whole = self.ranges[first].bytes;
        if left > 0 {
            let rest = self.ranges.split(first, whole - left, State::Free(last_use));
            self.list(rest);
        }
    }

    fn last_use(&self, id: RangeId) -> Option<&U> {
        match &self.ranges[id].state {
            State::Free(last_use) => last_use.as_ref(),
            _ => None,
        }
    }

    /// Fills a hole as planned and takes the block.
    fn fill(&mut self, site: Site, bytes: u64) -> Provision {
        let Site { first, hole, last, fill, at_end, .. } = site;
        let filled = self.map_part(hole, fill);
        let mut first = if first == hole { filled } else { first };
        let last = if last == hole { filled } else { last };
        let left = self.ranges[last].end() - self.ranges[first].start - bytes;
        if at_end && left > 0 {
            first = self.split_listed(first, left);
        }
        self.join(first, last, bytes);
        let rest = match at_end {
            _ if left == 0 => None,
            true => self.ranges.previous(first),
            false => self.ranges.next(first).filter(|_| last == filled),
        };
        let block = self.occupy(first);
        let rest = rest.map(|rest| self.set_aside(rest));
        Provision { block, unmap: Vec::new(), map: Some(fill), rest }
    }

    /// Takes a listed free range as a block that nobody uses.
    fn set_aside(&mut self, range: RangeId) -> Block {
        let peak_live = self.peak_live;
        self.unlist(range);
        let block = self.occupy(range);
        self.peak_live = peak_live;
        block
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

    /// Takes so many bytes of idle pages that are wholly free, out of the smallest ranges.
    fn take_pages(&mut self, bytes: u64) -> Vec<Pages> {
        let mut donors: Vec<(RangeId, Pages)> = self.idle_pages().collect();
        donors.sort_by_key(|(_, pages)| (pages.bytes, pages.start));
        let (mut unmap, mut missing) = (Vec::new(), bytes);
        for (id, pages) in donors {
            if missing == 0 {
                break;
            }
            let pages = pages.last(missing);
            self.unmap_part(id, pages);
            unmap.push(pages);
            missing -= pages.bytes;
        }
        unmap
    }

    /// Idle pages that are wholly free, in the order of addresses.
    fn idle_pages(&self) -> impl Iterator<Item = (RangeId, Pages)> {
        let idle = self.in_order().filter(|id| self.was_ready(*id, None));
        idle.filter_map(|id| self.whole_pages(id).map(|pages| (id, pages)))
    }

    /// All ranges in the order of addresses.
    pub(super) fn in_order(&self) -> impl Iterator<Item = RangeId> {
        self.from(self.first)
    }

    /// A range and those after it.
    fn from(&self, id: RangeId) -> impl Iterator<Item = RangeId> {
        std::iter::successors(Some(id), |id| self.ranges.next(*id))
    }

    /// A range and those before it.
    fn back_from(&self, id: RangeId) -> impl Iterator<Item = RangeId> {
        std::iter::successors(Some(id), |id| self.ranges.previous(*id))
    }

    /// The pages that lie wholly in a range.
    fn whole_pages(&self, id: RangeId) -> Option<Pages> {
        self.geometry.whole_pages(self.ranges[id].start, self.ranges[id].end())
    }

    /// The holes of a region.
    fn holes(&self, region: Region) -> impl Iterator<Item = RangeId> {
        self.in_order()
            .filter(move |id| self.ranges[*id].is_hole() && self.region_of(*id) == region)
    }

    fn region_of(&self, id: RangeId) -> Region {
        self.region(self.ranges[id].start)
    }

    /// Where free ranges lie side by side, whoever used them: from where to where.
    pub(super) fn free_runs(&self) -> impl Iterator<Item = (u64, u64)> {
        let mut ranges = self.in_order().peekable();
        std::iter::from_fn(move || {
            let first = ranges.by_ref().find(|id| self.ranges[*id].is_free())?;
            let mut last = first;
            while let Some(next) = ranges.next_if(|id| self.ranges[*id].is_free()) {
                last = next;
            }
            Some((self.ranges[first].start, self.ranges[last].end()))
        })
    }

    /// Takes the memory of pages that lie in a free range, and that nobody uses: a hole is left.
    fn unmap_part(&mut self, id: RangeId, pages: Pages) {
        self.unlist(id);
        let last_use = self.last_use(id).cloned();
        let (offset, mut hole) = (pages.start - self.ranges[id].start, id);
        if offset > 0 {
            hole = self.ranges.split(id, offset, State::Hole);
            self.list(id);
        }
        if self.ranges[hole].bytes > pages.bytes {
            let rest = self.ranges.split(hole, pages.bytes, State::Free(last_use));
            self.list(rest);
        }
        self.ranges[hole].state = State::Hole;
        self.mapped -= pages.bytes;
        self.merge_holes(hole);
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
        let mut idle: Vec<(RangeId, Pages)> = self.idle_pages().collect();
        let mut unmap = Vec::new();
        while self.mapped > keep
            && let Some((id, pages)) = idle.pop()
        {
            let excess = (self.mapped - keep).next_multiple_of(self.geometry.page);
            let pages = pages.last(excess);
            self.unmap_part(id, pages);
            unmap.push(pages);
        }
        unmap
    }
}

//! What lies where in a pool's addresses.

use super::arena::Geometry;

/// The most ranges that a [`MemoryMap`] lists. What goes beyond is counted.
pub const MOST_RANGES: usize = 32_768;

/// A map of the addresses of one kind of memory of one device. All numbers are bytes, or places in bytes from
/// the first address; where that is, is not told.
///
/// The arena is read at one moment, the magazines of streams just before: a block that goes from one to the other
/// in between may be told as in use while it is at hand, or the other way round.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct MemoryMap {
    /// All addresses.
    pub span: u64,
    /// What is mapped and unmapped at once.
    pub page: u64,
    /// Where the region of small blocks ends, if they have one: it begins at 0.
    pub border: Option<u64>,
    /// Leased now.
    pub live: u64,
    /// At hand in the magazines of streams.
    pub parked: u64,
    /// Free, but still used by work of a stream, and kept from others until that is over.
    pub quarantined: u64,
    /// Free for anybody.
    pub free: u64,
    /// Leased out of addresses that were lost with the device: not in these.
    pub lost: u64,
    /// What has memory, in the order of addresses; neighbours differ in what they are. Between them are
    /// addresses without memory. At most [`MOST_RANGES`], the first.
    pub ranges: Vec<MapRange>,
    /// How many ranges are left out because there are more. The sums above have them all.
    pub left_out: u64,
}

/// Addresses with memory, all in one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapRange {
    /// Where it begins.
    pub start: u64,
    /// How long it is.
    pub bytes: u64,
    /// What it is.
    pub state: RangeState,
}

/// What addresses with memory are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RangeState {
    /// Leased.
    Live,
    /// At hand in the magazine of a stream.
    Parked,
    /// Free, but a stream still uses it.
    Quarantined,
    /// Free.
    Free,
}

impl RangeState {
    /// `live`, `parked`, `quarantined` or `free`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Parked => "parked",
            Self::Quarantined => "quarantined",
            Self::Free => "free",
        }
    }
}

impl MapRange {
    /// The first address after it.
    pub fn end(&self) -> u64 {
        self.start + self.bytes
    }
}

impl MemoryMap {
    /// Of ranges in the order of addresses: neighbours of the same state become one.
    pub fn new(geometry: &Geometry, ranges: impl Iterator<Item = MapRange>) -> Self {
        let Geometry { page, span, .. } = *geometry;
        let mut map = Self { span, page, border: geometry.border(), ..Self::default() };
        let mut ranges = ranges.peekable();
        while let Some(mut range) = ranges.next() {
            let joins = |range: &MapRange, next: &MapRange| {
                next.state == range.state && next.start == range.end()
            };
            while let Some(next) = ranges.next_if(|next| joins(&range, next)) {
                range.bytes += next.bytes;
            }
            map.add(range);
        }
        map
    }

    fn add(&mut self, range: MapRange) {
        *match range.state {
            RangeState::Live => &mut self.live,
            RangeState::Parked => &mut self.parked,
            RangeState::Quarantined => &mut self.quarantined,
            RangeState::Free => &mut self.free,
        } += range.bytes;
        if self.ranges.len() < MOST_RANGES {
            self.ranges.push(range);
        } else {
            self.left_out += 1;
        }
    }

    /// Bytes with memory behind them.
    pub fn mapped(&self) -> u64 {
        self.live + self.parked + self.quarantined + self.free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GEOMETRY: Geometry = Geometry { page: 4096, grain: 512, span: 1 << 30 };

    fn range(start: u64, bytes: u64, state: RangeState) -> MapRange {
        MapRange { start, bytes, state }
    }

    #[test]
    fn neighbours_of_a_state_are_one_and_others_are_not() {
        use RangeState::{Free, Live};
        let ranges = [
            range(0, 512, Live),
            range(512, 512, Live),
            range(1024, 3072, Free),
            range(8192, 4096, Free),
        ];
        let map = MemoryMap::new(&GEOMETRY, ranges.into_iter());
        let joined = [range(0, 1024, Live), range(1024, 3072, Free), range(8192, 4096, Free)];
        assert_eq!((map.ranges.as_slice(), map.left_out), (&joined[..], 0));
        assert_eq!((map.live, map.free, map.mapped()), (1024, 7168, 8192));
        assert_eq!(map.border, Some(256 << 20));
    }

    #[test]
    fn what_is_too_much_is_counted_and_in_the_sums() {
        let ranges =
            (0..MOST_RANGES as u64 + 10).map(|number| range(number * 1024, 512, RangeState::Live));
        let map = MemoryMap::new(&GEOMETRY, ranges);
        assert_eq!((map.ranges.len(), map.left_out), (MOST_RANGES, 10));
        assert_eq!(map.live, (MOST_RANGES as u64 + 10) * 512);
    }
}

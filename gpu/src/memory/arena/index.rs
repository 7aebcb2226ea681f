//! Which free ranges there are of a size: lists by size class, found by bitmaps.
//!
//! Eight classes for each doubling, as in TLSF (Masmano et al., 2004) and in Aaltonen's
//! OffsetAllocator. Unlike there a search looks *within* the first class too, for the smallest range
//! that fits: rounding up to a class would waste what the class is wide.

use super::ranges::{Links, RangeId};

/// Classes for each doubling.
const STEPS: u32 = 8;
/// `log2` of [`STEPS`].
const STEP_BITS: u32 = STEPS.ilog2();
/// Sizes are counted in grains, and there are fewer than `2^48` of them.
const CLASSES: usize = (48 * STEPS) as usize;
const WORDS: usize = CLASSES.div_ceil(64);

/// Free ranges by size class.
#[derive(Debug)]
pub(super) struct Index {
    heads: Box<[RangeId; CLASSES]>,
    occupied: [u64; WORDS],
}

/// The class of a range of so many grains.
pub(in crate::memory) fn class(grains: u64) -> usize {
    let exponent = grains.max(1).ilog2();
    let class = match exponent.checked_sub(STEP_BITS) {
        // The first sizes have a class each.
        None => grains,
        Some(shift) => {
            let step = (grains >> shift) & u64::from(STEPS - 1);
            u64::from((shift + 1) * STEPS) + step
        }
    };
    (class as usize).min(CLASSES - 1)
}

impl Index {
    pub(super) fn new() -> Self {
        Self { heads: Box::new([RangeId::NONE; CLASSES]), occupied: [0; WORDS] }
    }

    /// Puts a range of so many grains first in its class.
    pub(super) fn insert(&mut self, links: &mut impl Links, range: RangeId, grains: u64) {
        let class = class(grains);
        let next = std::mem::replace(&mut self.heads[class], range);
        links.set_links(range, RangeId::NONE, next);
        if next != RangeId::NONE {
            links.set_previous(next, range);
        }
        self.occupied[class / 64] |= 1 << (class % 64);
    }

    /// Takes a range of so many grains out.
    pub(super) fn remove(&mut self, links: &mut impl Links, range: RangeId, grains: u64) {
        let class = class(grains);
        let (previous, next) = links.links(range);
        if next != RangeId::NONE {
            links.set_previous(next, previous);
        }
        if previous != RangeId::NONE {
            links.set_next(previous, next);
            return;
        }
        self.heads[class] = next;
        if next == RangeId::NONE {
            self.occupied[class / 64] &= !(1 << (class % 64));
        }
    }

    /// The first ranges of the classes that may have ranges of so many grains or more, smallest class
    /// first.
    pub(super) fn heads_from(&self, grains: u64) -> impl Iterator<Item = RangeId> {
        let first = class(grains);
        let (word, bit) = (first / 64, first % 64);
        let words = self.occupied.iter().enumerate().skip(word).map(move |(index, bits)| {
            (index, if index == word { bits & (!0 << bit) } else { *bits })
        });
        words.flat_map(move |(index, bits)| ones(bits).map(move |bit| self.heads[index * 64 + bit]))
    }
}

/// The places of the bits that are set, lowest first.
fn ones(mut bits: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = (bits != 0).then(|| bits.trailing_zeros() as usize)?;
        bits &= bits - 1;
        Some(bit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_in_the_order_of_sizes_and_an_eighth_wide() {
        let sizes: Vec<u64> = (1..4096).chain((12..48).map(|bit| (1 << bit) - 1)).collect();
        for pair in sizes.windows(2) {
            assert!(class(pair[0]) <= class(pair[1]), "{pair:?}");
        }
        for size in sizes {
            let wider = size + size.div_ceil(8);
            assert!(class(wider) > class(size) || size < 8, "{size}");
        }
        assert_eq!((0..9).map(class).collect::<Vec<_>>(), (0..9).collect::<Vec<_>>());
        assert_eq!(class(u64::MAX), CLASSES - 1);
    }
}

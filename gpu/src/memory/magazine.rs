//! Small blocks at hand: a stack for each size class, in front of a pool.
//!
//! Magazines are Bonwick's (2001): whoever owns one takes and puts blocks without a lock, and goes to
//! the pool for several at once. How many blocks come at a miss doubles with each miss of the class, so
//! that a size that is used once costs one block.

use super::arena::class;
use super::class::BlockSizes;

/// The largest block that is kept at hand, in bytes.
pub const LARGEST: u64 = 256 << 10;
/// The most that one stream keeps at hand of a pool, as a part of the pool's limit.
pub const PART_OF_LIMIT: u64 = 64;
/// The most that a class keeps.
const MOST_BLOCKS: u64 = 32;
const MOST_CLASS_BYTES: u64 = 1 << 20;
/// The most blocks that come at one miss.
const MOST_REFILL: usize = 8;

/// Blocks by size class, within bounds: 32 blocks and 1 MiB a class, and a number of bytes in all.
#[derive(Debug)]
pub struct Magazine<T> {
    grain_bits: u32,
    classes: Box<[Class<T>]>,
    bytes: u64,
    most: u64,
}

#[derive(Debug)]
struct Class<T> {
    blocks: Vec<T>,
    most: usize,
    refill: usize,
}

impl<T> Magazine<T> {
    /// An empty magazine for at most so many bytes.
    ///
    /// # Panics
    /// If the grain is no power of two.
    pub fn new(sizes: BlockSizes, most: u64) -> Self {
        assert!(sizes.grain.is_power_of_two(), "{sizes:?}");
        let grain_bits = sizes.grain.trailing_zeros();
        let mut classes: Vec<Class<T>> = Vec::new();
        for grains in 0..=LARGEST >> grain_bits {
            let bytes = (grains << grain_bits).max(1);
            let most = MOST_BLOCKS.min(MOST_CLASS_BYTES / bytes) as usize;
            if class(grains) == classes.len() {
                classes.push(Class { blocks: Vec::new(), most, refill: 0 });
            }
        }
        Self { grain_bits, classes: classes.into(), bytes: 0, most }
    }

    /// Bytes at hand.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether blocks of that size are kept at all.
    pub fn keeps(&self, block_bytes: u64) -> bool {
        block_bytes <= LARGEST.min(self.most)
    }

    fn class(&mut self, block_bytes: u64) -> Option<&mut Class<T>> {
        self.classes.get_mut(class(block_bytes >> self.grain_bits))
    }

    /// A block of that size, if there is one.
    pub fn take(&mut self, block_bytes: u64) -> Option<T> {
        if block_bytes > LARGEST {
            return None;
        }
        let block = self.class(block_bytes)?.blocks.pop()?;
        self.bytes -= block_bytes;
        Some(block)
    }

    /// A place for one more block of that size, if there is one.
    pub fn place(&mut self, block_bytes: u64) -> Option<Place<'_, T>> {
        let bytes = self.bytes.saturating_add(block_bytes);
        if block_bytes > LARGEST || bytes > self.most {
            return None;
        }
        let class = self.classes.get_mut(class(block_bytes >> self.grain_bits))?;
        let free = class.blocks.len() < class.most;
        free.then_some(Place { class: &mut class.blocks, bytes: &mut self.bytes, block_bytes })
    }

    /// How many blocks of that size are worth getting at a miss, beside the one that is wanted.
    pub fn refill(&mut self, block_bytes: u64) -> usize {
        if !self.keeps(block_bytes) {
            return 0;
        }
        let room = ((self.most - self.bytes) / block_bytes) as usize;
        let Some(class) = self.class(block_bytes) else { return 0 };
        let refill = class.refill;
        class.refill = (2 * refill).clamp(1, MOST_REFILL);
        refill.min(class.most / 2).min(room.saturating_sub(1))
    }

    /// Takes out the older half of a class that is full.
    pub fn half(&mut self, block_bytes: u64) -> Vec<T> {
        let Some(class) = self.class(block_bytes) else { return Vec::new() };
        let half: Vec<T> = class.blocks.drain(..class.blocks.len() / 2).collect();
        self.bytes -= block_bytes * half.len() as u64;
        half
    }

    /// Takes out everything.
    pub fn empty(&mut self) -> Vec<T> {
        self.bytes = 0;
        let blocks = self.classes.iter_mut().flat_map(|class| {
            class.refill = 0;
            std::mem::take(&mut class.blocks)
        });
        blocks.collect()
    }

    /// Everything in it.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.classes.iter().flat_map(|class| &class.blocks)
    }
}

/// A free place in a magazine.
#[derive(Debug)]
#[must_use = "nothing is kept until it is put there"]
pub struct Place<'a, T> {
    class: &'a mut Vec<T>,
    bytes: &'a mut u64,
    block_bytes: u64,
}

impl<T> Place<'_, T> {
    /// Keeps a block there.
    pub fn put(self, block: T) {
        *self.bytes += self.block_bytes;
        self.class.push(block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SIZES: BlockSizes = BlockSizes { grain: 512, classes_to: LARGEST, step: 32 << 10 };

    /// Puts a block if there is a place; whether there was.
    fn put<T>(magazine: &mut Magazine<T>, bytes: u64, block: T) -> bool {
        magazine.place(bytes).map(|place| place.put(block)).is_some()
    }

    #[test]
    fn each_size_class_has_its_own_stack() {
        let mut magazine = Magazine::new(SIZES, u64::MAX);
        let mut sizes: Vec<u64> = (1..=LARGEST as usize)
            .step_by(512)
            .map(|b| SIZES.block_bytes(b).unwrap() as u64)
            .collect();
        sizes.dedup();
        assert!(sizes.iter().all(|bytes| put(&mut magazine, *bytes, *bytes)));
        assert_eq!(sizes.len(), magazine.iter().count());
        assert!(sizes.iter().all(|bytes| magazine.take(*bytes) == Some(*bytes)));
        assert_eq!((magazine.bytes(), magazine.take(LARGEST + 512)), (0, None));
    }

    #[test]
    fn bounds_are_kept_and_halves_are_the_older_ones() {
        let mut magazine = Magazine::new(SIZES, 3 * LARGEST);
        for number in 0..32 {
            assert!(put(&mut magazine, 512, number));
        }
        assert!(!put(&mut magazine, 512, 32), "32 blocks of a class");
        assert_eq!(magazine.half(512), (0..16).collect::<Vec<_>>());
        assert!(put(&mut magazine, LARGEST, 1) && put(&mut magazine, LARGEST, 2));
        assert!(!put(&mut magazine, LARGEST, 3), "no more bytes in all");
        assert!(!put(&mut magazine, LARGEST + 512, 4), "too large");
        assert_eq!(magazine.empty().len(), 18);
        assert_eq!(magazine.bytes(), 0);
    }

    #[test]
    fn a_class_that_misses_again_is_given_more() {
        let mut magazine = Magazine::<()>::new(SIZES, 1 << 20);
        let refills: Vec<usize> = (0..6).map(|_| magazine.refill(4096)).collect();
        assert_eq!(refills, [0, 1, 2, 4, 8, 8]);
        assert_eq!(magazine.refill(LARGEST + 1), 0);
        let large: Vec<usize> = (0..4).map(|_| magazine.refill(LARGEST)).collect();
        assert_eq!(large, [0, 1, 2, 2], "half of what a class may have");
    }

    proptest! {
        #[test]
        fn a_magazine_is_a_bounded_stack_a_class(steps in prop::collection::vec((1usize..300_000, any::<bool>()), 0..400)) {
            let mut magazine = Magazine::new(SIZES, 1 << 20);
            let mut held: Vec<(u64, usize)> = Vec::new();
            for (number, (bytes, comes)) in steps.into_iter().enumerate() {
                let bytes = SIZES.block_bytes(bytes).unwrap() as u64;
                if comes {
                    if put(&mut magazine, bytes, number) {
                        held.push((bytes, number));
                    }
                } else {
                    let newest = held.iter().rposition(|block| block.0 == bytes);
                    prop_assert_eq!(magazine.take(bytes), newest.map(|index| held.remove(index).1));
                }
                let sum: u64 = held.iter().map(|block| block.0).sum();
                prop_assert_eq!(magazine.bytes(), sum);
                prop_assert!(sum <= 1 << 20 && magazine.iter().count() == held.len());
            }
        }
    }
}

//! How large blocks are.
//!
//! Small ones, and all where blocks are not split, are of size classes, eight for each doubling: at most
//! an eighth of a block is not asked for, and one that was given back serves many sizes. Others are
//! multiples of a step.

use super::arena::Geometry;
use super::magazine::LARGEST;

/// The smallest block where blocks are not whole pages, in bytes; it aligns any element.
pub const GRAIN: u64 = 512;

/// How many blocks a request may take out of one declaration, and be sure of them.
const BLOCKS: u64 = 128;

/// How large the blocks of a pool are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockSizes {
    /// What every block is a multiple of, in bytes; a power of two.
    pub grain: u64,
    /// The largest block of a size class, in bytes; itself the size of one.
    pub classes_to: u64,
    /// What every larger one is a multiple of, in bytes: a power of two, at most an eighth of
    /// [`Self::classes_to`].
    pub step: u64,
}

impl BlockSizes {
    /// Those of an arena. Where blocks share pages the larger ones come in steps too: then one that is a little
    /// larger than the one that it replaces often finds room where that was.
    pub fn of_arena(geometry: &Geometry) -> Self {
        let Geometry { page, grain, .. } = *geometry;
        let step = if grain < page { LARGEST / 8 } else { grain };
        Self { grain, classes_to: LARGEST, step }
    }

    /// Size classes throughout.
    pub const fn classes(grain: u64) -> Self {
        Self { grain, classes_to: u64::MAX, step: grain }
    }

    /// The size of the block that serves an allocation of `bytes`, or `None` beyond the address space.
    ///
    /// Zero bytes get a block too: every lease has an address of its own.
    pub fn block_bytes(self, bytes: usize) -> Option<usize> {
        let bytes = bytes.max(1) as u64;
        let step = match bytes <= self.classes_to {
            true => (bytes.checked_next_power_of_two()? / 16).max(self.grain),
            false => self.step,
        };
        // Steps are powers of two: masks do it, and dividing would take longer than all the rest.
        let block = bytes.checked_add(step - 1)? & !(step - 1);
        usize::try_from(block).ok()
    }

    /// What is committed for a request that declares `bytes`: as much as up to 128 blocks for them may
    /// take together, whatever is lost by rounding. Zero stays zero; the sum saturates.
    pub fn reservation_bytes(self, bytes: u64) -> u64 {
        let to_classes = (bytes / 8).min(self.classes_to.saturating_mul(BLOCKS / 8));
        let rounding = to_classes + BLOCKS * self.grain;
        if bytes == 0 { 0 } else { bytes.saturating_add(rounding) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CLASSES: BlockSizes = BlockSizes::classes(GRAIN);
    const SIZES: [BlockSizes; 3] = [
        CLASSES,
        BlockSizes { grain: GRAIN, classes_to: 256 << 10, step: 32 << 10 },
        BlockSizes { grain: 4096, classes_to: 256 << 10, step: 4096 },
    ];

    #[test]
    fn small_sizes_have_the_classes_expected() {
        let classes = [0, 1, 512, 513, 4096, 4097, 8192, 9000, 1 << 20, (1 << 20) + 1];
        let expected =
            [512, 512, 512, 1024, 4096, 4608, 8192, 9216, 1 << 20, (1 << 20) + (1 << 17)];
        assert_eq!(classes.map(|bytes| CLASSES.block_bytes(bytes).unwrap()), expected);
    }

    #[test]
    fn sizes_beyond_the_address_space_have_none() {
        for sizes in SIZES {
            assert_eq!(sizes.block_bytes(usize::MAX), None);
            assert_eq!(sizes.reservation_bytes(u64::MAX), u64::MAX);
            assert_eq!(sizes.reservation_bytes(0), 0);
            assert_eq!(sizes.block_bytes(0), sizes.block_bytes(1));
        }
    }

    proptest! {
        #[test]
        fn a_block_fits_wastes_at_most_an_eighth_and_is_its_own_block(bytes in 1usize..1 << 40) {
            for sizes in SIZES {
                let block = sizes.block_bytes(bytes).unwrap();
                prop_assert!(block >= bytes && (block as u64).is_multiple_of(sizes.grain));
                let waste = (block - bytes) as u64;
                prop_assert!(waste < sizes.grain || waste <= bytes as u64 / 8, "{bytes}: {waste}");
                prop_assert!(block as u64 <= sizes.classes_to || waste < sizes.step, "{bytes}: {waste}");
                prop_assert_eq!(sizes.block_bytes(block), Some(block));
            }
        }

        #[test]
        fn what_is_committed_covers_every_split(parts in prop::collection::vec(0usize..1 << 24, 1..128)) {
            let declared: u64 = parts.iter().map(|part| *part as u64).sum();
            prop_assume!(declared > 0);
            for sizes in SIZES {
                let blocks = parts.iter().map(|part| sizes.block_bytes(*part).unwrap() as u64);
                prop_assert!(blocks.sum::<u64>() <= sizes.reservation_bytes(declared));
            }
        }
    }
}

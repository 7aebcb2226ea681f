//! How large blocks are.
//!
//! In an arena they are multiples of a grain. Where blocks are not split they are of size classes, eight
//! for each doubling, so that at most an eighth of a block is not asked for.

/// The smallest block, in bytes; every block is a multiple of it, which aligns any element.
const GRAIN: usize = 512;

/// How many blocks a request may take out of one declaration, and be sure of them.
const BLOCKS: u64 = 128;

/// The size of the block that serves an allocation of `bytes`, or `None` beyond the address space.
///
/// Zero bytes get a block too: every lease has an address of its own.
pub fn class_bytes(bytes: usize) -> Option<usize> {
    let doubling = bytes.max(1).checked_next_power_of_two()?;
    let step = (doubling / 16).max(GRAIN);
    bytes.max(1).checked_next_multiple_of(step)
}

/// How large the blocks of a pool are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockSizes {
    /// Size classes: [`class_bytes`].
    Classes,
    /// Multiples of a grain.
    Grains {
        /// The grain, in bytes.
        bytes: u64,
    },
}

impl BlockSizes {
    /// The size of the block that serves an allocation of `bytes`, or `None` beyond the address space.
    ///
    /// Zero bytes get a block too: every lease has an address of its own.
    pub fn block_bytes(self, bytes: usize) -> Option<usize> {
        match self {
            Self::Classes => class_bytes(bytes),
            Self::Grains { bytes: grain } => {
                bytes.max(1).checked_next_multiple_of(usize::try_from(grain).ok()?)
            }
        }
    }

    /// What is committed for a request that declares `bytes`: as much as up to 128 blocks for them may
    /// take together, whatever is lost by rounding. Zero stays zero; the sum saturates.
    pub fn reservation_bytes(self, bytes: u64) -> u64 {
        let rounding = match self {
            Self::Classes => bytes / 8 + BLOCKS * GRAIN as u64,
            Self::Grains { bytes: grain } => BLOCKS * grain,
        };
        if bytes == 0 { 0 } else { bytes.saturating_add(rounding) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SIZES: [BlockSizes; 2] = [BlockSizes::Classes, BlockSizes::Grains { bytes: 4096 }];

    #[test]
    fn small_sizes_have_the_classes_expected() {
        let classes = [0, 1, 512, 513, 4096, 4097, 8192, 9000, 1 << 20, (1 << 20) + 1];
        let expected =
            [512, 512, 512, 1024, 4096, 4608, 8192, 9216, 1 << 20, (1 << 20) + (1 << 17)];
        assert_eq!(classes.map(|bytes| class_bytes(bytes).unwrap()), expected);
    }

    #[test]
    fn sizes_beyond_the_address_space_have_none() {
        assert_eq!(class_bytes(usize::MAX), None);
        for sizes in SIZES {
            assert_eq!(sizes.block_bytes(usize::MAX), None);
            assert_eq!(sizes.reservation_bytes(u64::MAX), u64::MAX);
            assert_eq!(sizes.reservation_bytes(0), 0);
            assert_eq!(sizes.block_bytes(0), sizes.block_bytes(1));
        }
    }

    proptest! {
        #[test]
        fn a_class_fits_and_wastes_at_most_an_eighth(bytes in 1usize..1 << 40) {
            let class = class_bytes(bytes).unwrap();
            prop_assert!(class >= bytes);
            prop_assert!(class - bytes < GRAIN || (class - bytes) as u128 * 8 <= bytes as u128);
            prop_assert_eq!(class_bytes(class).unwrap(), class, "a class is its own class");
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

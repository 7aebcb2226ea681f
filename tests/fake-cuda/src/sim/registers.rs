//! The registers of one warp in one function: a row of 32 lanes for each PTX register.
//!
//! An instruction is decoded once and then works on whole rows, in loops that the compiler turns
//! into vector instructions. Constants are rows too, so an operand is always just a row number.

/// The lanes of a warp.
pub(crate) const LANES: usize = 32;

/// A set of lanes, one bit each.
pub(crate) type Mask = u32;

/// Every lane.
pub(crate) const ALL: Mask = Mask::MAX;

/// The lanes of `mask`, from the lowest.
pub(crate) fn lanes(mask: Mask) -> impl Iterator<Item = usize> {
    let mut rest = mask;
    std::iter::from_fn(move || {
        let lane = rest.trailing_zeros();
        rest &= rest.wrapping_sub(1);
        (lane < Mask::BITS).then_some(lane as usize)
    })
}

/// The number of a row, in the file of its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Row(pub(crate) u16);

impl Row {
    fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// The four register files.
#[derive(Debug, Clone, Default)]
pub(crate) struct Registers {
    pub(crate) predicates: Vec<Mask>,
    pub(crate) halves: Vec<[u16; LANES]>,
    pub(crate) words: Vec<[u32; LANES]>,
    pub(crate) longs: Vec<[u64; LANES]>,
}

impl Registers {
    pub(crate) fn predicate(&self, row: Row) -> Mask {
        self.predicates[row.index()]
    }

    /// Sets the predicate of the lanes in `mask`, and of no other.
    pub(crate) fn set_predicate(&mut self, mask: Mask, row: Row, value: Mask) {
        let old = &mut self.predicates[row.index()];
        *old = *old & !mask | value & mask;
    }

    pub(crate) fn word(&self, row: Row) -> &[u32; LANES] {
        &self.words[row.index()]
    }

    pub(crate) fn long(&self, row: Row) -> &[u64; LANES] {
        &self.longs[row.index()]
    }

    /// Writes the lanes of `mask`, and no other.
    #[inline(always)]
    pub(crate) fn set<T: Lane>(&mut self, mask: Mask, row: Row, values: &[T; LANES]) {
        let row = T::row_mut(self, row);
        if mask == ALL {
            for lane in 0..LANES {
                row[lane] = values[lane].bits();
            }
        } else {
            for lane in 0..LANES {
                if mask >> lane & 1 != 0 {
                    row[lane] = values[lane].bits();
                }
            }
        }
    }

    #[inline(always)]
    pub(crate) fn get<T: Lane>(&self, row: Row, lane: usize) -> T {
        T::of(T::row(self, row)[lane])
    }

    #[inline(always)]
    pub(crate) fn put<T: Lane>(&mut self, row: Row, lane: usize, value: T) {
        T::row_mut(self, row)[lane] = value.bits();
    }

    /// A row as values of `T`.
    #[inline(always)]
    pub(crate) fn values<T: Lane + Default>(&self, row: Row) -> [T; LANES] {
        each(T::row(self, row), T::of)
    }
}

/// `f` of every lane. (The array's own `map` is compiled badly for so many elements.)
#[inline(always)]
pub(crate) fn each<T: Copy, U: Copy + Default>(
    values: &[T; LANES],
    f: impl Fn(T) -> U,
) -> [U; LANES] {
    each_lane(|lane| f(values[lane]))
}

/// `f` of every lane's number.
#[inline(always)]
pub(crate) fn each_lane<U: Copy + Default>(f: impl Fn(usize) -> U) -> [U; LANES] {
    let mut out = [U::default(); LANES];
    for lane in 0..LANES {
        out[lane] = f(lane);
    }
    out
}

/// All bits, if the lane is in `mask`.
#[inline(always)]
fn lane_bits(mask: Mask, lane: usize) -> u64 {
    u64::from(mask >> lane & 1).wrapping_neg()
}

/// Whether every lane of `mask` has an offset that is at most `last` (which is no negative number)
/// and a multiple of `bytes`, a power of two.
#[inline(always)]
pub(crate) fn all_within(mask: Mask, offsets: &[u64; LANES], last: u64, bytes: u64) -> bool {
    // what must not be: the sign bit of `last - offset` or of `offset`, or the low bits of `offset`
    let sign = 1 << 63;
    let wrong = |offset: u64| (last.wrapping_sub(offset) | offset) & sign | offset & (bytes - 1);
    let mut any = 0;
    if mask == ALL {
        for offset in offsets {
            any |= wrong(*offset);
        }
    } else {
        for (lane, offset) in offsets.iter().enumerate() {
            any |= wrong(*offset) & lane_bits(mask, lane);
        }
    }
    any == 0
}

/// A type that a row's lanes can be read as. Signed, unsigned and float share a file by size.
pub(crate) trait Lane: Copy {
    type Bits: Copy;
    fn bits(self) -> Self::Bits;
    fn of(bits: Self::Bits) -> Self;
    fn row(registers: &Registers, row: Row) -> &[Self::Bits; LANES];
    fn row_mut(registers: &mut Registers, row: Row) -> &mut [Self::Bits; LANES];
}

macro_rules! lane {
    ($($ty:ty, $bits:ty, $file:ident, $to:expr, $from:expr;)*) => { $(
        impl Lane for $ty {
            type Bits = $bits;
            #[inline(always)]
            fn bits(self) -> $bits {
                let to: fn($ty) -> $bits = $to;
                to(self)
            }
            #[inline(always)]
            fn of(bits: $bits) -> Self {
                let from: fn($bits) -> $ty = $from;
                from(bits)
            }
            #[inline(always)]
            fn row(registers: &Registers, row: Row) -> &[$bits; LANES] {
                &registers.$file[row.index()]
            }
            #[inline(always)]
            fn row_mut(registers: &mut Registers, row: Row) -> &mut [$bits; LANES] {
                &mut registers.$file[row.index()]
            }
        }
    )* };
}

/// An IEEE half, as its bits: the host has no arithmetic for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Half(pub(crate) u16);

lane! {
    u16, u16, halves, |x| x, |x| x;
    i16, u16, halves, i16::cast_unsigned, u16::cast_signed;
    Half, u16, halves, |x| x.0, Half;
    u32, u32, words, |x| x, |x| x;
    i32, u32, words, i32::cast_unsigned, u32::cast_signed;
    f32, u32, words, f32::to_bits, f32::from_bits;
    u64, u64, longs, |x| x, |x| x;
    i64, u64, longs, i64::cast_unsigned, u64::cast_signed;
    f64, u64, longs, f64::to_bits, f64::from_bits;
}

/// Applies `f` to one row. All lanes are computed, those of `mask` written: `f` must be cheap, and
/// total.
#[inline(always)]
pub(crate) fn map1<A: Lane, D: Lane + Default>(
    registers: &mut Registers,
    mask: Mask,
    [d, a]: [Row; 2],
    f: impl Fn(A) -> D,
) {
    let a = A::row(registers, a);
    let out: [D; LANES] = each_lane(|i| f(A::of(a[i])));
    registers.set(mask, d, &out);
}

/// Applies `f` to two rows, as [`map1`].
#[inline(always)]
pub(crate) fn map2<A: Lane, B: Lane, D: Lane + Default>(
    registers: &mut Registers,
    mask: Mask,
    [d, a, b]: [Row; 3],
    f: impl Fn(A, B) -> D,
) {
    let (a, b) = (A::row(registers, a), B::row(registers, b));
    let out: [D; LANES] = each_lane(|i| f(A::of(a[i]), B::of(b[i])));
    registers.set(mask, d, &out);
}

/// Applies `f` to three rows, as [`map1`].
#[inline(always)]
pub(crate) fn map3<A: Lane, B: Lane, C: Lane, D: Lane + Default>(
    registers: &mut Registers,
    mask: Mask,
    [d, a, b, c]: [Row; 4],
    f: impl Fn(A, B, C) -> D,
) {
    let (a, b, c) = (A::row(registers, a), B::row(registers, b), C::row(registers, c));
    let out: [D; LANES] = each_lane(|i| f(A::of(a[i]), B::of(b[i]), C::of(c[i])));
    registers.set(mask, d, &out);
}

/// The lanes of two rows for which `f` holds.
#[inline(always)]
pub(crate) fn test2<A: Lane, B: Lane>(
    registers: &Registers,
    [a, b]: [Row; 2],
    f: impl Fn(A, B) -> bool,
) -> Mask {
    let (a, b) = (A::row(registers, a), B::row(registers, b));
    let mut holds = 0;
    for lane in 0..LANES {
        holds |= Mask::from(f(A::of(a[lane]), B::of(b[lane]))) << lane;
    }
    holds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_come_in_order() {
        assert_eq!(lanes(0).count(), 0);
        assert_eq!(lanes(1 << 31 | 0b101).collect::<Vec<_>>(), [0, 2, 31]);
        assert_eq!(lanes(ALL).count(), LANES);
    }

    #[test]
    fn offsets_are_within_or_not() {
        let mut offsets = [0; LANES];
        for (offset, within) in
            [(0, true), (96, true), (100, false), (2, false), (u64::MAX, false), (1 << 63, false)]
        {
            offsets[7] = offset;
            assert_eq!(all_within(ALL, &offsets, 96, 4), within, "{offset}");
            assert_eq!(all_within(1 << 7, &offsets, 96, 4), within, "{offset}");
            assert!(all_within(!(1 << 7), &offsets, 96, 4));
        }
    }

    #[test]
    fn only_the_lanes_of_the_mask_are_written() {
        let mut registers = Registers {
            words: vec![[7; LANES], [1; LANES]],
            predicates: vec![0b1111],
            ..Registers::default()
        };
        map2(&mut registers, 0b10, [Row(0), Row(0), Row(1)], |a: u32, b: u32| a + b);
        assert_eq!(registers.words[0][..3], [7, 8, 7]);
        registers.set_predicate(0b0110, Row(0), 0b0010);
        assert_eq!(registers.predicate(Row(0)), 0b1011);
        assert_eq!(test2(&registers, [Row(0), Row(1)], |a: u32, b: u32| a == b + 7), 0b10);
    }
}

//! The instructions that work on bits: counts, permutes, funnel shifts, carries, packed products.

use multiversion::multiversion;

use super::registers::{LANES, Lane, Mask, Registers, Row, each, lanes, map1, map2, map3};

/// Counts and searches: from a value of 32 or 64 bits to a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    Ones,
    LeadingZeros,
    /// The highest one's position, or all ones if there is none.
    Highest,
    /// The shift that would bring the highest one to the top.
    HighestShift,
}

/// What a [`Count`] counts in. Of a negative signed number the zeros are searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    U32,
    S32,
    U64,
    S64,
}

pub(crate) fn count(
    registers: &mut Registers,
    mask: Mask,
    (count, of): (Count, Counted),
    rows: [Row; 2],
) {
    match of {
        Counted::U32 => map1(registers, mask, rows, |a: u32| counted(count, a.into(), 32)),
        Counted::U64 => map1(registers, mask, rows, |a: u64| counted(count, a, 64)),
        Counted::S32 => {
            map1(registers, mask, rows, |a: i32| {
                counted(count, (a ^ a >> 31).cast_unsigned().into(), 32)
            });
        }
        Counted::S64 => {
            map1(registers, mask, rows, |a: i64| counted(count, (a ^ a >> 63).cast_unsigned(), 64));
        }
    }
}

fn counted(count: Count, value: u64, bits: u32) -> u32 {
    let zeros = value.leading_zeros() + bits - 64;
    match count {
        Count::Ones => value.count_ones(),
        Count::LeadingZeros => zeros,
        Count::Highest => (bits - 1).wrapping_sub(zeros) | if value == 0 { !0 } else { 0 },
        Count::HighestShift => zeros | if value == 0 { !0 } else { 0 },
    }
}

/// Operations of three words and a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WordOperation {
    /// Four of the eight bytes of `b:a`, chosen by the digits of `c`.
    Permute(Permute),
    FunnelLeft {
        clamp: bool,
    },
    FunnelRight {
        clamp: bool,
    },
    /// Any function of three bits, by its truth table.
    Logic(u8),
    /// The low 24 bits of each factor; `high` takes bits 16 to 47 of the product. Then `c` is added.
    Multiply24 {
        signed: bool,
        high: bool,
    },
    /// The dot product of four bytes, plus `c`.
    Dot4 {
        signed: [bool; 2],
    },
}

/// The modes of `prmt`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permute {
    Bytes,
    Forward4,
    Backward4,
    Replicate8,
    EdgeLeft,
    EdgeRight,
    Replicate16,
}

#[multiversion(targets("x86_64+avx2+bmi1+bmi2+fma+lzcnt+popcnt"))]
pub(crate) fn words(
    registers: &mut Registers,
    mask: Mask,
    operation: WordOperation,
    rows: [Row; 4],
) {
    match operation {
        WordOperation::Permute(mode) => {
            map3(registers, mask, rows, |a, b, c| permute(mode, a, b, c));
        }
        WordOperation::FunnelLeft { clamp } => {
            map3(registers, mask, rows, |a, b, c| (funnel(a, b) << amount(c, clamp) >> 32) as u32);
        }
        WordOperation::FunnelRight { clamp } => {
            map3(registers, mask, rows, |a, b, c| (funnel(a, b) >> amount(c, clamp)) as u32);
        }
        WordOperation::Logic(table) => {
            map3(registers, mask, rows, |a, b, c| logic(table, a, b, c));
        }
        WordOperation::Multiply24 { signed, high } => {
            map3(registers, mask, rows, |a, b, c: u32| {
                multiply24(a, b, (signed, high)).wrapping_add(c)
            });
        }
        WordOperation::Dot4 { signed } => {
            map3(registers, mask, rows, |a, b, c| dot4(a, b, c, signed));
        }
    }
}

fn funnel(low: u32, high: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

fn amount(count: u32, clamp: bool) -> u32 {
    if clamp { count.min(32) } else { count & 31 }
}

fn logic(table: u8, a: u32, b: u32, c: u32) -> u32 {
    let minterm = |i: u32| {
        let pick = |value: u32, bit: u32| if i >> bit & 1 != 0 { value } else { !value };
        pick(a, 2) & pick(b, 1) & pick(c, 0)
    };
    (0..8).filter(|i| table >> i & 1 != 0).fold(0, |all, i| all | minterm(i))
}

fn multiply24(a: u32, b: u32, (signed, high): (bool, bool)) -> u32 {
    let factor = |x: u32| {
        if signed { i64::from((x << 8).cast_signed() >> 8) } else { i64::from(x & 0xff_ffff) }
    };
    (factor(a) * factor(b) >> if high { 16 } else { 0 }) as u32
}

fn dot4(a: u32, b: u32, c: u32, signed: [bool; 2]) -> u32 {
    let byte = |x: u32, i: usize, signed: bool| {
        let byte = x.to_le_bytes()[i];
        if signed { i32::from(byte.cast_signed()) } else { i32::from(byte) }
    };
    (0..4).fold(c, |sum, i| {
        sum.wrapping_add((byte(a, i, signed[0]) * byte(b, i, signed[1])).cast_unsigned())
    })
}

fn permute(mode: Permute, a: u32, b: u32, c: u32) -> u32 {
    let bytes = funnel(a, b).to_le_bytes();
    let chosen: [usize; 4] = std::array::from_fn(|i| {
        let step = (c & 3) as usize;
        match mode {
            Permute::Bytes => (c >> (4 * i) & 15) as usize,
            Permute::Forward4 => step + i,
            Permute::Backward4 => (step + 8 - i) & 7,
            Permute::Replicate8 => step,
            Permute::EdgeLeft => step.max(i),
            Permute::EdgeRight => step.min(i),
            Permute::Replicate16 => 2 * (step & 1) + (i & 1),
        }
    });
    u32::from_le_bytes(chosen.map(|at| {
        let byte = bytes[at & 7];
        // (the digit's top bit asks for the byte's sign, eight times)
        if mode == Permute::Bytes && at & 8 != 0 { 0u8.wrapping_sub(byte >> 7) } else { byte }
    }))
}

/// `bfi`: the low `d` bits of `a` replace those of `b` from bit `c` on, in a word or a long.
pub(crate) fn insert_field(registers: &mut Registers, mask: Mask, long: bool, rows: [Row; 5]) {
    let [to, a, b, position, length] = rows;
    for lane in lanes(mask) {
        let position = registers.get::<u32>(position, lane) & 255;
        let length = registers.get::<u32>(length, lane) & 255;
        if long {
            let (a, b) = (registers.get(a, lane), registers.get(b, lane));
            registers.put(to, lane, inserted(a, b, position, length) as u64);
        } else {
            let (a, b) = (registers.get::<u32>(a, lane), registers.get::<u32>(b, lane));
            registers.put(to, lane, inserted(a.into(), b.into(), position, length) as u32);
        }
    }
}

fn inserted(a: u64, b: u64, position: u32, length: u32) -> u128 {
    let field = 1u128.checked_shl(length).map_or(u128::MAX, |bit| bit - 1);
    let place = |bits: u128| bits.checked_shl(position).unwrap_or(0);
    u128::from(b) & !place(field) | place(u128::from(a) & field)
}

/// The carrying instructions: `add.cc`, `addc`, `sub.cc`, `subc` and the sums of `mad.cc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Carry {
    pub(crate) subtract: bool,
    pub(crate) carry_in: bool,
    pub(crate) carry_out: bool,
}

/// `d = a + b + carry`; the carry is a predicate of the frame.
pub(crate) fn carry(
    registers: &mut Registers,
    mask: Mask,
    (operation, long): (Carry, bool),
    [d, a, b, flag]: [Row; 4],
) {
    let flags = registers.predicate(flag);
    let coming = if operation.carry_in { flags } else { 0 };
    let going = if long {
        carried::<u64>(registers, mask, (operation.subtract, coming), [d, a, b])
    } else {
        carried::<u32>(registers, mask, (operation.subtract, coming), [d, a, b])
    };
    if operation.carry_out {
        registers.set_predicate(mask, flag, going);
    }
}

fn carried<T: Lane + Into<u128> + TryFrom<u128>>(
    registers: &mut Registers,
    mask: Mask,
    (subtract, coming): (bool, Mask),
    [d, a, b]: [Row; 3],
) -> Mask {
    let bits = 8 * size_of::<T>();
    let all = u128::MAX >> (128 - bits);
    let mut going = 0;
    for lane in lanes(mask) {
        let a: u128 = registers.get::<T>(a, lane).into();
        let b: u128 = registers.get::<T>(b, lane).into();
        let carry = u128::from(coming >> lane & 1);
        let sum = if subtract { a.wrapping_sub(b).wrapping_sub(carry) } else { a + b + carry };
        going |= Mask::from(sum >> bits & 1 != 0) << lane;
        if let Ok(low) = T::try_from(sum & all) {
            registers.put(d, lane, low);
        }
    }
    going
}

/// The products that are twice as wide as their factors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wide {
    U16,
    S16,
    U32,
    S32,
}

/// `mul.wide`.
#[multiversion(targets("x86_64+avx2+bmi1+bmi2+fma+lzcnt+popcnt"))]
pub(crate) fn multiply_wide(registers: &mut Registers, mask: Mask, wide: Wide, rows: [Row; 3]) {
    match wide {
        Wide::U16 => map2(registers, mask, rows, |a: u16, b: u16| u32::from(a) * u32::from(b)),
        Wide::S16 => map2(registers, mask, rows, |a: i16, b: i16| i32::from(a) * i32::from(b)),
        Wide::U32 => map2(registers, mask, rows, |a: u32, b: u32| u64::from(a) * u64::from(b)),
        Wide::S32 => map2(registers, mask, rows, |a: i32, b: i32| i64::from(a) * i64::from(b)),
    }
}

/// `mad.wide`.
#[multiversion(targets("x86_64+avx2+bmi1+bmi2+fma+lzcnt+popcnt"))]
pub(crate) fn multiply_add_wide(
    registers: &mut Registers,
    mask: Mask,
    wide: Wide,
    rows: [Row; 4],
) {
    match wide {
        Wide::U16 => map3(registers, mask, rows, |a: u16, b: u16, c: u32| {
            (u32::from(a) * u32::from(b)).wrapping_add(c)
        }),
        Wide::S16 => map3(registers, mask, rows, |a: i16, b: i16, c: i32| {
            (i32::from(a) * i32::from(b)).wrapping_add(c)
        }),
        Wide::U32 => map3(registers, mask, rows, |a: u32, b: u32, c: u64| {
            (u64::from(a) * u64::from(b)).wrapping_add(c)
        }),
        Wide::S32 => map3(registers, mask, rows, |a: i32, b: i32, c: i64| {
            (i64::from(a) * i64::from(b)).wrapping_add(c)
        }),
    }
}

/// Two rows of words to one of longs, or the other way; and halves to words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pack {
    WordsToLong,
    LongToWords,
    HalvesToWord,
    WordToHalves,
}

/// The rows are the one, then its low and its high part.
pub(crate) fn pack(registers: &mut Registers, mask: Mask, pack: Pack, [one, low, high]: [Row; 3]) {
    match pack {
        Pack::WordsToLong => map2(registers, mask, [one, low, high], funnel),
        Pack::HalvesToWord => {
            map2(registers, mask, [one, low, high], |low: u16, high: u16| {
                u32::from(high) << 16 | u32::from(low)
            });
        }
        Pack::LongToWords => {
            // (as one step: `low` or `high` may be what `one` was)
            let value = registers.values::<u64>(one);
            let parts: [[u32; LANES]; 2] = [each(&value, |x| x as u32), each(&value, |x| (x >> 32) as u32)];
            registers.set(mask, low, &parts[0]);
            registers.set(mask, high, &parts[1]);
        }
        Pack::WordToHalves => {
            let value = registers.values::<u32>(one);
            let parts: [[u16; LANES]; 2] = [each(&value, |x| x as u16), each(&value, |x| (x >> 16) as u16)];
            registers.set(mask, low, &parts[0]);
            registers.set(mask, high, &parts[1]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_searches() {
        assert_eq!(counted(Count::LeadingZeros, 1, 32), 31);
        assert_eq!(counted(Count::LeadingZeros, 0, 64), 64);
        assert_eq!(counted(Count::Highest, 0x80, 32), 7);
        assert_eq!(counted(Count::Highest, 0, 32), u32::MAX);
        assert_eq!(counted(Count::HighestShift, 0x80, 32), 24);
        assert_eq!(counted(Count::HighestShift, 0, 32), u32::MAX);
    }

    #[test]
    fn every_mode_of_permute() {
        let (a, b) = (0x83_82_01_00, 0x87_06_05_04);
        assert_eq!(permute(Permute::Bytes, a, b, 0x7410), 0x87_04_01_00);
        assert_eq!(permute(Permute::Bytes, a, b, 0xbafe), 0xff_ff_ff_00);
        assert_eq!(permute(Permute::Forward4, a, b, 1), 0x04_83_82_01);
        assert_eq!(permute(Permute::Backward4, a, b, 1), 0x06_87_00_01);
        assert_eq!(permute(Permute::Replicate8, a, b, 3), 0x83_83_83_83);
        assert_eq!(permute(Permute::EdgeLeft, a, b, 2), 0x83_82_82_82);
        assert_eq!(permute(Permute::EdgeRight, a, b, 1), 0x01_01_01_00);
        assert_eq!(permute(Permute::Replicate16, a, b, 1), 0x83_82_83_82);
    }

    #[test]
    fn logic_by_truth_table() {
        let (a, b, c) = (0xf0f0_f0f0, 0xcccc_cccc, 0xaaaa_aaaa);
        assert_eq!(logic(0x80, a, b, c), a & b & c);
        assert_eq!(logic(0xfe, a, b, c), a | b | c);
        assert_eq!(logic(0x96, a, b, c), a ^ b ^ c);
        assert_eq!(logic(0xca, a, b, c), a & b | !a & c);
    }

    #[test]
    fn fields_are_inserted_up_to_the_edge() {
        assert_eq!(inserted(0xff, 0, 4, 4) as u32, 0xf0);
        assert_eq!(inserted(0xff, 0, 28, 8) as u32, 0xf000_0000);
        assert_eq!(inserted(0, u64::MAX, 8, 8) as u32, 0xffff_00ff);
        assert_eq!(inserted(7, 9, 200, 3) as u32, 9);
        assert_eq!(inserted(7, 9, 0, 0) as u32, 9);
    }

    #[test]
    fn products_of_24_bits_and_of_bytes() {
        assert_eq!(multiply24(0xff_ffff, 2, (true, false)), 0xffff_fffe);
        assert_eq!(multiply24(0xff_ffff, 2, (false, false)), 0x1ff_fffe);
        assert_eq!(multiply24(0x80_0000, 0x80_0000, (false, true)), 0x4000_0000);
        assert_eq!(dot4(0x01_02_03_04, 0x01_01_01_01, 5, [false; 2]), 15);
        assert_eq!(dot4(0xff_00_00_00, 0x02_00_00_00, 0, [true, false]), 0xffff_fffe);
    }
}

//! Integer arithmetic, row by row.

use multiversion::multiversion;

use super::registers::{Lane, Mask, Registers, Row, map1, map2, map3};

/// An integer type with arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    U16,
    S16,
    U32,
    S32,
    U64,
    S64,
}

/// An operation of up to three operands and a result, all of one type. Shifts and bit fields take
/// their counts from words, whatever the type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Add,
    AddSaturating,
    Subtract,
    SubtractSaturating,
    MultiplyLow,
    MultiplyHigh,
    MultiplyAddLow,
    MultiplyAddHigh,
    MultiplyAddHighSaturating,
    Divide,
    Remainder,
    Min,
    Max,
    Absolute,
    Negate,
    And,
    Or,
    Xor,
    Not,
    IsZero,
    ShiftLeft,
    ShiftRight,
    /// `|a - b| + c`.
    AbsoluteDifference,
    /// `c` bits of `a` from bit `b` on.
    ExtractField,
    ReverseBits,
}

/// Carries out `operation` on the rows `[d, a, b, c]`.
pub(crate) fn execute(
    registers: &mut Registers,
    mask: Mask,
    (operation, kind): (Operation, Kind),
    rows: [Row; 4],
) {
    match kind {
        Kind::U16 => run::<u16>(registers, mask, operation, rows),
        Kind::S16 => run::<i16>(registers, mask, operation, rows),
        Kind::U32 => run::<u32>(registers, mask, operation, rows),
        Kind::S32 => run::<i32>(registers, mask, operation, rows),
        Kind::U64 => run::<u64>(registers, mask, operation, rows),
        Kind::S64 => run::<i64>(registers, mask, operation, rows),
    }
}

#[multiversion(targets("x86_64+avx2+bmi1+bmi2+fma+lzcnt+popcnt"))]
fn run<T: Integer>(
    registers: &mut Registers,
    mask: Mask,
    operation: Operation,
    [d, a, b, c]: [Row; 4],
) {
    use Operation as Op;
    let (one, two, three) = ([d, a], [d, a, b], [d, a, b, c]);
    match operation {
        Op::Add => map2(registers, mask, two, T::add),
        Op::AddSaturating => map2(registers, mask, two, T::add_saturating),
        Op::Subtract => map2(registers, mask, two, T::subtract),
        Op::SubtractSaturating => map2(registers, mask, two, T::subtract_saturating),
        Op::MultiplyLow => map2(registers, mask, two, T::multiply),
        Op::MultiplyHigh => map2(registers, mask, two, T::multiply_high),
        Op::MultiplyAddLow => {
            map3(registers, mask, three, |a: T, b: T, c: T| a.multiply(b).add(c));
        }
        Op::MultiplyAddHigh => {
            map3(registers, mask, three, |a: T, b: T, c: T| a.multiply_high(b).add(c));
        }
        Op::MultiplyAddHighSaturating => {
            map3(registers, mask, three, |a: T, b: T, c: T| a.multiply_high(b).add_saturating(c));
        }
        Op::Divide => map2(registers, mask, two, T::divide),
        Op::Remainder => map2(registers, mask, two, T::remainder),
        Op::Min => map2(registers, mask, two, T::min),
        Op::Max => map2(registers, mask, two, T::max),
        Op::Absolute => map1(registers, mask, one, T::absolute),
        Op::Negate => map1(registers, mask, one, |a: T| T::ZERO.subtract(a)),
        Op::And => map2(registers, mask, two, T::and),
        Op::Or => map2(registers, mask, two, T::or),
        Op::Xor => map2(registers, mask, two, T::xor),
        Op::Not => map1(registers, mask, one, T::not),
        Op::IsZero => map1(registers, mask, one, |a: T| T::from_bool(a == T::ZERO)),
        Op::ShiftLeft => map2(registers, mask, two, T::shift_left),
        Op::ShiftRight => map2(registers, mask, two, T::shift_right),
        Op::AbsoluteDifference => {
            map3(registers, mask, three, |a: T, b: T, c: T| {
                a.max(b).subtract(a.min(b)).add(c)
            });
        }
        Op::ExtractField => map3(registers, mask, three, T::extract_field),
        Op::ReverseBits => map1(registers, mask, one, T::reverse_bits),
    }
}

/// The arithmetic of PTX on one value. Results of a division by zero are those of NVIDIA's devices;
/// PTX leaves them open.
trait Integer: Lane + Ord + Default {
    const ZERO: Self;
    fn from_bool(value: bool) -> Self;
    fn add(self, other: Self) -> Self;
    fn add_saturating(self, other: Self) -> Self;
    fn subtract(self, other: Self) -> Self;
    fn subtract_saturating(self, other: Self) -> Self;
    fn multiply(self, other: Self) -> Self;
    fn multiply_high(self, other: Self) -> Self;
    fn divide(self, other: Self) -> Self;
    fn remainder(self, other: Self) -> Self;
    fn absolute(self) -> Self;
    fn and(self, other: Self) -> Self;
    fn or(self, other: Self) -> Self;
    fn xor(self, other: Self) -> Self;
    fn not(self) -> Self;
    fn shift_left(self, count: u32) -> Self;
    fn shift_right(self, count: u32) -> Self;
    fn extract_field(self, position: u32, length: u32) -> Self;
    fn reverse_bits(self) -> Self;
}

macro_rules! integer {
    ($($ty:ident, $wide:ident, $extended:ident, $absolute:path;)*) => { $(
        impl Integer for $ty {
            const ZERO: Self = 0;
            #[inline(always)]
            fn from_bool(value: bool) -> Self {
                Self::from(value)
            }
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                self.wrapping_add(other)
            }
            #[inline(always)]
            fn add_saturating(self, other: Self) -> Self {
                self.saturating_add(other)
            }
            #[inline(always)]
            fn subtract(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }
            #[inline(always)]
            fn subtract_saturating(self, other: Self) -> Self {
                self.saturating_sub(other)
            }
            #[inline(always)]
            fn multiply(self, other: Self) -> Self {
                self.wrapping_mul(other)
            }
            #[inline(always)]
            fn multiply_high(self, other: Self) -> Self {
                ($wide::from(self) * $wide::from(other) >> Self::BITS) as Self
            }
            #[inline(always)]
            fn divide(self, other: Self) -> Self {
                if other == 0 { !0 } else { self.wrapping_div(other) }
            }
            #[inline(always)]
            fn remainder(self, other: Self) -> Self {
                if other == 0 { self } else { self.wrapping_rem(other) }
            }
            #[inline(always)]
            fn absolute(self) -> Self {
                $absolute(self)
            }
            #[inline(always)]
            fn and(self, other: Self) -> Self {
                self & other
            }
            #[inline(always)]
            fn or(self, other: Self) -> Self {
                self | other
            }
            #[inline(always)]
            fn xor(self, other: Self) -> Self {
                self ^ other
            }
            #[inline(always)]
            fn not(self) -> Self {
                !self
            }
            #[inline(always)]
            fn shift_left(self, count: u32) -> Self {
                if count < Self::BITS { self << count } else { 0 }
            }
            #[inline(always)]
            fn shift_right(self, count: u32) -> Self {
                // (in two steps, so that all bits can go; a negative number leaves its sign)
                let most = count.min(Self::BITS - 1);
                self >> most >> u32::from(count >= Self::BITS)
            }
            #[inline(always)]
            fn extract_field(self, position: u32, length: u32) -> Self {
                // (in 128 bits, so that what lies beyond the value's own is its extension)
                let (position, length) = (position & 255, length & 255);
                let above = $extended::from(self) >> position.min(127);
                let spare = 128 - length.clamp(1, 128);
                if length == 0 { 0 } else { (above << spare >> spare) as Self }
            }
            #[inline(always)]
            fn reverse_bits(self) -> Self {
                $ty::reverse_bits(self)
            }
        }
    )* };
}

integer! {
    u16, u32, u128, std::convert::identity;
    i16, i32, i128, i16::wrapping_abs;
    u32, u64, u128, std::convert::identity;
    i32, i64, i128, i32::wrapping_abs;
    u64, u128, u128, std::convert::identity;
    i64, i128, i128, i64::wrapping_abs;
}

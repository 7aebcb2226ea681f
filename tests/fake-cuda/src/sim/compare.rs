//! Comparisons (`setp`, `set`) and selections (`selp`, `slct`), row by row.

use multiversion::multiversion;

use super::float::Float;
use super::registers::{Half, LANES, Lane, Mask, Registers, Row, each_lane, test2};
use super::soft::widen;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    /// Those that hold when an operand is NaN.
    EqualUnordered,
    NotEqualUnordered,
    LessUnordered,
    LessEqualUnordered,
    GreaterUnordered,
    GreaterEqualUnordered,
    BothNumbers,
    EitherNan,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    U16,
    S16,
    U32,
    S32,
    U64,
    S64,
    F16,
    F32 { flush: bool },
    F64,
}

/// The lanes of the rows `[a, b]` for which the comparison holds, whether they are active or not.
pub(crate) fn compare(
    registers: &Registers,
    (comparison, kind): (Comparison, Kind),
    rows: [Row; 2],
) -> Mask {
    match kind {
        Kind::U16 => integers::<u16>(registers, comparison, rows),
        Kind::S16 => integers::<i16>(registers, comparison, rows),
        Kind::U32 => integers::<u32>(registers, comparison, rows),
        Kind::S32 => integers::<i32>(registers, comparison, rows),
        Kind::U64 => integers::<u64>(registers, comparison, rows),
        Kind::S64 => integers::<i64>(registers, comparison, rows),
        Kind::F16 => floats(registers, comparison, rows, |x: Half| widen(x)),
        Kind::F32 { flush: false } => floats(registers, comparison, rows, |x: f32| x),
        Kind::F32 { flush: true } => floats(registers, comparison, rows, f32::flushed),
        Kind::F64 => floats(registers, comparison, rows, |x: f64| x),
    }
}

#[multiversion(targets("x86_64+avx2+bmi1+bmi2+fma+lzcnt+popcnt"))]
fn integers<T: Lane + Ord>(registers: &Registers, comparison: Comparison, rows: [Row; 2]) -> Mask {
    use Comparison as Is;
    match comparison {
        Is::Equal | Is::EqualUnordered => test2(registers, rows, |a: T, b: T| a == b),
        Is::NotEqual | Is::NotEqualUnordered => test2(registers, rows, |a: T, b: T| a != b),
        Is::Less | Is::LessUnordered => test2(registers, rows, |a: T, b: T| a < b),
        Is::LessEqual | Is::LessEqualUnordered => test2(registers, rows, |a: T, b: T| a <= b),
        Is::Greater | Is::GreaterUnordered => test2(registers, rows, |a: T, b: T| a > b),
        Is::GreaterEqual | Is::GreaterEqualUnordered => {
            test2(registers, rows, |a: T, b: T| a >= b)
        }
        Is::BothNumbers => Mask::MAX,
        Is::EitherNan => 0,
    }
}

#[multiversion(targets("x86_64+avx2+bmi1+bmi2+fma+lzcnt+popcnt"))]
fn floats<T: Lane, F: Float>(
    registers: &Registers,
    comparison: Comparison,
    rows: [Row; 2],
    value: impl Fn(T) -> F,
) -> Mask {
    use Comparison as Is;
    match comparison {
        Is::Equal => test(registers, rows, &value, |a, b| a == b),
        Is::NotEqual => test(registers, rows, &value, |a, b| a < b || a > b),
        Is::Less => test(registers, rows, &value, |a, b| a < b),
        Is::LessEqual => test(registers, rows, &value, |a, b| a <= b),
        Is::Greater => test(registers, rows, &value, |a, b| a > b),
        Is::GreaterEqual => test(registers, rows, &value, |a, b| a >= b),
        Is::EqualUnordered => !test(registers, rows, &value, |a, b| a < b || a > b),
        Is::NotEqualUnordered => !test(registers, rows, &value, |a, b| a == b),
        Is::LessUnordered => !test(registers, rows, &value, |a, b| a >= b),
        Is::LessEqualUnordered => !test(registers, rows, &value, |a, b| a > b),
        Is::GreaterUnordered => !test(registers, rows, &value, |a, b| a <= b),
        Is::GreaterEqualUnordered => !test(registers, rows, &value, |a, b| a < b),
        Is::BothNumbers => test(registers, rows, &value, |a, b| !a.is_nan() && !b.is_nan()),
        Is::EitherNan => test(registers, rows, &value, |a, b| a.is_nan() || b.is_nan()),
    }
}

#[inline(always)]
fn test<T: Lane, F: Float>(
    registers: &Registers,
    rows: [Row; 2],
    value: &impl Fn(T) -> F,
    holds: impl Fn(F, F) -> bool,
) -> Mask {
    test2(registers, rows, |a, b| holds(value(a), value(b)))
}

/// How a comparison's result meets a predicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Combine {
    And,
    Or,
    Xor,
}

impl Combine {
    pub(crate) fn apply(self, a: Mask, b: Mask) -> Mask {
        match self {
            Self::And => a & b,
            Self::Or => a | b,
            Self::Xor => a ^ b,
        }
    }
}

/// The size of a row's lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Size {
    Half,
    Word,
    Long,
}

/// The rows `[d, a, b]`: `a` where the lane is in `chosen`, else `b`.
#[multiversion(targets("x86_64+avx2+bmi1+bmi2+fma+lzcnt+popcnt"))]
pub(crate) fn select(
    registers: &mut Registers,
    mask: Mask,
    (size, chosen): (Size, Mask),
    rows: [Row; 3],
) {
    match size {
        Size::Half => choose::<u16>(registers, mask, chosen, rows),
        Size::Word => choose::<u32>(registers, mask, chosen, rows),
        Size::Long => choose::<u64>(registers, mask, chosen, rows),
    }
}

#[inline(always)]
fn choose<T: Lane + Default>(registers: &mut Registers, mask: Mask, chosen: Mask, [d, a, b]: [Row; 3]) {
    let (a, b) = (T::row(registers, a), T::row(registers, b));
    let out = each_lane(|i| T::of(if chosen >> i & 1 != 0 { a[i] } else { b[i] }));
    registers.set::<T>(mask, d, &out);
}

/// `set`: one row `d` of all ones, or 1.0, in the lanes of `holds`, and zero elsewhere.
pub(crate) fn set(
    registers: &mut Registers,
    mask: Mask,
    (holds, float): (Mask, bool),
    d: Row,
) {
    let one = if float { 1f32.to_bits() } else { u32::MAX };
    let out: [u32; LANES] = each_lane(|i| if holds >> i & 1 != 0 { one } else { 0 });
    registers.set(mask, d, &out);
}

/// `slct` by a signed word: `a` where `c` is not negative.
pub(crate) fn not_negative(registers: &Registers, c: Row, float: bool) -> Mask {
    if float {
        test2(registers, [c, c], |c: f32, _: f32| c >= 0.0)
    } else {
        test2(registers, [c, c], |c: i32, _: i32| c >= 0)
    }
}

/// `testp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Finite,
    Infinite,
    Number,
    NotANumber,
    Normal,
    Subnormal,
}

pub(crate) fn classify(registers: &Registers, (class, double): (Class, bool), a: Row) -> Mask {
    use std::num::FpCategory as Is;
    let belongs = |category: Is| match class {
        Class::Finite => !matches!(category, Is::Nan | Is::Infinite),
        Class::Infinite => category == Is::Infinite,
        Class::Number => category != Is::Nan,
        Class::NotANumber => category == Is::Nan,
        Class::Normal => matches!(category, Is::Normal | Is::Zero),
        Class::Subnormal => category == Is::Subnormal,
    };
    if double {
        test2(registers, [a, a], |a: f64, _: f64| belongs(a.classify()))
    } else {
        test2(registers, [a, a], |a: f32, _: f32| belongs(a.classify()))
    }
}

/// Moves a row.
pub(crate) fn copy(registers: &mut Registers, mask: Mask, size: Size, [d, a]: [Row; 2]) {
    match size {
        Size::Half => registers.set(mask, d, &registers.values::<u16>(a)),
        Size::Word => registers.set(mask, d, &registers.values::<u32>(a)),
        Size::Long => registers.set(mask, d, &registers.values::<u64>(a)),
    }
}

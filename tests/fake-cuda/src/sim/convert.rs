//! `cvt`: between all integer and float types, with every rounding.
//!
//! A source is first read as a 64-bit integer or as a double, which hold every type exactly; then
//! it is rounded, saturated and cut to the destination's type, and at last extended to the size of
//! the destination's register.

use multiversion::multiversion;

use super::compare::Size;
use super::float::{Float, Rounding};
use super::registers::{Half, LANES, Mask, Registers, Row, each, lanes};
use super::soft;

/// The types that `cvt` knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scalar {
    U8,
    S8,
    U16,
    S16,
    U32,
    S32,
    U64,
    S64,
    F16,
    F32,
    F64,
}

impl Scalar {
    pub(crate) fn bits(self) -> u32 {
        match self {
            Self::U8 | Self::S8 => 8,
            Self::U16 | Self::S16 | Self::F16 => 16,
            Self::U32 | Self::S32 | Self::F32 => 32,
            Self::U64 | Self::S64 | Self::F64 => 64,
        }
    }

    pub(crate) fn is_signed(self) -> bool {
        matches!(self, Self::S8 | Self::S16 | Self::S32 | Self::S64)
    }

    pub(crate) fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::F32 | Self::F64)
    }

    /// The low bits of `value` that are this integer type's, extended to 64.
    #[inline(always)]
    fn cut(self, value: u64) -> u64 {
        let spare = 64 - self.bits();
        let up = value << spare;
        if self.is_signed() { (up.cast_signed() >> spare).cast_unsigned() } else { up >> spare }
    }

    /// The least and the greatest value of this integer type.
    fn range(self) -> (i128, i128) {
        let magnitude = 1i128 << (self.bits() - u32::from(self.is_signed()));
        (if self.is_signed() { -magnitude } else { 0 }, magnitude - 1)
    }
}

/// A conversion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Conversion {
    pub(crate) to: Scalar,
    pub(crate) from: Scalar,
    /// To the nearest float; or to an integer, if one side is an integer or `integral`.
    pub(crate) rounding: Rounding,
    /// Float to float, but to a whole number (`cvt.rni.f32.f32`).
    pub(crate) integral: bool,
    pub(crate) flush: bool,
    pub(crate) saturate: bool,
}

/// A register, with the size of its lanes.
pub(crate) type Sized = (Size, Row);

pub(crate) fn convert(
    registers: &mut Registers,
    mask: Mask,
    conversion: Conversion,
    [d, a]: [Sized; 2],
) {
    match (conversion.from.is_float(), conversion.to.is_float()) {
        (false, false) => integers(registers, mask, conversion, [d, a]),
        (false, true) => integer_to_float(registers, mask, conversion, (d.1, a)),
        (true, false) => float_to_integer(registers, mask, conversion, (d, a.1)),
        (true, true) => floats(registers, mask, conversion, [d.1, a.1]),
    }
}

/// A row as unsigned longs, whatever its size.
#[inline(always)]
fn widened(registers: &Registers, (size, row): Sized) -> [u64; LANES] {
    match size {
        Size::Half => each(&registers.values::<u16>(row), u64::from),
        Size::Word => each(&registers.values::<u32>(row), u64::from),
        Size::Long => registers.values::<u64>(row),
    }
}

/// The low bits of `values`, to a row of any size.
#[inline(always)]
pub(super) fn write(registers: &mut Registers, mask: Mask, (size, row): Sized, values: &[u64; LANES]) {
    match size {
        Size::Half => registers.set(mask, row, &each(&values, |x| x as u16)),
        Size::Word => registers.set(mask, row, &each(&values, |x| x as u32)),
        Size::Long => registers.set(mask, row, values),
    }
}

#[multiversion(targets("x86_64+avx2+bmi1+bmi2+fma+lzcnt+popcnt"))]
fn integers(registers: &mut Registers, mask: Mask, conversion: Conversion, [d, a]: [Sized; 2]) {
    let Conversion { to, from, saturate, .. } = conversion;
    let mut values = each(&widened(registers, a), |x| from.cut(x));
    if saturate {
        values = each(&values, |x| saturated(x, from, to));
    }
    write(registers, mask, d, &each(&values, |x| to.cut(x)));
}

fn saturated(value: u64, from: Scalar, to: Scalar) -> u64 {
    let exact = exact_integer(value, from);
    let (least, greatest) = to.range();
    exact.clamp(least, greatest) as u64
}

/// The value of an extended integer.
fn exact_integer(value: u64, from: Scalar) -> i128 {
    if from.is_signed() { value.cast_signed().into() } else { value.into() }
}

fn integer_to_float(
    registers: &mut Registers,
    mask: Mask,
    conversion: Conversion,
    (d, a): (Row, Sized),
) {
    let Conversion { to, from, rounding, .. } = conversion;
    let values = each(&widened(registers, a), |x| from.cut(x));
    match (to, rounding) {
        (Scalar::F32, Rounding::Nearest) if from.is_signed() => {
            registers.set(mask, d, &each(&values, |x| x.cast_signed() as f32));
        }
        (Scalar::F32, Rounding::Nearest) => registers.set(mask, d, &each(&values, |x| x as f32)),
        (Scalar::F64, Rounding::Nearest) if from.is_signed() => {
            registers.set(mask, d, &each(&values, |x| x.cast_signed() as f64));
        }
        (Scalar::F64, Rounding::Nearest) => registers.set(mask, d, &each(&values, |x| x as f64)),
        _ => {
            for lane in lanes(mask) {
                let exact = exact_integer(values[lane], from);
                match to {
                    Scalar::F16 => {
                        registers.put(d, lane, soft::from_integer::<Half>(exact, rounding));
                    }
                    Scalar::F32 => {
                        registers.put(d, lane, soft::from_integer::<f32>(exact, rounding));
                    }
                    _ => registers.put(d, lane, soft::from_integer::<f64>(exact, rounding)),
                }
            }
        }
    }
}

fn as_doubles(registers: &Registers, conversion: Conversion, row: Row) -> [f64; LANES] {
    match conversion.from {
        Scalar::F16 => each(&registers.values::<Half>(row), soft::widen),
        Scalar::F32 if conversion.flush => {
            each(&registers.values::<f32>(row), |x| f64::from(x.flushed()))
        }
        Scalar::F32 => each(&registers.values::<f32>(row), f64::from),
        _ => registers.values::<f64>(row),
    }
}

/// To a whole number, still a float. (Inlined, so that the rounding is chosen once for all lanes.)
#[inline(always)]
fn whole(values: [f64; LANES], rounding: Rounding) -> [f64; LANES] {
    match rounding {
        Rounding::Nearest => each(&values, f64::round_ties_even),
        Rounding::Zero => each(&values, f64::trunc),
        Rounding::Down => each(&values, f64::floor),
        Rounding::Up => each(&values, f64::ceil),
    }
}

#[multiversion(targets("x86_64+avx2+bmi1+bmi2+fma+lzcnt+popcnt"))]
fn float_to_integer(
    registers: &mut Registers,
    mask: Mask,
    conversion: Conversion,
    (d, a): (Sized, Row),
) {
    let Conversion { to, from, rounding, .. } = conversion;
    let values = whole(as_doubles(registers, conversion, a), rounding);
    // what a NaN becomes: zero, except where a 64-bit type is on either side
    let nan = match (from, to) {
        (Scalar::F64, _) | (_, Scalar::U64 | Scalar::S64) => 1 << (to.bits() - 1),
        _ => 0,
    };
    let (least, greatest) = to.range();
    let integers = each(&values, |x| {
        if x.is_nan() {
            nan
        } else if to.is_signed() {
            // (`as` saturates)
            (x as i64).clamp(least as i64, greatest as i64).cast_unsigned()
        } else {
            (x as u64).min(greatest as u64)
        }
    });
    write(registers, mask, d, &each(&integers, |x| to.cut(x)));
}

fn floats(registers: &mut Registers, mask: Mask, conversion: Conversion, [d, a]: [Row; 2]) {
    let Conversion { to, rounding, integral, flush, saturate, .. } = conversion;
    let mut values = as_doubles(registers, conversion, a);
    if integral {
        values = whole(values, rounding);
    }
    if saturate {
        values = each(&values, f64::saturated);
    }
    let flushed = |x: f32| if flush { x.flushed() } else { x }.canonical();
    match to {
        Scalar::F32 if integral || rounding == Rounding::Nearest => {
            registers.set(mask, d, &each(&values, |x| flushed(x as f32)));
        }
        Scalar::F32 => {
            for lane in lanes(mask) {
                registers.put(d, lane, flushed(soft::convert(values[lane], rounding)));
            }
        }
        Scalar::F64 => registers.set(mask, d, &values),
        _ => {
            for lane in lanes(mask) {
                registers.put::<Half>(d, lane, soft::convert(values[lane], rounding));
            }
        }
    }
}

/// Extends what a load brought to the size of its register.
pub(super) fn extended(scalar: Scalar, value: u64) -> u64 {
    if scalar.is_float() { value } else { scalar.cut(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_cut_and_saturated() {
        assert_eq!(Scalar::S8.cut(0x1ff), u64::MAX);
        assert_eq!(Scalar::U8.cut(0x1ff), 0xff);
        assert_eq!(Scalar::U64.cut(u64::MAX), u64::MAX);
        assert_eq!(saturated(300, Scalar::S32, Scalar::U8), 255);
        assert_eq!(saturated(u64::MAX, Scalar::S32, Scalar::U8), 0);
        assert_eq!(saturated(u64::MAX, Scalar::U64, Scalar::S64), i64::MAX.cast_unsigned());
        assert_eq!(Scalar::S64.range(), (i64::MIN.into(), i64::MAX.into()));
    }
}

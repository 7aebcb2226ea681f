//! Floating-point in software, for what the host has no instruction for: the directed roundings,
//! and all of half precision.

use rustc_apfloat::ieee::{self, Double, Quad, Single};
use rustc_apfloat::{Float as _, FloatConvert, Round};

use super::float::{Float, Mode, Operation, Rounding};
use super::registers::{Half, Lane, Mask, Registers, Row, lanes};

/// A float type of the registers, and its twin in software.
pub(super) trait Twin: Lane {
    type Soft: rustc_apfloat::Float + FloatConvert<Quad>;
    fn soft(self) -> Self::Soft;
    fn hard(soft: Self::Soft) -> Self;
    fn adjusted(self, flush: bool, saturate: bool) -> Self;
}

impl Twin for f32 {
    type Soft = Single;
    fn soft(self) -> Single {
        Single::from_bits(self.to_bits().into())
    }
    fn hard(soft: Single) -> Self {
        Float::canonical(f32::from_bits(soft.to_bits() as u32))
    }
    fn adjusted(self, flush: bool, saturate: bool) -> Self {
        let value = if flush { self.flushed() } else { self };
        if saturate { value.saturated() } else { value }
    }
}

impl Twin for f64 {
    type Soft = Double;
    fn soft(self) -> Double {
        Double::from_bits(self.to_bits().into())
    }
    fn hard(soft: Double) -> Self {
        f64::from_bits(soft.to_bits() as u64)
    }
    fn adjusted(self, _flush: bool, saturate: bool) -> Self {
        if saturate { self.saturated() } else { self }
    }
}

impl Twin for Half {
    type Soft = ieee::Half;
    fn soft(self) -> ieee::Half {
        ieee::Half::from_bits(self.0.into())
    }
    fn hard(soft: ieee::Half) -> Self {
        if soft.is_nan() { Half(0x7fff) } else { Half(soft.to_bits() as u16) }
    }
    fn adjusted(self, flush: bool, saturate: bool) -> Self {
        let subnormal = self.0 & 0x7c00 == 0;
        let value = if flush && subnormal { Half(self.0 & 0x8000) } else { self };
        let soft = value.soft();
        match () {
            () if !saturate => value,
            () if soft.is_nan() || soft.is_negative() => Half(0),
            () => Half(value.0.min(0x3c00)),
        }
    }
}

/// Operations with a rounding that the host does not have.
pub(super) fn directed<T: Twin>(
    registers: &mut Registers,
    mask: Mask,
    (operation, mode): (Operation, Mode),
    [d, a, b, c]: [Row; 4],
) {
    for lane in lanes(mask) {
        let operand = |row| registers.get::<T>(row, lane).adjusted(mode.flush, false).soft();
        let result = compute(operation, [operand(a), operand(b), operand(c)], mode.rounding);
        registers.put(d, lane, T::hard(result).adjusted(mode.flush, mode.saturate));
    }
}

/// Operations on halves.
pub(super) fn halves(
    registers: &mut Registers,
    mask: Mask,
    (operation, mode): (Operation, Mode),
    rows: [Row; 4],
) {
    use Operation as Op;
    let [d, a, b, _] = rows;
    match operation {
        Op::Add | Op::Subtract | Op::Multiply | Op::MultiplyAdd => {
            directed::<Half>(registers, mask, (operation, mode), rows);
        }
        _ => {
            for lane in lanes(mask) {
                let wide = |row| widen(registers.get::<Half>(row, lane).adjusted(mode.flush, false));
                let (a, b) = (wide(a), wide(b));
                let value = match operation {
                    Op::Min => a.least(b),
                    Op::Max => a.greatest(b),
                    Op::MinNan => a.nan_or(b, f64::least),
                    Op::MaxNan => a.nan_or(b, f64::greatest),
                    Op::Absolute => a.abs(),
                    Op::Negate => -a,
                    Op::CopySign => b.copysign(a),
                    function => a.function(function),
                };
                registers.put(d, lane, narrow(value).adjusted(mode.flush, mode.saturate));
            }
        }
    }
}

fn compute<S>(operation: Operation, [a, b, c]: [S; 3], rounding: Rounding) -> S
where
    S: rustc_apfloat::Float + FloatConvert<Quad>,
{
    let round = round(rounding);
    match operation {
        Operation::Add => a.add_r(b, round).value,
        Operation::Subtract => a.sub_r(b, round).value,
        Operation::Multiply => a.mul_r(b, round).value,
        Operation::MultiplyAdd => a.mul_add_r(b, c, round).value,
        Operation::Divide => a.div_r(b, round).value,
        Operation::Reciprocal => S::from_u128(1).value.div_r(a, round).value,
        Operation::SquareRoot => square_root(a, rounding),
        other => unreachable!("{other:?} has no directed rounding"),
    }
}

fn round(rounding: Rounding) -> Round {
    match rounding {
        Rounding::Nearest => Round::NearestTiesToEven,
        Rounding::Zero => Round::TowardZero,
        Rounding::Down => Round::TowardNegative,
        Rounding::Up => Round::TowardPositive,
    }
}

/// The square root by bisection of its bits, which order positive floats: the greatest value whose
/// square is not above `a`, and the next one up where that is asked for and the root is not exact.
/// Squares are exact in quadruple precision.
fn square_root<S: rustc_apfloat::Float + FloatConvert<Quad>>(a: S, rounding: Rounding) -> S {
    if a.is_zero() || a.is_nan() || a.is_pos_infinity() {
        return a;
    }
    if a.is_negative() {
        return S::NAN;
    }
    let target = quad(a);
    let square = |bits: u128| {
        let root = quad(S::from_bits(bits));
        (root * root).value
    };
    let (mut low, mut high) = (0, S::INFINITY.to_bits());
    while high - low > 1 {
        let middle = low.midpoint(high);
        if square(middle) <= target { low = middle } else { high = middle }
    }
    let exact = square(low) == target;
    S::from_bits(if rounding == Rounding::Up && !exact { high } else { low })
}

fn quad<S: FloatConvert<Quad>>(value: S) -> Quad {
    value.convert(&mut false).value
}

/// Any float to any other, or to itself.
pub(super) fn convert<A: Twin, B: Twin>(value: A, rounding: Rounding) -> B
where
    A::Soft: FloatConvert<B::Soft>,
{
    B::hard(value.soft().convert_r(round(rounding), &mut false).value)
}

/// An integer to a float.
pub(super) fn from_integer<T: Twin>(value: i128, rounding: Rounding) -> T {
    T::hard(T::Soft::from_i128_r(value, round(rounding)).value)
}

pub(super) fn widen(half: Half) -> f64 {
    convert::<Half, f64>(half, Rounding::Nearest)
}

fn narrow(value: f64) -> Half {
    convert::<f64, Half>(value, Rounding::Nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directed_roots_enclose_the_root() {
        for x in [2.0, 3.5, 1e-40, 1e38, 0.1f32] {
            let [low, high] =
                [Rounding::Down, Rounding::Up].map(|to| f32::hard(square_root(x.soft(), to)));
            assert!(f64::from(low).powi(2) < f64::from(x) && f64::from(high).powi(2) > f64::from(x));
            assert_eq!(low.next_up(), high);
        }
        assert_eq!(f64::hard(square_root(9f64.soft(), Rounding::Up)), 3.0);
        assert!(f64::hard(square_root((-1f64).soft(), Rounding::Up)).is_nan());
    }

    #[test]
    fn halves_come_back() {
        for bits in 0..=u16::MAX {
            let half = Half(bits);
            let back = narrow(widen(half));
            assert!(back == half || half.soft().is_nan() && back == Half(0x7fff), "{bits:#x}");
        }
    }
}

//! Floating-point arithmetic, row by row.
//!
//! Round-to-nearest is the host's own, in vectors. What the host cannot do (other roundings, halves)
//! goes through a software implementation (`soft`), which is exact and slow. The approximate
//! functions of a device are computed more exactly than a device does.

use multiversion::multiversion;

use super::registers::{LANES, Lane, Mask, Registers, Row, each, each_lane, lanes};
use super::soft;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    F16,
    F32,
    F64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Add,
    Subtract,
    Multiply,
    MultiplyAdd,
    Divide,
    Reciprocal,
    SquareRoot,
    Min,
    Max,
    /// Min and max for which a NaN wins.
    MinNan,
    MaxNan,
    Absolute,
    Negate,
    /// The value of `b` with the sign of `a`.
    CopySign,
    ReciprocalSquareRoot,
    /// The high word of the result, with zeros below: what a device computes of a double.
    GrossReciprocal,
    GrossReciprocalSquareRoot,
    Exponential2,
    Logarithm2,
    Sine,
    Cosine,
    HyperbolicTangent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Rounding {
    #[default]
    Nearest,
    Zero,
    Down,
    Up,
}

/// The modifiers of a float instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Mode {
    pub(crate) rounding: Rounding,
    /// Subnormal operands and results become zero.
    pub(crate) flush: bool,
    /// The result is clamped to 0…1, NaN to 0.
    pub(crate) saturate: bool,
}

/// Carries out `operation` on the rows `[d, a, b, c]`.
pub(crate) fn execute(
    registers: &mut Registers,
    mask: Mask,
    (operation, kind, mode): (Operation, Kind, Mode),
    rows: [Row; 4],
) {
    let rounds_otherwise = mode.rounding != Rounding::Nearest;
    match kind {
        Kind::F16 => soft::halves(registers, mask, (operation, mode), rows),
        Kind::F32 if rounds_otherwise => {
            soft::directed::<f32>(registers, mask, (operation, mode), rows);
        }
        Kind::F64 if rounds_otherwise => {
            soft::directed::<f64>(registers, mask, (operation, mode), rows);
        }
        Kind::F32 => run::<f32>(registers, mask, (operation, mode), rows),
        Kind::F64 => run::<f64>(registers, mask, (operation, mode), rows),
    }
}

#[multiversion(targets("x86_64+avx2+bmi1+bmi2+fma+lzcnt+popcnt"))]
fn run<T: Float>(
    registers: &mut Registers,
    mask: Mask,
    (operation, mode): (Operation, Mode),
    rows: [Row; 4],
) {
    use Operation as Op;
    let apply = Apply { mask, mode, rows };
    match operation {
        Op::Add => apply.to2(registers, |a: T, b| a.add(b).canonical()),
        Op::Subtract => apply.to2(registers, |a: T, b| a.subtract(b).canonical()),
        Op::Multiply => apply.to2(registers, |a: T, b| a.multiply(b).canonical()),
        Op::MultiplyAdd => {
            apply.to3(registers, |a: T, b: T, c: T| a.multiply_add(b, c).canonical());
        }
        Op::Divide => apply.to2(registers, |a: T, b| a.divide(b).canonical()),
        Op::Reciprocal => apply.to1(registers, |a: T| T::ONE.divide(a).canonical()),
        Op::SquareRoot => apply.to1(registers, |a: T| a.square_root().canonical()),
        Op::Min => apply.to2(registers, |a: T, b| a.least(b)),
        Op::Max => apply.to2(registers, |a: T, b| a.greatest(b)),
        Op::MinNan => apply.to2(registers, |a: T, b| a.nan_or(b, T::least)),
        Op::MaxNan => apply.to2(registers, |a: T, b| a.nan_or(b, T::greatest)),
        Op::Absolute => apply.to1(registers, T::absolute),
        Op::Negate => apply.to1(registers, T::negate),
        Op::CopySign => apply.to2(registers, |a: T, b: T| b.with_sign_of(a)),
        Op::ReciprocalSquareRoot
        | Op::GrossReciprocal
        | Op::GrossReciprocalSquareRoot
        | Op::Exponential2
        | Op::Logarithm2
        | Op::Sine
        | Op::Cosine
        | Op::HyperbolicTangent => {
            apply.by_lane(registers, |a: T| a.function(operation).canonical());
        }
    }
}

/// Where an operation reads and writes, and how its operands and results are adjusted.
struct Apply {
    mask: Mask,
    mode: Mode,
    rows: [Row; 4],
}

impl Apply {
    #[inline(always)]
    fn to1<T: Float>(&self, registers: &mut Registers, f: impl Fn(T) -> T) {
        let a = self.operand::<T>(registers, 1);
        self.write(registers, each_lane(|i| f(a[i])));
    }

    #[inline(always)]
    fn to2<T: Float>(&self, registers: &mut Registers, f: impl Fn(T, T) -> T) {
        let (a, b) = (self.operand::<T>(registers, 1), self.operand::<T>(registers, 2));
        self.write(registers, each_lane(|i| f(a[i], b[i])));
    }

    #[inline(always)]
    fn to3<T: Float>(&self, registers: &mut Registers, f: impl Fn(T, T, T) -> T) {
        let (a, b) = (self.operand::<T>(registers, 1), self.operand::<T>(registers, 2));
        let c = self.operand::<T>(registers, 3);
        self.write(registers, each_lane(|i| f(a[i], b[i], c[i])));
    }

    /// For functions that are too dear to compute for lanes that do not want them.
    #[inline(always)]
    fn by_lane<T: Float>(&self, registers: &mut Registers, f: impl Fn(T) -> T) {
        let mut values = self.operand::<T>(registers, 1);
        for lane in lanes(self.mask) {
            values[lane] = f(values[lane]);
        }
        self.write(registers, values);
    }

    #[inline(always)]
    fn operand<T: Float>(&self, registers: &Registers, index: usize) -> [T; LANES] {
        let values = registers.values::<T>(self.rows[index]);
        if self.mode.flush { each(&values, T::flushed) } else { values }
    }

    #[inline(always)]
    fn write<T: Float>(&self, registers: &mut Registers, mut values: [T; LANES]) {
        if self.mode.flush {
            values = each(&values, T::flushed);
        }
        if self.mode.saturate {
            values = each(&values, T::saturated);
        }
        registers.set(self.mask, self.rows[0], &values);
    }
}

/// The arithmetic of PTX on one value.
pub(super) trait Float: Lane + PartialOrd + Default {
    const ZERO: Self;
    const ONE: Self;
    fn add(self, other: Self) -> Self;
    fn subtract(self, other: Self) -> Self;
    fn multiply(self, other: Self) -> Self;
    fn multiply_add(self, factor: Self, addend: Self) -> Self;
    fn divide(self, other: Self) -> Self;
    fn square_root(self) -> Self;
    fn absolute(self) -> Self;
    fn negate(self) -> Self;
    fn with_sign_of(self, other: Self) -> Self;
    fn is_negative(self) -> bool;
    /// A single that is NaN is always the same NaN on a device.
    fn canonical(self) -> Self;
    /// Zero of the same sign for a subnormal.
    fn flushed(self) -> Self;
    fn function(self, operation: Operation) -> Self;

    #[inline(always)]
    fn is_nan(self) -> bool {
        self.partial_cmp(&self).is_none()
    }

    /// The lesser; what is not NaN if the other is; −0 before +0.
    #[inline(always)]
    fn least(self, other: Self) -> Self {
        let first = self < other || other.is_nan() || self == other && self.is_negative();
        if first { self.canonical() } else { other.canonical() }
    }

    #[inline(always)]
    fn greatest(self, other: Self) -> Self {
        let first = self > other || other.is_nan() || self == other && other.is_negative();
        if first { self.canonical() } else { other.canonical() }
    }

    /// `f`, but NaN if either is.
    #[inline(always)]
    fn nan_or(self, other: Self, f: impl Fn(Self, Self) -> Self) -> Self {
        if self.is_nan() || other.is_nan() {
            self.add(other).canonical()
        } else {
            f(self, other)
        }
    }

    #[inline(always)]
    fn saturated(self) -> Self {
        if self > Self::ZERO {
            if self < Self::ONE { self } else { Self::ONE }
        } else {
            Self::ZERO
        }
    }
}

macro_rules! float {
    ($($ty:ident, $canonical:expr, $function:path;)*) => { $(
        impl Float for $ty {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                self + other
            }
            #[inline(always)]
            fn subtract(self, other: Self) -> Self {
                self - other
            }
            #[inline(always)]
            fn multiply(self, other: Self) -> Self {
                self * other
            }
            #[inline(always)]
            fn multiply_add(self, factor: Self, addend: Self) -> Self {
                self.mul_add(factor, addend)
            }
            #[inline(always)]
            fn divide(self, other: Self) -> Self {
                self / other
            }
            #[inline(always)]
            fn square_root(self) -> Self {
                self.sqrt()
            }
            #[inline(always)]
            fn absolute(self) -> Self {
                self.abs()
            }
            #[inline(always)]
            fn negate(self) -> Self {
                -self
            }
            #[inline(always)]
            fn with_sign_of(self, other: Self) -> Self {
                self.copysign(other)
            }
            #[inline(always)]
            fn is_negative(self) -> bool {
                self.is_sign_negative()
            }
            #[inline(always)]
            fn canonical(self) -> Self {
                let canonical: fn($ty) -> $ty = $canonical;
                canonical(self)
            }
            #[inline(always)]
            fn flushed(self) -> Self {
                let zero = $ty::ZERO.copysign(self);
                if self.abs() < $ty::MIN_POSITIVE { zero } else { self }
            }
            fn function(self, operation: Operation) -> Self {
                $function(self, operation)
            }
        }
    )* };
}

float! {
    f32, |x| if x.is_nan() { f32::from_bits(0x7fff_ffff) } else { x }, single_function;
    f64, |x| x, double_function;
}

fn single_function(x: f32, operation: Operation) -> f32 {
    double_function(f64::from(x), operation) as f32
}

fn double_function(x: f64, operation: Operation) -> f64 {
    use Operation as Op;
    let high_word = |x: f64| f64::from_bits(x.to_bits() & !0xffff_ffff);
    match operation {
        Op::ReciprocalSquareRoot => 1.0 / x.sqrt(),
        Op::GrossReciprocal => high_word(1.0 / high_word(x).flushed()).flushed(),
        Op::GrossReciprocalSquareRoot => high_word(1.0 / high_word(x).flushed().sqrt()),
        Op::Exponential2 => x.exp2(),
        Op::Logarithm2 => x.log2(),
        Op::Sine => x.sin(),
        Op::Cosine => x.cos(),
        Op::HyperbolicTangent => x.tanh(),
        other => unreachable!("{other:?} is not a function of one double"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn least_and_greatest_know_zeros_and_nans() {
        assert!(0f32.least(-0.0).is_sign_negative() && (-0f32).least(0.0).is_sign_negative());
        assert!(0f32.greatest(-0.0).is_sign_positive() && (-0f32).greatest(0.0).is_sign_positive());
        assert_eq!(f32::NAN.least(1.0), 1.0);
        assert_eq!(1f32.greatest(f32::NAN), 1.0);
        assert_eq!(f32::NAN.least(f32::NAN).to_bits(), 0x7fff_ffff);
        assert!(f32::NAN.nan_or(1.0, f32::least).is_nan());
    }

    #[test]
    fn saturation_and_flushing() {
        let saturated = [-1.0, 0.5, 2.0, f32::NAN, -0.0].map(Float::saturated);
        assert_eq!(saturated.map(f32::to_bits), [0.0, 0.5, 1.0, 0.0, 0f32].map(f32::to_bits));
        assert_eq!((-f32::from_bits(1)).flushed().to_bits(), (-0f32).to_bits());
        assert_eq!(f32::MIN_POSITIVE.flushed(), f32::MIN_POSITIVE);
        assert!(f32::NAN.flushed().is_nan());
    }
}

//! Decodes floating-point arithmetic.

use super::assembler::Assembler;
use super::decode::Decoding;
use crate::ptx::{Parsed, Type};
use crate::sim::float::{Kind, Mode, Operation, Rounding};
use crate::sim::program::Op;

pub(super) fn rounding(name: &str) -> Option<Rounding> {
    match name {
        "rn" => Some(Rounding::Nearest),
        "rz" => Some(Rounding::Zero),
        "rm" => Some(Rounding::Down),
        "rp" => Some(Rounding::Up),
        _ => None,
    }
}

impl<'a> Assembler<'a, '_> {
    pub(super) fn floating(&mut self, decoding: &mut Decoding<'a, '_>) -> Parsed<()> {
        let modifiers = &mut decoding.modifiers;
        let approximate = modifiers.flag("approx");
        let full = modifiers.flag("full");
        let nan = modifiers.flag("NaN");
        let rounding = modifiers.take(rounding).unwrap_or_default();
        let (flush, saturate) = (modifiers.flag("ftz"), modifiers.flag("sat"));
        let ty = modifiers.ty()?;
        let kind = match ty {
            Type::F16 => Kind::F16,
            Type::F32 => Kind::F32,
            Type::F64 => Kind::F64,
            _ => return modifiers.error("the type is not supported"),
        };
        let gross = approximate && flush && ty == Type::F64;
        let operation = match decoding.name {
            "rcp" if gross => Operation::GrossReciprocal,
            "rsqrt" if gross => Operation::GrossReciprocalSquareRoot,
            "min" if nan => Operation::MinNan,
            "max" if nan => Operation::MaxNan,
            name => match named(name) {
                Some(operation) if !nan => operation,
                _ => return modifiers.error("is not supported"),
            },
        };
        if full && operation != Operation::Divide || !rounds(operation, rounding) {
            return modifiers.error("a modifier is not supported here");
        }
        let mode = Mode { rounding, flush: flush && ty != Type::F64, saturate };
        let operands = match operation.operands() {
            1 => {
                let [d, a] = decoding.take()?;
                [d, a, a, a]
            }
            2 => {
                let [d, a, b] = decoding.take()?;
                [d, a, b, b]
            }
            _ => decoding.take::<4>()?,
        };
        let [d, a, b, c] = operands;
        let [a, b, c] = self.sources([a, b, c], ty)?;
        let d = self.destination(d, ty)?;
        self.emit(Op::Float((operation, kind, mode), [d, a, b, c]));
        Ok(())
    }
}

fn named(name: &str) -> Option<Operation> {
    Some(match name {
        "add" => Operation::Add,
        "sub" => Operation::Subtract,
        "mul" => Operation::Multiply,
        "fma" | "mad" => Operation::MultiplyAdd,
        "div" => Operation::Divide,
        "rcp" => Operation::Reciprocal,
        "sqrt" => Operation::SquareRoot,
        "min" => Operation::Min,
        "max" => Operation::Max,
        "abs" => Operation::Absolute,
        "neg" => Operation::Negate,
        "copysign" => Operation::CopySign,
        "rsqrt" => Operation::ReciprocalSquareRoot,
        "ex2" => Operation::Exponential2,
        "lg2" => Operation::Logarithm2,
        "sin" => Operation::Sine,
        "cos" => Operation::Cosine,
        "tanh" => Operation::HyperbolicTangent,
        _ => return None,
    })
}

/// Whether `operation` can be had with that rounding.
fn rounds(operation: Operation, rounding: Rounding) -> bool {
    use Operation as Is;
    let directed = matches!(
        operation,
        Is::Add
            | Is::Subtract
            | Is::Multiply
            | Is::MultiplyAdd
            | Is::Divide
            | Is::Reciprocal
            | Is::SquareRoot
    );
    directed || rounding == Rounding::Nearest
}

impl Operation {
    /// How many operands it has.
    fn operands(self) -> usize {
        match self {
            Self::MultiplyAdd => 3,
            Self::Add
            | Self::Subtract
            | Self::Multiply
            | Self::Divide
            | Self::Min
            | Self::Max
            | Self::MinNan
            | Self::MaxNan
            | Self::CopySign => 2,
            _ => 1,
        }
    }
}

//! Decodes integer arithmetic and the instructions on bits.

use super::assembler::Assembler;
use super::decode::Decoding;
use super::operands::size;
use crate::ptx::{Operand, Parsed, Type};
use crate::sim::Row;
use crate::sim::bits::{Carry, Count, Counted, Permute, Wide, WordOperation};
use crate::sim::compare::Combine;
use crate::sim::integer::{Kind, Operation};
use crate::sim::program::Op;

/// Which part of a product is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Low,
    High,
    Wide,
}

fn part(name: &str) -> Option<Part> {
    match name {
        "lo" => Some(Part::Low),
        "hi" => Some(Part::High),
        "wide" => Some(Part::Wide),
        _ => None,
    }
}

fn kind(ty: Type) -> Option<Kind> {
    Some(match ty {
        Type::U16 | Type::B16 => Kind::U16,
        Type::S16 => Kind::S16,
        Type::U32 | Type::B32 => Kind::U32,
        Type::S32 => Kind::S32,
        Type::U64 | Type::B64 => Kind::U64,
        Type::S64 => Kind::S64,
        _ => return None,
    })
}

impl<'a> Assembler<'a, '_> {
    pub(super) fn integer(&mut self, decoding: &mut Decoding<'a, '_>) -> Parsed<()> {
        match decoding.name {
            "mul" | "mad" => return self.product(decoding),
            "and" | "or" | "xor" | "not" if decoding.modifiers.has("pred") => {
                return self.predicates(decoding);
            }
            _ => {}
        }
        let saturating = decoding.modifiers.flag("sat");
        let ty = decoding.modifiers.ty()?;
        let operation = match (decoding.name, saturating) {
            ("add", true) => Operation::AddSaturating,
            ("sub", true) => Operation::SubtractSaturating,
            (_, true) => return decoding.modifiers.error(".sat is not supported"),
            ("add", _) => Operation::Add,
            ("sub", _) => Operation::Subtract,
            ("div", _) => Operation::Divide,
            ("rem", _) => Operation::Remainder,
            ("min", _) => Operation::Min,
            ("max", _) => Operation::Max,
            ("abs", _) => Operation::Absolute,
            ("neg", _) => Operation::Negate,
            ("and", _) => Operation::And,
            ("or", _) => Operation::Or,
            ("xor", _) => Operation::Xor,
            ("not", _) => Operation::Not,
            ("cnot", _) => Operation::IsZero,
            ("shl", _) => Operation::ShiftLeft,
            ("shr", _) => Operation::ShiftRight,
            ("sad", _) => Operation::AbsoluteDifference,
            ("bfe", _) => Operation::ExtractField,
            _ => Operation::ReverseBits,
        };
        let Some(kind) = kind(ty) else {
            return decoding.modifiers.error("the type is not supported");
        };
        let rows = self.integer_rows(operation, ty, decoding)?;
        self.emit(Op::Integer((operation, kind), rows));
        Ok(())
    }

    fn integer_rows(
        &mut self,
        operation: Operation,
        ty: Type,
        decoding: &Decoding<'a, '_>,
    ) -> Parsed<[Row; 4]> {
        use Operation as Is;
        let (operands, second, third) = match operation {
            Is::Absolute | Is::Negate | Is::Not | Is::IsZero | Is::ReverseBits => {
                let [d, a] = decoding.take()?;
                ([d, a, a, a], ty, ty)
            }
            Is::AbsoluteDifference => (decoding.take::<4>()?, ty, ty),
            Is::ExtractField => (decoding.take::<4>()?, Type::U32, Type::U32),
            Is::ShiftLeft | Is::ShiftRight => {
                let [d, a, b] = decoding.take()?;
                ([d, a, b, b], Type::U32, Type::U32)
            }
            _ => {
                let [d, a, b] = decoding.take()?;
                ([d, a, b, b], ty, ty)
            }
        };
        let [d, a, b, c] = operands;
        Ok([
            self.destination(d, ty)?,
            self.source(a, ty)?,
            self.source(b, second)?,
            self.source(c, third)?,
        ])
    }

    /// `mul` and `mad`, with the part of the product that is wanted.
    fn product(&mut self, decoding: &mut Decoding<'a, '_>) -> Parsed<()> {
        let part = decoding.modifiers.need("which part of the product", part)?;
        let saturating = decoding.modifiers.flag("sat");
        let ty = decoding.modifiers.ty()?;
        let adds = decoding.name == "mad";
        let (d, [a, b], c) = if adds {
            let [d, a, b, c] = decoding.take()?;
            (d, [a, b], c)
        } else {
            let [d, a, b] = decoding.take()?;
            (d, [a, b], b)
        };
        let [a, b] = self.sources([a, b], ty)?;
        if part == Part::Wide && !saturating {
            return self.wide_product((d, ty), [a, b], adds.then_some(c));
        }
        let operation = match (part, adds, saturating) {
            (Part::Low, false, false) => Operation::MultiplyLow,
            (Part::High, false, false) => Operation::MultiplyHigh,
            (Part::Low, true, false) => Operation::MultiplyAddLow,
            (Part::High, true, false) => Operation::MultiplyAddHigh,
            (Part::High, true, true) => Operation::MultiplyAddHighSaturating,
            _ => return decoding.modifiers.error(".sat is not supported"),
        };
        let Some(kind) = kind(ty) else {
            return decoding.modifiers.error("the type is not supported");
        };
        let c = if adds { self.source(c, ty)? } else { b };
        let d = self.destination(d, ty)?;
        self.emit(Op::Integer((operation, kind), [d, a, b, c]));
        Ok(())
    }

    fn wide_product(
        &mut self,
        (d, ty): (&Operand<'a>, Type),
        [a, b]: [Row; 2],
        c: Option<&Operand<'a>>,
    ) -> Parsed<()> {
        let (wide, result) = match ty {
            Type::U16 => (Wide::U16, Type::U32),
            Type::S16 => (Wide::S16, Type::S32),
            Type::U32 => (Wide::U32, Type::U64),
            Type::S32 => (Wide::S32, Type::S64),
            _ => return self.error("the type has no wide product"),
        };
        let d = self.destination(d, result)?;
        match c {
            Some(c) => {
                let c = self.source(c, result)?;
                self.emit(Op::MultiplyAddWide(wide, [d, a, b, c]));
            }
            None => self.emit(Op::MultiplyWide(wide, [d, a, b])),
        }
        Ok(())
    }

    /// `and.pred` and its kin.
    fn predicates(&mut self, decoding: &mut Decoding<'a, '_>) -> Parsed<()> {
        decoding.modifiers.flag("pred");
        if decoding.name == "not" {
            let [d, a] = decoding.take()?;
            let op = Op::Not { d: self.predicate_result(d)?, a: self.predicate(a)? };
            self.emit(op);
            return Ok(());
        }
        let [d, a, b] = decoding.take()?;
        let rows = [self.predicate_result(d)?, self.predicate(a)?, self.predicate(b)?];
        self.emit(Op::Logic(
            match decoding.name {
                "and" => Combine::And,
                "or" => Combine::Or,
                _ => Combine::Xor,
            },
            rows,
        ));
        Ok(())
    }

    /// `add.cc`, `addc`, `sub.cc`, `subc`, `mad.cc`, `madc`: a product first, then a sum with carries.
    pub(super) fn carrying(&mut self, decoding: &mut Decoding<'a, '_>) -> Parsed<()> {
        let carry_out = decoding.modifiers.flag("cc");
        let part = decoding.modifiers.take(part);
        let ty = decoding.modifiers.ty()?;
        let kind = match kind(ty) {
            Some(kind) if ty.bytes() >= 4 => kind,
            _ => return decoding.modifiers.error("the type has no carries"),
        };
        let carry_in = decoding.name.ends_with('c');
        let subtract = decoding.name.starts_with("sub");
        let (d, a, b) = if decoding.name.starts_with("mad") {
            let operation = match part {
                Some(Part::Low) => Operation::MultiplyLow,
                Some(Part::High) => Operation::MultiplyHigh,
                _ => return decoding.modifiers.error("lo or hi was expected"),
            };
            let [d, a, b, c] = decoding.take()?;
            let [a, b] = self.sources([a, b], ty)?;
            let product = self.row(ty)?;
            self.emit(Op::Integer((operation, kind), [product, a, b, b]));
            (d, product, c)
        } else {
            let [d, a, b] = decoding.take()?;
            (d, self.source(a, ty)?, b)
        };
        let b = self.source(b, ty)?;
        let d = self.destination(d, ty)?;
        let carry = Carry { subtract, carry_in, carry_out };
        self.emit(Op::Carry((carry, ty.bytes() == 8), [d, a, b]));
        Ok(())
    }

    pub(super) fn bits(&mut self, decoding: &mut Decoding<'a, '_>) -> Parsed<()> {
        match decoding.name {
            "bfi" => {
                let ty = decoding.modifiers.ty()?;
                if ty.bytes() < 4 {
                    return decoding.modifiers.error("the type is not supported");
                }
                let [d, a, b, position, length] = decoding.take()?;
                let [a, b] = self.sources([a, b], ty)?;
                let [position, length] = self.sources([position, length], Type::U32)?;
                let rows = [self.destination(d, ty)?, a, b, position, length];
                self.emit(Op::InsertField { long: ty.bytes() == 8, rows });
                Ok(())
            }
            "popc" | "clz" | "bfind" => self.count(decoding),
            _ => self.word_operation(decoding),
        }
    }

    fn count(&mut self, decoding: &mut Decoding<'a, '_>) -> Parsed<()> {
        let shift = decoding.modifiers.flag("shiftamt");
        let ty = decoding.modifiers.ty()?;
        let count = match (decoding.name, shift) {
            ("popc", false) => Count::Ones,
            ("clz", false) => Count::LeadingZeros,
            ("bfind", false) => Count::Highest,
            ("bfind", true) => Count::HighestShift,
            _ => return decoding.modifiers.error(".shiftamt is not supported"),
        };
        let of = match ty {
            Type::B32 | Type::U32 => Counted::U32,
            Type::B64 | Type::U64 => Counted::U64,
            Type::S32 => Counted::S32,
            Type::S64 => Counted::S64,
            _ => return decoding.modifiers.error("the type is not supported"),
        };
        let [d, a] = decoding.take()?;
        let rows = [self.destination(d, Type::U32)?, self.source(a, ty)?];
        self.emit(Op::Count((count, of), rows));
        Ok(())
    }

    /// The operations of three words.
    fn word_operation(&mut self, decoding: &mut Decoding<'a, '_>) -> Parsed<()> {
        let operation = match decoding.name {
            "prmt" => WordOperation::Permute(
                decoding.modifiers.take(permutation).unwrap_or(Permute::Bytes),
            ),
            "shf" => {
                let left = decoding.modifiers.flag("l") || !decoding.modifiers.flag("r");
                let clamp = decoding.modifiers.flag("clamp") || !decoding.modifiers.flag("wrap");
                if left {
                    WordOperation::FunnelLeft { clamp }
                } else {
                    WordOperation::FunnelRight { clamp }
                }
            }
            "lop3" => return self.logic(decoding),
            "mul24" | "mad24" => return self.product24(decoding),
            _ => {
                let signed = [decoding.modifiers.ty()?, decoding.modifiers.ty()?];
                let signed = signed.map(|ty| ty == Type::S32);
                return self.three_words(WordOperation::Dot4 { signed }, decoding);
            }
        };
        decoding.modifiers.ty()?;
        self.three_words(operation, decoding)
    }

    fn three_words(
        &mut self,
        operation: WordOperation,
        decoding: &Decoding<'a, '_>,
    ) -> Parsed<()> {
        let [d, a, b, c] = decoding.take()?;
        let [a, b, c] = self.sources([a, b, c], Type::B32)?;
        let d = self.destination(d, Type::B32)?;
        self.emit(Op::Words(operation, [d, a, b, c]));
        Ok(())
    }

    fn logic(&mut self, decoding: &mut Decoding<'a, '_>) -> Parsed<()> {
        decoding.modifiers.ty()?;
        let [d, a, b, c, table] = decoding.take()?;
        let Operand::Number(table) = table else {
            return decoding.modifiers.error("the truth table must be a constant");
        };
        let table = self.literal(*table, Type::B32)? as u8;
        let [a, b, c] = self.sources([a, b, c], Type::B32)?;
        let d = self.destination(d, Type::B32)?;
        self.emit(Op::Words(WordOperation::Logic(table), [d, a, b, c]));
        Ok(())
    }

    fn product24(&mut self, decoding: &mut Decoding<'a, '_>) -> Parsed<()> {
        let high = decoding.modifiers.need("lo or hi", part)? == Part::High;
        let signed = decoding.modifiers.ty()? == Type::S32;
        let operation = WordOperation::Multiply24 { signed, high };
        if decoding.name == "mad24" {
            return self.three_words(operation, decoding);
        }
        let [d, a, b] = decoding.take()?;
        let [a, b] = self.sources([a, b], Type::B32)?;
        let zero = self.constant(size(Type::B32), 0)?;
        let d = self.destination(d, Type::B32)?;
        self.emit(Op::Words(operation, [d, a, b, zero]));
        Ok(())
    }
}

fn permutation(name: &str) -> Option<Permute> {
    Some(match name {
        "f4e" => Permute::Forward4,
        "b4e" => Permute::Backward4,
        "rc8" => Permute::Replicate8,
        "ecl" => Permute::EdgeLeft,
        "ecr" => Permute::EdgeRight,
        "rc16" => Permute::Replicate16,
        _ => return None,
    })
}

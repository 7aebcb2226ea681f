//! Decodes comparisons and selections.

use super::assembler::Assembler;
use super::decode::Decoding;
use super::operands::size;
use crate::ptx::{Operand, Parsed, Type};
use crate::sim::Row;
use crate::sim::compare::{Class, Combine, Comparison, Kind};
use crate::sim::program::{Op, TRUE};

fn comparison(name: &str) -> Option<Comparison> {
    Some(match name {
        "eq" => Comparison::Equal,
        "ne" => Comparison::NotEqual,
        "lt" | "lo" => Comparison::Less,
        "le" | "ls" => Comparison::LessEqual,
        "gt" | "hi" => Comparison::Greater,
        "ge" | "hs" => Comparison::GreaterEqual,
        "equ" => Comparison::EqualUnordered,
        "neu" => Comparison::NotEqualUnordered,
        "ltu" => Comparison::LessUnordered,
        "leu" => Comparison::LessEqualUnordered,
        "gtu" => Comparison::GreaterUnordered,
        "geu" => Comparison::GreaterEqualUnordered,
        "num" => Comparison::BothNumbers,
        "nan" => Comparison::EitherNan,
        _ => return None,
    })
}

fn combine(name: &str) -> Option<Combine> {
    match name {
        "and" => Some(Combine::And),
        "or" => Some(Combine::Or),
        "xor" => Some(Combine::Xor),
        _ => None,
    }
}

fn class(name: &str) -> Option<Class> {
    Some(match name {
        "finite" => Class::Finite,
        "infinite" => Class::Infinite,
        "number" => Class::Number,
        "notanumber" => Class::NotANumber,
        "normal" => Class::Normal,
        "subnormal" => Class::Subnormal,
        _ => return None,
    })
}

impl<'a> Assembler<'a, '_> {
    pub(super) fn comparing(&mut self, decoding: &mut Decoding<'a, '_>) -> Parsed<()> {
        match decoding.name {
            "setp" => self.compare(decoding),
            "set" => self.set(decoding),
            "selp" => self.select(decoding),
            "slct" => self.select_by_sign(decoding),
            _ => self.classify(decoding),
        }
    }

    /// The modifiers of `setp` and `set` after the result's type.
    fn comparison(
        &mut self,
        decoding: &mut Decoding<'a, '_>,
    ) -> Parsed<((Comparison, Kind), Option<Combine>, Type)> {
        let modifiers = &mut decoding.modifiers;
        let comparison = modifiers.need("a comparison", comparison)?;
        let combine = modifiers.take(combine);
        let flush = modifiers.flag("ftz");
        let ty = modifiers.ty()?;
        let kind = match ty {
            Type::B16 | Type::U16 => Kind::U16,
            Type::S16 => Kind::S16,
            Type::B32 | Type::U32 => Kind::U32,
            Type::S32 => Kind::S32,
            Type::B64 | Type::U64 => Kind::U64,
            Type::S64 => Kind::S64,
            Type::F16 => Kind::F16,
            Type::F32 => Kind::F32 { flush },
            Type::F64 => Kind::F64,
            _ => return modifiers.error("the type is not supported"),
        };
        Ok(((comparison, kind), combine, ty))
    }

    /// The last operand of a comparison that is combined with a predicate.
    fn combined(
        &mut self,
        combine: Option<Combine>,
        operand: Option<&Operand<'a>>,
    ) -> Parsed<(Combine, Row)> {
        match (combine, operand) {
            (Some(combine), Some(operand)) => Ok((combine, self.predicate(operand)?)),
            _ => Ok((Combine::And, TRUE)),
        }
    }

    fn compare(&mut self, decoding: &mut Decoding<'a, '_>) -> Parsed<()> {
        let (what, combine, ty) = self.comparison(decoding)?;
        let (d, a, b, c) = if combine.is_some() {
            let [d, a, b, c] = decoding.take()?;
            (d, a, b, Some(c))
        } else {
            let [d, a, b] = decoding.take()?;
            (d, a, b, None)
        };
        let [a, b] = self.sources([a, b], ty)?;
        let (combine, c) = self.combined(combine, c)?;
        let (d, other) = match d {
            Operand::Pair(d, other) => (
                self.predicate_result(&Operand::Name(d))?,
                self.predicate_result(&Operand::Name(other))?,
            ),
            d => (self.predicate_result(d)?, self.row(Type::Pred)?),
        };
        self.emit(Op::Compare { what, combine, rows: [d, other, a, b, c] });
        Ok(())
    }

    /// `set`: a comparison, and its result as a number.
    fn set(&mut self, decoding: &mut Decoding<'a, '_>) -> Parsed<()> {
        // (the result's type comes first, but after the comparison)
        let result = decoding.modifiers.ty()?;
        if result.bytes() != 4 {
            return decoding.modifiers.error("a result of 32 bits was expected");
        }
        let (what, combine, ty) = self.comparison(decoding)?;
        let (d, a, b, c) = if combine.is_some() {
            let [d, a, b, c] = decoding.take()?;
            (d, a, b, Some(c))
        } else {
            let [d, a, b] = decoding.take()?;
            (d, a, b, None)
        };
        let [a, b] = self.sources([a, b], ty)?;
        let (combine, c) = self.combined(combine, c)?;
        let d = self.destination(d, result)?;
        let [holds, other] = [self.row(Type::Pred)?, self.row(Type::Pred)?];
        self.emit(Op::Compare { what, combine, rows: [holds, other, a, b, c] });
        self.emit(Op::Set { float: result == Type::F32, d, a: holds });
        Ok(())
    }

    fn select(&mut self, decoding: &mut Decoding<'a, '_>) -> Parsed<()> {
        let ty = decoding.modifiers.ty()?;
        let [d, a, b, c] = decoding.take()?;
        let [a, b] = self.sources([a, b], ty)?;
        let predicate = self.predicate(c)?;
        let d = self.destination(d, ty)?;
        self.emit(Op::Select { size: size(ty), d, a, b, predicate });
        Ok(())
    }

    fn select_by_sign(&mut self, decoding: &mut Decoding<'a, '_>) -> Parsed<()> {
        let ty = decoding.modifiers.ty()?;
        let by = decoding.modifiers.ty()?;
        decoding.modifiers.flag("ftz");
        let float = match by {
            Type::S32 => false,
            Type::F32 => true,
            _ => return decoding.modifiers.error("the type of the selector is not supported"),
        };
        let [d, a, b, c] = decoding.take()?;
        let [a, b] = self.sources([a, b], ty)?;
        let c = self.source(c, by)?;
        let d = self.destination(d, ty)?;
        self.emit(Op::SelectBySign { size: size(ty), float, d, a, b, c });
        Ok(())
    }

    fn classify(&mut self, decoding: &mut Decoding<'a, '_>) -> Parsed<()> {
        let class = decoding.modifiers.need("a class of floats", class)?;
        let ty = decoding.modifiers.ty()?;
        if !matches!(ty, Type::F32 | Type::F64) {
            return decoding.modifiers.error("the type is not supported");
        }
        let [d, a] = decoding.take()?;
        let a = self.source(a, ty)?;
        let d = self.predicate_result(d)?;
        self.emit(Op::Classify { what: (class, ty == Type::F64), d, a });
        Ok(())
    }
}

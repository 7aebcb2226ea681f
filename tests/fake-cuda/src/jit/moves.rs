//! Decodes moves, conversions and conversions of addresses.

use super::assembler::Assembler;
use super::decode::Decoding;
use super::floats::rounding;
use super::operands::size;
use crate::ptx::{Operand, Parsed, Space, Type};
use crate::sim::Row;
use crate::sim::bits::Pack;
use crate::sim::compare::{Combine, Size};
use crate::sim::convert::{Conversion, Scalar};
use crate::sim::float::Rounding;
use crate::sim::program::{self, Op};

/// The type of a conversion or of a memory access.
pub(super) fn scalar(ty: Type) -> Option<Scalar> {
    Some(match ty {
        Type::B8 | Type::U8 => Scalar::U8,
        Type::S8 => Scalar::S8,
        Type::B16 | Type::U16 => Scalar::U16,
        Type::S16 => Scalar::S16,
        Type::B32 | Type::U32 => Scalar::U32,
        Type::S32 => Scalar::S32,
        Type::B64 | Type::U64 => Scalar::U64,
        Type::S64 => Scalar::S64,
        Type::F16 => Scalar::F16,
        Type::F32 => Scalar::F32,
        Type::F64 => Scalar::F64,
        Type::Pred => return None,
    })
}

fn integer_rounding(name: &str) -> Option<Rounding> {
    rounding(name.strip_suffix('i')?)
}

impl<'a> Assembler<'a, '_> {
    pub(super) fn moving(&mut self, decoding: &mut Decoding<'a, '_>) -> Parsed<()> {
        match decoding.name {
            "mov" => self.mov(decoding),
            "cvt" => self.convert(decoding),
            "cvta" => self.convert_address(decoding),
            _ => self.is_space(decoding),
        }
    }

    fn mov(&mut self, decoding: &mut Decoding<'a, '_>) -> Parsed<()> {
        let ty = decoding.modifiers.ty()?;
        let [d, a] = decoding.take()?;
        match (d, a) {
            (d, a) if ty == Type::Pred => {
                let [d, a] = [self.predicate_result(d)?, self.predicate(a)?];
                self.emit(Op::Logic(Combine::And, [d, a, a]));
            }
            (Operand::Vector(parts), a) => {
                let a = self.source(a, ty)?;
                self.unpack(parts, a, ty)?;
            }
            (d, Operand::Vector(parts)) => {
                let d = self.destination(d, ty)?;
                self.pack(d, parts, ty)?;
            }
            (d, a) => {
                let rows = [self.destination(d, ty)?, self.source(a, ty)?];
                self.emit(Op::Copy(size(ty), rows));
            }
        }
        Ok(())
    }

    /// `mov.b64 {%r1, %r2}, %rd1`, and its kin.
    fn unpack(&mut self, parts: &[Operand<'a>], a: Row, ty: Type) -> Parsed<()> {
        match (parts, ty.bytes()) {
            ([low, high], 8) => {
                let rows = [
                    a,
                    self.destination(low, Type::B32)?,
                    self.destination(high, Type::B32)?,
                ];
                self.emit(Op::Pack(Pack::LongToWords, rows));
            }
            ([low, high], 4) => {
                let rows = [
                    a,
                    self.destination(low, Type::B16)?,
                    self.destination(high, Type::B16)?,
                ];
                self.emit(Op::Pack(Pack::WordToHalves, rows));
            }
            ([_, _, _, _], 8) => {
                let words = [self.row(Type::B32)?, self.row(Type::B32)?];
                self.emit(Op::Pack(Pack::LongToWords, [a, words[0], words[1]]));
                self.unpack(&parts[..2], words[0], Type::B32)?;
                self.unpack(&parts[2..], words[1], Type::B32)?;
            }
            _ => return self.error("this unpacking is not supported"),
        }
        Ok(())
    }

    fn pack(&mut self, d: Row, parts: &[Operand<'a>], ty: Type) -> Parsed<()> {
        match (parts, ty.bytes()) {
            ([low, high], 8) => {
                let [low, high] = self.sources([low, high], Type::B32)?;
                self.emit(Op::Pack(Pack::WordsToLong, [d, low, high]));
            }
            ([low, high], 4) => {
                let [low, high] = self.sources([low, high], Type::B16)?;
                self.emit(Op::Pack(Pack::HalvesToWord, [d, low, high]));
            }
            ([_, _, _, _], 8) => {
                let words = [self.row(Type::B32)?, self.row(Type::B32)?];
                self.pack(words[0], &parts[..2], Type::B32)?;
                self.pack(words[1], &parts[2..], Type::B32)?;
                self.emit(Op::Pack(Pack::WordsToLong, [d, words[0], words[1]]));
            }
            _ => return self.error("this packing is not supported"),
        }
        Ok(())
    }

    fn convert(&mut self, decoding: &mut Decoding<'a, '_>) -> Parsed<()> {
        let modifiers = &mut decoding.modifiers;
        let to_integer = modifiers.take(integer_rounding);
        let rounding = to_integer.or_else(|| modifiers.take(rounding)).unwrap_or_default();
        let (flush, saturate) = (modifiers.flag("ftz"), modifiers.flag("sat"));
        let types = [modifiers.ty()?, modifiers.ty()?];
        let [Some(to), Some(from)] = types.map(scalar) else {
            return modifiers.error("the type is not supported");
        };
        let integral = to_integer.is_some();
        if from.is_float() && !to.is_float() && !integral {
            return modifiers.error("a rounding to an integer is missing");
        }
        if integral && !from.is_float() {
            return modifiers.error("a rounding to an integer is not supported here");
        }
        let [d, a] = decoding.take()?;
        let d = self.converted(d, types[0], to)?;
        let a = match a {
            Operand::Number(_) => (size(types[1]), self.source(a, types[1])?),
            a => self.at_least(a, types[1])?,
        };
        let conversion = Conversion { to, from, rounding, integral, flush, saturate };
        self.emit(Op::Convert(conversion, [d, a]));
        Ok(())
    }

    /// The result of a conversion: of a float as it is, of an integer any register that holds it.
    fn converted(
        &mut self,
        d: &Operand<'a>,
        ty: Type,
        to: Scalar,
    ) -> Parsed<(Size, Row)> {
        if to.is_float() {
            return Ok((size(ty), self.destination(d, ty)?));
        }
        self.at_least(d, ty)
    }

    /// A register, or a special one, that is as wide as `ty` or wider.
    fn at_least(&mut self, operand: &Operand<'a>, ty: Type) -> Parsed<(Size, Row)> {
        if let Operand::Name(name) = operand
            && super::special::special(name).is_some()
        {
            return Ok((size(ty), self.source(operand, ty)?));
        }
        let (own, row) = self.register(operand)?;
        if own == Type::Pred || own.bytes() < ty.bytes() {
            return self.error(format!("a {own:?} register is too small for a {ty:?}"));
        }
        Ok((size(own), row))
    }

    fn convert_address(&mut self, decoding: &mut Decoding<'a, '_>) -> Parsed<()> {
        let to = decoding.modifiers.flag("to");
        let space = decoding.modifiers.need("a state space", Space::named)?;
        let ty = decoding.modifiers.ty()?;
        let [d, a] = decoding.take()?;
        let a = self.source(a, ty)?;
        let d = self.destination(d, ty)?;
        match seen_through_window(space) {
            _ if ty.bytes() != 8 => return self.error("generic addresses have 64 bits"),
            Some(space) => self.emit(Op::Window { space, to, d, a }),
            None => self.emit(Op::Copy(Size::Long, [d, a])),
        }
        Ok(())
    }

    fn is_space(&mut self, decoding: &mut Decoding<'a, '_>) -> Parsed<()> {
        let space = decoding.modifiers.need("a state space", Space::named)?;
        let [d, a] = decoding.take()?;
        let a = self.source(a, Type::B64)?;
        let d = self.predicate_result(d)?;
        // (constants are in global memory here; what is in neither window is global)
        let space = seen_through_window(space).unwrap_or(program::Space::Global);
        self.emit(Op::InSpace { space, d, a });
        Ok(())
    }
}

/// The spaces that have a window among the generic addresses.
fn seen_through_window(space: Space) -> Option<program::Space> {
    match space {
        Space::Shared => Some(program::Space::Shared),
        Space::Local => Some(program::Space::Local),
        Space::Param => Some(program::Space::Parameter),
        Space::Global | Space::Const | Space::Generic => None,
    }
}

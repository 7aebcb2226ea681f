//! Operands to rows.

use super::assembler::Assembler;
use super::scope::Symbol;
use super::special::special;
use crate::ptx::{Operand, Parsed, Space, Type};
use crate::sim::compare::Size;
use crate::sim::program::{self, LongSpecial, Op};
use crate::sim::Row;

/// The size of the registers that hold a `ty`.
pub(super) fn size(ty: Type) -> Size {
    match ty.bytes() {
        8 => Size::Long,
        4 => Size::Word,
        _ => Size::Half,
    }
}

impl<'a> Assembler<'a, '_> {
    /// The row of a source operand of type `ty`.
    pub(super) fn source(&mut self, operand: &Operand<'a>, ty: Type) -> Parsed<Row> {
        match operand {
            Operand::Number(number) => {
                let bits = self.literal(*number, ty)?;
                self.constant(size(ty), bits)
            }
            Operand::Name("WARP_SZ") => self.constant(size(ty), 32),
            Operand::Name(name) => {
                if let Some(which) = special(name) {
                    return self.special(which, ty);
                }
                match self.find(name)? {
                    Some(Symbol::Register { ty: own, row }) => {
                        self.check_size(name, own, ty)?;
                        Ok(row)
                    }
                    Some(symbol) => self.address_of(symbol, 0, ty),
                    None => self.error(format!("`{name}` is not defined")),
                }
            }
            Operand::Offset(name, offset) => match self.find(name)? {
                Some(Symbol::Register { .. }) | None => {
                    self.error(format!("`{name}` is no variable"))
                }
                Some(symbol) => self.address_of(symbol, *offset, ty),
            },
            _ => self.error("a register or a constant was expected"),
        }
    }

    /// The row of a register, of any size, with its type.
    pub(super) fn register(&mut self, operand: &Operand<'a>) -> Parsed<(Type, Row)> {
        let Operand::Name(name) = operand else { return self.error("a register was expected") };
        match self.find(name)? {
            Some(Symbol::Register { ty, row }) => Ok((ty, row)),
            _ => self.error(format!("`{name}` is no register")),
        }
    }

    /// The row of a result of type `ty`; a row that nobody reads for `_`.
    pub(super) fn destination(&mut self, operand: &Operand<'a>, ty: Type) -> Parsed<Row> {
        if *operand == Operand::Name("_") {
            return self.row(ty);
        }
        let (own, row) = self.register(operand)?;
        self.check_size("the result", own, ty)?;
        Ok(row)
    }

    fn check_size(&self, name: &str, own: Type, ty: Type) -> Parsed<()> {
        if own != Type::Pred && size(own) == size(ty) {
            return Ok(());
        }
        self.error(format!("{name} is a {own:?}, not a {ty:?}"))
    }

    /// The row of a predicate, of its opposite, or of a constant.
    pub(super) fn predicate(&mut self, operand: &Operand<'a>) -> Parsed<Row> {
        match operand {
            Operand::Number(number) => {
                let value = self.literal(*number, Type::B32)?;
                self.constant_predicate(value != 0)
            }
            Operand::Not(name) => {
                let a = self.predicate(&Operand::Name(name))?;
                let d = self.row(Type::Pred)?;
                self.emit(Op::Not { d, a });
                Ok(d)
            }
            operand => match self.register(operand)? {
                (Type::Pred, row) => Ok(row),
                (ty, _) => self.error(format!("a predicate was expected, not a {ty:?}")),
            },
        }
    }

    pub(super) fn predicate_result(&mut self, operand: &Operand<'a>) -> Parsed<Row> {
        if *operand == Operand::Name("_") {
            return self.row(Type::Pred);
        }
        self.predicate(operand)
    }

    pub(super) fn sources<const N: usize>(
        &mut self,
        operands: [&Operand<'a>; N],
        ty: Type,
    ) -> Parsed<[Row; N]> {
        let mut rows = [Row::default(); N];
        for (row, operand) in rows.iter_mut().zip(operands) {
            *row = self.source(operand, ty)?;
        }
        Ok(rows)
    }

    /// The address of a variable, in its own space.
    fn address_of(&mut self, symbol: Symbol, offset: i64, ty: Type) -> Parsed<Row> {
        let (size, offset) = (size(ty), offset.cast_unsigned());
        match symbol {
            Symbol::Address(start) | Symbol::Shared(start) => {
                self.constant(size, start.wrapping_add(offset))
            }
            Symbol::Parameter(start) => self.constant(size, offset.wrapping_add(start.into())),
            Symbol::Frame(start) if size == Size::Long => {
                let start = start.offset.wrapping_add(offset as u32);
                self.long_special(LongSpecial::FrameAddress(start))
            }
            Symbol::DynamicShared if size == Size::Long => {
                let start = self.long_special(LongSpecial::DynamicShared)?;
                self.plus(start, offset)
            }
            _ => self.error("the address of this variable needs 64 bits"),
        }
    }

    pub(super) fn long_special(&mut self, which: LongSpecial) -> Parsed<Row> {
        let row = self.row(Type::B64)?;
        self.emit(Op::LongSpecial(which, row));
        Ok(row)
    }

    fn plus(&mut self, row: Row, offset: u64) -> Parsed<Row> {
        use crate::sim::integer::{Kind, Operation};
        if offset == 0 {
            return Ok(row);
        }
        let (d, by) = (self.row(Type::B64)?, self.constant(Size::Long, offset)?);
        self.emit(Op::Integer((Operation::Add, Kind::U64), [d, row, by, by]));
        Ok(d)
    }

    /// An address operand in `space`, as PTX names spaces.
    pub(super) fn address(
        &mut self,
        operand: &Operand<'a>,
        space: Space,
    ) -> Parsed<program::Address> {
        let Operand::Address(name, offset) = operand else {
            return self.error("an address in brackets was expected");
        };
        let offset = *offset;
        let Some(name) = name else {
            let row = self.constant(Size::Long, offset.cast_unsigned())?;
            return Ok(program::Address { space: self.own_space(space), row, offset: 0 });
        };
        let (space, row, offset) = match self.find(name)? {
            Some(Symbol::Register { ty, row }) => {
                (self.own_space(space), self.wide_address(ty, row)?, offset)
            }
            Some(symbol) => self.variable(symbol, space, offset)?,
            None => return self.error(format!("`{name}` is not defined")),
        };
        match i32::try_from(offset) {
            Ok(offset) => Ok(program::Address { space, row, offset }),
            Err(_) => {
                let row = self.plus(row, offset.cast_unsigned())?;
                Ok(program::Address { space, row, offset: 0 })
            }
        }
    }

    /// A variable that is named in an address: its space is its own.
    fn variable(
        &mut self,
        symbol: Symbol,
        space: Space,
        offset: i64,
    ) -> Parsed<(program::Space, Row, i64)> {
        let zero = self.constant(Size::Long, 0)?;
        Ok(match symbol {
            Symbol::Shared(start) => (program::Space::Shared, zero, start.cast_signed() + offset),
            Symbol::DynamicShared => {
                (program::Space::Shared, self.long_special(LongSpecial::DynamicShared)?, offset)
            }
            Symbol::Frame(slot) => (program::Space::Frame, zero, i64::from(slot.offset) + offset),
            Symbol::Parameter(start) => {
                (program::Space::Parameter, zero, i64::from(start) + offset)
            }
            Symbol::Address(start) if matches!(space, Space::Global | Space::Const | Space::Generic) => {
                (program::Space::Global, self.constant(Size::Long, start)?, offset)
            }
            Symbol::Address(_) | Symbol::Register { .. } => {
                return self.error("the variable is in another space");
            }
        })
    }

    /// An address register of 32 bits is widened: shared and local addresses fit in it.
    fn wide_address(&mut self, ty: Type, row: Row) -> Parsed<Row> {
        match ty.bytes() {
            8 => Ok(row),
            4 => {
                let zero = self.constant(Size::Word, 0)?;
                let d = self.row(Type::B64)?;
                self.emit(Op::Pack(crate::sim::bits::Pack::WordsToLong, [d, row, zero]));
                Ok(d)
            }
            _ => self.error("an address has 32 or 64 bits"),
        }
    }

    /// The space of an address in a register. Parameters of a kernel are the launch's, those of a
    /// device function are in its frame.
    fn own_space(&self, space: Space) -> program::Space {
        match space {
            Space::Const | Space::Global => program::Space::Global,
            Space::Local => program::Space::Local,
            Space::Shared => program::Space::Shared,
            Space::Generic => program::Space::Generic,
            Space::Param if self.is_entry => program::Space::Parameter,
            Space::Param => program::Space::Local,
        }
    }
}

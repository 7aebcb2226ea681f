//! Decodes jumps and calls.

use super::assembler::Assembler;
use super::decode::Decoding;
use super::moves::scalar;
use super::operands::size;
use super::scope::{From, Symbol};
use crate::ptx::{Operand, Parsed, Type};
use crate::sim::Row;
use crate::sim::program::{self, Builtin, Call, Callee, Op, Slot, Transfer};

impl<'a> Assembler<'a, '_> {
    pub(super) fn control(&mut self, decoding: &mut Decoding<'a, '_>) -> Parsed<()> {
        decoding.modifiers.flag("uni");
        match decoding.name {
            "bra" => self.branch(decoding),
            "brx" => self.branch_table(decoding),
            "call" => self.call(decoding),
            "ret" => {
                let [] = decoding.take()?;
                self.give_back()?;
                self.emit(Op::Return);
                Ok(())
            }
            "exit" => self.plain(decoding, Op::Exit),
            "trap" | "brkpt" => self.plain(decoding, Op::Trap),
            // waiting, and marks for profilers, change nothing
            _ => {
                self.emit(Op::Nothing);
                Ok(())
            }
        }
    }

    fn plain(&mut self, decoding: &Decoding<'a, '_>, op: Op) -> Parsed<()> {
        let [] = decoding.take()?;
        self.emit(op);
        Ok(())
    }

    fn branch(&mut self, decoding: &Decoding<'a, '_>) -> Parsed<()> {
        let [Operand::Name(label)] = decoding.take()? else {
            return decoding.modifiers.error("a label was expected");
        };
        self.jump(label, From::Instruction(self.here()));
        self.emit(Op::Branch(0));
        Ok(())
    }

    fn branch_table(&mut self, decoding: &mut Decoding<'a, '_>) -> Parsed<()> {
        decoding.modifiers.need("idx", |part| (part == "idx").then_some(()))?;
        let [index, Operand::Name(name)] = decoding.take()? else {
            return decoding.modifiers.error("a table of labels was expected");
        };
        let index = self.source(index, Type::U32)?;
        let Some(labels) = self.tables.get(name).cloned() else {
            return self.error(format!("no table `{name}`"));
        };
        let table = self.function.branch_tables.len();
        self.function.branch_tables.push(vec![0; labels.len()]);
        for (i, label) in labels.into_iter().enumerate() {
            self.jump(label, From::Table { table, index: i });
        }
        self.emit(Op::BranchTable { table: table as u32, index });
        Ok(())
    }

    /// `call (results), function, (parameters), prototype`, all but the function optional.
    fn call(&mut self, decoding: &Decoding<'a, '_>) -> Parsed<()> {
        decoding.modifiers.done()?;
        let (results, rest) = match decoding.operands {
            [Operand::List(results), rest @ ..] => (results.as_slice(), rest),
            rest => (&[][..], rest),
        };
        let (callee, parameters) = match rest {
            [callee] => (callee, &[][..]),
            [callee, Operand::List(parameters), ..] => (callee, parameters.as_slice()),
            _ => return self.error("this form of call is not supported"),
        };
        let (callee, known) = self.callee(callee)?;
        let mut given = Vec::new();
        for parameter in parameters {
            given.push(self.given(parameter)?);
        }
        let (mut slots, mut received) = (Vec::new(), Vec::new());
        for result in results {
            let (slot, register) = self.received(result)?;
            slots.push(slot);
            received.extend(register.map(|register| (register, slot)));
        }
        let call = Call { callee, parameters: given, returns: slots };
        if let Some((parameters, returns)) = known
            && !(alike(&call.parameters, &parameters) && alike(&call.returns, &returns))
        {
            return self.error("the call does not fit the function's declaration");
        }
        let number = self.function.calls.len() as u32;
        self.function.calls.push(call);
        self.emit(Op::Call(number));
        for ((ty, row), slot) in received {
            self.frame_transfer(Op::Load, (ty, row), slot)?;
        }
        Ok(())
    }

    /// What is called, and the sizes of its parameters and results where they are known.
    #[allow(clippy::type_complexity, reason = "two lists of sizes, used once")]
    fn callee(&mut self, operand: &Operand<'a>) -> Parsed<(Callee, Option<(Vec<u32>, Vec<u32>)>)> {
        let Operand::Name(name) = operand else { return self.error("a function was expected") };
        if let Some(Symbol::Register { ty, row }) = self.find(name)? {
            return match ty.bytes() {
                8 => Ok((Callee::Address(row), None)),
                _ => self.error("the address of a function has 64 bits"),
            };
        }
        match (self.functions.get(name), *name) {
            (Some(known), _) => Ok((Callee::Function(known.number), Some(known.sizes.clone()))),
            (None, "__assertfail") => Ok((Callee::Builtin(Builtin::AssertFail), None)),
            (None, "vprintf") => Ok((Callee::Builtin(Builtin::Printf), None)),
            _ => self.error(format!("unresolved function `{name}`")),
        }
    }

    /// The slot of a parameter; a register or a constant is put into one.
    fn given(&mut self, operand: &Operand<'a>) -> Parsed<Slot> {
        if let Operand::Name(name) = operand
            && let Some(Symbol::Frame(slot)) = self.find(name)?
        {
            return Ok(slot);
        }
        let (ty, row) = match operand {
            Operand::Number(_) => (Type::B32, self.source(operand, Type::B32)?),
            operand => self.register(operand)?,
        };
        let slot = self.slot(ty)?;
        self.frame_transfer(Op::Store, (ty, row), slot)?;
        Ok(slot)
    }

    /// The slot of a result, and the register that it goes to if it is one.
    fn received(&mut self, operand: &Operand<'a>) -> Parsed<(Slot, Option<(Type, Row)>)> {
        if let Operand::Name(name) = operand
            && let Some(Symbol::Frame(slot)) = self.find(name)?
        {
            return Ok((slot, None));
        }
        let (ty, row) = self.register(operand)?;
        Ok((self.slot(ty)?, Some((ty, row))))
    }

    fn slot(&mut self, ty: Type) -> Parsed<Slot> {
        let bytes = ty.bytes();
        Ok(Slot { offset: self.frame(bytes, bytes)?, bytes: bytes as u32 })
    }

    /// Moves a register to its slot in the frame, or back.
    pub(super) fn frame_transfer(
        &mut self,
        op: fn(Transfer, program::Address) -> Op,
        (ty, row): (Type, Row),
        slot: Slot,
    ) -> Parsed<()> {
        let Some(scalar) = scalar(ty) else {
            return self.error("a predicate cannot be a parameter");
        };
        let zero = self.constant(size(Type::B64), 0)?;
        let rows = [row, Row::default(), Row::default(), Row::default()];
        let transfer = Transfer { scalar, concurrent: false, count: 1, size: size(ty), rows };
        let offset = i32::try_from(slot.offset).unwrap_or(i32::MAX);
        let space = program::Space::Frame;
        self.emit(op(transfer, program::Address { space, row: zero, offset }));
        Ok(())
    }

    /// Results that are registers go to their slots.
    pub(super) fn give_back(&mut self) -> Parsed<()> {
        for (register, slot) in self.register_returns.clone() {
            let register = self.register(&Operand::Name(register))?;
            self.frame_transfer(Op::Store, register, slot)?;
        }
        Ok(())
    }
}

fn alike(slots: &[Slot], sizes: &[u32]) -> bool {
    slots.iter().map(|slot| slot.bytes).eq(sizes.iter().copied())
}

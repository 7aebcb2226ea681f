//! Collects the instructions, rows and constants of one function.

use std::collections::HashMap;

use super::scope::{From, Jump, Scopes, Symbol};
use crate::ptx::{Number, Parsed, PtxError, Type};
use crate::sim::Row;
use crate::sim::compare::Size;
use crate::sim::program::{Function, Instruction, Op, Slot, TRUE};

/// The functions that can be called, by name.
pub(super) type Functions<'a> = HashMap<&'a str, Known>;

/// What a caller must know of a function.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) number: usize,
    /// The sizes of its parameters, and of its results.
    pub(super) sizes: (Vec<u32>, Vec<u32>),
}

pub(super) struct Assembler<'a, 'b> {
    pub(super) function: Function,
    pub(super) is_entry: bool,
    /// The functions of the module that have a body.
    pub(super) functions: &'b Functions<'a>,
    /// The tables of labels that were declared.
    pub(super) tables: HashMap<&'a str, Vec<&'a str>>,
    /// Results of the function that are registers, and their slots.
    pub(super) register_returns: Vec<(&'a str, Slot)>,
    pub(super) scopes: Scopes<'a>,
    /// The line of the instruction at hand.
    pub(super) line: u32,
    /// Its guard.
    pub(super) guard: (Row, bool),
    constants: HashMap<(Size, u64), Row>,
    never: Option<Row>,
}

impl<'a, 'b> Assembler<'a, 'b> {
    pub(super) fn new(name: &str, is_entry: bool, functions: &'b Functions<'a>) -> Self {
        let mut function = Function { name: name.into(), ..Function::default() };
        function.rows.predicates = 2; // TRUE and CARRY
        Self {
            function,
            is_entry,
            functions,
            tables: HashMap::new(),
            register_returns: Vec::new(),
            scopes: Scopes::default(),
            line: 0,
            guard: (TRUE, false),
            constants: HashMap::new(),
            never: None,
        }
    }

    pub(super) fn error<T>(&self, reason: impl Into<String>) -> Parsed<T> {
        Err(PtxError::new(self.line, reason))
    }

    /// Where the next instruction goes.
    pub(super) fn here(&self) -> usize {
        self.function.instructions.len()
    }

    /// Adds an instruction under the guard at hand.
    pub(super) fn emit(&mut self, op: Op) {
        let (guard, negated) = self.guard;
        self.function.instructions.push(Instruction { guard, negated, op });
        self.function.lines.push(self.line);
    }

    /// A row of its own, for `ty`.
    pub(super) fn row(&mut self, ty: Type) -> Parsed<Row> {
        let rows = &mut self.function.rows;
        let next = match ty.bytes() {
            0 => &mut rows.predicates,
            1 | 2 => &mut rows.halves,
            4 => &mut rows.words,
            _ => &mut rows.longs,
        };
        let row = Row(*next);
        match next.checked_add(1) {
            Some(more) => *next = more,
            None => return self.error("the function has too many registers"),
        }
        Ok(row)
    }

    /// A row that holds the low bits of `bits` in every lane.
    pub(super) fn constant(&mut self, size: Size, bits: u64) -> Parsed<Row> {
        let bits = match size {
            Size::Half => bits & 0xffff,
            Size::Word => bits & 0xffff_ffff,
            Size::Long => bits,
        };
        if let Some(row) = self.constants.get(&(size, bits)) {
            return Ok(*row);
        }
        let row = self.row(match size {
            Size::Half => Type::B16,
            Size::Word => Type::B32,
            Size::Long => Type::B64,
        })?;
        let constants = &mut self.function.constants;
        match size {
            Size::Half => constants.halves.push((row, bits as u16)),
            Size::Word => constants.words.push((row, bits as u32)),
            Size::Long => constants.longs.push((row, bits)),
        }
        self.constants.insert((size, bits), row);
        Ok(row)
    }

    /// A predicate row that is always `value`.
    pub(super) fn constant_predicate(&mut self, value: bool) -> Parsed<Row> {
        if value {
            return Ok(TRUE);
        }
        if let Some(row) = self.never {
            return Ok(row);
        }
        let row = self.row(Type::Pred)?;
        self.function.constants.predicates.push((row, 0));
        self.never = Some(row);
        Ok(row)
    }

    /// A literal as the bits of a `ty`.
    pub(super) fn literal(&self, number: Number, ty: Type) -> Parsed<u64> {
        let single = |value: f32| u64::from(value.to_bits());
        match (number, ty) {
            (Number::Integer(value), ty) if !ty.is_float() => Ok(value),
            (Number::Single(bits), Type::F64) => Ok(f64::from(f32::from_bits(bits)).to_bits()),
            (Number::Single(bits), ty) if ty.bytes() == 4 => Ok(bits.into()),
            (Number::Double(bits), Type::F32) => Ok(single(f64::from_bits(bits) as f32)),
            (Number::Double(bits), ty) if ty.bytes() == 8 => Ok(bits),
            (number, ty) => self.error(format!("{number:?} is no {ty:?}")),
        }
    }

    pub(super) fn find(&mut self, name: &'a str) -> Parsed<Option<Symbol>> {
        let mut scopes = std::mem::take(&mut self.scopes);
        let found = scopes.find(name, |ty| self.row(ty));
        self.scopes = scopes;
        found
    }

    pub(super) fn jump(&mut self, label: &'a str, from: From) {
        let line = self.line;
        self.scopes.jump(Jump { label, line, from });
    }

    /// Ends a scope of names, and sets the targets of the jumps to its labels.
    pub(super) fn close_scope(&mut self) -> Parsed<()> {
        let function = &mut self.function;
        self.scopes.close(|jump, target| match jump.from {
            From::Instruction(at) => function.instructions[at].op = Op::Branch(target),
            From::Table { table, index } => function.branch_tables[table][index] = target,
        })
    }

    /// Room in the frame.
    pub(super) fn frame(&mut self, bytes: usize, align: usize) -> Parsed<u32> {
        let start = (self.function.frame_bytes as usize).next_multiple_of(align.max(1));
        let end = start.saturating_add(bytes);
        match u32::try_from(end) {
            Ok(end) if end < 1 << 24 => self.function.frame_bytes = end,
            _ => return self.error("the function's local memory is too large"),
        }
        Ok(start as u32)
    }
}

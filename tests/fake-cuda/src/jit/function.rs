//! One function: its parameters, its variables, its statements in order.

use super::assembler::{Assembler, Functions};
use super::layout::Shared;
use super::scope::Symbol;
use crate::ptx::{Function, Parsed, Space, Statement, Variable};
use crate::sim::program::{self, Op, Slot, TRUE};

/// What a function's code may refer to.
#[derive(Clone, Copy)]
pub(super) struct Around<'a, 'b> {
    pub(super) functions: &'b Functions<'a>,
    /// The variables of the module, and the addresses of its functions.
    pub(super) symbols: &'b [(&'a str, Symbol)],
    pub(super) shared: Shared,
}

/// The code of `function`, and the shared memory with its own variables placed.
pub(super) fn compile<'a>(
    function: &Function<'a>,
    around: Around<'a, '_>,
) -> Parsed<(program::Function, Shared)> {
    let mut assembler = Assembler::new(function.name, function.is_entry, around.functions);
    assembler.line = function.line;
    assembler.scopes.open();
    for (name, symbol) in around.symbols {
        assembler.scopes.define(name, *symbol);
    }
    if function.is_entry {
        assembler.entry_parameters(&function.parameters);
    } else {
        assembler.frame_parameters(function)?;
    }
    let mut shared = around.shared;
    assembler.scopes.open();
    for statement in function.body.iter().flatten() {
        assembler.statement(statement, &mut shared)?;
    }
    // control must not run off the end
    assembler.guard = (TRUE, false);
    assembler.give_back()?;
    assembler.emit(Op::Return);
    assembler.close_scope()?;
    assembler.close_scope()?;
    Ok((assembler.function, shared))
}

impl<'a> Assembler<'a, '_> {
    /// A kernel's parameters are the launch's.
    fn entry_parameters(&mut self, parameters: &[Variable<'a>]) {
        for (parameter, slot) in super::layout::parameters(parameters) {
            self.scopes.define(parameter.name, Symbol::Parameter(slot.offset));
        }
    }

    /// Parameters and results come and go through the frame; those that are registers are moved.
    fn frame_parameters(&mut self, function: &Function<'a>) -> Parsed<()> {
        for variable in &function.parameters {
            let slot = self.frame_slot(variable)?;
            self.function.parameters.push(slot);
            if variable.space.is_none() {
                self.scopes.declare_register(variable.name, variable.ty, None);
                let register = self.register(&crate::ptx::Operand::Name(variable.name))?;
                self.frame_transfer(Op::Load, register, slot)?;
            }
        }
        for variable in &function.returns {
            let slot = self.frame_slot(variable)?;
            self.function.returns.push(slot);
            if variable.space.is_none() {
                self.scopes.declare_register(variable.name, variable.ty, None);
                self.register_returns.push((variable.name, slot));
            }
        }
        Ok(())
    }

    fn frame_slot(&mut self, variable: &Variable<'a>) -> Parsed<Slot> {
        let bytes = variable.bytes();
        let slot = Slot { offset: self.frame(bytes, variable.align)?, bytes: bytes as u32 };
        if variable.space.is_some() {
            self.scopes.define(variable.name, Symbol::Frame(slot));
        }
        Ok(slot)
    }

    fn statement(&mut self, statement: &Statement<'a>, shared: &mut Shared) -> Parsed<()> {
        match statement {
            Statement::Open => self.scopes.open(),
            Statement::Close => self.close_scope()?,
            Statement::Label(name) => {
                let here = self.here() as u32;
                self.scopes.label(name, here);
            }
            Statement::Registers { ty, names } => {
                for (name, count) in names {
                    self.scopes.declare_register(name, *ty, *count);
                }
            }
            Statement::Variable(variable) => self.variable_in_body(variable, shared)?,
            Statement::Prototype => {}
            Statement::Targets { name, labels } => {
                self.tables.insert(name, labels.clone());
            }
            Statement::Instruction(instruction) => {
                self.line = instruction.line;
                self.guard = (TRUE, false);
                if let Some(guard) = instruction.guard {
                    let predicate = crate::ptx::Operand::Name(guard.predicate);
                    self.guard = (self.predicate(&predicate)?, guard.negated);
                }
                self.decode(instruction)?;
            }
        }
        Ok(())
    }

    fn variable_in_body(&mut self, variable: &Variable<'a>, shared: &mut Shared) -> Parsed<()> {
        self.line = variable.line;
        match variable.space {
            Some(Space::Local | Space::Param) => {
                self.frame_slot(variable)?;
            }
            Some(Space::Shared) => {
                let symbol = shared.place(variable);
                self.scopes.define(variable.name, symbol);
            }
            _ => return self.error("a variable of this space must be declared outside functions"),
        }
        Ok(())
    }

}

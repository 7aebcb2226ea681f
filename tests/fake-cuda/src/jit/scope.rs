//! Names and what they stand for. Braces in a body open scopes, as inline assembly does.

use std::collections::HashMap;

use crate::ptx::{Parsed, PtxError, Type};
use crate::sim::Row;
use crate::sim::program::Slot;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Symbol {
    Register { ty: Type, row: Row },
    /// An absolute address: of a global or constant variable, or of a function.
    Address(u64),
    /// An offset in the block's shared memory.
    Shared(u64),
    /// Where the shared memory begins whose size the launch gives.
    DynamicShared,
    /// Bytes of the function's frame. Parameters of calls and local variables are alike here.
    Frame(Slot),
    /// An offset in the launch's parameters.
    Parameter(u32),
}

/// The names of one pair of braces.
#[derive(Debug, Default)]
struct Scope<'a> {
    names: HashMap<&'a str, Symbol>,
    /// Registers declared but not used yet: they have no row.
    unused: HashMap<&'a str, Type>,
    /// `%r<57>`: a prefix, and how many.
    ranges: HashMap<&'a str, (Type, u32)>,
    /// Labels are places in the code; those that are used before they are defined wait.
    labels: HashMap<&'a str, u32>,
    jumps: Vec<Jump<'a>>,
}

/// An instruction, or an entry in a branch table, that goes to a label.
#[derive(Debug, Clone, Copy)]
pub(super) struct Jump<'a> {
    pub(super) label: &'a str,
    pub(super) line: u32,
    pub(super) from: From,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum From {
    Instruction(usize),
    Table { table: usize, index: usize },
}

#[derive(Debug, Default)]
pub(super) struct Scopes<'a> {
    open: Vec<Scope<'a>>,
}

impl<'a> Scopes<'a> {
    pub(super) fn open(&mut self) {
        self.open.push(Scope::default());
    }

    /// Ends a scope: hands out the jumps to its labels, and leaves the others to the one around it.
    pub(super) fn close(&mut self, mut resolve: impl FnMut(Jump<'a>, u32)) -> Parsed<()> {
        let Some(scope) = self.open.pop() else { return Ok(()) };
        for jump in scope.jumps {
            if let Some(target) = scope.labels.get(jump.label) {
                resolve(jump, *target);
            } else if let Some(around) = self.open.last_mut() {
                around.jumps.push(jump);
            } else {
                return Err(PtxError::new(jump.line, format!("no label `{}`", jump.label)));
            }
        }
        Ok(())
    }

    fn innermost(&mut self) -> &mut Scope<'a> {
        if self.open.is_empty() {
            self.open();
        }
        self.open.last_mut().expect("invariant: a scope was just opened")
    }

    pub(super) fn define(&mut self, name: &'a str, symbol: Symbol) {
        self.innermost().names.insert(name, symbol);
    }

    pub(super) fn declare_register(&mut self, name: &'a str, ty: Type, count: Option<u32>) {
        let scope = self.innermost();
        match count {
            Some(count) => {
                scope.ranges.insert(name, (ty, count));
            }
            None => {
                scope.names.remove(name);
                scope.unused.insert(name, ty);
            }
        }
    }

    pub(super) fn label(&mut self, name: &'a str, at: u32) {
        self.innermost().labels.insert(name, at);
    }

    pub(super) fn jump(&mut self, jump: Jump<'a>) {
        self.innermost().jumps.push(jump);
    }

    /// What `name` stands for. A register's row is made by `row` at its first use.
    pub(super) fn find(
        &mut self,
        name: &'a str,
        mut row: impl FnMut(Type) -> Parsed<Row>,
    ) -> Parsed<Option<Symbol>> {
        for scope in self.open.iter_mut().rev() {
            if let Some(symbol) = scope.names.get(name) {
                return Ok(Some(*symbol));
            }
            if let Some(ty) = scope.register(name) {
                let symbol = Symbol::Register { ty, row: row(ty)? };
                scope.names.insert(name, symbol);
                return Ok(Some(symbol));
            }
        }
        Ok(None)
    }
}

impl Scope<'_> {
    /// The type of a declared register.
    fn register(&self, name: &str) -> Option<Type> {
        if let Some(ty) = self.unused.get(name) {
            return Some(*ty);
        }
        let prefix = name.trim_end_matches(|c: char| c.is_ascii_digit());
        let number: u32 = name[prefix.len()..].parse().ok()?;
        self.ranges.get(prefix).filter(|(_, count)| number < *count).map(|(ty, _)| *ty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inner_names_hide_outer_ones() {
        let mut scopes = Scopes::default();
        scopes.open();
        scopes.declare_register("%p", Type::Pred, Some(2));
        let mut next = 0;
        let mut row = |_| {
            next += 1;
            Ok(Row(next))
        };
        let outer = scopes.find("%p1", &mut row).unwrap();
        scopes.open();
        scopes.declare_register("%p1", Type::U32, None);
        let inner = scopes.find("%p1", &mut row).unwrap();
        assert_eq!(inner, Some(Symbol::Register { ty: Type::U32, row: Row(2) }));
        assert_eq!(scopes.find("%p2", &mut row).unwrap(), None);
        scopes.close(|_, _| ()).unwrap();
        assert_eq!(scopes.find("%p1", &mut row).unwrap(), outer);
    }

    #[test]
    fn labels_are_found_outwards_and_missed_at_the_end() {
        let mut scopes = Scopes::default();
        scopes.open();
        scopes.open();
        for label in ["here", "there"] {
            scopes.jump(Jump { label, line: 3, from: From::Instruction(0) });
        }
        scopes.label("here", 5);
        let mut found = Vec::new();
        scopes.close(|jump, at| found.push((jump.label, at))).unwrap();
        assert_eq!(found, [("here", 5)]);
        assert!(scopes.close(|_, _| ()).unwrap_err().to_string().contains("`there`"));
    }
}

//! The tree of a PTX text. Names borrow from the text.

use super::{Number, Space, Type};

/// A whole PTX text.
#[derive(Debug, Default)]
pub(crate) struct Module<'a> {
    /// `.version 7.8` is `(7, 8)`.
    pub(crate) version: (u32, u32),
    /// `.target sm_80, debug` is `sm_80`.
    pub(crate) target: &'a str,
    pub(crate) variables: Vec<Variable<'a>>,
    pub(crate) functions: Vec<Function<'a>>,
}

/// A variable in memory, or a parameter.
#[derive(Debug, Clone)]
pub(crate) struct Variable<'a> {
    pub(crate) line: u32,
    /// `None` for a parameter that is a register (`.reg`).
    pub(crate) space: Option<Space>,
    pub(crate) align: usize,
    pub(crate) ty: Type,
    pub(crate) name: &'a str,
    /// How many elements; `None` for `name[]`.
    pub(crate) length: Option<usize>,
    pub(crate) initial: Vec<Initial<'a>>,
    /// Defined in another module, or sized by the launch.
    pub(crate) external: bool,
}

impl Variable<'_> {
    /// Its size in bytes; none where the launch decides it.
    pub(crate) fn bytes(&self) -> usize {
        self.ty.bytes() * self.length.unwrap_or(self.initial.len())
    }
}

/// One element of an initialiser.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Initial<'a> {
    Number(Number),
    /// The address of a variable or function, `generic` or of its own space.
    Address {
        name: &'a str,
        offset: i64,
        generic: bool,
    },
}

/// An entry (a kernel) or a device function.
#[derive(Debug)]
pub(crate) struct Function<'a> {
    pub(crate) line: u32,
    pub(crate) name: &'a str,
    pub(crate) is_entry: bool,
    pub(crate) returns: Vec<Variable<'a>>,
    pub(crate) parameters: Vec<Variable<'a>>,
    pub(crate) bounds: Bounds,
    /// `None` for a declaration.
    pub(crate) body: Option<Vec<Statement<'a>>>,
}

/// The performance directives that bound a launch; 0 says nothing.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) max_threads: [u32; 3],
    pub(crate) required_threads: [u32; 3],
}

/// One statement of a function's body. Braces open and close scopes of names.
#[derive(Debug)]
pub(crate) enum Statement<'a> {
    Open,
    Close,
    Label(&'a str),
    Registers {
        ty: Type,
        /// Names, or with a count the prefix of that many: `%r<5>` is `%r0` to `%r4`.
        names: Vec<(&'a str, Option<u32>)>,
    },
    Variable(Variable<'a>),
    /// `name: .callprototype …` declares the parameters of functions that are called by address. (A
    /// call is checked against the function that it reaches.)
    Prototype,
    /// `name: .branchtargets …`, the labels that a `brx.idx` goes to.
    Targets {
        name: &'a str,
        labels: Vec<&'a str>,
    },
    Instruction(Instruction<'a>),
}

#[derive(Debug)]
pub(crate) struct Instruction<'a> {
    pub(crate) line: u32,
    pub(crate) guard: Option<Guard<'a>>,
    /// All of it, with its modifiers: `setp.lt.and.s32`.
    pub(crate) opcode: &'a str,
    pub(crate) operands: Vec<Operand<'a>>,
}

/// `@%p1`, or `@!%p1`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Guard<'a> {
    pub(crate) predicate: &'a str,
    pub(crate) negated: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Operand<'a> {
    /// A register, a variable, a function, a label; `_` for a result that nobody wants.
    Name(&'a str),
    /// `name+4`: an address in a variable.
    Offset(&'a str, i64),
    Number(Number),
    /// `!%p1`.
    Not(&'a str),
    /// `%r1|%p1`: two results.
    Pair(&'a str, &'a str),
    /// `{%f1, %f2}`.
    Vector(Vec<Operand<'a>>),
    /// `[name+4]`; an absolute address has no name.
    Address(Option<&'a str>, i64),
    /// `(a, b)`: the parameters of a call.
    List(Vec<Operand<'a>>),
}

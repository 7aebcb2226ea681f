//! Decoded PTX: what [`jit`](crate::jit) makes and the interpreter runs.

use super::bits::{Carry, Count, Counted, Pack, Wide, WordOperation};
use super::compare::{self, Class, Combine, Comparison, Size};
use super::convert::{Conversion, Scalar, Sized};
use super::registers::{Mask, Row};
use super::{float, integer};

/// The functions of a module, entries among them.
#[derive(Debug, Default)]
pub(crate) struct Program {
    pub(crate) functions: Vec<Function>,
}

/// One function, ready to run.
#[derive(Debug, Default)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) instructions: Vec<Instruction>,
    /// The line in the PTX text of each instruction.
    pub(crate) lines: Vec<u32>,
    pub(crate) rows: Rows,
    pub(crate) constants: Constants,
    /// Bytes of a lane's frame: parameters, local variables, slots for the parameters of calls.
    pub(crate) frame_bytes: u32,
    /// The parameters that come in and go out through the frame, of a device function.
    pub(crate) parameters: Vec<Slot>,
    pub(crate) returns: Vec<Slot>,
    pub(crate) calls: Vec<Call>,
    pub(crate) branch_tables: Vec<Vec<u32>>,
}

/// How many rows of each size a frame has.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Rows {
    pub(crate) predicates: u16,
    pub(crate) halves: u16,
    pub(crate) words: u16,
    pub(crate) longs: u16,
}

/// Rows that hold a constant from the start, and are never written.
#[derive(Debug, Default)]
pub(crate) struct Constants {
    pub(crate) predicates: Vec<(Row, Mask)>,
    pub(crate) halves: Vec<(Row, u16)>,
    pub(crate) words: Vec<(Row, u32)>,
    pub(crate) longs: Vec<(Row, u64)>,
}

/// Some bytes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) offset: u32,
    pub(crate) bytes: u32,
}

/// What a `call` calls, and which of its own slots are the parameters.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) callee: Callee,
    pub(crate) parameters: Vec<Slot>,
    pub(crate) returns: Vec<Slot>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Callee {
    /// The number of a function of the module.
    Function(usize),
    /// A row of function addresses, which may differ by lane.
    Address(Row),
    /// A function of the device's run-time library.
    Builtin(Builtin),
}

/// The functions that NVRTC leaves to the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Builtin {
    /// `__assertfail(message, file, line, function, size of a character)`.
    AssertFail,
    /// `vprintf(format, arguments)`.
    Printf,
}

/// The predicate row that is always true, in every function: the guard of what has none.
pub(crate) const TRUE: Row = Row(0);
/// The predicate row of the carry flag.
pub(crate) const CARRY: Row = Row(1);

/// An instruction under its guard.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Instruction {
    pub(crate) guard: Row,
    pub(crate) negated: bool,
    pub(crate) op: Op,
}

/// Where a load or a store goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Space {
    /// Device memory, constants, mapped host memory.
    Global,
    Shared,
    /// A thread's own memory, by its address.
    Local,
    /// A thread's own memory, from the start of the function's frame on.
    Frame,
    /// The parameters of the launch.
    Parameter,
    Generic,
}

/// An address: a row of longs, and an offset that all lanes have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Address {
    pub(crate) space: Space,
    pub(crate) row: Row,
    pub(crate) offset: i32,
}

/// A load or a store of one to four elements.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Transfer {
    pub(crate) scalar: Scalar,
    /// `.volatile` and `.relaxed`: other threads may write at the same time.
    pub(crate) concurrent: bool,
    pub(crate) count: u8,
    /// The size of the registers, which may be greater than the scalar's.
    pub(crate) size: Size,
    pub(crate) rows: [Row; 4],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AtomicOperation {
    Add,
    Min,
    Max,
    And,
    Or,
    Xor,
    Exchange,
    CompareAndSwap,
    /// Up by one, and to zero past `b`.
    Increment,
    /// Down by one, and to `b` from zero or from above it.
    Decrement,
}

/// `atom`, and `red` without a result. `b` is the operand, `c` the new value of a compare-and-swap.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Atomic {
    pub(crate) operation: AtomicOperation,
    pub(crate) scalar: Scalar,
    pub(crate) result: Option<Row>,
    pub(crate) b: Row,
    pub(crate) c: Row,
}

/// Special registers of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Special {
    Thread(u8),
    BlockSize(u8),
    Block(u8),
    GridSize(u8),
    Lane,
    Warp,
    WarpCount,
    Zero,
    LaneMask(Comparison),
    DynamicSharedBytes,
    TotalSharedBytes,
    Clock,
    ClockHigh,
    GridNumber,
}

/// Special registers of a long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LongSpecial {
    Clock,
    Nanoseconds,
    /// The address in local memory of an offset in the frame.
    FrameAddress(u32),
    /// Where the shared memory begins whose size the launch gives.
    DynamicShared,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shuffle {
    Up,
    Down,
    Butterfly,
    Index,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vote {
    All,
    Any,
    /// All agree.
    Uniform,
}

/// What a `bar` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Barrier {
    Wait,
    /// Without waiting.
    Arrive,
    /// Waits; the result, a word, is for how many threads the predicate held.
    Count { result: Row, of: Row },
    /// Waits; the result, a predicate, is whether it held for all, or for any.
    Reduce { result: Row, of: Row, any: bool },
}

/// All that an instruction can be. Rows are named as PTX names them: `d` is written, `a`, `b` and
/// `c` are read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Op {
    Integer((integer::Operation, integer::Kind), [Row; 4]),
    Float((float::Operation, float::Kind, float::Mode), [Row; 4]),
    Words(WordOperation, [Row; 4]),
    Count((Count, Counted), [Row; 2]),
    MultiplyWide(Wide, [Row; 3]),
    MultiplyAddWide(Wide, [Row; 4]),
    InsertField { long: bool, rows: [Row; 5] },
    Carry((Carry, bool), [Row; 3]),
    Pack(Pack, [Row; 3]),
    Convert(Conversion, [Sized; 2]),
    Copy(Size, [Row; 2]),
    Special(Special, Row),
    LongSpecial(LongSpecial, Row),

    /// `d = combine(a compared with b, c)`, and into `other` the same of the comparison's opposite.
    Compare { what: (Comparison, compare::Kind), combine: Combine, rows: [Row; 5] },
    /// A predicate as a word: all ones, or 1.0.
    Set { float: bool, d: Row, a: Row },
    Select { size: Size, d: Row, a: Row, b: Row, predicate: Row },
    SelectBySign { size: Size, float: bool, d: Row, a: Row, b: Row, c: Row },
    Classify { what: (Class, bool), d: Row, a: Row },
    /// On predicates; a move is `a` and `a`.
    Logic(Combine, [Row; 3]),
    Not { d: Row, a: Row },

    Load(Transfer, Address),
    Store(Transfer, Address),
    Atomic(Atomic, Address),
    /// `cvta.to` a space, or from one (`to` false): the difference of its window.
    Window { space: Space, to: bool, d: Row, a: Row },
    /// `isspacep`.
    InSpace { space: Space, d: Row, a: Row },
    Fence,
    /// Copies bytes from the second address to the first (`cp.async`).
    CopyBytes { bytes: u8, to: Row, from: Row, offsets: [i32; 2] },

    Shuffle { mode: Shuffle, d: Row, valid: Option<Row>, rows: [Row; 3], members: Option<Row> },
    Vote { vote: Vote, d: Row, a: Row, members: Option<Row> },
    Ballot { d: Row, a: Row, members: Option<Row> },
    MatchAny { size: Size, d: Row, a: Row, members: Row },
    MatchAll { size: Size, d: Row, all: Option<Row>, a: Row, members: Row },
    ReduceLanes { what: (AtomicOperation, integer::Kind), d: Row, a: Row, members: Row },
    ActiveMask { d: Row },
    WarpBarrier { members: Row },
    Barrier { barrier: Barrier, number: Row, threads: Option<Row> },

    Branch(u32),
    BranchTable { table: u32, index: Row },
    Call(u32),
    Return,
    Exit,
    Trap,
    Nothing,
}

impl Op {
    /// The row of masks that names the lanes which must carry out the instruction together.
    pub(super) fn members(&self) -> Option<Row> {
        match self {
            Self::Shuffle { members, .. }
            | Self::Vote { members, .. }
            | Self::Ballot { members, .. } => *members,
            Self::MatchAny { members, .. }
            | Self::MatchAll { members, .. }
            | Self::ReduceLanes { members, .. }
            | Self::WarpBarrier { members } => Some(*members),
            _ => None,
        }
    }
}

impl Barrier {
    /// The predicate that it reduces.
    pub(super) fn predicate(self) -> Option<Row> {
        match self {
            Self::Count { of, .. } | Self::Reduce { of, .. } => Some(of),
            Self::Wait | Self::Arrive => None,
        }
    }
}

impl Call {
    /// Whether its parameters are those of `function`.
    pub(crate) fn fits(&self, function: &Function) -> bool {
        let alike = |ours: &[Slot], theirs: &[Slot]| {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| a.bytes == b.bytes)
        };
        alike(&self.parameters, &function.parameters) && alike(&self.returns, &function.returns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The interpreter's speed is in reading these one after another.
    #[test]
    fn an_instruction_stays_small() {
        assert!(size_of::<Instruction>() <= 32, "{}", size_of::<Instruction>());
    }
}

//! Why a kernel stopped before its end.

use std::fmt;

use crate::code::Code;

/// What went wrong in one thread, as a device would report it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// An access outside live memory.
    IllegalAddress(u64),
    /// An access at an address that is not a multiple of its size.
    Misaligned(u64),
    /// An instruction that the address's space does not support.
    WrongSpace(u64),
    /// A call to an address that is no function's.
    NoFunction(u64),
    StackOverflow,
    Trap,
    AssertionFailed,
    /// No thread of the block can ever go on.
    Deadlock,
    /// The instruction limit for one launch.
    TooLong,
    /// The context was destroyed under the kernel.
    Stopped,
}

impl Fault {
    /// The driver's code for it.
    pub(crate) fn code(self) -> Code {
        match self {
            Self::IllegalAddress(_) => Code::ILLEGAL_ADDRESS,
            Self::Misaligned(_) => Code::MISALIGNED_ADDRESS,
            Self::WrongSpace(_) => Code::INVALID_ADDRESS_SPACE,
            Self::NoFunction(_) => Code::INVALID_PC,
            Self::StackOverflow => Code::HARDWARE_STACK_ERROR,
            Self::Trap | Self::Deadlock => Code::LAUNCH_FAILED,
            Self::AssertionFailed => Code::ASSERT,
            Self::TooLong => Code::LAUNCH_TIMEOUT,
            Self::Stopped => Code::CONTEXT_IS_DESTROYED,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IllegalAddress(address) => write!(f, "illegal address {address:#x}"),
            Self::Misaligned(address) => write!(f, "misaligned address {address:#x}"),
            Self::WrongSpace(address) => {
                write!(f, "the instruction does not work on the space of {address:#x}")
            }
            Self::NoFunction(address) => write!(f, "call of {address:#x}, which is no function"),
            Self::StackOverflow => write!(f, "stack overflow"),
            Self::Trap => write!(f, "trap"),
            Self::AssertionFailed => write!(f, "assertion failed"),
            Self::Deadlock => write!(f, "deadlock: every thread waits for another"),
            Self::TooLong => write!(f, "instruction limit reached"),
            Self::Stopped => write!(f, "context destroyed"),
        }
    }
}

/// A fault of one lane.
pub(super) type Laned<T> = Result<T, (usize, Fault)>;

/// A fault, and where it was.
#[derive(Debug, Clone)]
pub(crate) struct Crash {
    pub(crate) fault: Fault,
    pub(crate) entry: String,
    /// The function, which a call may have led to, and the line in the PTX text.
    pub(crate) function: String,
    pub(crate) line: u32,
    pub(crate) block: [u32; 3],
    pub(crate) thread: [u32; 3],
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fault, entry, function, line, block, thread } = self;
        write!(f, "{entry}: {fault}, in {function} at PTX line {line}, ")?;
        write!(f, "block {block:?} thread {thread:?}")
    }
}

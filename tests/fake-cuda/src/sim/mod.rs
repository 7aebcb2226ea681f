//! Runs decoded PTX on the host.
//!
//! A launch is run by one host thread: block by block, warp by warp, an instruction at a time for
//! all 32 lanes of a warp. Nothing here knows the driver: device memory is an [`AddressSpace`], the
//! code a [`program::Program`], and the outcome an instruction count or a [`fault::Crash`].
//!
//! | part | role |
//! |---|---|
//! | `program` | the instructions, as `jit` decodes them |
//! | `grid`, `block`, `warp`, `frame` | who runs when: turns, barriers, divergence, calls |
//! | `registers`, `scratch`, `global`, `cell` | what instructions read and write |
//! | `execute` | one instruction; its kinds are in the files of their names |
//! | `window`, `fault`, `builtin` | generic addresses; what stops a kernel; `printf` and `assert` |
//!
//! Blocks run one after another, and take turns only where one does not end by itself, so results
//! of a launch are the same each time. Plain accesses to device memory are plain accesses of the
//! host: a program that races on a device races here. Volatile accesses and atomics are atomics.

mod atomic;
pub(crate) mod bits;
mod block;
mod builtin;
mod cell;
pub(crate) mod compare;
pub(crate) mod convert;
mod exchange;
mod execute;
mod fault;
pub(crate) mod float;
mod frame;
mod global;
mod grid;
pub(crate) mod integer;
mod memory;
pub(crate) mod program;
mod registers;
mod scratch;
mod soft;
mod warp;
mod window;

pub(crate) use fault::Fault;
pub(crate) use global::{AddressSpace, Segment};
pub(crate) use grid::{Launch, Limits, RESIDENT, run};
pub(crate) use registers::Row;
pub(crate) use window::function_address;

//! The simulation: the real supervisor, allocator, kernel actors and instances on one thread, on a clock
//! that stands still but when everybody waits.
//!
//! A seed makes the kernels, the callers, the faults and the end of a run (`plan`); the run is the same
//! each time. What the callers see is held against what the runtime says of itself.
//!
//! | part | role |
//! |---|---|
//! | [`fault`] | the fault points |
//! | `plan`, `policy` | what a seed makes |
//! | `run` | a run, from its start to its shutdown |
//! | `caller`, `kernel` | both ends of each request |
//! | `stage` | what they share, and what is checked on the way |
//! | `operator` | who restarts kernels by hand |
//! | `device` | a device beside the host: its work, its losses, and who else uses it |
//! | `book`, `account` | the callers' own book; the kernels' own ends |
//! | `witness` | events and queues |
//! | `sweep` | thresholds of memory pressure, met exactly |
//! | `check` | what has to hold at the end |
//! | `trace` | what happened, as a number |
//! | [`range`] | many seeds, on all processors |
//! | `planted` | bugs planted to check the checks |
//!
//! Nothing here may depend on real time, on threads, on the order of a hash map or on an address: host
//! streams, which have threads of their own, are not used, nor the fake driver, which has some too. The device
//! beside the host is simulated (`rustkernel_gpu::simulated`). Host code that blocks its thread is not: who would
//! notice it is on the same one.

mod account;
mod book;
mod caller;
mod check;
mod device;
pub mod fault;
mod kernel;
mod operator;
mod plan;
#[cfg(feature = "planted")]
pub mod planted;
mod policy;
pub mod range;
mod run;
mod stage;
mod sweep;
mod trace;
mod witness;

pub use run::{Outcome, run};

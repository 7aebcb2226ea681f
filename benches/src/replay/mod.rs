//! The replay program: recorded traces played to a memory policy, and what it needed for them.
//!
//! ```text
//! cargo run --release -p rustkernel-benches --bin replay -- --help
//! ```
//!
//! For each trace: one run without a limit, one under a soft cap of 1.25 times the peak of live bytes
//! ([`Setup::soft`]), as many as it takes to find the least capacity that suffices ([`search`]), and
//! the same steps against the clock ([`time`]). Runs are single-threaded in row order, so everything
//! but the times is the same on every machine.
//!
//! On offsets a policy only computes positions. On memory of the host or of a CUDA device the runtime's own
//! pool is what is replayed to ([`RuntimePool`]).
//!
//! A policy is a [`Policy`]; `choose.rs` is the one place that knows which there are.

mod arena;
mod best_fit;
mod choose;
mod error;
mod locked;
mod options;
mod order;
mod plot;
mod policy;
mod pool;
mod program;
mod report;
mod run;
pub mod search;
mod size_classes;
mod table;
#[cfg(test)]
mod tests;
pub mod time;

pub use arena::Arena;
pub use best_fit::BestFit;
pub use error::ReplayError;
pub use locked::Locked;
pub use options::{Backend, Options, PolicyName};
pub use order::{DELAY_US, LastUse};
pub use policy::{Counters, Policy, Setup, Worker};
pub use pool::RuntimePool;
pub use program::program;
pub use report::Report;
pub use run::{Level, Run, run};
pub use size_classes::SizeClasses;

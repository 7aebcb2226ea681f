//! The host as a device.
//!
//! | part | role |
//! |---|---|
//! | `device` | what it is called, what it has |
//! | `space` | addresses of which pages get memory and lose it |
//! | `memory` | the capacity; blocks one by one |
//! | `stream` | an ordered queue, run by one thread at a time; events |
//! | [`executor`] | the threads that run streams, within a budget shared with others |
//!
//! Kernels are Rust functions. Device memory is page-aligned host memory, really mapped, within
//! a capacity of its own.

mod device;
pub mod executor;
mod memory;
#[cfg(unix)]
mod space;
mod stream;

pub use device::{HostOptions, open};
pub use executor::{ThreadBudget, ThreadPermit};

#[cfg(feature = "cuda")]
pub(crate) use memory::Memory;
#[cfg(all(unix, feature = "cuda"))]
pub(crate) use space::{HostSpace, MOST_ADDRESSES};
pub(crate) use stream::HostEvent;

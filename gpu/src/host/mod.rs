//! The host as a device.
//!
//! | part | role |
//! |---|---|
//! | `device` | capacity, memory, what it is called |
//! | `stream` | an ordered queue, run by one thread at a time; events |
//! | [`executor`] | the threads that run streams, within a budget shared with others |
//!
//! Kernels are Rust functions. Device memory is page-aligned host memory, really allocated, within
//! a capacity of its own.

mod device;
pub mod executor;
mod stream;

pub use device::{HostOptions, open};
pub use executor::{ThreadBudget, ThreadPermit};

pub(crate) use stream::HostEvent;

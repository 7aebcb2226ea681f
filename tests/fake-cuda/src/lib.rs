//! A CUDA driver in host memory, for tests on machines without a GPU.
//!
//! It has devices of a set capacity, primary contexts that break for good and can be reset, streams
//! that run beside each other on threads of their own, events, pinned memory, memory pools, virtual
//! memory, graphs by capture; and it runs kernels from their PTX text. What it models and what it
//! does not is in this crate's `README.md`.
//!
//! In process, a program that finds its driver at run time is given [`lookup`]:
//!
//! ```no_run
//! fake_cuda::configure(&fake_cuda::Config { devices: 64, ..Default::default() });
//! rustkernel_driver::install("fake", fake_cuda::lookup);
//! let device = fake_cuda::claim(); // one that no other test has
//! // … the program under test uses device.ordinal …
//! assert!(device.ledger().is_settled());
//! ```
//!
//! As a file, the crate `fake-cuda-so` makes it `libfake_cuda.so`, which takes its orders from the
//! environment.
//!
//! | part | role |
//! |---|---|
//! | `table`, `entry`, `abi` | the driver's C interface: 153 entry points, their types |
//! | `api` | what each entry point does |
//! | `device`, `memory`, `stream`, `module` | the model behind it |
//! | `ptx`, `jit`, `sim` | PTX to a tree, to code, to results |
//! | `control` | what tests steer and read: this crate's own interface |
#![allow(
    unsafe_code,
    reason = "this crate stands in for foreign code: C pointers come in, device memory is raw"
)]

pub mod abi;
mod api;
mod clock;
mod code;
mod control;
mod device;
pub mod entry;
mod jit;
mod memory;
mod module;
mod ptx;
mod sim;
mod stream;
mod table;

pub use control::*;
pub use entry::{ENTRY_POINTS, lookup};

//! Compute kernels as supervised actors, on actix.
//!
//! ```text
//!  control thread (one actix System)          lanes (arbiters)              devices
//!  SupervisorActor ── orders ──► KernelActor ──starts──► Instance ──────► streams, modules
//!        ▲                         (one each)               ▲   │
//!        │ pressure                                  port   │   └──leases──► pool
//!  AllocatorActor (a thread per device) ◄──growth──────┐    │
//!                                                      └────┴─── callers (any thread)
//! ```
//!
//! | state | its one writer | how others see it |
//! |---|---|---|
//! | lifecycle | the supervisor, through [`supervisor::transition`] | an atomic; events |
//! | pressure level of a device | the supervisor, on its allocator's reports | an atomic |
//! | growth, trimming, waiting reservations | the device's allocator | leases, statistics |
//! | streams, modules, a kernel's state | the instance | never shared |
//! | which answer counts | the request's slot in the port | the answer |
//!
//! Control is actix messages. Requests and answers are not: they go through the
//! [port](rustkernel_port), from the caller's thread to the instance's and back.
#![forbid(unsafe_code)]

mod allocator;
pub mod clock;
mod error;
mod event;
mod hosted;
mod instance;
pub mod kernel;
pub mod message;
mod panic;
#[cfg(feature = "planted")]
#[doc(hidden)]
pub mod planted;
mod restart;
mod stats;
pub mod supervisor;
mod system;
mod tensor;

pub use actix::Addr;
pub use allocator::{AllocatorStats, MemoryClient, SpillHook, SpillRequest};
pub use error::{
    CallError, Cancellation, Effects, KernelError, KernelResult, Rejection, StartError,
};
pub use event::{DrainPhase, Events, Heard, RuntimeEvent};
pub use hosted::{ActorSpec, HostedActor};
pub use panic::PanicReport;
pub use restart::{
    Backoff, Cause, Circuit, DeadLetter, Group, HistoryEntry, OnExceeded, RestartPolicy,
    RestartType, RetryPolicy, Strategy,
};
pub use rustkernel_port::Ledger;
pub use stats::{DeviceStats, RuntimeStats};
pub use system::{LoadError, LookupError, Supervisor};
pub use tensor::{AnyElement, AnyTensor, ShapeError, Tensor};

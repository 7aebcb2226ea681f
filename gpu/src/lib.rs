//! Devices for compute kernels: the host and CUDA behind one interface.
//!
//! | part | role |
//! |---|---|
//! | [`Device`] | a place to run: opens streams, loads modules, owns memory |
//! | [`Stream`] | an ordered queue of copies, launches and host work; one owner, never shared |
//! | [`Event`] | a point in a stream that other streams wait for |
//! | [`Module`], [`Function`] | kernels by name: PTX for CUDA, Rust functions for the host |
//! | [`memory`] | pooled device and staging memory, reservations, pressure |
//!
//! Two implementations stand behind it and pass one conformance suite: [`host`], where a kernel is a
//! Rust function and device memory is page-aligned host memory of a set capacity, and `cuda`,
//! through `cust`. Nothing above this crate needs a `cfg` or a foreign function.
//!
//! What holds on both:
//!
//! * Work of a stream runs in the order it was submitted; streams run beside each other.
//! * Nothing here waits by blocking: a [`Completion`] is a future.
//! * Memory in use by a stream is not handed to anybody else before the stream has passed it:
//!   buffers go back to their pool with the stream's position, not at once.
//! * A handle from before a device was lost carries the old epoch: it is refused, never passed on.
//!
//! # Trust
//!
//! Device code is trusted as linked code is. The interface checks what it can (argument count and
//! sizes against the PTX, geometry, buffers of another device or stream), but a kernel that writes
//! outside its buffers can corrupt its device's memory. Load only modules that you would link.
#![deny(unsafe_code)]
#![warn(missing_docs)]

mod argument;
#[cfg(feature = "cuda")]
pub mod cuda;
mod device;
mod element;
#[cfg(any(feature = "cuda", feature = "simulated"))]
mod epochs;
mod error;
mod event;
#[cfg(any(feature = "cuda", feature = "simulated"))]
mod gate;
pub mod host;
pub mod memory;
mod module;
#[cfg(feature = "planted")]
#[doc(hidden)]
pub mod planted;
mod ptx;
#[cfg(feature = "simulated")]
#[doc(hidden)]
pub mod simulated;
mod stream;
mod timeline;

pub use argument::{Argument, HostArguments};
pub use device::{Device, DeviceId, DeviceInfo, DeviceKind, Epoch, MemoryInfo, ParseDeviceIdError};
pub use element::{Element, ElementType};
pub use error::{DeviceError, DeviceResult, RecoveryFailure};
pub use event::Event;
pub use memory::{Buffer, HostBuffer, Staging};
pub use module::{Dim3, Function, HostFunction, LaunchConfig, Module, ModuleSource};
pub use stream::{Run, Stream, StreamOptions, Watch};
pub use timeline::Completion;

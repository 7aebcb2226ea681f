//! CUDA devices, through `cust` and the driver that `rustkernel-driver` finds at run time.
//!
//! | part | role |
//! |---|---|
//! | `driver` | calls of the driver: results into errors, raw handles |
//! | `Hub` | one per device: its context and its epochs |
//! | `recovery` | how a lost device is brought back |
//! | `reactor` | one thread per device: learns what is over by asking events, never by callbacks |
//! | `space`, `staging` | virtual memory of the device, and pinned memory of the host in slabs |
//! | `held` | what outlives a context, for whoever brings the device back to give back |
//! | `stream`, `event`, `module`, `device` | the interface of this crate over driver handles |
//! | `ordered` | the driver's own pool of memory, for benchmarks alone |
//!
//! `cust` is used for what it does well (initialisation, devices, contexts, the raw bindings) and
//! avoided where 0.3.2 would bite: its streams lose the non-blocking flag, its events are consumed
//! by waiting for them, its buffers free by a call that may wait for the device, its synchronous
//! copies stall every stream, its callbacks are not called once the context is in error, and each of
//! its `Drop`s forgets errors. Here:
//!
//! * Every call sets the context first (`Hub::call`): handles may be used from any thread. One that the
//!   application has made current there is so again afterwards.
//! * Every handle carries the epoch of its context. Once the device is lost, handles of that epoch
//!   are refused and forgotten, never passed to the driver again, also when the device is back.
//! * Errors met while dropping are counted ([`Device::drop_errors`](crate::Device::drop_errors)).
#![allow(unsafe_code, reason = "foreign functions; each block says why it is sound")]

mod device;
mod driver;
mod event;
mod held;
mod hub;
mod module;
#[doc(hidden)]
pub mod ordered;
mod reactor;
mod recovery;
mod space;
#[cfg(unix)]
mod staging;
mod stream;

use crate::device::{Device, DeviceId, DeviceInfo};
use crate::error::{DeviceError, DeviceResult};

pub(crate) use event::CudaEvent;
pub(crate) use module::{CudaFunction, CudaModule};

/// How many CUDA devices this machine has.
///
/// # Errors
/// As [`devices`].
pub fn count() -> DeviceResult<u32> {
    driver::initialise()
}

/// The CUDA devices of this machine, in the driver's order. Makes no context.
///
/// # Errors
/// [`DeviceError::NoDriver`] where there is no driver, or it finds no device;
/// [`DeviceError::Driver`] where it does not start.
pub fn devices() -> DeviceResult<Vec<DeviceInfo>> {
    (0..count()?).map(driver::describe).collect()
}

/// Opens a CUDA device. Its context lives until the process ends, and opening it again is in the same context;
/// but handles of what was opened before are [`WrongOwner`](DeviceError::WrongOwner) there: keep a clone.
///
/// # Errors
/// As [`devices`], and [`DeviceError::NoDevice`].
pub fn open(ordinal: u32) -> DeviceResult<Device> {
    let count = count()?;
    if ordinal >= count {
        let available = (0..count).map(DeviceId::Cuda).collect();
        return Err(DeviceError::NoDevice { device: DeviceId::Cuda(ordinal), available });
    }
    device::open(ordinal)
}

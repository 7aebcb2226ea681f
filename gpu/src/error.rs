//! What can go wrong on a device, and whom it concerns.

use std::time::Duration;

use crate::device::{DeviceId, Epoch};
use crate::memory::MemoryKind;

/// The result of a call on a device.
pub type DeviceResult<T = ()> = Result<T, DeviceError>;

/// What went wrong on a device.
///
/// Who is concerned decides what the runtime does: [`OutOfMemory`](Self::OutOfMemory) is pressure,
/// [`Lost`](Self::Lost) and [`NotRecovered`](Self::NotRecovered) concern every kernel of the device, the
/// others one request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// No CUDA driver could be opened; the text says what was tried.
    #[error("{reason}")]
    NoDriver {
        /// The files that were tried, each with the loader's message.
        reason: String,
    },

    /// There is no device of that name.
    #[error("there is no device {device}{}", hint(.available))]
    NoDevice {
        /// The device asked for.
        device: DeviceId,
        /// Those that there are.
        available: Vec<DeviceId>,
    },

    /// The memory asked for is not there now.
    #[error("{device} is out of {kind} memory: {asked} bytes asked, {free} of {limit} free")]
    OutOfMemory {
        /// The device whose memory ran out.
        device: DeviceId,
        /// Which of its memories.
        kind: MemoryKind,
        /// Bytes asked for; 0 where the driver wanted some for itself, and does not say how many.
        asked: u64,
        /// Bytes that could have been had. (Of a CUDA device's staging memory, which is the host's, the driver
        /// says neither this nor the limit: both are 0.)
        free: u64,
        /// The most that this device may ever hand out.
        limit: u64,
    },

    /// The allocator is gone: the runtime has stopped.
    #[error("the allocator of {device} has stopped")]
    AllocatorStopped {
        /// The device.
        device: DeviceId,
    },

    /// The device did not give memory in time.
    #[error("{device} gave no memory within {timeout:?}")]
    TimedOut {
        /// The device.
        device: DeviceId,
        /// How long it was waited for.
        timeout: Duration,
    },

    /// A request allocated more than it had reserved.
    #[error(
        "{asked} bytes of {kind} memory asked, {left} left of the {declared} that the request declared; \
         declare more in `KernelSpec::memory`"
    )]
    DeclaredTooLittle {
        /// Which memory.
        kind: MemoryKind,
        /// Bytes that the request declared.
        declared: u64,
        /// Bytes of them that are left.
        left: u64,
        /// Bytes asked for.
        asked: u64,
    },

    /// The device's context is gone, with all that was on it. Nothing of this epoch, or of one before it,
    /// runs again. The device itself may be back since ([`Device::recover`](crate::Device::recover)): then
    /// its [`epoch`](crate::Device::epoch) is a later one and its [`health`](crate::Device::health) is good.
    #[error("{device} was lost in epoch {epoch}: {name} (CUDA error {code})")]
    Lost {
        /// The device.
        device: DeviceId,
        /// The epoch that ended.
        epoch: Epoch,
        /// The driver's code that told of it.
        code: u32,
        /// The code's name.
        name: &'static str,
    },

    /// A lost device could not be brought back: it stays lost. That may be tried again.
    #[error("{device} is lost and was not recovered: {cause}; try again, or restart the process")]
    NotRecovered {
        /// The device.
        device: DeviceId,
        /// What failed.
        cause: RecoveryFailure,
    },

    /// The driver refused a call; the device goes on.
    #[error("{call} failed: {name} (CUDA error {code})")]
    Driver {
        /// The driver's entry point.
        call: &'static str,
        /// Its code.
        code: u32,
        /// The code's name.
        name: &'static str,
    },

    /// A launch does not fit its kernel.
    #[error("cannot launch {entry}: {reason}")]
    InvalidLaunch {
        /// The kernel's entry name.
        entry: String,
        /// What does not fit.
        reason: String,
    },

    /// A module could not be loaded, or has no such entry.
    #[error("cannot load the module: {reason}")]
    InvalidModule {
        /// The compiler's log, or what is missing.
        reason: String,
    },

    /// An argument that no device could accept.
    #[error("{0}")]
    InvalidArgument(String),

    /// A handle of another device, stream or epoch.
    #[error("{0}")]
    WrongOwner(String),

    /// A host function failed or panicked while a stream ran it.
    #[error("host function {entry} failed: {message}")]
    HostFunction {
        /// The function's entry name.
        entry: String,
        /// What it said.
        message: String,
    },

    /// Too much is queued on a stream; wait for some of it.
    #[error("the stream has {limit} operations queued, its limit; await its completion first")]
    StreamFull {
        /// The limit.
        limit: usize,
    },

    /// This kind of device cannot do that.
    #[error("{device} cannot {what}")]
    Unsupported {
        /// The device.
        device: DeviceId,
        /// What was asked.
        what: &'static str,
    },
}

/// What kept a lost device from being brought back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecoveryFailure {
    /// Calls that were under way when the device was lost have not returned.
    #[error("calls of the driver have not returned within {limit:?}")]
    Busy {
        /// How long they were waited for.
        limit: Duration,
    },

    /// The driver refused a call: the reset, the new context, or a call of the first kernel in it.
    #[error("{call} failed: {name} (CUDA error {code})")]
    Driver {
        /// The driver's entry point.
        call: &'static str,
        /// Its code.
        code: u32,
        /// The code's name.
        name: &'static str,
    },

    /// The first kernel in the new context has not ended.
    #[error("its first kernel has not ended within {limit:?}")]
    Hung {
        /// How long it was waited for.
        limit: Duration,
    },

    /// The first kernel in the new context has written something else.
    #[error("its first kernel wrote {found:#x} in the place of {expected:#x}")]
    Wrong {
        /// What it should have written.
        expected: u32,
        /// What it has written.
        found: u32,
    },
}

fn hint(available: &[DeviceId]) -> String {
    let names: Vec<String> = available.iter().map(ToString::to_string).collect();
    if names.is_empty() { String::new() } else { format!("; there is {}", names.join(", ")) }
}

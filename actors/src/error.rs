//! What a caller can be told, and what a kernel can say.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use rustkernel_gpu::memory::{MemoryKind, PressureLevel};
use rustkernel_gpu::{DeviceError, DeviceId};

use crate::message::MessageError;
use crate::panic::PanicReport;
use crate::restart::Cause;
use crate::tensor::ShapeError;

/// The result of a kernel's own code.
pub type KernelResult<T = ()> = Result<T, KernelError>;

/// What a kernel says when it cannot answer a request.
#[derive(Debug)]
#[non_exhaustive]
pub enum KernelError {
    /// The request makes no sense; sending it again will not help.
    InvalidRequest(String),
    /// This request failed; the kernel goes on.
    Failed(Box<dyn Error + Send + Sync>),
    /// This request failed and the kernel's state is not to be trusted: the instance is restarted.
    Fatal(Box<dyn Error + Send + Sync>),
    /// The kernel's code panicked; the instance is restarted.
    Panicked(PanicReport),
    /// The instance was ended while it ran this request, for that reason.
    Interrupted(Cause),
    /// A device call failed.
    Device(DeviceError),
}

impl KernelError {
    /// This request failed; the kernel goes on.
    pub fn failed(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed(cause.into())
    }

    /// This request failed and the kernel has to be restarted.
    pub fn fatal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Fatal(cause.into())
    }

    /// Whether the same request may succeed later: after a restart, on another device, with more
    /// memory free.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::InvalidRequest(_) | Self::Failed(_) => false,
            Self::Fatal(_) | Self::Panicked(_) | Self::Interrupted(_) => true,
            Self::Device(error) => {
                matches!(error, DeviceError::Lost { .. } | DeviceError::OutOfMemory { .. })
            }
        }
    }

    /// Why the instance that said so has to be restarted, if it has to be.
    pub(crate) fn ends_instance(&self) -> Option<Cause> {
        match self {
            Self::Fatal(cause) => Some(Cause::Fatal(cause.to_string())),
            Self::Panicked(report) => Some(Cause::Panicked(report.clone())),
            Self::Interrupted(cause) => Some(cause.clone()),
            Self::Device(DeviceError::Lost { device, .. }) => Some(Cause::DeviceLost(*device)),
            Self::InvalidRequest(_) | Self::Failed(_) | Self::Device(_) => None,
        }
    }
}

impl fmt::Display for KernelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidRequest(reason) => write!(f, "invalid request: {reason}"),
            Self::Failed(cause) => cause.fmt(f),
            Self::Fatal(cause) => write!(f, "{cause} (the kernel is restarted)"),
            Self::Panicked(report) => write!(f, "the kernel panicked: {report}"),
            Self::Interrupted(cause) => write!(f, "the kernel was ended: it {cause}"),
            Self::Device(error) => error.fmt(f),
        }
    }
}

impl Error for KernelError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::InvalidRequest(_) | Self::Panicked(_) | Self::Interrupted(_) => None,
            Self::Failed(cause) | Self::Fatal(cause) => cause.source(),
            Self::Device(error) => error.source(),
        }
    }
}

impl From<DeviceError> for KernelError {
    fn from(error: DeviceError) -> Self {
        Self::Device(error)
    }
}

impl From<MessageError> for KernelError {
    fn from(error: MessageError) -> Self {
        Self::InvalidRequest(error.to_string())
    }
}

impl From<ShapeError> for KernelError {
    fn from(error: ShapeError) -> Self {
        Self::InvalidRequest(error.to_string())
    }
}

/// Why a call has no answer. Generic over the request, which comes back where it was not consumed.
#[non_exhaustive]
pub enum CallError<Q> {
    /// The request was not run. It comes back.
    Rejected {
        /// Why.
        rejection: Rejection,
        /// The request, untouched.
        request: Q,
    },
    /// The request was run, and failed.
    Failed(KernelError),
    /// The request was given up, whether it had started or not.
    Cancelled(Cancellation),
}

/// Why a request was not run.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// As many requests are open at the kernel as it allows; try again later.
    #[error("{bound} requests are open at `{kernel}`, its limit; try again later")]
    QueueFull {
        /// The kernel.
        kernel: String,
        /// Its limit.
        bound: usize,
    },
    /// The runtime is not running yet; call after `start()`.
    #[error("the runtime is starting; call after `start()` has returned")]
    Starting,
    /// The runtime is draining: what is in flight finishes, nothing new is taken.
    #[error("the runtime is draining and takes no new requests")]
    Draining,
    /// The runtime has stopped.
    #[error("the runtime has stopped")]
    Stopped,
    /// The deadline passed before there was room for the request.
    #[error("the deadline passed before there was room at `{kernel}`")]
    Expired {
        /// The kernel.
        kernel: String,
    },
    /// The device is too full to promise the request's memory; try again later.
    #[error("{device} is under {level} memory pressure and promises no memory; try again later")]
    UnderPressure {
        /// The device.
        device: DeviceId,
        /// How full it is.
        level: PressureLevel,
    },
    /// The memory that the request declares was not free before its deadline.
    #[error("{asked} bytes of {kind} memory of {device} were not free in time; try again later")]
    OutOfMemory {
        /// The device.
        device: DeviceId,
        /// Which memory.
        kind: MemoryKind,
        /// Bytes that would have been committed.
        asked: u64,
    },
    /// The request declares more memory than the device may ever give.
    #[error("the request needs {asked} bytes of {kind} memory; the limit of {device} is {limit}")]
    NeverFits {
        /// The device.
        device: DeviceId,
        /// Which memory.
        kind: MemoryKind,
        /// Bytes that would have to be committed.
        asked: u64,
        /// The limit.
        limit: u64,
    },
    /// The kernel has ended too often; it is tried again later.
    #[error("`{kernel}` is quarantined, it {cause}; try again later")]
    Quarantined {
        /// The kernel.
        kernel: String,
        /// Why it ended the last time.
        cause: Cause,
    },
    /// The kernel has ended, and is not restarted.
    #[error("`{kernel}` has ended and is not restarted: it {cause}")]
    Ended {
        /// The kernel.
        kernel: String,
        /// Why.
        cause: Cause,
    },
    /// The kernel was told to drop its state, and is to be told when it shall serve again.
    #[error("`{kernel}` is unloaded; it serves again when it is loaded")]
    Unloaded {
        /// The kernel.
        kernel: String,
    },
    /// The request does not fit the kernel's signature.
    #[error("invalid request: {0}")]
    Invalid(#[from] MessageError),
}

impl Rejection {
    /// Whether the same request may be taken later.
    pub fn is_retryable(&self) -> bool {
        !matches!(
            self,
            Self::NeverFits { .. } | Self::Invalid(_) | Self::Stopped | Self::Ended { .. }
        )
    }
}

/// Why a request was given up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Cancellation {
    /// Its deadline passed.
    #[error("the deadline passed before the kernel {}", if *started { "answered" } else { "began" })]
    DeadlineExceeded {
        /// Whether the kernel had begun.
        started: bool,
    },
    /// The runtime stopped waiting for it while shutting down.
    #[error("the runtime shut down; the request was not finished within {timeout:?}")]
    ShutDown {
        /// How long the runtime waited.
        timeout: Duration,
        /// Whether the kernel had begun.
        started: bool,
    },
    /// It was of low priority and waited while the device was full.
    #[error(
        "{device} is under emergency memory pressure, and requests of low priority that wait are \
         cancelled; try again later"
    )]
    MemoryPressure {
        /// The device.
        device: DeviceId,
    },
}

/// What a request that has no answer may have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effects {
    /// Nothing: the kernel's code did not see it.
    None,
    /// What its kernel does, in part or in whole.
    Possible,
}

impl<Q> CallError<Q> {
    /// What the request may have done: whether trying it again could do it twice.
    pub fn effects(&self) -> Effects {
        let started = match self {
            Self::Rejected { .. } | Self::Cancelled(Cancellation::MemoryPressure { .. }) => false,
            Self::Failed(_) => true,
            Self::Cancelled(
                Cancellation::DeadlineExceeded { started } | Cancellation::ShutDown { started, .. },
            ) => *started,
        };
        if started { Effects::Possible } else { Effects::None }
    }

    /// Whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Rejected { rejection, .. } => rejection.is_retryable(),
            Self::Failed(error) => error.is_retryable(),
            Self::Cancelled(_) => true,
        }
    }

    /// The request, if it was not consumed.
    pub fn into_request(self) -> Option<Q> {
        match self {
            Self::Rejected { request, .. } => Some(request),
            Self::Failed(_) | Self::Cancelled(_) => None,
        }
    }

    /// The same error with another form of the request.
    pub fn map_request<P>(self, map: impl FnOnce(Q) -> P) -> CallError<P> {
        match self {
            Self::Rejected { rejection, request } => {
                CallError::Rejected { rejection, request: map(request) }
            }
            Self::Failed(error) => CallError::Failed(error),
            Self::Cancelled(cancellation) => CallError::Cancelled(cancellation),
        }
    }

    /// The same error without the request.
    pub fn forget_request(self) -> CallError<()> {
        self.map_request(drop)
    }
}

impl<Q> fmt::Display for CallError<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected { rejection, .. } => rejection.fmt(f),
            Self::Failed(error) => error.fmt(f),
            Self::Cancelled(cancellation) => cancellation.fmt(f),
        }
    }
}

/// Without the request, which need not be `Debug`.
impl<Q> fmt::Debug for CallError<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected { rejection, .. } => f.debug_tuple("Rejected").field(rejection).finish(),
            Self::Failed(error) => f.debug_tuple("Failed").field(error).finish(),
            Self::Cancelled(cancellation) => {
                f.debug_tuple("Cancelled").field(cancellation).finish()
            }
        }
    }
}

impl<Q> Error for CallError<Q> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed(error) => error.source(),
            Self::Rejected { .. } | Self::Cancelled(_) => None,
        }
    }
}

/// Why a runtime, or a kernel of it, did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// It was started before.
    #[error("the runtime is {0} and cannot be started; build another")]
    NotNew(crate::supervisor::LifecycleState),
    /// It was shut down while it was starting.
    #[error("the runtime was shut down while it was starting")]
    Interrupted,
    /// Two kernels have one name.
    #[error("there is a kernel `{0}` already; give this one another name")]
    DuplicateKernel(String),
    /// One instance too many.
    #[error(
        "kernel `{kernel}` asks for {asked} instances and {used} of {limit} are taken; raise \
         max_kernel_instances or ask for fewer"
    )]
    TooManyInstances {
        /// The kernel that is too much.
        kernel: String,
        /// Its instances.
        asked: usize,
        /// Instances of the kernels before it.
        used: usize,
        /// The limit.
        limit: usize,
    },
    /// One thread too many.
    #[error(
        "kernel `{kernel}` asks for {asked} threads of its own and {used} of {limit} are taken (one is \
         kept for streams); raise blocking_threads, or place instances on shared workers"
    )]
    TooManyThreads {
        /// The kernel that is too much.
        kernel: String,
        /// Threads that its instances need.
        asked: usize,
        /// Threads taken.
        used: usize,
        /// The limit.
        limit: usize,
    },
    /// A value that makes no sense.
    #[error("kernel `{kernel}`: {reason}")]
    InvalidKernel {
        /// The kernel.
        kernel: String,
        /// What is wrong.
        reason: String,
    },
    /// The kernel needs a device that is not there.
    #[error("kernel `{kernel}` cannot run: {reason}")]
    NoDevice {
        /// The kernel.
        kernel: String,
        /// What is missing.
        reason: String,
    },
    /// New kernels are refused while memory is short.
    #[error("kernel `{kernel}` is refused: {device} is under {level} memory pressure")]
    UnderPressure {
        /// The kernel.
        kernel: String,
        /// The device.
        device: DeviceId,
        /// How full it is.
        level: PressureLevel,
    },
    /// The kernel's own start failed.
    #[error("kernel `{kernel}` did not start: {cause}")]
    Kernel {
        /// The kernel.
        kernel: String,
        /// What it said.
        cause: KernelError,
    },
    /// The kernel took too long to start.
    #[error("kernel `{kernel}` did not start within {timeout:?}")]
    TimedOut {
        /// The kernel.
        kernel: String,
        /// How long it was waited for.
        timeout: Duration,
    },
    /// The operating system gave no thread.
    #[error("no thread could be started: {0}")]
    NoThread(String),
    /// The supervisor is gone.
    #[error("the runtime's supervisor has stopped")]
    SupervisorGone,
}

//! Why an instance ended.

use std::fmt;
use std::time::Duration;

use rustkernel_gpu::DeviceId;

use crate::error::KernelError;
use crate::panic::PanicReport;

/// Why an instance, or all of a kernel, ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// Its code panicked.
    Panicked(PanicReport),
    /// It said that its state is not to be trusted.
    Fatal(String),
    /// Its code went on after its request was over, for so long.
    Hung(Duration),
    /// It could not be opened.
    OpenFailed(String),
    /// There was no memory to open it.
    OutOfMemory(String),
    /// So many of its requests in a row failed because the driver refused a call.
    LaunchFailures(u32),
    /// Its health check failed.
    Unhealthy(String),
    /// Its device was lost.
    DeviceLost(DeviceId),
    /// It asked for its end.
    Exited,
    /// Another kernel of its group ended.
    Group(String),
    /// Somebody asked for it.
    Asked,
}

impl Cause {
    /// Whether it is a fault of the kernel's, which counts against its restart intensity.
    pub fn counts(&self) -> bool {
        match self {
            Self::Panicked(_)
            | Self::Fatal(_)
            | Self::Hung(_)
            | Self::OpenFailed(_)
            | Self::LaunchFailures(_)
            | Self::Unhealthy(_)
            | Self::Exited => true,
            Self::OutOfMemory(_) | Self::DeviceLost(_) | Self::Group(_) | Self::Asked => false,
        }
    }

    /// Whether the kernel wanted it.
    pub fn is_normal(&self) -> bool {
        matches!(self, Self::Exited)
    }

    /// What an error that ends an instance, or its start, comes from.
    pub(crate) fn of_start(error: &KernelError) -> Self {
        use rustkernel_gpu::DeviceError;
        match error {
            KernelError::Panicked(report) => Self::Panicked(report.clone()),
            KernelError::Device(DeviceError::Lost { device, .. }) => Self::DeviceLost(*device),
            KernelError::Device(DeviceError::OutOfMemory { .. }) => {
                Self::OutOfMemory(error.to_string())
            }
            error => Self::OpenFailed(error.to_string()),
        }
    }
}

/// What it did: a sentence that begins with "it".
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(report) => write!(f, "panicked: {report}"),
            Self::Fatal(error) => write!(f, "failed for good: {error}"),
            Self::Hung(time) => write!(f, "hung: it went on {time:?} after its request was over"),
            Self::OpenFailed(error) => write!(f, "could not be opened: {error}"),
            Self::OutOfMemory(error) => write!(f, "found no memory: {error}"),
            Self::LaunchFailures(count) => {
                write!(f, "had {count} requests in a row fail by refused device calls")
            }
            Self::Unhealthy(error) => write!(f, "failed its health check: {error}"),
            Self::DeviceLost(device) => write!(f, "lost its device, {device}"),
            Self::Exited => f.write_str("asked for its end"),
            Self::Group(kernel) => write!(f, "ended with `{kernel}` of its group"),
            Self::Asked => f.write_str("was told to end"),
        }
    }
}

//! What a failed start or call means for whoever asked for it: an exit code, and a way out.

use rustkernel_core::gpu::{DeviceError, DeviceId};
use rustkernel_core::kernel::{CallError, Cancellation, KernelError, Rejection};
use rustkernel_core::memory::RecordError;
use rustkernel_core::message::{Fields, MessageError, Signature};
use rustkernel_core::runtime::{BuildError, StartError};

use crate::exit::{Exit, Failure};

pub(in crate::commands) fn of_build(error: &BuildError) -> Failure {
    match error {
        BuildError::Kernel(error) => of_start(error),
        BuildError::Recording(error) => of_recording(error),
        BuildError::Config(_) | BuildError::Memory(_) | BuildError::NoSuchKernel { .. } => {
            Failure::new(Exit::Config, error.to_string())
        }
        BuildError::Device(DeviceError::NoDriver { .. } | DeviceError::NoDevice { .. }) => {
            Failure::new(Exit::Unavailable, format!("a device of `runtime.devices`: {error}"))
                .hint("`rustkernel device list` shows the devices; without `runtime.devices` those that are there are used")
        }
        error => Failure::new(Exit::Software, error.to_string()),
    }
}

pub(super) fn of_recording(error: &RecordError) -> Failure {
    let exit = match error {
        RecordError::UnknownExtension(_) => Exit::Usage,
        RecordError::Unwritable { .. } => Exit::CannotCreate,
        _ => Exit::TryAgain,
    };
    Failure::new(exit, error.to_string())
}

pub(in crate::commands) fn of_start(error: &StartError) -> Failure {
    let exit = match error {
        // (Of kernels that are as the program has them these come from values that somebody set.)
        StartError::InvalidKernel { .. }
        | StartError::TooManyInstances { .. }
        | StartError::TooManyThreads { .. } => Exit::Config,
        StartError::NoDevice { .. } => Exit::Unavailable,
        StartError::Kernel { cause, .. } => of_kernel(cause),
        StartError::UnderPressure { .. } | StartError::NoThread(_) => Exit::TryAgain,
        _ => Exit::Software,
    };
    Failure::new(exit, error.to_string())
}

pub(super) fn of_call(error: &CallError<Fields>, signature: &Signature) -> Failure {
    let exit = match error {
        CallError::Rejected { rejection, .. } => of_rejection(rejection, signature),
        CallError::Failed(error) => of_kernel(error),
        CallError::Cancelled(_) => Exit::TryAgain,
        _ => Exit::Software,
    };
    let failure = Failure::new(exit, format!("kernel `{}`: {error}", signature.name));
    match error {
        CallError::Cancelled(Cancellation::DeadlineExceeded { .. }) => {
            failure.hint("`--deadline` can allow more time")
        }
        CallError::Rejected {
            rejection: Rejection::NeverFits { device: DeviceId::Cuda(_), .. },
            ..
        } => failure.hint("`--device host` has the machine's whole memory"),
        _ => failure,
    }
}

fn of_rejection(rejection: &Rejection, signature: &Signature) -> Exit {
    match rejection {
        Rejection::Invalid(error) => of_message(error, signature),
        Rejection::NeverFits { .. } | Rejection::Ended { .. } => Exit::Unavailable,
        rejection if rejection.is_retryable() => Exit::TryAgain,
        _ => Exit::Software,
    }
}

/// A tensor that is wrong is a matter of data, anything else one of usage.
fn of_message(error: &MessageError, signature: &Signature) -> Exit {
    let is_parameter =
        |name: &String| signature.parameters().any(|parameter| parameter.name == *name);
    match error {
        MessageError::WrongType { name, .. } if is_parameter(name) => Exit::Usage,
        MessageError::Missing { .. } | MessageError::Unknown { .. } => Exit::Usage,
        _ => Exit::Data,
    }
}

fn of_kernel(error: &KernelError) -> Exit {
    match error {
        KernelError::InvalidRequest(_) => Exit::Data,
        KernelError::Interrupted(_) => Exit::TryAgain,
        KernelError::Device(error) => of_device(error),
        _ => Exit::Software,
    }
}

fn of_device(error: &DeviceError) -> Exit {
    match error {
        DeviceError::NoDriver { .. } | DeviceError::NoDevice { .. } => Exit::Unavailable,
        DeviceError::OutOfMemory { .. } | DeviceError::TimedOut { .. } => Exit::TryAgain,
        _ => Exit::Software,
    }
}

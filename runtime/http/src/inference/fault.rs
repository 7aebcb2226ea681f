//! What goes wrong, and the status that it is answered with.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{CONNECTION, RETRY_AFTER};
use actix_web::{HttpResponse, ResponseError};
use rustkernel_core::gpu::DeviceError;
use rustkernel_core::kernel::{CallError, Cancellation, KernelError, Rejection};
use rustkernel_core::runtime::{LoadError, StartError};
use serde::Serialize;

/// A request that has no answer: why, in words and for machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) reason: Reason,
    pub(crate) error: String,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident $name:literal $status:ident;)*) => {
        /// Why, for machines: the key `reason` of the answer, and the label `outcome` of metrics.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum Reason {
            $($(#[$doc])* $variant,)*
        }

        impl Reason {
            #[cfg(test)]
            pub(crate) const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its name.
            pub(crate) fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// The status of the answer.
            pub(crate) fn status(self) -> StatusCode {
                match self {
                    $(Self::$variant => StatusCode::$status,)*
                }
            }
        }
    };
}

reasons! {
    /// The body, or a value in it, is not what it has to be.
    Invalid "invalid" BAD_REQUEST;
    /// It, or its answer, needs more memory than there may ever be.
    NeverFits "never_fits" BAD_REQUEST;
    /// There is no such kernel, version or path.
    NotFound "not_found" NOT_FOUND;
    /// The body did not come in time.
    TooSlow "too_slow" REQUEST_TIMEOUT;
    /// The body is larger than is taken.
    TooLarge "too_large" PAYLOAD_TOO_LARGE;
    /// The body is packed in a way that is not known.
    UnsupportedEncoding "unsupported_encoding" UNSUPPORTED_MEDIA_TYPE;
    /// As many requests are open at the kernel as it allows.
    QueueFull "queue_full" TOO_MANY_REQUESTS;
    /// The kernel failed, panicked, or was ended.
    Failed "failed" INTERNAL_SERVER_ERROR;
    /// The runtime has not started yet.
    Starting "starting" SERVICE_UNAVAILABLE;
    /// The runtime drains: it ends soon.
    Draining "draining" SERVICE_UNAVAILABLE;
    /// The runtime has stopped.
    Stopped "stopped" SERVICE_UNAVAILABLE;
    /// The kernel refuses requests because it has ended too often.
    Quarantined "quarantined" SERVICE_UNAVAILABLE;
    /// The kernel was unloaded.
    Unloaded "unloaded" SERVICE_UNAVAILABLE;
    /// The kernel has ended, and is not restarted.
    Ended "ended" SERVICE_UNAVAILABLE;
    /// The bodies of other requests take all the memory that bodies may.
    BodiesFull "bodies_full" SERVICE_UNAVAILABLE;
    /// The device is too full.
    MemoryPressure "memory_pressure" SERVICE_UNAVAILABLE;
    /// The device was lost.
    DeviceLost "device_lost" SERVICE_UNAVAILABLE;
    /// The deadline has passed.
    Deadline "deadline" GATEWAY_TIMEOUT;
}

impl Reason {
    /// After how many seconds it may be tried again, if it may.
    fn retry_after(self) -> Option<&'static str> {
        match self {
            Self::QueueFull
            | Self::Starting
            | Self::Draining
            | Self::BodiesFull
            | Self::MemoryPressure
            | Self::DeviceLost => Some("1"),
            Self::Quarantined => Some("5"),
            _ => None,
        }
    }
}

/// How much of an error's begin and end is told, in characters.
const TOLD: [usize; 2] = [700, 300];

/// An error without its middle, where it is long because it quotes what somebody sent.
fn cut(error: String) -> String {
    let [begin, end] = TOLD;
    let Some((front, _)) = error.char_indices().nth(begin) else { return error };
    let Some((back, _)) = error.char_indices().nth_back(end) else { return error };
    if back <= front { error } else { format!("{} … {}", &error[..front], &error[back..]) }
}

impl Fault {
    pub(crate) fn new(reason: Reason, error: impl Into<String>) -> Self {
        Self { reason, error: cut(error.into()) }
    }

    /// Why a kernel was not loaded.
    pub(crate) fn of_load(error: &LoadError) -> Self {
        let reason = match error {
            LoadError::Lookup(_) => Reason::NotFound,
            LoadError::Start(StartError::UnderPressure { .. }) => Reason::MemoryPressure,
            _ => Reason::Failed,
        };
        Self::new(reason, error.to_string())
    }

    /// The same, and what it is the fault of.
    pub(crate) fn of(self, what: impl fmt::Display) -> Self {
        Self::new(self.reason, format!("{what}: {}", self.error))
    }

    pub(crate) fn invalid(error: impl Into<String>) -> Self {
        Self::new(Reason::Invalid, error)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error)
    }
}

/// As the protocol has it, and the reason beside it.
#[derive(Serialize)]
struct Body<'a> {
    error: &'a str,
    reason: &'static str,
}

impl ResponseError for Fault {
    fn status_code(&self) -> StatusCode {
        self.reason.status()
    }

    fn error_response(&self) -> HttpResponse {
        let mut answer = HttpResponse::build(self.reason.status());
        if let Some(seconds) = self.reason.retry_after() {
            answer.insert_header((RETRY_AFTER, seconds));
        }
        let unread = [Reason::TooLarge, Reason::TooSlow, Reason::BodiesFull, Reason::Draining];
        if unread.contains(&self.reason) {
            // What is left of the body is not read, or nothing comes after it.
            answer.insert_header((CONNECTION, "close")).force_close();
        }
        answer.json(Body { error: &self.error, reason: self.reason.name() })
    }
}

impl<Q> From<CallError<Q>> for Fault {
    fn from(error: CallError<Q>) -> Self {
        Self::new(of_call(&error), error.to_string())
    }
}

fn of_call<Q>(error: &CallError<Q>) -> Reason {
    match error {
        CallError::Rejected { rejection, .. } => of_rejection(rejection),
        CallError::Failed(error) => of_failure(error),
        CallError::Cancelled(Cancellation::DeadlineExceeded { .. }) => Reason::Deadline,
        CallError::Cancelled(Cancellation::ShutDown { .. }) => Reason::Draining,
        CallError::Cancelled(Cancellation::MemoryPressure { .. }) => Reason::MemoryPressure,
        _ => Reason::Failed,
    }
}

fn of_rejection(rejection: &Rejection) -> Reason {
    match rejection {
        Rejection::QueueFull { .. } => Reason::QueueFull,
        Rejection::Starting => Reason::Starting,
        Rejection::Draining => Reason::Draining,
        Rejection::Stopped => Reason::Stopped,
        Rejection::Expired { .. } => Reason::Deadline,
        Rejection::UnderPressure { .. } | Rejection::OutOfMemory { .. } => Reason::MemoryPressure,
        Rejection::NeverFits { .. } => Reason::NeverFits,
        Rejection::Quarantined { .. } => Reason::Quarantined,
        Rejection::Unloaded { .. } => Reason::Unloaded,
        Rejection::Ended { .. } => Reason::Ended,
        Rejection::Invalid(_) => Reason::Invalid,
        _ => Reason::Failed,
    }
}

fn of_failure(error: &KernelError) -> Reason {
    match error {
        KernelError::InvalidRequest(_) => Reason::Invalid,
        KernelError::Device(DeviceError::Lost { .. }) => Reason::DeviceLost,
        _ => Reason::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_tried_again_says_when() {
        for reason in Reason::ALL {
            let answer = Fault::new(*reason, "no").error_response();
            assert_eq!(answer.status(), reason.status());
            let temporary = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
            let gone = matches!(reason, Reason::Stopped | Reason::Unloaded | Reason::Ended);
            let expected = temporary.contains(&reason.status()) && !gone;
            assert_eq!(answer.headers().contains_key(RETRY_AFTER), expected, "{reason:?}");
        }
    }
}

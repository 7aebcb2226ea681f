//! What can be changed of a kernel while it runs.

use std::time::Duration;

/// A change to a kernel that runs. What is `None` stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KernelChange {
    /// How many requests may be open at once: at least 1, at most as many as the kernel was started with,
    /// because its places are made then. Requests that are open stay so; until enough of them have ended
    /// none is let in.
    pub queue: Option<usize>,
    /// How long a request that comes from now on may take, unless its caller says otherwise; `Some(None)` is
    /// as long as it takes.
    pub deadline: Option<Option<Duration>>,
}

/// Why a change to a running kernel cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// There is no kernel of that name.
    #[error("there is no kernel `{name}`; there is {}", .known.join(", "))]
    Unknown {
        /// The name.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// The queue would hold nothing.
    #[error("the queue of kernel `{0}` cannot hold 0 requests; it has to hold at least 1")]
    NoQueue(String),
    /// The queue would be longer than it was at the start.
    #[error(
        "the queue of kernel `{kernel}` cannot hold {asked} requests without a restart of the runtime: it \
         was started with {capacity}"
    )]
    QueueTooLong {
        /// The kernel.
        kernel: String,
        /// How many were asked for.
        asked: usize,
        /// How many it can hold.
        capacity: usize,
    },
    /// No request could be answered in time.
    #[error("the deadline of kernel `{0}` cannot be zero; leave it out for none")]
    NoTime(String),
}

impl ChangeError {
    /// Whether it could be made by starting the runtime anew.
    pub fn needs_restart(&self) -> bool {
        matches!(self, Self::QueueTooLong { .. })
    }
}

impl KernelChange {
    /// Whether it can be made to the kernel, whose queue was made for `capacity` requests.
    pub(super) fn check(&self, kernel: &str, capacity: usize) -> Result<(), ChangeError> {
        match self.queue {
            Some(0) => return Err(ChangeError::NoQueue(kernel.into())),
            Some(asked) if asked > capacity => {
                return Err(ChangeError::QueueTooLong { kernel: kernel.into(), asked, capacity });
            }
            Some(_) | None => {}
        }
        match self.deadline {
            Some(Some(Duration::ZERO)) => Err(ChangeError::NoTime(kernel.into())),
            Some(_) | None => Ok(()),
        }
    }
}

//! How a request can end, for the books.

use std::fmt;

/// How a request ended. Each ends in exactly one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ending {
    /// The kernel answered it.
    Completed,
    /// It ran, and failed.
    Failed,
    /// It was refused before it ran.
    Rejected,
    /// Its caller went away, its time ran out, or the runtime gave it up while stopping.
    Cancelled,
}

/// Why a port did not take a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// As many requests are open as the port allows.
    Full,
    /// The port is closed.
    Closed,
}

/// A request that was not taken, with the reason. It was not counted.
#[derive(Clone, PartialEq, Eq)]
pub struct Refused<Q> {
    /// The request, untouched.
    pub request: Q,
    /// Why.
    pub refusal: Refusal,
}

impl<Q> fmt::Debug for Refused<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused").field("refusal", &self.refusal).finish_non_exhaustive()
    }
}

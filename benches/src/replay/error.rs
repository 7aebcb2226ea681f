//! Why a trace has no figures.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::options::{Backend, PolicyName};
use crate::trace::TraceError;

/// What went wrong.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The file is no right trace.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// A policy cannot run on a backend, or is not part of this build.
    #[error("--policy {policy} cannot run on --backend {backend}: {reason}")]
    Unsupported {
        /// The policy.
        policy: PolicyName,
        /// The backend.
        backend: Backend,
        /// Why not.
        reason: &'static str,
    },
    /// A policy could not be set up, or its memory failed.
    #[error("{0}")]
    Memory(String),
    /// The trace holds more at once than the backend's memory has.
    #[error(
        "{trace} holds {peak} bytes at once, and {backend} has {memory}; --backend offsets needs no memory"
    )]
    TooLarge {
        /// The trace.
        trace: String,
        /// Its peak of live bytes.
        peak: u64,
        /// The backend.
        backend: Backend,
        /// What that has, in bytes.
        memory: u64,
    },
    /// The plot could not be drawn or written.
    #[error("{}: {reason}", file.display())]
    Plot {
        /// The file.
        file: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The report could not be written.
    #[error("the report could not be written: {0}")]
    Output(#[from] io::Error),
}

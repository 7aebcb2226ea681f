//! Why nothing can be written down.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why an entry was not written down. What it was about is then not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// As many entries wait as may.
    #[error("the audit log is behind: {0} records wait; try again later")]
    Behind(usize),
    /// The file cannot be written. It is tried again four times a second.
    #[error("the audit log {path} cannot be written: {reason}; nothing is done until it can")]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// The disk has not taken it in time. It may be in the log later.
    #[error(
        "the audit log {path} has not taken a record within {within:?}; nothing is done until it does"
    )]
    Slow {
        /// The file.
        path: PathBuf,
        /// How long was waited.
        within: Duration,
    },
    /// The service has ended.
    #[error("the audit log is closed: the service has ended")]
    Closed,
}

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process writes it.
    #[error(
        "another process writes the audit log {0}; end it, or set `security.audit.path` to another file"
    )]
    Taken(PathBuf),
    /// It does not end with a record.
    #[error(
        "the audit log {path} does not end with a record (line ends before byte {at}): look at it by \
         `rustkernel audit verify`, keep it, and move it away so that a new one is begun"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where its last line ends, in bytes.
        at: u64,
    },
    /// There is no place for it.
    #[error("there is no place for the audit log: HOME is not set; set `security.audit.path`")]
    NoPlace,
    /// The system refuses.
    #[error(
        "cannot open the audit log {path}: {error}; set `security.audit.path` to a file that can be"
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// What it says.
        error: io::Error,
    },
}

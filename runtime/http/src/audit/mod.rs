//! The audit log: what callers and operators asked for, what came of it, and what was refused.
//!
//! ```text
//!  record(entry) ──► bounded queue ──► rk-audit: a group of entries, one write, one fdatasync ──► file
//!       ▲                                            │
//!       └──────────── durable, or why not ◄──────────┘
//! ```
//!
//! | part | role |
//! |---|---|
//! | [`Audit`] | the handle: [`record`](Audit::record) resolves when the entry is durable |
//! | [`Entry`] | what is written down, by kind of [`Event`], and what it is [`About`] |
//! | [`Link`], `chain` | how each record is tied to the one before it |
//! | `log` | the file: opening, cutting off what a crash left unfinished, appending, rotating |
//! | `writer` | the thread that writes |
//! | [`Verifier`] | finds what was altered, lost or reordered |
//!
//! A record is a line of JSON. Its `hash` is the SHA-256 of the line's bytes before it, which hold the hash
//! of the record before (`prev_hash`) and a number without gaps (`seq`). The chain begins at number 1 with a
//! `prev_hash` of zeros, and goes on over files and restarts.
//!
//! What cannot be written is not done: `record` fails, and whoever asked is told 503. The writer tries again
//! by itself, and says in the log how long it could not.

mod chain;
mod entry;
mod error;
mod log;
mod verify;
mod writer;

pub use chain::{Hash, InvalidHash, Link};
pub use entry::{About, Entry, Event};
pub use error::{AuditError, OpenError};
pub use log::default_path;
pub use verify::{Fault, Flaw, Verified, Verifier};
pub use writer::{Audit, Settings};

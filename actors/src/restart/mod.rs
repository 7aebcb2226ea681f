//! Restarts: what ends an instance, what follows, and how much of it a kernel may have.
//!
//! | part | role |
//! |---|---|
//! | [`RestartPolicy`], [`Backoff`], [`RetryPolicy`] | what a kernel's spec says |
//! | [`Cause`] | why an instance, or all of a kernel, ended |
//! | `book` | the kernel's restarts: a pure machine from deaths to verdicts |
//! | `budget` | how many requests may be tried again |
//! | [`DeadLetter`] | a request that is not |
//! | [`History`](HistoryEntry) | what happened to a kernel lately |
//! | [`Strategy`], [`Group`] | kernels that are restarted together |
//!
//! The rules are those of Erlang/OTP's supervisor (restart types, intensity, strategies; `supervisor(3)`),
//! with what a server needs beside them: backoff with full jitter (Brooker, "Exponential Backoff And
//! Jitter", AWS Architecture Blog, 2015), and a circuit breaker where OTP would give up (Nygard,
//! "Release It!", 2007).

mod book;
mod budget;
mod cause;
mod dead_letter;
mod group;
mod history;
mod policy;
mod retry;

pub use book::Circuit;
pub use cause::Cause;
pub use dead_letter::DeadLetter;
pub use group::{Group, Strategy};
pub use history::HistoryEntry;
pub use policy::{Backoff, OnExceeded, RestartPolicy, RestartType};
pub use retry::RetryPolicy;

pub(crate) use book::{RestartBook, Verdict};
pub(crate) use budget::RetryBudget;
pub(crate) use dead_letter::DeadLetters;
pub(crate) use history::History;

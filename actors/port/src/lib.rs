//! The data path of a kernel: bounded requests in, each answered exactly once.
//!
//! ```text
//!  caller ── submit ──► slot ─► queue ─► take ── instance
//!    ▲                    ▲                         │
//!    └───── collect ──────┴──────── answer ─────────┘
//! ```
//!
//! | part | role | who writes it |
//! |---|---|---|
//! | [`Port`] | all of it, shared by callers, instances and the kernel's actor | |
//! | `slot` | where a caller waits; which answer counts; who may still come in | one lock each |
//! | `idle` | which instances sleep; who is woken for a request | one word |
//! | queue | requests on their way, bounded by the slots | callers in, instances out |
//! | `returned` | requests that an instance took and did not begin | one lock, empty nearly always |
//! | [`Books`] | submitted = completed + failed + rejected + cancelled + open | whoever makes the transition |
//!
//! A port takes the memory of the most requests that were open at once, and 20 bytes for each that may be: slots are
//! made when they are first needed and stay, and the queue allocates for 31 requests at a time. Else a call
//! allocates nothing. It crosses threads once each way. Neither side sleeps while the other is about to act:
//! instances look for a bounded moment before they sleep, callers do where the last answers came quickly, and
//! answers that are ready together wake their callers together ([`Answers`]).
#![forbid(unsafe_code)]

mod answers;
mod books;
mod idle;
mod outcome;
#[cfg(feature = "planted")]
#[doc(hidden)]
pub mod planted;
mod port;
mod returned;
mod slot;
mod spin;
mod sync;

pub use answers::Answers;
pub use books::{Books, Ledger};
pub use outcome::{Ending, Refusal, Refused};
pub use port::{Call, Envelope, Port, PortOptions, Room};
pub use slot::Key;

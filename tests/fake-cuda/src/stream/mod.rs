//! Streams: queues of work, each with a thread of its own.
//!
//! A stream's thread starts with the first work and ends when the stream is destroyed and its queue
//! is empty, so an idle stream costs nothing. Work is carried out in order; what it must wait for in
//! other streams (the legacy stream's barriers, events) goes before it. Once a context is broken or
//! destroyed its queues run dry: device work is skipped, and whoever must hear of it is told.
//!
//! | part | role |
//! |---|---|
//! | `progress` | waking those who wait for anything of a context |
//! | `queue` | one stream: its work, its thread |
//! | `event` | events, and the marks that they leave in streams |
//! | `capture` | work that is recorded instead of carried out |

pub(crate) mod capture;
pub(crate) mod event;
pub(crate) mod progress;
mod queue;

pub(crate) use queue::{Barrier, Busy, Stream, Work, in_host_function};

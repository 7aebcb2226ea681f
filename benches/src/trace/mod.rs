//! Recorded allocation traces.
//!
//! Two formats, told apart by their first line:
//!
//! | first line | a row is |
//! |---|---|
//! | `t_us,op,id,bytes,stream` | an allocation (`a`) or a free (`f`), in time order |
//! | `id,lower,upper,size` | a buffer that lives from `lower` to before `upper` (minimalloc) |
//!
//! Lines that begin with `#` are remarks. A name that ends in `.gz` is unpacked on the way. What a file says is checked before anything is
//! replayed: a file that is damaged, cut short or contradicts itself is refused with its line
//! ([`TraceError`]). Ids and streams become dense numbers, so that a replay needs no map.

mod books;
mod error;
mod lifetimes;
mod lines;
mod read;
mod rows;
#[cfg(test)]
mod tests;

pub use error::{Reason, TraceError};

use books::Books;

/// A page of device memory that a trace with times is replayed on.
pub const PAGE: u64 = 2 << 20;

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// A block comes to live.
    Allocate,
    /// A block is given back.
    Free,
}

/// One row of a trace.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// When, in microseconds (or in what the trace counts in).
    pub t_us: f64,
    /// Size of the block in bytes.
    pub bytes: u64,
    /// The block: below [`Trace::ids`], and never used for another.
    pub id: u32,
    /// The stream that does it: below [`Trace::streams`].
    pub stream: u32,
    /// What is done.
    pub op: Op,
}

/// A trace that was read and found right.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// The file, as it was named.
    pub name: String,
    /// Its steps in time order.
    pub steps: Vec<Step>,
    /// How many blocks it allocates.
    pub ids: usize,
    /// How many streams it uses.
    pub streams: usize,
    /// The most bytes that live at once.
    pub peak_live: u64,
    /// The page to replay it on: [`PAGE`], or less where the trace has units of its own.
    pub page: u64,
}

impl Trace {
    /// Steps that are there already, on pages of a device. Ids and streams may be any numbers.
    ///
    /// # Errors
    /// If they are not right; the line is the number of the step.
    pub fn of(name: &str, steps: Vec<Step>) -> Result<Self, TraceError> {
        let mut books = Books::default();
        let refuse = |line, reason| TraceError { file: name.to_owned(), line, reason };
        for (step, line) in steps.into_iter().zip(1..) {
            let id = u64::from(step.id);
            let added = match step.op {
                Op::Allocate => books.allocate(step, id),
                Op::Free => books.free(step, id),
            };
            added.map_err(|reason| refuse(line, reason))?;
        }
        books.close(name, |_| PAGE).map_err(|reason| refuse(1, reason))
    }

    /// The steps of the frees that the trace leaves out: those of blocks that live to its end.
    pub fn leftovers(&self) -> Vec<Step> {
        let mut last = vec![None; self.ids];
        for step in &self.steps {
            last[step.id as usize] = (step.op == Op::Allocate).then_some(*step);
        }
        let end = self.steps.last().map_or(0.0, |step| step.t_us);
        let free = |step: Step| Step { t_us: end, op: Op::Free, ..step };
        last.into_iter().flatten().map(free).collect()
    }
}

//! The order of streams, simulated: when work that used a block is over.

use crate::trace::Step;

/// Work of a stream that uses a block is over so long after the block's free, in microseconds.
pub const DELAY_US: f64 = 50.0;

/// The last use of memory that is free.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LastUse {
    /// The stream, or none if several have used parts of it.
    stream: Option<u32>,
    /// When it was freed last.
    at: f64,
}

impl LastUse {
    /// The use that ends with a free.
    pub fn new(free: &Step) -> Self {
        Self { stream: Some(free.stream), at: free.t_us }
    }

    /// Of two neighbours that become one.
    #[must_use]
    pub fn merged(self, other: Self) -> Self {
        let stream = if self.stream == other.stream { self.stream } else { None };
        Self { stream, at: self.at.max(other.at) }
    }

    /// Whether the stream of an allocation would have to wait before it uses the memory.
    pub fn delays(&self, step: &Step) -> bool {
        self.stream != Some(step.stream) && step.t_us < self.at + DELAY_US
    }
}

//! The time of a replay, and when work of a stream is over by it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustkernel_gpu::memory::arena::LastUse;

/// The time of the replay, in microseconds, as bits.
#[derive(Debug, Clone, Default)]
pub(super) struct Clock(Arc<AtomicU64>);

impl Clock {
    fn now(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }

    /// Times are not negative, and so are ordered as their bits are.
    pub(super) fn advance(&self, to: f64) {
        self.0.fetch_max(to.to_bits(), Ordering::Relaxed);
    }
}

/// Work of a stream, until when.
#[derive(Debug, Clone)]
pub(super) struct Use {
    pub(super) stream: u32,
    pub(super) over: f64,
    pub(super) clock: Clock,
}

impl LastUse for Use {
    fn is_over(&self) -> bool {
        self.clock.now() >= self.over
    }

    fn is_same_stream(&self, other: &Self) -> bool {
        self.stream == other.stream
    }

    fn later(self, other: Self) -> Self {
        if self.over < other.over { other } else { self }
    }
}

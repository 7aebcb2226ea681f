//! Streams of a simulation: their uses of memory end by a clock of the test's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustkernel_gpu::memory::arena::LastUse;

/// A clock that stands still, or goes on with each look at it, as that of a device does.
#[derive(Debug, Default)]
pub struct Clock {
    now: AtomicU64,
    tick: u64,
}

impl Clock {
    /// A clock that goes on by one with each look of a [`Use`].
    pub fn ticking() -> Self {
        Self { tick: 1, ..Self::default() }
    }

    /// What time it is.
    pub fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    /// It is so much later.
    pub fn advance_by(&self, time: u64) {
        self.now.fetch_add(time, Ordering::Relaxed);
    }

    /// It is now at least so late.
    pub fn advance_to(&self, time: u64) {
        self.now.fetch_max(time, Ordering::Relaxed);
    }
}

/// Work of a stream, until when.
#[derive(Debug, Clone)]
pub struct Use {
    /// The stream.
    pub stream: u32,
    /// When it is over.
    pub over: u64,
    /// By which clock.
    pub clock: Arc<Clock>,
}

impl LastUse for Use {
    fn is_over(&self) -> bool {
        self.clock.now.fetch_add(self.clock.tick, Ordering::Relaxed) >= self.over
    }

    fn is_same_stream(&self, other: &Self) -> bool {
        self.stream == other.stream
    }

    fn later(self, other: Self) -> Self {
        if self.over < other.over { other } else { self }
    }
}

//! How long requests take, and when an instance has held its thread for long enough.

use std::time::Duration;

use crate::clock::{self, Instant};

/// A request longer than this makes the instance wake each caller at once for a while.
const SLOW: Duration = Duration::from_micros(20);
/// For how many requests after a slow one.
const WARY: u32 = 10_000;
/// An instance lets others run after this, if it never had to wait.
const BUDGET: Duration = Duration::from_micros(200);

/// While no request is slow, the clock is read once for this many.
const STRIDE: u32 = 8;

/// Measures one instance's requests.
#[derive(Debug)]
pub(crate) struct Pacer {
    /// When the instance last let others run.
    turn: Instant,
    /// When the clock was last read.
    last: Instant,
    /// Requests since then.
    since: u32,
    average_nanos: u64,
    wary: u32,
}

impl Pacer {
    pub(crate) fn new() -> Self {
        let now = clock::now();
        Self { turn: now, last: now, since: 0, average_nanos: 0, wary: WARY }
    }

    /// A request begins after a wait.
    pub(crate) fn resume(&mut self) {
        // While no request is slow a wait is one of the things that take no time.
        if self.wary > 0 || self.since == 0 {
            let now = clock::now();
            (self.turn, self.last, self.since) = (now, now, 0);
        }
    }

    /// A request has ended. How long they take lately, in nanoseconds, if that is newly known.
    pub(crate) fn lap(&mut self) -> Option<u64> {
        self.since += 1;
        if self.wary == 0 && self.since < STRIDE {
            return None;
        }
        let now = clock::now();
        let took = now.saturating_duration_since(self.last) / self.since;
        self.wary = if took > SLOW { WARY } else { self.wary.saturating_sub(self.since) };
        (self.last, self.since) = (now, 0);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX / 16);
        self.average_nanos = (3 * self.average_nanos + nanos) / 4;
        Some(self.average_nanos)
    }

    /// Whether answers may wait for the next request's: none was slow of late.
    pub(crate) fn may_hold_answers(&self) -> bool {
        self.wary == 0
    }

    /// Whether it is time to let others run.
    pub(crate) fn budget_is_spent(&self) -> bool {
        self.last.saturating_duration_since(self.turn) > BUDGET
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_slow_request_makes_it_wary_for_a_while() {
        let mut pacer = Pacer::new();
        assert!(!pacer.may_hold_answers(), "nothing is known at first");
        for _ in 0..WARY {
            pacer.lap();
        }
        assert!(pacer.may_hold_answers());
        tokio::time::advance(2 * STRIDE * SLOW).await;
        for _ in 0..STRIDE {
            pacer.lap();
        }
        assert!(!pacer.may_hold_answers());
    }

    #[tokio::test(start_paused = true)]
    async fn the_budget_counts_from_the_last_wait() {
        let mut pacer = Pacer::new();
        tokio::time::advance(2 * BUDGET).await;
        pacer.lap();
        assert!(pacer.budget_is_spent());
        pacer.resume();
        pacer.lap();
        assert!(!pacer.budget_is_spent());
    }
}

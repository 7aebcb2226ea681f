//! How long requests take, and when an instance has held its thread for long enough.

use std::time::Duration;

use crate::clock::{self, Instant};

/// A request longer than this makes the instance wake each caller at once for a while.
const SLOW: Duration = Duration::from_micros(20);
/// For how many requests after a slow one.
const WARY: u32 = 10_000;
/// An instance lets others run after this, if it never had to wait.
const BUDGET: Duration = Duration::from_micros(200);

/// Measures one instance's requests, one reading of the clock each.
#[derive(Debug)]
pub(crate) struct Pacer {
    turn: Instant,
    last: Instant,
    average_nanos: u64,
    wary: u32,
}

impl Pacer {
    pub(crate) fn new() -> Self {
        let now = clock::now();
        Self { turn: now, last: now, average_nanos: 0, wary: WARY }
    }

    /// A request begins after a wait.
    pub(crate) fn resume(&mut self) {
        let now = clock::now();
        (self.turn, self.last) = (now, now);
    }

    /// A request has ended. How long they take lately, in nanoseconds.
    pub(crate) fn lap(&mut self) -> u64 {
        let now = clock::now();
        let took = now.saturating_duration_since(self.last);
        self.last = now;
        self.wary = if took > SLOW { WARY } else { self.wary.saturating_sub(1) };
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX / 16);
        self.average_nanos = (7 * self.average_nanos + nanos) / 8;
        self.average_nanos
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
        tokio::time::advance(2 * SLOW).await;
        assert!(pacer.lap() > 0 && !pacer.may_hold_answers());
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

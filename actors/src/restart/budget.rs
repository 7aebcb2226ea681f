//! How many requests may be tried again: a bucket of tokens, as gRPC throttles retries (proposal A6).

use std::sync::atomic::{AtomicU64, Ordering};

/// Tries that may be saved up.
const MOST: u64 = 10;
/// What a try is counted in.
const TRY: u64 = 1000;

/// The tries that a kernel has left.
#[derive(Debug)]
pub(crate) struct RetryBudget {
    thousandths: AtomicU64,
}

impl RetryBudget {
    pub(crate) fn new() -> Self {
        Self { thousandths: AtomicU64::new(MOST * TRY) }
    }

    /// A request succeeded, which is worth `ratio` tries.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1000")]
    pub(crate) fn earn(&self, ratio: f64) {
        let earned = (ratio * TRY as f64) as u64;
        let more = |now: u64| (now < MOST * TRY).then_some((now + earned).min(MOST * TRY));
        self.thousandths.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok();
    }

    /// Takes one, if there is one.
    pub(crate) fn take(&self) -> bool {
        let less = |now: u64| now.checked_sub(TRY);
        self.thousandths.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_are_saved_up_spent_and_earned() {
        let budget = RetryBudget::new();
        budget.earn(1.0);
        assert_eq!((0..100).filter(|_| budget.take()).count(), 10);
        (0..9).for_each(|_| budget.earn(0.1));
        assert!(!budget.take());
        budget.earn(0.1);
        assert!(budget.take() && !budget.take());
    }
}

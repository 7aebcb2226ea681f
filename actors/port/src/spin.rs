//! Looking for a bounded moment before sleeping.
//!
//! Waking a sleeping thread costs 5 to 50 µs, so a side that expects the other to act within that
//! time looks for it instead.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Most chances to look that are passed over after looking in vain.
const MOST_SKIPPED: u32 = 127;

/// How long to look before sleeping, and whether it has been worth it.
///
/// Looking pays only while the other side runs on another processor. Each time it was in vain, twice
/// as many chances to look are passed over before the next try, each success halves them (as adaptive
/// locks do), so that on a busy machine little time is lost this way.
#[derive(Debug, Default)]
pub struct Spin {
    limit: Duration,
    skip: AtomicU32,
    penalty: AtomicU32,
}

impl Spin {
    /// Look for at most `limit`; zero is to sleep at once.
    pub fn new(limit: Duration) -> Self {
        Self { limit, ..Self::default() }
    }

    /// The most time spent looking at once.
    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// Looks until `found`, or until the limit. Whether it was found.
    pub(crate) fn until(&self, found: impl Fn() -> bool) -> bool {
        if found() {
            return true;
        }
        if self.limit.is_zero() || self.passes_over() {
            return false;
        }
        let seen = self.look(found);
        self.learn(seen);
        seen
    }

    fn look(&self, found: impl Fn() -> bool) -> bool {
        let start = now();
        loop {
            for _ in 0..64 {
                if found() {
                    return true;
                }
                std::hint::spin_loop();
            }
            if start.elapsed() >= self.limit {
                return found();
            }
        }
    }

    /// (Races between the users of one `Spin` only make it look once more or once less.)
    fn passes_over(&self) -> bool {
        let skip = self.skip.load(Ordering::Relaxed);
        self.skip.store(skip.saturating_sub(1), Ordering::Relaxed);
        skip > 0
    }

    fn learn(&self, seen: bool) {
        let before = self.penalty.load(Ordering::Relaxed);
        let penalty = if seen { before / 2 } else { (2 * before + 1).min(MOST_SKIPPED) };
        self.penalty.store(penalty, Ordering::Relaxed);
        self.skip.store(penalty, Ordering::Relaxed);
    }
}

#[allow(clippy::disallowed_methods, reason = "real time: how long to keep a real processor busy")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_ends_when_found_and_at_the_limit() {
        let spin = Spin::new(Duration::from_micros(100));
        assert!(spin.until(|| true));
        assert!(!spin.until(|| false));
        assert!(!Spin::default().until(|| false));
    }

    #[test]
    fn looking_in_vain_makes_it_rare_and_success_frequent_again() {
        let spin = Spin::new(Duration::from_nanos(1));
        let looks = std::cell::Cell::new(0);
        for _ in 0..10_000 {
            let asked = std::cell::Cell::new(0);
            spin.until(|| {
                asked.set(asked.get() + 1);
                false
            });
            looks.set(looks.get() + i32::from(asked.get() > 1));
        }
        assert!(looks.get() < 100, "{}", looks.get());

        let second_time = || {
            let asked = std::cell::Cell::new(0);
            spin.until(|| asked.replace(asked.get() + 1) > 0)
        };
        while spin.penalty.load(Ordering::Relaxed) > 0 {
            second_time();
        }
        assert!(second_time(), "no penalty after enough success");
    }
}

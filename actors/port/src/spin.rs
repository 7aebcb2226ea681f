//! Looking for a bounded moment before sleeping.
//!
//! Waking a sleeping thread costs 5 to 50 µs, so a side that expects the other to act within that
//! time looks for it instead. That pays only while both sides have a processor and traffic is dense,
//! and only if both look: one that looks for a side that sleeps looks in vain. So they look, or not,
//! together: instances try it for a window of [`WINDOW`] waits, and go on if half of them ended
//! early; if not, both sides sleep at once for a growing number of waits before the next trial. On a
//! busy machine, or under thin traffic, little time is lost this way.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;

/// Waits of a trial.
const WINDOW: u32 = 8;
/// Waits that are passed over after the first trial that failed; doubled each time, up to the last.
const FIRST_PAUSE: u32 = 64;
const LAST_PAUSE: u32 = 4096;

/// How long to look before sleeping, and whether it is worth it at present.
///
/// (The counters are written by instances, one at a time as a rule. A race between several makes a
/// trial a little longer or shorter.)
#[derive(Debug)]
pub(crate) struct Spin {
    limit: Duration,
    /// Read by every caller, and therefore alone on its line.
    on: CachePadded<AtomicBool>,
    tried: AtomicU32,
    seen: AtomicU32,
    pause: AtomicU32,
    paused: AtomicU32,
}

impl Spin {
    /// Look for at most `limit`; zero is to sleep at once.
    pub(crate) fn new(limit: Duration) -> Self {
        Self {
            limit,
            on: CachePadded::new(AtomicBool::new(!limit.is_zero())),
            tried: AtomicU32::new(0),
            seen: AtomicU32::new(0),
            pause: AtomicU32::new(FIRST_PAUSE),
            paused: AtomicU32::new(0),
        }
    }

    /// The most time spent looking at once.
    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    /// Whether it is worth looking at present.
    pub(crate) fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// An instance looks until `found`, or until the limit, and learns. Whether it was found.
    pub(crate) fn wait(&self, found: impl Fn() -> bool) -> bool {
        if found() {
            return true;
        }
        if !self.is_on() && !self.resumes() {
            return false;
        }
        let seen = self.look(found);
        self.learn(seen);
        seen
    }

    /// Looks until `found`, or until the limit. Whether it was found.
    pub(crate) fn look(&self, found: impl Fn() -> bool) -> bool {
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

    /// Passes a wait over; true if the pause ends with it.
    fn resumes(&self) -> bool {
        let left = self.paused.load(Ordering::Relaxed).saturating_sub(1);
        self.paused.store(left, Ordering::Relaxed);
        let resumes = left == 0 && !self.limit.is_zero();
        self.on.store(resumes, Ordering::Relaxed);
        resumes
    }

    fn learn(&self, seen: bool) {
        let tried = self.tried.load(Ordering::Relaxed) + 1;
        let hits = self.seen.load(Ordering::Relaxed) + u32::from(seen);
        let (tried, hits) = if tried < WINDOW { (tried, hits) } else { self.judge(hits) };
        self.tried.store(tried, Ordering::Relaxed);
        self.seen.store(hits, Ordering::Relaxed);
    }

    /// A window is over; another begins.
    fn judge(&self, hits: u32) -> (u32, u32) {
        if 2 * hits >= WINDOW {
            self.pause.store(FIRST_PAUSE, Ordering::Relaxed);
        } else {
            let pause = self.pause.load(Ordering::Relaxed);
            self.paused.store(pause, Ordering::Relaxed);
            self.pause.store((2 * pause).min(LAST_PAUSE), Ordering::Relaxed);
            self.on.store(false, Ordering::Relaxed);
        }
        (0, 0)
    }
}

#[allow(clippy::disallowed_methods, reason = "real time: how long to keep a real processor busy")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// Waits once; how often it looked, and whether that found something.
    fn wait(spin: &Spin, found_at: u32) -> (u32, bool) {
        let asked = Cell::new(0);
        let found = spin.wait(|| {
            asked.set(asked.get() + 1);
            asked.get() > found_at
        });
        (asked.get(), found)
    }

    #[test]
    fn what_is_there_is_found_at_once_and_zero_never_looks() {
        assert_eq!(wait(&Spin::new(Duration::from_micros(100)), 0), (1, true));
        assert_eq!(wait(&Spin::new(Duration::ZERO), 9), (1, false));
    }

    #[test]
    fn looking_in_vain_becomes_rare() {
        let spin = Spin::new(Duration::from_nanos(1));
        let looked = (0..100_000).filter(|_| wait(&spin, u32::MAX).0 > 1).count();
        assert!((8..400).contains(&looked), "{looked}");
    }

    #[test]
    fn a_trial_that_succeeds_turns_looking_on_again_for_good() {
        let spin = Spin::new(Duration::from_nanos(1));
        (0..WINDOW).for_each(|_| assert!(!wait(&spin, u32::MAX).1));
        assert!(!spin.is_on());
        // Something comes soon after each wait from here on; the pause passes over a few of them.
        let passed_over = (0..1000).filter(|_| !wait(&spin, 3).1).count();
        assert_eq!(passed_over, FIRST_PAUSE as usize - 1);
        assert!(spin.is_on());
    }
}

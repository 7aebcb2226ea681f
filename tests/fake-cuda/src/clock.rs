//! The one place that reads the clock.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Now.
#[allow(
    clippy::disallowed_methods,
    reason = "a driver's events and timers are of the real clock, which no test can pause"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Since the driver was first asked for the time.
pub(crate) fn elapsed() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    now().saturating_duration_since(*START.get_or_init(now))
}

/// A device's global timer.
pub(crate) fn nanoseconds() -> u64 {
    elapsed().as_nanos() as u64
}

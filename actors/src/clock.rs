//! The clock: read here and nowhere else, so that tests can pause it.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

pub use tokio::time::Instant;

/// Long before anything that is measured against it.
static ORIGIN: LazyLock<Instant> = LazyLock::new(|| {
    let now = Instant::now();
    now.checked_sub(Duration::from_secs(3600)).unwrap_or(now)
});

/// Now, monotonic.
pub fn now() -> Instant {
    Instant::now()
}

/// The wall clock, for people to read: nothing is measured by it.
#[allow(clippy::disallowed_methods, reason = "this is where it is read")]
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}

/// An instant as the port counts them: nanoseconds since an origin, plus one, because 0 is never.
pub(crate) fn ticks(at: Instant) -> u64 {
    let since = at.saturating_duration_since(*ORIGIN);
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX - 1) + 1
}

/// The instant of that many ticks, if it is one.
pub(crate) fn at(ticks: u64) -> Option<Instant> {
    let since = Duration::from_nanos(ticks.checked_sub(1)?);
    ORIGIN.checked_add(since)
}

/// The ticks after a while; 0, never, where the clock does not reach.
pub(crate) fn after(while_: Duration) -> u64 {
    now().checked_add(while_).map_or(0, ticks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_never_zero_and_grow() {
        let start = now();
        assert!(ticks(start) >= 1);
        assert!(ticks(start + Duration::from_millis(1)) >= ticks(start) + 1_000_000);
        assert_eq!((at(0), at(ticks(start))), (None, Some(start)));
    }
}

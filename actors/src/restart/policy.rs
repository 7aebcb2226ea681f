//! What a kernel's spec says about its restarts.

use std::time::Duration;

/// Restarts that a kernel may have within [`WINDOW`], unless its spec says otherwise.
const LIMIT: u32 = 5;
const WINDOW: Duration = Duration::from_secs(10);
/// How long a kernel is quarantined before it is tried again.
const QUARANTINE: Duration = Duration::from_secs(30);
/// How long the code of a request that is over may go on before its instance counts as hung.
const HANG_GRACE: Duration = Duration::from_secs(5);
/// So many requests in a row that fail by the driver's refusal mean that the instance is broken.
const LAUNCH_FAILURES: u32 = 8;

/// Which ends of an instance are followed by a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RestartType {
    /// Each.
    #[default]
    Permanent,
    /// Each that is a fault; not one that the kernel asked for by
    /// [`KernelContext::exit`](crate::kernel::KernelContext::exit).
    Transient,
    /// None.
    Temporary,
}

/// What follows when a kernel has had more restarts than its policy allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnExceeded {
    /// Its requests are refused at once; after a while it is tried again.
    #[default]
    Quarantine,
    /// The runtime drains and stops.
    StopRuntime,
}

/// How long restarts wait: the first not at all, those that follow it soon for a random time between
/// zero and a bound that doubles with each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backoff {
    /// The longest wait before the second restart.
    pub first: Duration,
    /// The longest wait before any restart.
    pub cap: Duration,
    /// After so long without an end the next restart counts as the first.
    pub reset_after: Duration,
}

impl Default for Backoff {
    /// From 10 ms to 1 s, from the start again after 10 s without an end.
    fn default() -> Self {
        Self::exponential(Duration::from_millis(10), Duration::from_secs(1))
    }
}

impl Backoff {
    /// No restart waits.
    pub fn none() -> Self {
        Self::exponential(Duration::ZERO, Duration::ZERO)
    }

    /// The second restart waits for at most `first`, each further one for at most twice as long as
    /// the one before, and none longer than `cap`.
    pub fn exponential(first: Duration, cap: Duration) -> Self {
        Self { first, cap, reset_after: Duration::from_secs(10) }
    }

    /// After so long without an end the next restart counts as the first.
    #[must_use]
    pub fn reset_after(mut self, stable: Duration) -> Self {
        self.reset_after = stable;
        self
    }

    /// The longest wait before the restart of that number, counted from 0.
    pub(super) fn bound(&self, attempt: u32) -> Duration {
        match attempt.checked_sub(1) {
            None => Duration::ZERO,
            Some(doublings) => {
                let doubled = self.first.saturating_mul(1 << doublings.min(30));
                doubled.min(self.cap)
            }
        }
    }
}

/// When a kernel is restarted, how often, how soon, and what happens when that is not enough.
///
/// The default: each end is followed by a restart, at most 5 within 10 s over all instances; beyond that
/// the kernel is quarantined for 30 s, then tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestartPolicy {
    /// After which ends it is restarted.
    pub restart: RestartType,
    /// Most restarts within the window; `u32::MAX` is no limit.
    pub limit: u32,
    /// The window.
    pub window: Duration,
    /// How long restarts wait.
    pub backoff: Backoff,
    /// What follows more restarts than the limit.
    pub on_exceeded: OnExceeded,
    /// How long a quarantine lasts before one instance is tried; None: until it is lifted.
    pub quarantine: Option<Duration>,
    /// How long code may go on after its request is over before it is taken to hang.
    pub hang_grace: Duration,
    /// Failed launches in a row that end an instance.
    pub launch_failures: u32,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self::permanent()
    }
}

impl RestartPolicy {
    fn of(restart: RestartType) -> Self {
        Self {
            restart,
            limit: LIMIT,
            window: WINDOW,
            backoff: Backoff::default(),
            on_exceeded: OnExceeded::default(),
            quarantine: Some(QUARANTINE),
            hang_grace: HANG_GRACE,
            launch_failures: LAUNCH_FAILURES,
        }
    }

    /// Restarts after each end.
    pub fn permanent() -> Self {
        Self::of(RestartType::Permanent)
    }

    /// Restarts after each fault.
    pub fn transient() -> Self {
        Self::of(RestartType::Transient)
    }

    /// Restarts after nothing.
    pub fn temporary() -> Self {
        Self::of(RestartType::Temporary)
    }

    /// At most `restarts` within `window`, over all of the kernel's instances: its restart intensity.
    #[must_use]
    pub fn limit(mut self, restarts: u32, window: Duration) -> Self {
        (self.limit, self.window) = (restarts, window);
        self
    }

    /// As many restarts as it takes.
    #[must_use]
    pub fn unlimited(mut self) -> Self {
        self.limit = u32::MAX;
        self
    }

    /// How long restarts wait.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Beyond its limit the kernel is quarantined: its requests are refused at once. After `time` it is
    /// tried with one instance; if that crashes too it is quarantined for twice as long, up to eight times.
    #[must_use]
    pub fn quarantine(mut self, time: Duration) -> Self {
        (self.on_exceeded, self.quarantine) = (OnExceeded::Quarantine, Some(time));
        self
    }

    /// Beyond its limit the kernel is quarantined until somebody lifts that.
    #[must_use]
    pub fn quarantine_until_lifted(mut self) -> Self {
        (self.on_exceeded, self.quarantine) = (OnExceeded::Quarantine, None);
        self
    }

    /// Beyond its limit the runtime drains and stops.
    #[must_use]
    pub fn stop_runtime(mut self) -> Self {
        self.on_exceeded = OnExceeded::StopRuntime;
        self
    }

    /// How long code may go on after its request is over (its deadline has passed, say) before the
    /// instance counts as hung and is replaced. The default is 5 s.
    #[must_use]
    pub fn hang_grace(mut self, grace: Duration) -> Self {
        self.hang_grace = grace;
        self
    }

    /// So many requests in a row that fail because the driver refuses a call mean that the instance is
    /// to be restarted. The default is 8.
    #[must_use]
    pub fn launch_failures(mut self, in_a_row: u32) -> Self {
        self.launch_failures = in_a_row;
        self
    }

    /// Checks that it makes sense.
    ///
    /// # Errors
    /// A sentence that says what does not.
    pub fn validate(&self) -> Result<(), String> {
        if self.limit > 0 && self.limit < u32::MAX && self.window.is_zero() {
            return Err("its restarts are limited within a window of no time".into());
        }
        let Backoff { first, cap, .. } = self.backoff;
        if first > cap {
            return Err(format!("its backoff begins at {first:?}, above its cap of {cap:?}"));
        }
        if self.quarantine.is_some_and(|time| time.is_zero()) {
            return Err("its quarantine lasts no time; a millisecond is the least".into());
        }
        if self.launch_failures == 0 {
            return Err("it is restarted after no failed launch at all; 1 is the least".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_double_from_the_second_restart_to_the_cap() {
        let backoff = Backoff::exponential(Duration::from_millis(10), Duration::from_millis(65));
        let bounds = (0..6).map(|attempt| backoff.bound(attempt).as_millis()).collect::<Vec<_>>();
        assert_eq!(bounds, [0, 10, 20, 40, 65, 65]);
        assert_eq!(backoff.bound(u32::MAX), Duration::from_millis(65));
        assert_eq!(Backoff::none().bound(9), Duration::ZERO);
    }

    #[test]
    fn nonsense_is_refused() {
        let second = Duration::from_secs(1);
        assert_eq!(RestartPolicy::default().validate(), Ok(()));
        assert_eq!(RestartPolicy::temporary().limit(0, Duration::ZERO).validate(), Ok(()));
        assert_eq!(RestartPolicy::permanent().unlimited().validate(), Ok(()));
        for wrong in [
            RestartPolicy::permanent().limit(3, Duration::ZERO),
            RestartPolicy::permanent().backoff(Backoff::exponential(2 * second, second)),
            RestartPolicy::permanent().quarantine(Duration::ZERO),
            RestartPolicy::permanent().launch_failures(0),
        ] {
            wrong.validate().unwrap_err();
        }
    }
}

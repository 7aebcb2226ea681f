//! The restart policies of a run's kernels.

use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rustkernel_actors::{Backoff, RestartPolicy, RestartType, RetryPolicy};

use super::fault::{Fault, Faults};
use super::plan::{choose, millis};

/// When a kernel is restarted, and how often.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RestartPlan {
    pub(crate) restarts: RestartType,
    /// So many restarts within so many milliseconds; `None` is as many as it takes.
    pub(crate) limit: Option<(u32, u64)>,
    backoff: Backoff,
    /// How long a quarantine lasts; `None` is until it is lifted.
    quarantine: Option<Duration>,
    /// Beyond its limit the runtime stops.
    pub(crate) stops_runtime: bool,
    /// How often a request is tried.
    pub(crate) attempts: Option<u32>,
}

impl RestartPlan {
    /// Restarted at once, however often it ends, unless those faults are on.
    pub(crate) fn draw(faults: Faults, random: &mut ChaCha8Rng) -> Self {
        let mut plan = Self {
            restarts: RestartType::Permanent,
            limit: None,
            backoff: Backoff::none(),
            quarantine: None,
            stops_runtime: false,
            attempts: None,
        };
        if faults.has(Fault::Policies) {
            plan.draw_policy(faults, random);
        }
        if faults.has(Fault::Retries) && random.random() {
            plan.attempts = Some(random.random_range(1..=3));
        }
        plan
    }

    fn draw_policy(&mut self, faults: Faults, random: &mut ChaCha8Rng) {
        use RestartType::{Permanent, Temporary, Transient};
        self.restarts = *choose(&[Permanent, Permanent, Permanent, Transient, Temporary], random);
        let limits = [None, Some((0, 50)), Some((2, 50)), Some((5, 100)), Some((20, 1000))];
        self.limit = *choose(&limits, random);
        if random.random() {
            let first = random.random_range(1..=20);
            let backoff = Backoff::exponential(millis(first), millis(4 * first));
            self.backoff = backoff.reset_after(millis(random.random_range(1..=50)));
        }
        self.quarantine = random.random_ratio(3, 4).then(|| millis(random.random_range(10..=200)));
        // (Not while the memory is filled, which takes a runtime that runs.)
        let stops = faults.has(Fault::StopsRuntime) && !faults.has(Fault::Sweep);
        self.stops_runtime = stops && random.random();
    }

    pub(crate) fn policy(self) -> RestartPolicy {
        let mut policy = match self.restarts {
            RestartType::Permanent => RestartPolicy::permanent(),
            RestartType::Transient => RestartPolicy::transient(),
            RestartType::Temporary => RestartPolicy::temporary(),
        };
        policy = match self.limit {
            Some((restarts, window)) => policy.limit(restarts, millis(window)),
            None => policy.unlimited(),
        };
        policy = match self.quarantine {
            Some(time) => policy.quarantine(time),
            None => policy.quarantine_until_lifted(),
        };
        policy = policy.backoff(self.backoff);
        if self.stops_runtime { policy.stop_runtime() } else { policy }
    }

    /// How requests are tried again, if they are.
    pub(crate) fn retry(self) -> Option<RetryPolicy> {
        self.attempts.map(|attempts| RetryPolicy::default().attempts(attempts))
    }
}

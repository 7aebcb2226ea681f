//! A kernel's restarts: a pure machine that is told of each end and says what follows.

use std::collections::VecDeque;
use std::time::Duration;

use super::cause::Cause;
use super::policy::{OnExceeded, RestartPolicy, RestartType};
use crate::clock::Instant;
#[cfg(feature = "planted")]
use crate::planted::{self, Bug};

/// Quarantines that follow each other last up to so many times as long as the first.
const LONGEST_QUARANTINE: u32 = 8;

/// Whether a kernel's requests are let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Circuit {
    /// They are.
    #[default]
    Closed,
    /// They are refused: the kernel is quarantined.
    Open,
    /// They are, to one instance: if it serves one, all is well again, and if it ends first, the kernel is
    /// quarantined again.
    HalfOpen,
}

/// What follows the end of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is restarted after that time.
    Restart(Duration),
    /// It is not.
    Leave,
    /// Nor is any other of its kernel, for that time or until somebody lifts it.
    Quarantine(Option<Duration>),
    /// It waits: its kernel is quarantined already.
    Follow,
    /// The runtime stops.
    StopRuntime,
}

/// The restarts of one kernel, over all its instances.
#[derive(Debug)]
pub(crate) struct RestartBook {
    policy: RestartPolicy,
    circuit: Circuit,
    /// Ends that count, within the window; at most as many as the limit, and one.
    recent: VecDeque<Instant>,
    /// The last end, and how many followed each other.
    last: Option<Instant>,
    attempt: u32,
    /// Quarantines that followed each other.
    quarantines: u32,
    jitter: fastrand::Rng,
}

impl RestartBook {
    /// `seed` makes the jitter.
    pub(crate) fn new(policy: RestartPolicy, seed: u64) -> Self {
        Self {
            policy,
            circuit: Circuit::Closed,
            recent: VecDeque::new(),
            last: None,
            attempt: 0,
            quarantines: 0,
            jitter: fastrand::Rng::with_seed(seed),
        }
    }

    pub(crate) fn circuit(&self) -> Circuit {
        self.circuit
    }

    /// An instance has ended: what follows.
    pub(crate) fn ended(&mut self, cause: &Cause, now: Instant) -> Verdict {
        let wanted = match self.policy.restart {
            RestartType::Permanent => true,
            RestartType::Transient => !cause.is_normal(),
            // (Whoever of a device meets its loss first is not to fare worse than who is told of it.)
            RestartType::Temporary => matches!(cause, Cause::DeviceLost(_)),
        };
        if !wanted {
            return Verdict::Leave;
        }
        if self.circuit == Circuit::Open {
            // It ended on its way into a quarantine.
            return Verdict::Follow;
        }
        if cause.counts() && self.exceeds(now) {
            return self.exceeded();
        }
        Verdict::Restart(self.wait(now))
    }

    /// Counts an end. Whether it is one too many.
    fn exceeds(&mut self, now: Instant) -> bool {
        if self.circuit == Circuit::HalfOpen {
            return true;
        }
        if self.policy.limit == u32::MAX {
            return false;
        }
        self.recent.push_back(now);
        let window = self.policy.window;
        while self.recent.front().is_some_and(|end| now.saturating_duration_since(*end) > window) {
            self.recent.pop_front();
        }
        #[cfg(feature = "planted")]
        if planted::is(Bug::RestartPastLimit) {
            return self.recent.len() > self.policy.limit as usize + 1;
        }
        self.recent.len() > self.policy.limit as usize
    }

    fn exceeded(&mut self) -> Verdict {
        if self.policy.on_exceeded == OnExceeded::StopRuntime {
            return Verdict::StopRuntime;
        }
        self.circuit = Circuit::Open;
        self.recent.clear();
        let factor = 1_u32 << self.quarantines.min(LONGEST_QUARANTINE.ilog2());
        self.quarantines = self.quarantines.saturating_add(1);
        Verdict::Quarantine(self.policy.quarantine.map(|time| time.saturating_mul(factor)))
    }

    /// How long the next restart waits.
    fn wait(&mut self, now: Instant) -> Duration {
        let stable = self.last.replace(now).is_none_or(|last| {
            now.saturating_duration_since(last) >= self.policy.backoff.reset_after
        });
        let attempt = if stable { 0 } else { self.attempt };
        self.attempt = attempt.saturating_add(1);
        self.policy.backoff.bound(attempt).mul_f64(self.jitter.f64())
    }

    /// A quarantine is over: one instance is tried. False if there is none.
    pub(crate) fn probe(&mut self) -> bool {
        let open = self.circuit == Circuit::Open;
        if open {
            self.circuit = Circuit::HalfOpen;
        }
        open
    }

    /// The instance that was tried has served a request. False if none was tried.
    pub(crate) fn proved(&mut self) -> bool {
        let proved = self.circuit == Circuit::HalfOpen;
        if proved {
            (self.circuit, self.quarantines, self.attempt) = (Circuit::Closed, 0, 0);
        }
        proved
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::restart::Backoff;

    const SECOND: Duration = Duration::from_secs(1);

    fn fault() -> Cause {
        Cause::Fatal("no".into())
    }

    /// What follows a fault at each of these seconds.
    fn verdicts(policy: RestartPolicy, seconds: &[u32]) -> Vec<Verdict> {
        let (mut book, start) = (RestartBook::new(policy, 1), clock::now());
        seconds.iter().map(|at| book.ended(&fault(), start + *at * SECOND)).collect()
    }

    fn limited(limit: u32) -> RestartPolicy {
        RestartPolicy::permanent().limit(limit, 10 * SECOND).backoff(Backoff::none())
    }

    const AT_ONCE: Verdict = Verdict::Restart(Duration::ZERO);

    #[test]
    fn each_type_restarts_after_its_own_ends() {
        let by_type = [
            (RestartPolicy::permanent(), [true, true, true]),
            (RestartPolicy::transient(), [true, false, true]),
            (RestartPolicy::temporary(), [false, false, false]),
        ];
        for (policy, expected) in by_type {
            let causes = [fault(), Cause::Exited, Cause::Group("other".into())];
            let restarted = causes.map(|cause| {
                RestartBook::new(policy, 1).ended(&cause, clock::now()) != Verdict::Leave
            });
            assert_eq!(restarted, expected, "{policy:?}");
        }
    }

    /// Semantics: S21, S36.
    #[test]
    fn the_loss_of_a_device_is_no_end_of_a_kernel() {
        for policy in [RestartPolicy::transient(), RestartPolicy::temporary().limit(0, SECOND)] {
            let mut book = RestartBook::new(policy.backoff(Backoff::none()), 1);
            let lost = Cause::DeviceLost(rustkernel_gpu::DeviceId::Cuda(0));
            assert_eq!([(); 9].map(|()| book.ended(&lost, clock::now())), [AT_ONCE; 9]);
        }
    }

    #[test]
    fn one_end_more_than_the_limit_within_the_window_is_too_many() {
        let quarantined = Verdict::Quarantine(Some(30 * SECOND));
        assert_eq!(verdicts(limited(2), &[0, 5, 10]), [AT_ONCE, AT_ONCE, quarantined]);
        assert_eq!(verdicts(limited(2), &[0, 5, 11]), [AT_ONCE; 3], "the first is forgotten");
        assert_eq!(verdicts(limited(0), &[0]), [quarantined]);
        assert_eq!(verdicts(limited(0).stop_runtime(), &[0]), [Verdict::StopRuntime]);
        let lifted = limited(0).quarantine_until_lifted();
        assert_eq!(verdicts(lifted, &[0]), [Verdict::Quarantine(None)]);
        assert_eq!(verdicts(limited(1).unlimited(), &[0; 100]), [AT_ONCE; 100]);
    }

    /// Semantics: S13.
    #[test]
    fn what_is_no_fault_does_not_count() {
        let mut book = RestartBook::new(limited(0), 1);
        let out_of_memory = Cause::OutOfMemory("full".into());
        for _ in 0..100 {
            assert_eq!(book.ended(&out_of_memory, clock::now()), AT_ONCE);
        }
    }

    /// Semantics: S14.
    #[test]
    fn restarts_wait_longer_until_it_is_stable() {
        let policy = RestartPolicy::permanent()
            .unlimited()
            .backoff(Backoff::exponential(8 * SECOND, 16 * SECOND).reset_after(5 * SECOND));
        let waits = |verdicts: Vec<Verdict>| -> Vec<Duration> {
            let wait = |verdict| match verdict {
                Verdict::Restart(wait) => wait,
                other => panic!("{other:?}"),
            };
            verdicts.into_iter().map(wait).collect()
        };
        let seeds = waits(verdicts(policy, &[0, 1, 2, 3, 8, 9]));
        assert_eq!((seeds[0], seeds[4]), (Duration::ZERO, Duration::ZERO), "{seeds:?}");
        for (wait, bound) in [(seeds[1], 8), (seeds[2], 16), (seeds[3], 16), (seeds[5], 8)] {
            assert!(wait > Duration::ZERO && wait <= bound * SECOND, "{seeds:?}");
        }
        assert_ne!(seeds[1], seeds[5], "they are random");
    }

    /// Semantics: S25.
    #[test]
    fn a_quarantine_ends_with_a_request_served_or_is_longer_the_next_time() {
        let (mut book, now) = (RestartBook::new(limited(0), 1), clock::now());
        assert!(!book.probe() && !book.proved(), "there is none");
        let mut lasted = Vec::new();
        for _ in 0..5 {
            let Verdict::Quarantine(Some(time)) = book.ended(&fault(), now) else { panic!() };
            lasted.push(time / 30);
            assert_eq!(book.ended(&fault(), now), Verdict::Follow, "the others");
            assert!(book.probe() && !book.probe());
            assert_eq!(book.circuit(), Circuit::HalfOpen);
        }
        assert_eq!(lasted, [1, 2, 4, 8, 8].map(|times| times * SECOND));
        assert!(book.proved());
        assert_eq!(book.circuit(), Circuit::Closed);
        assert_eq!(book.ended(&fault(), now), Verdict::Quarantine(Some(30 * SECOND)));
    }
}

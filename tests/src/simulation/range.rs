//! Many seeds, on all processors.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::fault::Faults;
use super::{Outcome, run};

/// One seed in so many is run twice.
const TWICE: u64 = 50;

/// What a range of seeds came to.
#[derive(Debug, Default)]
pub struct Summary {
    /// Seeds that were run.
    pub seeds: u64,
    /// Requests over all of them; those of second runs are not counted.
    pub requests: u64,
    /// The runs in which an invariant did not hold, by their seeds.
    pub broken: Vec<Outcome>,
    /// Different things that happened.
    pub traces: BTreeSet<u64>,
    /// The faults that have fired in any of them.
    pub fired: Faults,
}

impl Summary {
    fn add(&mut self, outcome: Outcome) {
        self.seeds += 1;
        self.requests += outcome.requests;
        self.traces.insert(outcome.trace);
        self.fired = self.fired.and(outcome.fired);
        if !outcome.violations.is_empty() {
            self.broken.push(outcome);
        }
    }

    fn merge(mut self, other: Self) -> Self {
        self.seeds += other.seeds;
        self.requests += other.requests;
        self.traces.extend(other.traces);
        self.fired = self.fired.and(other.fired);
        self.broken.extend(other.broken);
        self
    }
}

/// Runs the seeds on `threads` threads, with about so many requests each. `done` is told of each.
///
/// # Panics
/// If a thread of it does.
pub fn run_all(
    seeds: Range<u64>,
    requests: u32,
    threads: usize,
    done: impl Fn() + Sync,
) -> Summary {
    let next = AtomicU64::new(seeds.start);
    let summary = Mutex::new(Summary::default());
    let work = || {
        let mut own = Summary::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                break;
            }
            own.add(run_checked(seed, requests));
            done();
        }
        let mut all = summary.lock().expect("invariant: no thread panics with it");
        *all = std::mem::take(&mut *all).merge(own);
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let mut summary = summary.into_inner().expect("invariant: no thread panics with it");
    summary.broken.sort_by_key(|outcome| outcome.seed);
    summary
}

/// A run; of some seeds a second one, which has to be the same.
fn run_checked(seed: u64, requests: u32) -> Outcome {
    let mut outcome = run(seed, requests);
    if seed.is_multiple_of(TWICE) {
        let again = run(seed, requests);
        if again.trace != outcome.trace {
            outcome.violations.push("the same seed gave another trace".into());
        }
    }
    outcome
}

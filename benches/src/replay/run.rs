//! One run of a trace: single-threaded, in row order.

use super::error::ReplayError;
use super::policy::{Counters, Policy, Setup};
use crate::trace::{Op, Step, Trace};

/// What a run needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Every allocation had room.
    pub finished: bool,
    /// The most bytes mapped at once.
    pub peak_mapped: u64,
    /// What the policy did.
    pub counters: Counters,
    /// What it did after the first tenth of the steps.
    pub warm: Counters,
    /// What it did once as much had been live as ever is.
    pub grown: Counters,
}

/// The part of a trace's steps after which it counts as warmed up.
pub(super) const WARM_UP: usize = 10;

/// The step from which on a trace counts as warmed up.
pub(super) fn warm_from(trace: &Trace) -> usize {
    trace.steps.len() / WARM_UP
}

/// What is live and mapped after a step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Level {
    /// Bytes the trace holds.
    pub live: u64,
    /// Bytes the policy holds.
    pub mapped: u64,
}

/// Plays a trace to a new policy, to its end or to the first allocation without room. `watch` is
/// shown what holds after each step.
///
/// # Errors
/// If the policy cannot be set up, or its memory fails.
pub fn run<P: Policy>(
    trace: &Trace,
    setup: &Setup,
    mut watch: impl FnMut(&Step, Level),
) -> Result<Run, ReplayError> {
    let mut policy = P::new(setup)?;
    let (mut level, mut peak_mapped, mut finished) = (Level::default(), 0, true);
    let (mut cold, mut growing) = (Counters::default(), None);
    for (number, step) in trace.steps.iter().enumerate() {
        if number == warm_from(trace) {
            cold = policy.counters();
        }
        match step.op {
            Op::Allocate if !policy.allocate(step) => {
                finished = false;
                policy.failure().map_or(Ok(()), Err)?;
                break;
            }
            Op::Allocate => level.live += step.bytes,
            Op::Free => {
                policy.free(step);
                level.live -= step.bytes;
            }
        }
        level.mapped = policy.mapped();
        peak_mapped = peak_mapped.max(level.mapped);
        if level.live == trace.peak_live {
            growing.get_or_insert_with(|| policy.counters());
        }
        watch(step, level);
    }
    let counters = policy.counters();
    let (warm, grown) = (counters.since(cold), counters.since(growing.unwrap_or(counters)));
    Ok(Run { finished, peak_mapped, counters, warm, grown })
}

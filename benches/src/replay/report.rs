//! The figures of one trace.

use serde::Serialize;

use super::error::ReplayError;
use super::options::Backend;
use super::plot::Plot;
use super::policy::{Counters, Policy, Setup};
use super::run::{run, warm_from};
use super::search::{Range, least_capacity};
use super::time::ns_per_pair;
use crate::trace::{Op, Trace};

/// What a trace needed. In JSON, what was not reached is null.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The file, as it was named.
    pub trace: String,
    /// How many blocks it allocates.
    pub allocs: usize,
    /// The most bytes live at once.
    pub peak_live: u64,
    /// The most bytes mapped at once, without a limit.
    pub peak_mapped: Option<u64>,
    /// The same under a soft cap of 1.25 times the peak of live bytes.
    pub peak_mapped_capped: Option<u64>,
    /// The least capacity at which the trace finishes.
    pub min_capacity: Option<u64>,
    /// The same over the peak of live bytes.
    pub min_capacity_ratio: Option<f64>,
    /// Calls to the driver, under the soft cap.
    pub driver_calls: u64,
    /// Pages remapped, under the soft cap.
    pub remaps: u64,
    /// Waits of a stream for another, under the soft cap.
    pub stream_waits: u64,
    /// Nanoseconds for an allocation and its free, on one thread.
    pub ns_per_pair_1t: f64,
    /// The same on each of two threads.
    pub ns_per_pair_2t: f64,
    /// Allocations that needed a message, under the soft cap.
    pub messages: u64,
    /// The same after warm-up: after the first tenth of the steps.
    pub messages_warm: u64,
    /// The share of the allocations after warm-up that needed none, under the soft cap.
    pub no_message_warm: f64,
    /// Calls to the driver after warm-up, under the soft cap.
    pub driver_calls_warm: u64,
    /// Calls to the driver once as much had been live as ever is, under the soft cap.
    pub driver_calls_after_peak: u64,
    /// Allocations served from what a stream has at hand, under the soft cap.
    pub magazine_hits: u64,
    /// The same, as a share of all.
    pub hit_rate: f64,
}

impl Report {
    /// Plays the trace to a policy. `progress` is told what is being done; `plot` is drawn into.
    ///
    /// # Errors
    /// If the policy cannot be set up.
    pub fn new<P: Policy>(
        trace: &Trace,
        backend: Backend,
        plot: Option<&mut Plot>,
        progress: &dyn Fn(&str),
    ) -> Result<Self, ReplayError> {
        let setup = Setup::new(trace, backend);
        progress("without a limit");
        let free = run::<P>(trace, &setup, |_, _| {})?;
        progress("under the soft cap");
        let capped = under_soft_cap::<P>(trace, &setup, plot)?;
        let least = least::<P>(trace, &setup, progress)?;
        progress("against the clock");
        let [ns_per_pair_1t, ns_per_pair_2t] = ns_per_pair::<P>(trace, &setup)?;
        let Counters { driver_calls, remaps, stream_waits, messages, hits } = capped.counters;
        let warm = trace.steps[warm_from(trace)..].iter();
        let warm_allocs = warm.filter(|step| step.op == Op::Allocate).count();
        Ok(Self {
            trace: trace.name.clone(),
            allocs: trace.ids,
            peak_live: trace.peak_live,
            peak_mapped: free.finished.then_some(free.peak_mapped),
            peak_mapped_capped: capped.finished.then_some(capped.peak_mapped),
            min_capacity: least,
            min_capacity_ratio: least.map(|bytes| bytes as f64 / trace.peak_live.max(1) as f64),
            driver_calls,
            remaps,
            stream_waits,
            ns_per_pair_1t,
            ns_per_pair_2t,
            messages,
            messages_warm: capped.warm.messages,
            no_message_warm: 1.0 - share(capped.warm.messages, warm_allocs),
            driver_calls_warm: capped.warm.driver_calls,
            driver_calls_after_peak: capped.grown.driver_calls,
            magazine_hits: hits,
            hit_rate: share(hits, trace.ids),
        })
    }
}

fn share(part: u64, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// 1.25 times the peak, in whole pages, but never less than the peak in whole pages.
pub(super) fn soft_cap(trace: &Trace) -> u64 {
    let pages = (trace.peak_live + trace.peak_live / 4) / trace.page;
    pages.max(trace.peak_live.div_ceil(trace.page)) * trace.page
}

fn under_soft_cap<P: Policy>(
    trace: &Trace,
    setup: &Setup,
    plot: Option<&mut Plot>,
) -> Result<super::Run, ReplayError> {
    let setup = Setup { soft: Some(soft_cap(trace)), ..*setup };
    match plot {
        Some(plot) => run::<P>(trace, &setup, |step, level| plot.add(step.t_us, level)),
        None => run::<P>(trace, &setup, |_, _| {}),
    }
}

fn least<P: Policy>(
    trace: &Trace,
    setup: &Setup,
    progress: &dyn Fn(&str),
) -> Result<Option<u64>, ReplayError> {
    let peak = trace.peak_live;
    let range = Range { floor: peak, start: peak + peak / 2, page: trace.page };
    least_capacity(range, |capacity| {
        let ratio = capacity as f64 / peak.max(1) as f64;
        progress(&format!("with a capacity of {ratio:.3} times the peak"));
        let setup = Setup { capacity: Some(capacity), ..*setup };
        Ok(run::<P>(trace, &setup, |_, _| {})?.finished)
    })
}

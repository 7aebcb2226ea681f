//! The steps of a call of a kernel, by what was noted of it.
//!
//! | step | from | to |
//! |---|---|---|
//! | `read` | the request's head was there | its body has been read into tensors |
//! | `queue` | it was given to the kernel | an instance has taken it |
//! | `stage` | | what it declares is reserved, inputs are on their way: the first work is given to the stream |
//! | `launch` | | the last work has been given to the stream |
//! | `collect` | | the kernel's code has its results |
//! | `write` | the result is there | the answer is written |
//!
//! Where a kernel gives nothing to its stream, `launch` is its code, and there is no `collect`. What has not come to
//! its end when the request is over ends with it; what has not begun has no span.

use std::sync::Arc;

use rustkernel_core::kernel::{Instant, Timing};

/// A call, as far as it has come.
#[derive(Debug)]
pub(super) struct Called {
    /// When the request's head was there.
    pub(super) since: Instant,
    /// When it was given to the kernel.
    pub(super) asked: Instant,
    pub(super) timing: Arc<Timing>,
    /// When writing the answer began and had ended.
    pub(super) written: Option<(Instant, Instant)>,
}

/// A step: its name, its beginning, its end.
pub(super) type Step = (&'static str, Instant, Instant);

impl Called {
    /// The steps of a request that is over.
    pub(super) fn steps(&self, over: Instant) -> Vec<Step> {
        // (Code whose request was given up goes on noting; what comes later does not count.)
        let by = |at: Option<Instant>| at.filter(|at| *at <= over);
        let (began, ended) = (by(self.timing.began()), by(self.timing.ended()));
        let taken = by(self.timing.taken());
        let work = self.timing.submitted().map(|(first, last)| (first, last.min(over)));
        let work = work.filter(|(first, _)| *first <= over);
        let launching = work.map(|(first, _)| first).or(began);
        let launched = work.map(|(_, last)| last).or(ended);
        let mut steps = vec![("read", self.since, self.asked)];
        steps.push(("queue", self.asked, taken.unwrap_or(over)));
        steps.extend(taken.map(|taken| ("stage", taken, launching.unwrap_or(over))));
        steps.extend(launching.map(|launching| ("launch", launching, launched.unwrap_or(over))));
        steps.extend(work.map(|(_, last)| ("collect", last, ended.unwrap_or(over))));
        steps.extend(self.written.map(|(from, to)| ("write", from, to)));
        steps
    }
}

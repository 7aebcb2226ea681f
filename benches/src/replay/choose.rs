//! Which policies there are and what they run on: the one place to add one.

use super::error::ReplayError;
use super::options::{Backend, PolicyName};
use super::plot::Plot;
use super::report::Report;
use super::{Arena, BestFit, RuntimePool, SizeClasses, pool};
use crate::trace::Trace;

/// What the command line asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Choice {
    pub(super) policy: PolicyName,
    pub(super) backend: Backend,
}

/// The figures of a trace under the policy that was asked for.
pub(super) fn report(
    choice: Choice,
    trace: &Trace,
    plot: Option<&mut Plot>,
    progress: &dyn Fn(&str),
) -> Result<Report, ReplayError> {
    let Choice { policy, backend } = choice;
    let unsupported = |reason| Err(ReplayError::Unsupported { policy, backend, reason });
    match (policy, backend) {
        (PolicyName::Arena, Backend::Offsets) => {
            Report::new::<Arena>(trace, backend, plot, progress)
        }
        (PolicyName::BestFit, Backend::Offsets) => {
            Report::new::<BestFit>(trace, backend, plot, progress)
        }
        (PolicyName::SizeClasses, Backend::Offsets) => {
            Report::new::<SizeClasses>(trace, backend, plot, progress)
        }
        (PolicyName::Arena, Backend::Host | Backend::Cuda(_)) => {
            pool::check_size(trace, backend)?;
            Report::new::<RuntimePool>(trace, backend, plot, progress)
        }
        (_, Backend::Host | Backend::Cuda(_)) => {
            unsupported("it only computes positions (--backend offsets)")
        }
    }
}

//! `rustkernel call`: one kernel, run once on files.
//!
//! | step | module | fails with |
//! |---|---|---|
//! | what is meant: names, values, places to write | [`plan`] | 64, 73 |
//! | is the device there | [`super::device`] | 69 |
//! | the inputs: headers first, then all shapes, then data | [`plan`] | 65, 66 |
//! | the call, in a runtime of its own | [`run`](mod@run) | 65, 69, 70, 75 |
//! | the outputs: all written, then all put in place | [`plan`] | 73 |
//! | what ran where, and what came out | [`report`] | 73 |

pub(super) mod failure;
mod plan;
mod report;
pub(super) mod run;

use rustkernel_core::kernel::AnySpec;
use rustkernel_core::message::Signature;

use self::plan::Plan;
use self::report::Report;
use self::run::Caller;
use super::device;
use crate::args::{CallArgs, OutputFormat, Talk};
use crate::catalogue;
use crate::exit::Failure;
use crate::output;
use crate::progress::Progress;

/// `rustkernel call`.
pub(super) fn run(args: &CallArgs, talk: Talk) -> Result<(), Failure> {
    let (spec, signature) = catalogue::find(&args.kernel)?;
    call(spec, &signature, args, talk)
}

fn call(
    spec: Box<dyn AnySpec>,
    signature: &Signature,
    args: &CallArgs,
    talk: Talk,
) -> Result<(), Failure> {
    let plan = Plan::new(args, signature)?;
    device::check(args.device)?;
    // Log lines and a spinner would write over each other.
    let progress = Progress::start(output::is_watched() && !talk.quiet && talk.verbose == 0);
    progress.say("reading");
    let request = plan.read()?;
    progress.say(format!("running {}", signature.name));
    let outcome = Caller { signature, args, talk }.run(spec, request)?;
    progress.say("writing");
    plan.write(&outcome.fields)?;
    drop(progress);
    let report = Report::new(signature, &plan, &outcome);
    match args.output_format {
        format @ (OutputFormat::Json | OutputFormat::Yaml) => {
            output::print_value(format, &report.json())
        }
        OutputFormat::Table => {
            output::print(report.values())?;
            if !talk.quiet {
                output::note(report.summary());
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;

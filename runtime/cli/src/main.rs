//! `rustkernel`: compute kernels from the command line.
//!
//! | module | role |
//! |---|---|
//! | `args` | the command line: what can be said, and how it is explained |
//! | [`commands`] | what each command does |
//! | `catalogue` | the built-in kernels by name, and how they are described |
//! | [`files`] | inputs and outputs: `.npy` files and pictures to and from tensors |
//! | `output` | everything that is printed |
//! | `diagnostics` | kernels for trying out a deployment |
//! | `exit` | the exit codes, and failures that say what to do about them |
#![forbid(unsafe_code)]

mod args;
mod catalogue;
mod commands;
mod diagnostics;
mod exit;
mod files;
mod output;
mod progress;

use std::panic::{self, PanicHookInfo};
use std::process::ExitCode;

use clap::Parser;

use exit::{Exit, Failure};

fn main() -> ExitCode {
    panic::set_hook(Box::new(report_bug));
    let exit = panic::catch_unwind(run).unwrap_or(Exit::Software);
    output::flush();
    ExitCode::from(exit.code())
}

fn run() -> Exit {
    let ended = match args::Cli::try_parse() {
        Ok(cli) => commands::run(cli),
        Err(error) => return output::usage(&error),
    };
    match ended {
        Ok(()) => Exit::Success,
        Err(failure) => {
            output::failure(&failure);
            failure.exit
        }
    }
}

/// A panic here is a mistake of ours, not of whoever runs the program: said so, in a line.
/// (Panics of kernels are failures of calls, and do not come here.)
fn report_bug(info: &PanicHookInfo<'_>) {
    let what = info.payload_as_str().unwrap_or("no message");
    let place = info.location().map(|place| format!(" at {place}")).unwrap_or_default();
    let failure = Failure::new(Exit::Software, format!("internal error: {what}{place}"));
    output::failure(&failure.hint("this is a bug in rustkernel; please report it"));
}

//! The program: file after file, then the table.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::choose::{Choice, report};
use super::error::ReplayError;
use super::options::Options;
use super::plot::Plot;
use super::report::Report;
use super::table::table;
use crate::trace::Trace;
use crate::workloads::workloads;

/// Runs the program. A file that is refused is told on standard error and does not keep the others
/// from being replayed; the exit code says that there was one.
#[allow(clippy::print_stderr, reason = "errors of a program go there")]
pub fn program(options: &Options) -> ExitCode {
    let traces = traces(options);
    if options.plot.is_some() && traces.len() > 1 {
        eprintln!("error: --plot draws one trace, and {} were given", traces.len());
        return ExitCode::from(2);
    }
    let bar = progress_bar(traces.len());
    let (mut reports, mut failed) = (Vec::new(), false);
    for trace in traces {
        match replay(options, trace, &bar).and_then(|report| print_line(options, report)) {
            Ok(report) => reports.push(report),
            Err(error) => {
                bar.suspend(|| eprintln!("error: {error}"));
                failed = true;
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    if !options.json && !reports.is_empty() {
        failed |= writeln!(io::stdout(), "{}", table(&reports)).is_err();
    }
    ExitCode::from(u8::from(failed))
}

/// Where a trace comes from.
enum Source<'a> {
    File(&'a Path),
    Made(Trace),
}

fn traces(options: &Options) -> Vec<Source<'_>> {
    let files = options.files.iter().map(|file| Source::File(file));
    let made = options.made.map(workloads).into_iter().flatten();
    files.chain(made.map(Source::Made)).collect()
}

fn replay(options: &Options, source: Source<'_>, bar: &ProgressBar) -> Result<Report, ReplayError> {
    let trace = match source {
        Source::File(file) => Trace::read(file)?,
        Source::Made(trace) => trace,
    };
    let name = Path::new(&trace.name).file_name().unwrap_or_default().to_string_lossy();
    let progress = |what: &str| bar.set_message(format!("{name}: {what}"));
    let mut plot = options.plot.as_ref().map(|_| Plot::new(&trace));
    let choice = Choice { policy: options.policy, backend: options.backend };
    let report = report(choice, &trace, plot.as_mut(), &progress)?;
    if let (Some(plot), Some(file)) = (plot, &options.plot) {
        plot.write(file)?;
    }
    Ok(report)
}

/// With `--json` a report is printed when it is there: the next trace may take long.
fn print_line(options: &Options, report: Report) -> Result<Report, ReplayError> {
    if options.json {
        let line = serde_json::to_string(&report).map_err(io::Error::from)?;
        writeln!(io::stdout(), "{line}")?;
    }
    Ok(report)
}

/// (On a terminal only: indicatif draws to no other standard error.)
fn progress_bar(files: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {pos}/{len} {wide_msg}");
    let bar = ProgressBar::new(files as u64);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

//! Simulated runs of the runtime with random faults, seed by seed.
//!
//! ```sh
//! cargo run --release -p rustkernel-tests --bin simulate -- --seeds 0..10000
//! ```
//!
//! Says which invariants did not hold for which seed, and how to run that one again. Ends with a line of
//! JSON; the exit code is 1 if anything did not hold.
#![forbid(unsafe_code)]

use std::num::ParseIntError;
use std::ops::Range;
use std::process::ExitCode;
use std::thread::available_parallelism;

use clap::Parser;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rustkernel_actors::clock;
use rustkernel_tests::simulation::range::{Summary, run_all};
use serde_json::json;

/// Seeds that broke that are told in full.
const MOST_TOLD: usize = 10;

/// Runs simulations of the runtime with random faults, and checks what always has to hold
#[derive(Parser)]
#[command(name = "simulate")]
struct Args {
    /// The seeds, without the last one
    #[arg(long, value_name = "A..B", value_parser = seeds)]
    seeds: Range<u64>,
    /// Requests of each seed, about
    #[arg(long, value_name = "N", default_value_t = 1000)]
    requests: u32,
    /// Prints nothing but JSON: a line for each seed that broke, and the last line
    #[arg(long)]
    json: bool,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let (first, end) = text.split_once("..").ok_or("expected two numbers, as in 0..1000")?;
    let number = |text: &str| text.parse().map_err(|error: ParseIntError| error.to_string());
    let seeds = number(first)?..number(end)?;
    if seeds.is_empty() { Err("there is no seed in that range".into()) } else { Ok(seeds) }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let threads = available_parallelism().map_or(1, usize::from);
    let bar = progress(&args);
    let begin = clock::now();
    let summary = run_all(args.seeds.clone(), args.requests, threads, || bar.inc(1));
    let wall = begin.elapsed();
    bar.finish_and_clear();
    summary.broken.iter().take(MOST_TOLD).for_each(|outcome| match args.json {
        true => println!("{}", json!({ "seed": outcome.seed, "violations": outcome.violations })),
        false => println!("seed {}:\n  {}", outcome.seed, outcome.violations.join("\n  ")),
    });
    tell_first(&summary, args.requests);
    let last = json!({
        "seeds": summary.seeds,
        "requests": summary.requests,
        "violations": summary.broken.len(),
        "distinct_traces": summary.traces.len(),
        "wall_s": (wall.as_secs_f64() * 1000.0).round() / 1000.0,
    });
    println!("{last}");
    if summary.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// How to run the first seed that broke again.
fn tell_first(summary: &Summary, requests: u32) {
    if let Some(first) = summary.broken.first() {
        let (seed, next) = (first.seed, first.seed + 1);
        eprintln!(
            "error: seed {seed} broke; again:\n  cargo run --release -p rustkernel-tests --bin simulate \
             -- --seeds {seed}..{next} --requests {requests}"
        );
    }
}

/// Shown on a terminal only.
fn progress(args: &Args) -> ProgressBar {
    let target = match args.json {
        true => ProgressDrawTarget::hidden(),
        false => ProgressDrawTarget::stderr(),
    };
    let bar = ProgressBar::with_draw_target(Some(args.seeds.end - args.seeds.start), target);
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} seeds, {eta} left");
    bar.with_style(style.expect("invariant: the template is sound"))
}

//! A service under a steady load with faults, for as long as it is told.
//!
//! ```sh
//! cargo run --release -p rustkernel-tests --bin soak -- --minutes 10
//! ```
//!
//! Open loop: latencies count from the time at which a request was to be sent. Ends with 1 if an answer was wrong or
//! missing, if the books do not balance, or if memory, threads or descriptors of the service have grown.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a program's output")]

use std::env;
use std::error::Error;
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use rustix::process::{Pid, Signal, kill_process};
use rustkernel_tests::soak::{Load, Sample, Seen, Verdict, Watch, run, service};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// Loads a service with faults and watches whether it grows
#[derive(Parser)]
#[command(name = "soak")]
struct Args {
    /// For how long
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// Requests a second
    #[arg(long, default_value_t = 2000)]
    rate: u64,
    /// Connections
    #[arg(long, default_value_t = 64)]
    connections: u64,
    /// Of the requests' random order
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
    /// (Be the service, with its files in that folder.)
    #[arg(long, hide = true)]
    serve: Option<PathBuf>,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let args = Args::parse();
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match &args.serve {
        Some(folder) => {
            executor.block_on(service::serve(folder))?;
            Ok(ExitCode::SUCCESS)
        }
        None => executor.block_on(soak(&args)),
    }
}

/// The service in a process of its own.
struct Served {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Served {
    fn start(folder: &std::path::Path) -> Result<Self, Box<dyn Error>> {
        let mut process = Command::new(env::current_exe()?)
            .arg("--serve")
            .arg(folder)
            .env("RUST_BACKTRACE", "0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = process.stdout.take().ok_or("no output")?;
        Ok(Self { process, lines: BufReader::new(stdout).lines() })
    }

    async fn line(&mut self) -> Result<String, Box<dyn Error>> {
        Ok(self.lines.next_line().await?.ok_or("the service has ended")?)
    }

    fn id(&self) -> Result<u32, Box<dyn Error>> {
        Ok(self.process.id().ok_or("the service has ended")?)
    }

    /// Has it drain; what it says then.
    async fn end(mut self) -> Result<Value, Box<dyn Error>> {
        let id = Pid::from_raw(i32::try_from(self.id()?)?).ok_or("no process")?;
        kill_process(id, Signal::TERM)?;
        let report = serde_json::from_str(&self.line().await?)?;
        let status = self.process.wait().await?;
        if status.success() {
            Ok(report)
        } else {
            Err(format!("the service ended with {status}").into())
        }
    }
}

async fn soak(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let mut served = Served::start(folder.path())?;
    let address = served.line().await?.parse()?;
    let time = Duration::try_from_secs_f64(args.minutes * 60.0)?;
    ready(address).await?;
    let load =
        Load { address, rate: args.rate, connections: args.connections, time, seed: args.seed };
    let (bar, mut samples) = (progress(args, time), Vec::new());
    let watch = Watch::new(served.id()?);
    let seen = tokio::select! {
        seen = run(load) => seen,
        () = watch.look(|sample| { samples.push(sample); bar.set_position(samples.len() as u64 / 2) }) => {
            return Err("the watch has ended".into());
        }
    };
    bar.finish_and_clear();
    let report = served.end().await?;
    let verdict = Verdict::of(&seen, &report, &samples);
    match args.json {
        true => println!("{}", machine(args, &seen, &report, &verdict)),
        false => people(&seen, &report, &verdict),
    }
    verdict.broken.iter().for_each(|what| eprintln!("error: {what}"));
    Ok(if verdict.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Waits until its kernels have started.
async fn ready(address: std::net::SocketAddr) -> Result<(), Box<dyn Error>> {
    let load =
        Load { address, rate: 100, connections: 1, time: Duration::from_millis(200), seed: 0 };
    for _ in 0..100 {
        if run(load).await.wrong.is_empty() {
            return Ok(());
        }
    }
    Err("the service does not get ready".into())
}

fn progress(args: &Args, time: Duration) -> ProgressBar {
    if args.json {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{elapsed} [{bar:40}] {pos}/{len} s {msg}");
    let bar = ProgressBar::new(time.as_secs());
    bar.set_message(format!("{} requests a second", args.rate));
    bar.with_style(style.expect("invariant: a proper template"))
}

const QUANTILES: [f64; 5] = [0.5, 0.9, 0.99, 0.999, 1.0];

fn machine(args: &Args, seen: &Seen, report: &Value, verdict: &Verdict) -> Value {
    let answers = seen.answers.iter().map(
        |((kind, status), count)| json!({ "kind": kind.name(), "status": status, "count": count }),
    );
    let quantile =
        |share: &f64| json!({ "share": share, "us": seen.latency.value_at_quantile(*share) });
    json!({
        "minutes": args.minutes, "rate": args.rate, "connections": args.connections, "seed": args.seed,
        "answers": answers.collect::<Value>(),
        "latency": QUANTILES.iter().map(quantile).collect::<Value>(),
        "service": report, "verdict": verdict,
    })
}

fn people(seen: &Seen, report: &Value, verdict: &Verdict) {
    println!("| request | status | count |\n|---|--:|--:|");
    for ((kind, status), count) in &seen.answers {
        let status = if *status == 0 { "–".to_owned() } else { status.to_string() };
        println!("| {} | {status} | {count} |", kind.name());
    }
    let quantile = |share: &f64| {
        format!("{}: {:.1} ms", share * 100.0, seen.latency.value_at_quantile(*share) as f64 / 1e3)
    };
    let quantiles: Vec<String> = QUANTILES.iter().map(quantile).collect();
    println!(
        "\nJSON and binary, from when they were to be sent, by percentile: {}",
        quantiles.join(", ")
    );
    println!("The service: {report}");
    let told = |sample: Option<Sample>| {
        sample.map_or_else(String::new, |Sample { resident_kib, threads, descriptors }| {
            format!(
                "{:.1} MiB, {threads} threads, {descriptors} descriptors",
                resident_kib / 1024.0
            )
        })
    };
    println!(
        "In the second quarter of the time: {}\nIn the last:                       {}",
        told(verdict.before),
        told(verdict.after)
    );
}

//! What a request over HTTP costs: the service beside a bare handler that does the same, in one run.
//!
//! `cargo build --release && cargo bench -p rustkernel-benches --bench serve [-- --seconds 3 --rounds 3 --elements 1024 --json]`
//!
//! | server | what it is |
//! |---|---|
//! | bare handler | actix-web, parsing and computing in the handler, with nothing around it ([`serve_bare`](../src/bin/serve_bare.rs)) |
//! | service | `rustkernel serve` |
//! | all on | the same with `--everything`: callers have keys, an audit log is written, metrics and traces are on; once with its log on the disk of the temporary folder, once in `/dev/shm` |
//! | others | any server of the Open Inference Protocol with a model `saxpy`, by `--peer NAME=URL` |
//!
//! The kernel is `saxpy` of 1024 FP32 everywhere, or of as many as asked for; each answer's length is compared with the first. Load: one thread,
//! connections that are kept, each sending its next request when it has its answer. Client and server share the machine, and
//! servers take turns within each round. Shown are medians of the rounds; CPU is the server's, per request.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark reads the real clock, prints its tables, and may fail"
)]

mod collector;
mod load;
mod server;

use std::time::Duration;

use clap::Parser;
use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};
use serde::Serialize;

use load::{Encoding, Load};
use server::Server;

const CONNECTIONS: [usize; 3] = [1, 16, 64];

#[derive(Parser)]
struct Options {
    /// How long each server is loaded at a time
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// How often each has its turn
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How many elements each tensor has
    #[arg(long, default_value_t = load::FEW)]
    elements: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Measure the service also with keys, an audit log, metrics and traces
    #[arg(long)]
    everything: bool,
    /// A further server, as in triton=http://127.0.0.1:8000
    #[arg(long, value_name = "NAME=URL")]
    peer: Vec<String>,
    /// (What `cargo bench` says.)
    #[arg(long, hide = true)]
    bench: bool,
}

/// What was measured of one server, under one load.
#[derive(Clone, Serialize)]
struct Row {
    server: String,
    encoding: &'static str,
    connections: usize,
    requests_per_s: f64,
    p50_us: f64,
    p99_us: f64,
    /// Of the server, per request; none of one that was started elsewhere.
    cpu_us: Option<f64>,
    /// Requests per second over those of the bare handler.
    ratio: f64,
}

fn main() {
    let options = Options::parse();
    let mut servers = vec![Server::bare(), Server::service()];
    if options.everything {
        let collector = collector::start();
        servers.push(Server::everything(
            "all on, log on disk",
            tempfile::tempdir().unwrap(),
            collector,
        ));
        let memory = tempfile::tempdir_in("/dev/shm").unwrap();
        servers.push(Server::everything("all on, log in memory", memory, collector));
    }
    servers.extend(options.peer.iter().map(|peer| Server::peer(peer)));
    let mut rows: Vec<Row> = Vec::new();
    for encoding in [Encoding::Binary, Encoding::Json] {
        // (MLServer knows no binary tensors.)
        let servers: Vec<&Server> =
            servers.iter().filter(|server| server.answers(encoding)).collect();
        for connections in CONNECTIONS {
            let (elements, time) = (options.elements, Duration::from_secs_f64(options.seconds));
            let load = Load { encoding, elements, connections, time };
            let bare = rows.len();
            let measured: Vec<Vec<Row>> = (0..options.rounds)
                .map(|_| servers.iter().map(|server| turn(server, load)).collect())
                .collect();
            for index in 0..servers.len() {
                let rounds: Vec<Row> = measured.iter().map(|round| round[index].clone()).collect();
                rows.push(median(rounds));
            }
            let base = rows[bare].requests_per_s;
            rows[bare..].iter_mut().for_each(|row| row.ratio = row.requests_per_s / base);
        }
    }
    print(&rows, &servers, options.json);
}

/// One server under one load, once.
fn turn(server: &Server, load: Load) -> Row {
    server.load(Load { time: Duration::from_millis(200), ..load });
    let before = server.cpu();
    let result = server.load(load);
    let cpu =
        server.cpu().zip(before).map(|(after, before)| (after - before) / result.count as f64);
    Row {
        server: server.name().into(),
        encoding: load.encoding.name(),
        connections: load.connections,
        requests_per_s: result.count as f64 / load.time.as_secs_f64(),
        p50_us: result.quantile(0.5),
        p99_us: result.quantile(0.99),
        cpu_us: cpu.map(|cpu| cpu * 1e6),
        ratio: 1.0,
    }
}

/// Column by column.
fn median(rounds: Vec<Row>) -> Row {
    let of = |value: fn(&Row) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Row {
        requests_per_s: of(|row| row.requests_per_s),
        p50_us: of(|row| row.p50_us),
        p99_us: of(|row| row.p99_us),
        cpu_us: rounds[0].cpu_us.map(|_| of(|row| row.cpu_us.unwrap_or_default())),
        ..rounds[0].clone()
    }
}

fn print(rows: &[Row], servers: &[Server], json: bool) {
    if json {
        println!("{}", serde_json::to_string_pretty(rows).unwrap());
        return;
    }
    let header =
        ["body", "connections", "server", "requests/s", "ratio", "p50, us", "p99, us", "CPU, us"];
    let cells = rows.iter().map(|row| {
        let cpu = row.cpu_us.map_or_else(String::new, |cpu| format!("{cpu:.1}"));
        [
            row.encoding.to_owned(),
            row.connections.to_string(),
            row.server.clone(),
            format!("{:.0}", row.requests_per_s),
            format!("{:.2}", row.ratio),
            format!("{:.0}", row.p50_us),
            format!("{:.0}", row.p99_us),
            cpu,
        ]
    });
    table(&header, cells);
    let started = servers.iter().filter_map(|server| {
        let (name, first) = (server.name(), server.first_answer()?);
        let [idle, loaded] =
            [server.idle_mib()?, server.memory_mib()?].map(|mib| format!("{mib:.1}"));
        Some([name.to_owned(), format!("{:.0}", first.as_secs_f64() * 1e3), idle, loaded])
    });
    table(
        &["server", "start to first answer, ms", "memory when idle, MiB", "after the load, MiB"],
        started,
    );
}

fn table<const N: usize>(header: &[&str; N], rows: impl Iterator<Item = [String; N]>) {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    table.set_header(header.iter().copied());
    table.add_rows(rows);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!("\n{table}");
}

//! A process under load, for tests that watch it from outside.
//!
//! Three kernels are called at a steady rate, open loop: `flaky`, of whose requests some panic and some hang;
//! `blocking`, of whose requests some hold their thread for good; and `steady`, which does nothing wrong and is
//! what the others must not disturb. The process ends when the requests have been made, or by `SIGTERM`;
//! then it drains and prints what its callers counted and what the runtime did, as one line of JSON.
#![allow(clippy::print_stdout, reason = "a program's output")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rustkernel_core::kernel::Instant;
use rustkernel_core::observability::{LogConfig, LogFormat, LogLevel};
use rustkernel_core::prelude::*;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

/// Of a thousand requests of `flaky`: that many panic, and that many hang.
const PANICS: u32 = 10;
const HANGS: u32 = 5;
/// Of a thousand requests of `blocking`, which gets a hundredth of all.
const BLOCKS: u32 = 50;

const DEADLINE: Duration = Duration::from_millis(250);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Do {
    Work,
    Panic,
    Hang,
    Block,
}

struct Worker;

impl Kernel for Worker {
    type Request = Do;
    type Response = ();

    async fn execute(&mut self, request: Do, _: &mut KernelContext) -> KernelResult {
        match request {
            Do::Work => Ok(()),
            Do::Panic => panic!("as asked"),
            Do::Hang => std::future::pending().await,
            Do::Block => loop {
                std::thread::park();
            },
        }
    }
}

/// What callers counted.
#[derive(Default)]
struct Ledger {
    sent: AtomicU64,
    completed: AtomicU64,
    panicked: AtomicU64,
    cancelled: AtomicU64,
    rejected: AtomicU64,
    other: AtomicU64,
}

impl Ledger {
    fn count(&self, answer: &Result<(), CallError<Do>>) {
        let counter = match answer {
            Ok(()) => &self.completed,
            Err(CallError::Failed(KernelError::Panicked(_))) => &self.panicked,
            Err(CallError::Cancelled(_)) => &self.cancelled,
            Err(CallError::Rejected { .. }) => &self.rejected,
            Err(_) => &self.other,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

fn draw(random: &mut ChaCha8Rng, of_thousand: &[(u32, Do)]) -> Do {
    let mut drawn = random.random_range(0..1000);
    for (share, request) in of_thousand {
        if drawn < *share {
            return *request;
        }
        drawn -= share;
    }
    Do::Work
}

fn argument(name: &str, default: u64) -> u64 {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1).map_or(default, |value| value.parse().expect("a number"))
}

fn policy() -> RestartPolicy {
    RestartPolicy::permanent()
        .unlimited()
        .backoff(Backoff::none())
        .hang_grace(Duration::from_millis(100))
}

fn build() -> Runtime {
    RuntimeBuilder::new()
        .with_gpu_enabled(false)
        .with_log(LogConfig { level: LogLevel::Off, format: LogFormat::Json })
        .with_shutdown_timeout(Duration::from_secs(2))
        .with_kernel(KernelSpec::new("steady", || Worker))
        .with_kernel(KernelSpec::new("flaky", || Worker).instances(8).restart(policy()))
        .with_kernel(KernelSpec::new("blocking", || Worker).instances(2).restart(policy()))
        .build()
        .expect("a runtime")
}

#[tokio::main]
async fn main() {
    let (requests, rate) = (argument("--requests", 5_000), argument("--rate", 2_000));
    let mut random = ChaCha8Rng::seed_from_u64(argument("--seed", 1));
    let runtime = build();
    runtime.start().await.expect("it starts");
    println!("ready");
    let kernel = |name| runtime.kernel::<Worker>(name).expect("a kernel");
    let (steady, flaky, blocking) = (kernel("steady"), kernel("flaky"), kernel("blocking"));
    let mut terminate = signal(SignalKind::terminate()).expect("a signal handler");
    let (ledger, mut calls) = (Arc::<Ledger>::default(), JoinSet::new());
    let times = Arc::new(Mutex::new(Histogram::<u64>::new(3).expect("a histogram")));
    let start = Instant::now();
    for number in 0..requests {
        let intended = start + Duration::from_micros(1_000_000 * number / rate);
        tokio::select! {
            () = tokio::time::sleep_until(intended) => {}
            _ = terminate.recv() => break,
        }
        let (kernel, request) = match number % 100 {
            0 => (&blocking, draw(&mut random, &[(BLOCKS, Do::Block)])),
            n if n % 10 == 1 => (&steady, Do::Work),
            _ => (&flaky, draw(&mut random, &[(PANICS, Do::Panic), (HANGS, Do::Hang)])),
        };
        let of_steady = kernel.name() == "steady";
        let (kernel, ledger, times) = (kernel.clone(), Arc::clone(&ledger), Arc::clone(&times));
        ledger.sent.fetch_add(1, Ordering::Relaxed);
        calls.spawn(async move {
            let answer = kernel.call_within(request, DEADLINE).await;
            ledger.count(&answer);
            if of_steady {
                let micros = intended.elapsed().as_micros().try_into().unwrap_or(u64::MAX);
                times.lock().await.record(micros.max(1)).expect("it has room");
            }
        });
        while calls.try_join_next().is_some() {}
    }
    // (A second signal while it drains changes nothing.)
    let report = runtime.shutdown().await.expect("a report");
    while calls.join_next().await.is_some() {}
    let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let stats: Vec<_> = [&steady, &flaky, &blocking].map(KernelRef::stats).into();
    let times = times.lock().await;
    let line = json!({
        "sent": get(&ledger.sent),
        "completed": get(&ledger.completed),
        "panicked": get(&ledger.panicked),
        "cancelled": get(&ledger.cancelled),
        "rejected": get(&ledger.rejected),
        "other": get(&ledger.other),
        "runtime": {
            "submitted": report.ledger.submitted,
            "completed": report.ledger.completed,
            "failed": report.ledger.failed,
            "rejected": report.ledger.rejected,
            "cancelled": report.ledger.cancelled,
        },
        "panics": stats.iter().map(|kernel| kernel.panics).sum::<u64>(),
        "hung": stats.iter().map(|kernel| kernel.hung).sum::<u64>(),
        "abandoned": report.abandoned_threads,
        "leaked_bytes": report.leaked_bytes,
        "steady_failed": stats[0].ledger.failed + stats[0].ledger.cancelled,
        "steady_p50_us": times.value_at_quantile(0.5),
        "steady_p99_us": times.value_at_quantile(0.99),
    });
    println!("{line}");
}

//! What kernels promise beside a quick restart: answers in time while one hangs, and an end of a drain.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rustkernel_core::prelude::*;

use crate::kernels::builder;
use crate::measure::{Quantiles, elsewhere, nanos};
use crate::tables::ReachRow;

/// Calls that hang, how long each does, and when its caller is answered.
const HANGS: usize = 20;
const HANGS_FOR: Duration = Duration::from_millis(300);
const DEADLINE: Duration = Duration::from_millis(50);
/// Kernels that are stuck in a drain, and how long it waits for them.
const STUCK: [&str; 4] = ["stuck-1", "stuck-2", "stuck-3", "stuck-4"];
const STUCK_FOR: Duration = Duration::from_secs(4);
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// Requests that are open at a kernel that is flooded, and how long it is.
const FLOOD: usize = 10_000;
const FLOODED_FOR: Duration = Duration::from_secs(2);

/// Holds its thread for as long as it is asked to.
struct Sleeper;

impl Kernel for Sleeper {
    type Request = Duration;
    type Response = ();

    async fn execute(&mut self, time: Duration, _: &mut KernelContext) -> KernelResult {
        if !time.is_zero() {
            std::thread::sleep(time);
        }
        Ok(())
    }
}

fn spec(name: &str) -> KernelSpec<Sleeper> {
    let policy = RestartPolicy::permanent().unlimited().backoff(Backoff::none());
    KernelSpec::new(name, || Sleeper).restart(policy.hang_grace(DEADLINE))
}

pub(crate) fn rows() -> Vec<ReachRow> {
    let client = elsewhere();
    let mut rows = client.block_on(hangs());
    rows.push(client.block_on(flood()));
    rows.push(client.block_on(drain()));
    rows
}

/// The p99 of calls of a kernel that does nothing, for as long as told.
async fn neighbour_p99(quiet: &KernelRef<Sleeper>, goes_on: impl Fn(Instant) -> bool) -> f64 {
    let (mut taken, begin) = (Vec::new(), Instant::now());
    while goes_on(begin) {
        let start = Instant::now();
        quiet.call(Duration::ZERO).await.unwrap();
        taken.push(nanos(start));
    }
    Quantiles::of(taken).p99
}

async fn hangs() -> Vec<ReachRow> {
    let runtime = builder().with_kernel(spec("hangs")).with_kernel(spec("quiet")).build().unwrap();
    runtime.start().await.unwrap();
    let (hangs, quiet) = (runtime.kernel("hangs").unwrap(), runtime.kernel("quiet").unwrap());
    let before = neighbour_p99(&quiet, |begin| begin.elapsed() < HANGS_FOR * 4).await;
    static DONE: AtomicBool = AtomicBool::new(false);
    let hanging = tokio::spawn(async move {
        let late = late_answers(&hangs).await;
        DONE.store(true, Ordering::Release);
        late
    });
    let meanwhile = neighbour_p99(&quiet, |_| !DONE.load(Ordering::Acquire)).await;
    let late = hanging.await.unwrap();
    runtime.shutdown().await.unwrap();
    vec![
        ReachRow {
            what: "a hung kernel: its callers are answered after the deadline, at the latest of 20",
            target: "50 ms",
            measured: late,
            unit: "ms",
        },
        ReachRow {
            what: "a hung kernel: another's p99 over that before",
            target: "2",
            measured: meanwhile / before,
            unit: "times",
        },
    ]
}

/// How late the latest answer was, in milliseconds.
async fn late_answers(hangs: &KernelRef<Sleeper>) -> f64 {
    let mut latest = Duration::ZERO;
    for _ in 0..HANGS {
        let start = Instant::now();
        hangs.call_within(HANGS_FOR, DEADLINE).await.unwrap_err();
        latest = latest.max(start.elapsed().saturating_sub(DEADLINE));
        // The next meets an instance that does not hang: it is replaced meanwhile.
        hangs.call(Duration::ZERO).await.unwrap();
    }
    latest.as_secs_f64() * 1e3
}

/// Both kernels are on one thread, and the caller that floods one of them is on another than who asks its
/// neighbour.
async fn flood() -> ReachRow {
    let shared = |name| spec(name).placement(Placement::Shared).no_deadline().queue(FLOOD);
    let builder = builder().with_worker_threads(1);
    let runtime =
        builder.with_kernel(shared("flooded")).with_kernel(shared("quiet")).build().unwrap();
    runtime.start().await.unwrap();
    let (flooded, quiet) = (runtime.kernel("flooded").unwrap(), runtime.kernel("quiet").unwrap());
    let flooding = std::thread::spawn(move || elsewhere().block_on(fill(&flooded)));
    let p99 = neighbour_p99(&quiet, |begin| begin.elapsed() < FLOODED_FOR).await;
    let served = tokio::task::spawn_blocking(|| flooding.join().unwrap()).await.unwrap();
    assert!(served > 10 * FLOOD as u64, "{served} requests are no flood");
    runtime.shutdown().await.unwrap();
    ReachRow {
        what: "a flood of 10,000 open requests on the same thread: another's p99",
        target: "1 ms",
        measured: p99 / 1e6,
        unit: "ms",
    }
}

/// Keeps the kernel's queue full; how many requests it has served.
async fn fill(flooded: &KernelRef<Sleeper>) -> u64 {
    let begin = Instant::now();
    let caller = || async {
        let mut served = 0;
        while begin.elapsed() < FLOODED_FOR {
            flooded.call(Duration::ZERO).await.unwrap();
            served += 1;
        }
        served
    };
    join_all((0..FLOOD).map(|_| caller())).await.into_iter().sum()
}

async fn drain() -> ReachRow {
    let mut stuck = builder().with_shutdown_timeout(SHUTDOWN_TIMEOUT);
    for name in STUCK {
        stuck = stuck.with_kernel(spec(name));
    }
    let runtime = stuck.build().unwrap();
    runtime.start().await.unwrap();
    let calls = STUCK.map(|name| {
        let kernel = runtime.kernel::<Sleeper>(name).unwrap();
        tokio::spawn(async move { kernel.call(STUCK_FOR).await })
    });
    // Each runs before the drain begins.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let start = Instant::now();
    let report = runtime.shutdown().await.unwrap();
    let beyond = start.elapsed().saturating_sub(SHUTDOWN_TIMEOUT);
    for call in calls {
        call.await.unwrap().unwrap_err();
    }
    assert!(report.ledger.is_balanced(), "{report:?}");
    ReachRow {
        what: "a drain while four kernels are stuck: stopped after its timeout",
        target: "500 ms",
        measured: beyond.as_secs_f64() * 1e3,
        unit: "ms",
    }
}

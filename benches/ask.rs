//! What a call costs: a kernel call with every guarantee, beside plain message passing.
//!
//! `cargo bench -p rustkernel-benches --bench ask [-- --rounds 9 --json]`
//!
//! | peer | a request is |
//! |---|---|
//! | actix send | a message to an actor, its answer awaited |
//! | tokio mpsc + oneshot | a bounded channel to a task, a oneshot back |
//! | crossbeam + oneshot | a bounded channel to a thread, a oneshot back |
//! | kernel call | a call of a kernel that does nothing: admission, deadline, books, panic guard |
//!
//! | column | the client |
//! |---|---|
//! | one-way | never waits for an answer before it sends the next, as far as the queue allows (a kernel call is answered all the same; the answers are taken in passing) |
//! | ask 1 | waits for each answer |
//! | ask 64 | is 64 tasks of one thread that each wait for each answer |
//!
//! `same` is on the client's own thread, `across` on another.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a benchmark reads the real clock and may fail"
)]

use std::future::Future;
use std::time::{Duration, Instant};

use actix::prelude::*;
use clap::Parser;
use rustkernel_benches::{Figures, Options};
use rustkernel_core::observability::{LogConfig, LogFormat, LogLevel};
use rustkernel_core::prelude::{
    Kernel, KernelContext, KernelRef, KernelResult, KernelSpec, Placement, RuntimeBuilder,
};
use rustkernel_core::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

const QUEUE: usize = 1024;
const ONE_WAY: u64 = 200_000;
const ASK_1: u64 = 5_000;
const ASK_64: u64 = 200_000;
const WARM_UP: u64 = 2_000;

/// Where the other side runs.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Same,
    Across,
}

/// Something that can be asked.
trait Peer: Clone + 'static {
    fn ask(&self, n: u64) -> impl Future<Output = u64>;

    /// Sends `count` requests without waiting for answers.
    fn tell(&self, count: u64) -> impl Future<Output = ()>;
}

fn main() {
    let options = Options::parse();
    let mut figures = Figures::new();
    for _ in 0..options.rounds {
        for (place, columns) in [
            (Place::Same, ["same, one-way", "same, ask 1", "same, ask 64"]),
            (Place::Across, ["across, one-way", "across, ask 1", "across, ask 64"]),
        ] {
            let mut add = |peer, nanos: [f64; 3]| {
                columns
                    .into_iter()
                    .zip(nanos)
                    .for_each(|(column, nanos)| figures.add(peer, column, nanos));
            };
            add("actix send", actix_send(place));
            add("tokio mpsc + oneshot", tokio_channels(place));
            if place == Place::Across {
                add("crossbeam + oneshot", crossbeam_channels());
            }
            add("kernel call", kernel_call(place));
        }
    }
    figures.print(&options);
}

/// All three columns of one peer, in nanoseconds a request.
async fn measure(peer: impl Peer) -> [f64; 3] {
    for n in 0..WARM_UP {
        peer.ask(n).await;
    }
    let start = Instant::now();
    peer.tell(ONE_WAY).await;
    let one_way = per_request(start, ONE_WAY);

    let start = Instant::now();
    for n in 0..ASK_1 {
        assert_eq!(peer.ask(n).await, n);
    }
    let ask_1 = per_request(start, ASK_1);

    let start = Instant::now();
    let tasks = LocalSet::new();
    for _ in 0..64 {
        let peer = peer.clone();
        tasks.spawn_local(async move {
            for n in 0..ASK_64 / 64 {
                assert_eq!(peer.ask(n).await, n);
            }
        });
    }
    tasks.await;
    [one_way, ask_1, per_request(start, ASK_64)]
}

fn per_request(start: Instant, count: u64) -> f64 {
    start.elapsed().as_nanos() as f64 / count as f64
}

// ---- actix

struct Echo;

#[derive(Message)]
#[rtype(result = "u64")]
struct Ask(u64);

impl Actor for Echo {
    type Context = Context<Self>;
}

impl Handler<Ask> for Echo {
    type Result = u64;

    fn handle(&mut self, Ask(n): Ask, _: &mut Self::Context) -> u64 {
        n
    }
}

impl Peer for Addr<Echo> {
    async fn ask(&self, n: u64) -> u64 {
        self.send(Ask(n)).await.unwrap()
    }

    async fn tell(&self, count: u64) {
        for n in 0..count {
            while self.try_send(Ask(n)).is_err() {
                tokio::task::yield_now().await;
            }
        }
        // The mailbox is in order: when this is answered, all are.
        self.ask(0).await;
    }
}

fn actix_send(place: Place) -> [f64; 3] {
    let system = System::new();
    system.block_on(async {
        let echo = |ctx: &mut Context<Echo>| {
            ctx.set_mailbox_capacity(QUEUE);
            Echo
        };
        let arbiter = Arbiter::new();
        let address = match place {
            Place::Same => Echo::create(echo),
            Place::Across => Echo::start_in_arbiter(&arbiter.handle(), echo),
        };
        let figures = measure(address).await;
        arbiter.stop();
        figures
    })
}

// ---- tokio channels

type Question = (u64, Option<oneshot::Sender<u64>>);

impl Peer for mpsc::Sender<Question> {
    async fn ask(&self, n: u64) -> u64 {
        let (reply, answer) = oneshot::channel();
        self.send((n, Some(reply))).await.unwrap();
        answer.await.unwrap()
    }

    async fn tell(&self, count: u64) {
        for n in 0..count {
            self.send((n, None)).await.unwrap();
        }
        self.ask(0).await;
    }
}

async fn answer_all(mut inbox: mpsc::Receiver<Question>) {
    while let Some((n, reply)) = inbox.recv().await {
        if let Some(reply) = reply {
            reply.send(n).ok();
        }
    }
}

fn tokio_channels(place: Place) -> [f64; 3] {
    let (sender, inbox) = mpsc::channel(QUEUE);
    let thread = match place {
        Place::Same => None,
        Place::Across => Some(inbox),
    };
    match thread {
        None => {
            let (sender, inbox) = mpsc::channel(QUEUE);
            let tasks = LocalSet::new();
            tasks.spawn_local(answer_all(inbox));
            executor().block_on(tasks.run_until(measure(sender)))
        }
        Some(inbox) => {
            let server = std::thread::spawn(move || executor().block_on(answer_all(inbox)));
            let figures = executor().block_on(measure(sender));
            server.join().unwrap();
            figures
        }
    }
}

// ---- crossbeam channel

impl Peer for crossbeam_channel::Sender<Question> {
    async fn ask(&self, n: u64) -> u64 {
        let (reply, answer) = oneshot::channel();
        self.send((n, Some(reply))).unwrap();
        answer.await.unwrap()
    }

    async fn tell(&self, count: u64) {
        for n in 0..count {
            self.send((n, None)).unwrap();
        }
        self.ask(0).await;
    }
}

fn crossbeam_channels() -> [f64; 3] {
    let (sender, inbox) = crossbeam_channel::bounded::<Question>(QUEUE);
    let server = std::thread::spawn(move || {
        for (n, reply) in inbox {
            if let Some(reply) = reply {
                reply.send(n).ok();
            }
        }
    });
    let figures = executor().block_on(measure(sender));
    server.join().unwrap();
    figures
}

fn executor() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

// ---- kernel calls

struct Noop;

impl Kernel for Noop {
    type Request = u64;
    type Response = u64;

    async fn execute(&mut self, n: u64, _: &mut KernelContext) -> KernelResult<u64> {
        Ok(n)
    }
}

impl Peer for KernelRef<Noop> {
    async fn ask(&self, n: u64) -> u64 {
        self.call(n).await.unwrap()
    }

    async fn tell(&self, count: u64) {
        // As many tasks as the queue has places, so that it is always as full as it may be.
        let tasks = LocalSet::new();
        for _ in 0..QUEUE as u64 {
            let kernel = self.clone();
            tasks.spawn_local(async move {
                for n in 0..count / QUEUE as u64 {
                    kernel.call(n).await.unwrap();
                }
            });
        }
        tasks.await;
    }
}

fn kernel_call(place: Place) -> [f64; 3] {
    System::new().block_on(async {
        let placement = match place {
            Place::Same => Placement::On(Arbiter::current()),
            Place::Across => Placement::Dedicated,
        };
        let runtime = noop_runtime(placement).await;
        let figures = measure(runtime.kernel::<Noop>("noop").unwrap()).await;
        let report = runtime.shutdown().await.unwrap();
        assert!(report.is_clean() && report.ledger.is_balanced(), "{report:?}");
        figures
    })
}

async fn noop_runtime(placement: Placement) -> Runtime {
    let spec = KernelSpec::new("noop", || Noop)
        .placement(placement)
        .queue(QUEUE)
        .deadline(Duration::from_secs(60));
    let quiet = LogConfig { level: LogLevel::Error, format: LogFormat::Auto };
    let runtime = RuntimeBuilder::new()
        .with_gpu_enabled(false)
        .with_log(quiet)
        .with_kernel(spec)
        .build()
        .unwrap();
    runtime.start().await.unwrap();
    runtime
}

//! What is measured, the same for each peer.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actix::System;
use futures_util::future::join_all;
use serde::Deserialize;
use tokio::runtime::Runtime;
use tokio::time::timeout;

/// Crashes of one round.
const CRASHES: usize = 200;
/// Requests that are queued when one panics, and which.
pub(crate) const QUEUED: usize = 1000;
pub(crate) const PANICS: usize = 50;
/// Room for them.
pub(crate) const QUEUE: usize = 1024;
/// A request that has no answer by then has none.
const NO_ANSWER: Duration = Duration::from_secs(2);
/// A worker that does not serve by then was not restarted.
const NOT_RESTARTED: Duration = Duration::from_millis(500);
/// How long a crash loop lasts, and how often a request panics in it.
const STORM: Duration = Duration::from_secs(1);
const CRASH_EVERY: Duration = Duration::from_millis(1);

/// Where a worker lives.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Place {
    /// On the thread of its caller.
    Same,
    /// On another.
    Across,
}

/// How often a worker is restarted.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Limits {
    /// As often as it takes, at once.
    None,
    /// As by default.
    Default,
}

/// What a worker is asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Ask {
    Work,
    Crash,
}

/// A request had no good answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Failed {
    /// It was not run, which its caller knows because it has it back.
    HandedBack,
    /// It may have been run.
    Gone,
}

/// A worker and its neighbour, under one supervisor.
pub(crate) struct World<P> {
    pub(crate) worker: P,
    pub(crate) neighbour: P,
    /// How often the worker was started.
    pub(crate) starts: Arc<AtomicU64>,
}

/// A worker under a supervisor.
pub(crate) trait Peer: Clone + Send + Sync + 'static {
    /// Two of them, from within an actix system. `server` is for those that need a tokio runtime elsewhere.
    fn up(
        place: Place,
        limits: Limits,
        server: &Runtime,
    ) -> impl Future<Output = World<Self>> + Send;

    fn ask(&self, ask: Ask) -> impl Future<Output = Result<(), Failed>> + Send;
}

/// In nanoseconds.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Quantiles {
    pub(crate) median: f64,
    pub(crate) p99: f64,
}

impl Quantiles {
    pub(crate) fn of(mut nanos: Vec<u64>) -> Self {
        nanos.sort_unstable();
        let at = |part: f64| nanos[((nanos.len() - 1) as f64 * part) as usize] as f64;
        Self { median: at(0.5), p99: at(0.99) }
    }
}

/// What became of queued requests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Loss {
    pub(crate) answered: usize,
    pub(crate) handed_back: usize,
    pub(crate) gone: usize,
    pub(crate) lost: usize,
}

/// What a crash loop did.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Storm {
    pub(crate) restarts: u64,
    pub(crate) serves: bool,
    pub(crate) neighbour_failed: usize,
    pub(crate) control: Quantiles,
    /// `None` if the neighbour answered nothing.
    pub(crate) neighbour: Option<Quantiles>,
}

/// A runtime with one thread of its own.
pub(crate) fn elsewhere() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

pub(crate) fn nanos(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap()
}

// ---- restart

pub(crate) fn restart<P: Peer>(place: Place) -> Option<Quantiles> {
    let server = elsewhere();
    System::new().block_on(async {
        let World { worker, .. } = P::up(place, Limits::None, &server).await;
        worker.ask(Ask::Work).await.unwrap();
        let mut taken = Vec::with_capacity(CRASHES);
        for _ in 0..CRASHES {
            let start = Instant::now();
            worker.ask(Ask::Crash).await.unwrap_err();
            while worker.ask(Ask::Work).await.is_err() {
                if start.elapsed() > NOT_RESTARTED {
                    return None;
                }
                tokio::task::yield_now().await;
            }
            taken.push(nanos(start));
        }
        Some(Quantiles::of(taken))
    })
}

// ---- losses

pub(crate) fn losses<P: Peer>() -> Loss {
    let server = elsewhere();
    System::new().block_on(async {
        let World { worker, .. } = P::up(Place::Same, Limits::None, &server).await;
        worker.ask(Ask::Work).await.unwrap();
        let requests = (0..QUEUED).map(|n| {
            let worker = worker.clone();
            let ask = if n == PANICS { Ask::Crash } else { Ask::Work };
            async move { timeout(NO_ANSWER, worker.ask(ask)).await }
        });
        // All are polled once, and with that queued, before the worker's turn comes.
        let outcomes = tokio::task::unconstrained(join_all(requests)).await;
        let count = |wanted| outcomes.iter().filter(|outcome| **outcome == wanted).count();
        Loss {
            answered: count(Ok(Ok(()))),
            handed_back: count(Ok(Err(Failed::HandedBack))),
            gone: count(Ok(Err(Failed::Gone))),
            lost: outcomes.iter().filter(|outcome| outcome.is_err()).count(),
        }
    })
}

// ---- crash loop

pub(crate) fn storm<P: Peer>(limits: Limits) -> Storm {
    let (control, _, _, _) = storm_of::<P>(Ask::Work, limits);
    let (asked, failed, restarts, serves) = storm_of::<P>(Ask::Crash, limits);
    Storm {
        restarts,
        serves,
        neighbour_failed: failed,
        control: Quantiles::of(control),
        neighbour: (!asked.is_empty()).then(|| Quantiles::of(asked)),
    }
}

/// What the neighbour's requests took, how many failed, the worker's restarts, whether it serves at last.
fn storm_of<P: Peer>(ask: Ask, limits: Limits) -> (Vec<u64>, usize, u64, bool) {
    let server = elsewhere();
    System::new().block_on(async {
        let World { worker, neighbour, starts } = P::up(Place::Across, limits, &server).await;
        worker.ask(Ask::Work).await.unwrap();
        let before = starts.load(Ordering::Acquire);
        let until = Instant::now() + STORM;
        let culprit = {
            let worker = worker.clone();
            std::thread::spawn(move || client().block_on(crash_until(&worker, ask, until)))
        };
        let (taken, failed) = ask_until(&neighbour, until).await;
        culprit.join().unwrap();
        let restarts = starts.load(Ordering::Acquire) - before;
        (taken, failed, restarts, serves(&worker).await)
    })
}

/// Whether it does within the time for a restart.
async fn serves<P: Peer>(worker: &P) -> bool {
    let asked = async {
        while worker.ask(Ask::Work).await.is_err() {
            tokio::time::sleep(CRASH_EVERY).await;
        }
    };
    timeout(NOT_RESTARTED, asked).await.is_ok()
}

fn client() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn crash_until<P: Peer>(worker: &P, ask: Ask, until: Instant) {
    let mut ticks = tokio::time::interval(CRASH_EVERY);
    while Instant::now() < until {
        ticks.tick().await;
        timeout(NO_ANSWER, worker.ask(ask)).await.ok();
    }
}

async fn ask_until<P: Peer>(neighbour: &P, until: Instant) -> (Vec<u64>, usize) {
    let (mut taken, mut failed) = (Vec::new(), 0);
    while Instant::now() < until {
        let start = Instant::now();
        match neighbour.ask(Ask::Work).await {
            Ok(()) => taken.push(nanos(start)),
            Err(_) => {
                failed += 1;
                // One that is gone refuses at once, and a million refusals say no more than some.
                tokio::time::sleep(CRASH_EVERY).await;
            }
        }
    }
    (taken, failed)
}

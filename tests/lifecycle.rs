//! The lifecycle: start in order, drain what is in flight, stop in reverse, release everything.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustkernel_core::prelude::*;
use rustkernel_core::runtime::{Events, StartError};
use rustkernel_tests::{builder, eventually, within_a_minute};
use tokio::sync::Semaphore;
use tokio::time::Instant;

type Log = Arc<Mutex<Vec<String>>>;

/// A kernel that writes down what happens to it and waits when told to.
struct Diary {
    name: &'static str,
    log: Log,
    gate: Arc<Semaphore>,
}

impl Diary {
    fn note(&self, what: &str) {
        self.log.lock().unwrap().push(format!("{} {what}", self.name));
    }

    fn spec(name: &'static str, log: &Log, gate: &Arc<Semaphore>) -> KernelSpec<Self> {
        let (log, gate) = (Arc::clone(log), Arc::clone(gate));
        KernelSpec::new(name, move || Self { name, log: Arc::clone(&log), gate: Arc::clone(&gate) })
    }
}

impl Kernel for Diary {
    /// Whether to wait for the gate.
    type Request = bool;
    type Response = ();

    async fn open(&mut self, _: &mut KernelContext) -> KernelResult {
        self.note("open");
        match self.name {
            "broken" => Err(KernelError::failed("it does not open")),
            "late" => {
                self.gate.acquire().await.map_err(KernelError::failed)?.forget();
                Err(KernelError::failed("it does not open either"))
            }
            "slow" => std::future::pending().await,
            "bomb" => panic!("while opening"),
            _ => Ok(()),
        }
    }

    async fn execute(&mut self, wait: bool, _: &mut KernelContext) -> KernelResult {
        if wait {
            self.gate.acquire().await.map_err(KernelError::failed)?.forget();
        }
        Ok(())
    }

    async fn close(&mut self, _: &mut KernelContext) {
        self.note("close");
    }
}

fn fixtures() -> (Log, Arc<Semaphore>) {
    (Log::default(), Arc::new(Semaphore::new(0)))
}

fn lines(log: &Log) -> Vec<String> {
    log.lock().unwrap().clone()
}

fn states(events: &mut Events) -> Vec<LifecycleState> {
    let mut states = Vec::new();
    while let Some(heard) = events.try_next() {
        if let Heard::Event(RuntimeEvent::StateChanged { to, .. }) = heard {
            states.push(to);
        }
    }
    states
}

/// Semantics: S41.
#[tokio::test]
async fn kernels_start_in_order_and_stop_in_reverse() {
    let (log, gate) = fixtures();
    let runtime = builder()
        .with_kernel(Diary::spec("a", &log, &gate))
        .with_kernel(Diary::spec("b", &log, &gate))
        .with_kernel(Diary::spec("c", &log, &gate))
        .build()
        .unwrap();
    let mut events = runtime.events();
    assert_eq!(runtime.state(), LifecycleState::Starting);
    runtime.start().await.unwrap();
    assert_eq!(runtime.state(), LifecycleState::Running);
    let report = within_a_minute(runtime.shutdown()).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(lines(&log), ["a open", "b open", "c open", "c close", "b close", "a close"]);
    use LifecycleState::{Draining, Running, Stopped};
    assert_eq!(states(&mut events), [Running, Draining, Stopped]);
    assert_eq!(runtime.state(), Stopped);
}

#[tokio::test]
async fn a_kernel_that_does_not_start_is_an_error_and_the_others_are_stopped() {
    // Only what never opens may run out of time: with RUST_BACKTRACE set, a panic alone takes more than 50 ms to
    // print on a busy machine.
    let (short, long) = (Duration::from_millis(50), Duration::from_secs(30));
    for (name, timeout, part) in [
        ("broken", long, "it does not open"),
        ("bomb", long, "panicked: while opening"),
        ("slow", short, "within 50ms"),
    ] {
        let (log, gate) = fixtures();
        let runtime = builder()
            .with_kernel(Diary::spec("a", &log, &gate))
            .with_kernel(Diary::spec(name, &log, &gate).start_timeout(timeout))
            .with_kernel(Diary::spec("never", &log, &gate))
            .build()
            .unwrap();
        let error = within_a_minute(runtime.start()).await.unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
        eventually("it has stopped", || runtime.state() == LifecycleState::Stopped).await;
        assert_eq!(lines(&log), ["a open", &format!("{name} open"), "a close"]);
        // What failed stays failed, and a shutdown has nothing to wait for.
        assert!(matches!(runtime.start().await, Err(StartError::NotNew(LifecycleState::Stopped))));
        assert!(within_a_minute(runtime.shutdown()).await.unwrap().ledger.is_balanced());
    }
}

#[tokio::test]
async fn a_factory_that_panics_is_an_error_of_the_start() {
    let runtime = builder()
        .with_kernel(KernelSpec::new("bad", || -> Diary { panic!("no kernel today") }))
        .build()
        .unwrap();
    let error = runtime.start().await.unwrap_err();
    assert!(error.to_string().contains("no kernel today"), "{error}");
}

#[tokio::test]
async fn a_runtime_starts_once() {
    let (log, gate) = fixtures();
    let runtime = builder().with_kernel(Diary::spec("a", &log, &gate)).build().unwrap();
    runtime.start().await.unwrap();
    assert!(matches!(runtime.start().await, Err(StartError::NotNew(LifecycleState::Running))));
    assert_eq!(runtime.state(), LifecycleState::Running);
    runtime.shutdown().await.unwrap();
    assert!(matches!(runtime.start().await, Err(StartError::NotNew(LifecycleState::Stopped))));
}

#[tokio::test]
async fn a_runtime_that_never_started_stops_at_once() {
    let runtime = builder().build().unwrap();
    assert!(within_a_minute(runtime.shutdown()).await.unwrap().is_clean());
    assert_eq!(runtime.state(), LifecycleState::Stopped);
}

#[tokio::test]
async fn a_shutdown_interrupts_a_start() {
    let (log, gate) = fixtures();
    let slow = Diary::spec("slow", &log, &gate);
    let runtime =
        builder().with_kernel(Diary::spec("a", &log, &gate)).with_kernel(slow).build().unwrap();
    let start = runtime.start();
    let stop = async {
        eventually("it is opening", || lines(&log).len() == 2).await;
        runtime.shutdown().await.unwrap()
    };
    let (started, report) = within_a_minute(futures_util::future::join(start, stop)).await;
    assert!(started.is_err());
    assert_eq!(runtime.state(), LifecycleState::Stopped);
    assert_eq!(report.abandoned_threads, 0);
}

#[tokio::test]
async fn calls_before_the_start_and_after_the_end_are_refused_with_the_reason() {
    let (log, gate) = fixtures();
    let runtime = builder().with_kernel(Diary::spec("a", &log, &gate)).build().unwrap();
    assert!(runtime.kernel::<Diary>("a").is_err(), "before the start there is no kernel");
    runtime.start().await.unwrap();
    let kernel = runtime.kernel::<Diary>("a").unwrap();
    runtime.shutdown().await.unwrap();
    let error = kernel.call(false).await.unwrap_err();
    assert!(matches!(&error, CallError::Rejected { rejection: Rejection::Stopped, .. }), "{error}");
    assert!(!error.is_retryable());
}

/// Semantics: S40.
#[tokio::test]
async fn a_drain_refuses_what_is_new_and_finishes_what_is_queued() {
    let (log, gate) = fixtures();
    let runtime = builder().with_kernel(Diary::spec("a", &log, &gate)).build().unwrap();
    runtime.start().await.unwrap();
    let kernel = runtime.kernel::<Diary>("a").unwrap();
    let mut calls: Vec<_> = (0..5).map(|_| Box::pin(kernel.call(true))).collect();
    for call in &mut calls {
        assert!(futures_util::poll!(call).is_pending());
    }
    let shutdown = runtime.shutdown();
    let meanwhile = async {
        eventually("it drains", || runtime.state() == LifecycleState::Draining).await;
        for _ in 0..20 {
            let error = kernel.call(false).await.unwrap_err();
            assert!(
                matches!(&error, CallError::Rejected { rejection: Rejection::Draining, .. }),
                "{error}"
            );
            assert!(error.is_retryable());
        }
        assert_eq!(runtime.state(), LifecycleState::Draining, "it waits for what is in flight");
        gate.add_permits(5);
        futures_util::future::join_all(calls).await
    };
    let (report, answers) = within_a_minute(futures_util::future::join(shutdown, meanwhile)).await;
    let report = report.unwrap();
    assert!(answers.iter().all(Result::is_ok));
    assert!(report.is_clean(), "{report:?}");
    assert_eq!((report.ledger.completed, report.ledger.rejected), (5, 20));
}

/// Semantics: S42.
#[tokio::test]
async fn after_the_timeout_the_rest_is_cancelled_and_told_so() {
    let (log, gate) = fixtures();
    let timeout = Duration::from_millis(100);
    let runtime = builder()
        .with_shutdown_timeout(timeout)
        .with_kernel(Diary::spec("a", &log, &gate))
        .build()
        .unwrap();
    runtime.start().await.unwrap();
    let kernel = runtime.kernel::<Diary>("a").unwrap();
    let mut calls: Vec<_> = (0..5).map(|_| Box::pin(kernel.call(true))).collect();
    for call in &mut calls {
        assert!(futures_util::poll!(call).is_pending());
    }
    gate.add_permits(2);
    let start = Instant::now();
    let calls = futures_util::future::join_all(calls);
    let (report, answers) =
        within_a_minute(futures_util::future::join(runtime.shutdown(), calls)).await;
    let report = report.unwrap();
    assert!(start.elapsed() >= timeout, "it waited");
    assert_eq!((report.cancelled, report.abandoned_threads), (3, 0));
    assert_eq!((report.ledger.completed, report.ledger.cancelled), (2, 3));
    // One ran, the others waited.
    for (error, started) in answers.into_iter().filter_map(Result::err).zip([true, false, false]) {
        let expected = Cancellation::ShutDown { timeout, started };
        assert!(
            matches!(&error, CallError::Cancelled(cancellation) if *cancellation == expected),
            "{error}"
        );
    }
    assert_eq!(lines(&log), ["a open", "a close"], "an instance that waits comes back, and closes");
}

/// Semantics: S43.
#[tokio::test]
async fn a_second_shutdown_joins_the_first() {
    let (log, gate) = fixtures();
    let runtime = builder().with_kernel(Diary::spec("a", &log, &gate)).build().unwrap();
    runtime.start().await.unwrap();
    let kernel = runtime.kernel::<Diary>("a").unwrap();
    let mut call = Box::pin(kernel.call(true));
    assert!(futures_util::poll!(&mut call).is_pending());
    let finish = async {
        eventually("it drains", || runtime.state() == LifecycleState::Draining).await;
        gate.add_permits(1);
        call.await.unwrap();
    };
    let all = futures_util::future::join3(runtime.shutdown(), runtime.shutdown(), finish);
    let (first, second, ()) = within_a_minute(all).await;
    assert_eq!(first, second);
    assert_eq!(runtime.shutdown().await, first, "and so does one that comes late");
}

/// Semantics: S43.
#[tokio::test]
async fn a_shutdown_within_a_shorter_time_ends_the_one_under_way_and_a_longer_one_does_not() {
    let (log, gate) = fixtures();
    let runtime = builder().with_kernel(Diary::spec("a", &log, &gate)).build().unwrap();
    runtime.start().await.unwrap();
    let kernel = runtime.kernel::<Diary>("a").unwrap();
    let mut call = Box::pin(kernel.call(true));
    assert!(futures_util::poll!(&mut call).is_pending());
    let hasten = async {
        eventually("it drains", || runtime.state() == LifecycleState::Draining).await;
        let longer = runtime.shutdown_within(Duration::MAX);
        let (longer, at_once) =
            futures_util::future::join(longer, runtime.shutdown_within(Duration::ZERO)).await;
        assert_eq!(longer, at_once);
        at_once
    };
    let start = Instant::now();
    let all = futures_util::future::join3(runtime.shutdown(), hasten, call);
    let (first, hastened, answer) = within_a_minute(all).await;
    assert!(start.elapsed() < Duration::from_secs(10), "the configured timeout is 30 s");
    assert_eq!((&first, first.as_ref().unwrap().cancelled), (&hastened, 1));
    let error = answer.unwrap_err();
    assert!(
        matches!(error, CallError::Cancelled(Cancellation::ShutDown { started: true, .. })),
        "{error}"
    );
}

/// Blocks its thread.
struct Blocks;

impl Kernel for Blocks {
    type Request = Duration;
    type Response = ();

    #[allow(clippy::disallowed_methods, reason = "blocking is what this kernel is for")]
    async fn execute(&mut self, time: Duration, _: &mut KernelContext) -> KernelResult {
        std::thread::sleep(time);
        Ok(())
    }
}

/// Semantics: S12, S16.
#[tokio::test]
async fn a_kernel_that_hangs_keeps_neither_its_caller_nor_the_shutdown() {
    let runtime = builder()
        .with_shutdown_timeout(Duration::from_millis(50))
        .with_kernel(KernelSpec::new("blocks", || Blocks))
        .build()
        .unwrap();
    runtime.start().await.unwrap();
    let blocks = runtime.kernel::<Blocks>("blocks").unwrap();
    let error =
        blocks.call_within(Duration::from_secs(5), Duration::from_millis(30)).await.unwrap_err();
    assert!(
        matches!(error, CallError::Cancelled(Cancellation::DeadlineExceeded { .. })),
        "{error}"
    );
    let mut events = runtime.events();
    let start = Instant::now();
    let report = runtime.shutdown().await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    assert_eq!((report.abandoned_threads, report.cancelled), (1, 0));
    let stopped = RuntimeEvent::KernelStopped { kernel: "blocks".into(), abandoned: 1 };
    let mut heard = std::iter::from_fn(|| events.try_next());
    assert!(heard.any(|heard| heard == Heard::Event(stopped.clone())));
}

/// Calls another kernel while it answers.
struct Upstream {
    downstream: KernelRef<Diary>,
    gate: Arc<Semaphore>,
}

impl Kernel for Upstream {
    type Request = ();
    type Response = ();

    async fn execute(&mut self, (): (), _: &mut KernelContext) -> KernelResult {
        self.gate.acquire().await.map_err(KernelError::failed)?.forget();
        self.downstream
            .call(false)
            .await
            .map_err(|error| KernelError::failed(error.forget_request()))
    }
}

/// Semantics: S41.
#[tokio::test]
async fn a_request_in_flight_may_still_call_other_kernels_during_a_drain() {
    let (log, gate) = fixtures();
    let runtime = builder().with_kernel(Diary::spec("down", &log, &gate)).build().unwrap();
    runtime.start().await.unwrap();
    let downstream = runtime.kernel::<Diary>("down").unwrap();
    let upstream = {
        let gate = Arc::clone(&gate);
        KernelSpec::new("up", move || Upstream {
            downstream: downstream.clone(),
            gate: Arc::clone(&gate),
        })
    };
    runtime.add_kernel(upstream).await.unwrap();
    let upstream = runtime.kernel::<Upstream>("up").unwrap();
    let mut call = Box::pin(upstream.call(()));
    assert!(futures_util::poll!(&mut call).is_pending());
    let release = async {
        eventually("it drains", || runtime.state() == LifecycleState::Draining).await;
        gate.add_permits(1);
        call.await.unwrap();
    };
    let (report, ()) =
        within_a_minute(futures_util::future::join(runtime.shutdown(), release)).await;
    let report = report.unwrap();
    assert!(report.is_clean() && report.ledger.completed == 2, "{report:?}");
}

/// Semantics: S1, S2, S3.
#[tokio::test]
async fn what_a_kernel_was_asked_before_its_start_failed_is_given_back() {
    let (log, gate) = fixtures();
    let runtime = builder().build().unwrap();
    runtime.start().await.unwrap();
    for name in ["late", "slow"] {
        let spec = Diary::spec(name, &log, &gate).start_timeout(Duration::from_millis(300));
        let asked = async {
            eventually("it is known", || runtime.kernel::<Diary>(name).is_ok()).await;
            let kernel = runtime.kernel::<Diary>(name).unwrap();
            let mut call = Box::pin(kernel.call(false));
            assert!(futures_util::poll!(&mut call).is_pending());
            gate.add_permits(usize::from(name == "late"));
            let error = within_a_minute(call).await.unwrap_err();
            assert!(
                matches!(
                    &error,
                    CallError::Rejected { rejection: Rejection::Ended { .. }, request: false }
                ),
                "{error}"
            );
            kernel.stats().ledger
        };
        let (added, ledger) = futures_util::future::join(runtime.add_kernel(spec), asked).await;
        assert!(added.is_err() && ledger.is_balanced() && ledger.rejected == 1, "{ledger:?}");
    }
    assert!(runtime.shutdown().await.unwrap().ledger.is_balanced());
}

#[tokio::test]
async fn a_runtime_dropped_while_it_runs_answers_its_callers() {
    let (log, gate) = fixtures();
    let runtime = builder().with_kernel(Diary::spec("a", &log, &gate)).build().unwrap();
    runtime.start().await.unwrap();
    let kernel = runtime.kernel::<Diary>("a").unwrap();
    let mut call = Box::pin(kernel.call(true));
    assert!(futures_util::poll!(&mut call).is_pending());
    drop(runtime);
    let error = within_a_minute(call).await.unwrap_err();
    assert!(matches!(error, CallError::Cancelled(Cancellation::ShutDown { .. })), "{error}");
    eventually("the kernel has closed", || lines(&log) == ["a open", "a close"]).await;
    assert!(kernel.stats().ledger.is_balanced());
}

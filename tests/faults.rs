//! Faults of kernel code: each fails the request that was running and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use rustkernel_core::prelude::*;
use rustkernel_core::runtime::Events;
use rustkernel_tests::{builder, eventually, tireless, within_a_minute};

/// What a request makes the kernel do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Do {
    Count,
    Panic,
    PanicLater,
    Fail,
    FailForGood,
    ComputeAndPanic,
    /// Answers with something that panics when it is dropped unseen.
    Bomb,
}

struct Answer {
    count: u64,
    armed: bool,
}

impl Drop for Answer {
    fn drop(&mut self) {
        assert!(!self.armed, "dropped unseen");
    }
}

/// Shared by all states of the kernel, to see what survives.
#[derive(Default)]
struct World {
    made: AtomicU64,
    open_failures: AtomicUsize,
    drop_panics: AtomicUsize,
}

/// Counts its requests; a restart begins at 0 again.
struct Counter {
    count: u64,
    world: Arc<World>,
}

fn take(budget: &AtomicUsize) -> bool {
    budget.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

impl Drop for Counter {
    fn drop(&mut self) {
        assert!(!std::thread::panicking(), "state is never dropped while a thread unwinds");
        assert!(!take(&self.world.drop_panics), "while dropping");
    }
}

impl Kernel for Counter {
    type Request = Do;
    type Response = Answer;

    async fn open(&mut self, _: &mut KernelContext) -> KernelResult {
        if take(&self.world.open_failures) { Err(KernelError::failed("not now")) } else { Ok(()) }
    }

    async fn execute(&mut self, request: Do, cx: &mut KernelContext) -> KernelResult<Answer> {
        self.count += 1;
        match request {
            Do::Count => {}
            Do::Panic => panic!("at once"),
            Do::PanicLater => {
                tokio::task::yield_now().await;
                panic!("after a wait");
            }
            Do::Fail => return Err(KernelError::failed("this one only")),
            Do::FailForGood => return Err(KernelError::fatal("state is broken")),
            Do::ComputeAndPanic => cx.compute(|| panic!("elsewhere")).await?,
            Do::Bomb => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                return Ok(Answer { count: self.count, armed: true });
            }
        }
        Ok(Answer { count: self.count, armed: false })
    }
}

async fn running(
    spec: impl Fn(KernelSpec<Counter>) -> KernelSpec<Counter>,
) -> (Runtime, KernelRef<Counter>, Arc<World>) {
    let world = Arc::new(World::default());
    let own = Arc::clone(&world);
    let factory = move || {
        own.made.fetch_add(1, Ordering::SeqCst);
        Counter { count: 0, world: Arc::clone(&own) }
    };
    let runtime = builder()
        .with_kernel(spec(KernelSpec::new("counter", factory).restart(tireless())))
        .build()
        .unwrap();
    runtime.start().await.unwrap();
    let kernel = runtime.kernel::<Counter>("counter").unwrap();
    (runtime, kernel, world)
}

async fn count(kernel: &KernelRef<Counter>) -> u64 {
    within_a_minute(kernel.call(Do::Count)).await.unwrap().count
}

fn panics(events: &mut Events) -> Vec<String> {
    let heard = std::iter::from_fn(|| events.try_next());
    heard
        .filter_map(|heard| match heard {
            Heard::Event(RuntimeEvent::KernelPanicked { report, .. }) => Some(report.message),
            _ => None,
        })
        .collect()
}

/// Semantics: S17, S18.
#[tokio::test]
async fn a_panic_fails_its_request_and_restarts_the_kernel_with_fresh_state() {
    let (runtime, kernel, world) = running(|spec| spec).await;
    let mut events = runtime.events();
    assert_eq!((count(&kernel).await, count(&kernel).await), (1, 2));
    for (restarts, (request, text)) in (1..).zip([
        (Do::Panic, "at once"),
        (Do::PanicLater, "after a wait"),
        (Do::ComputeAndPanic, "elsewhere"),
    ]) {
        let error = kernel.call(request).await.map(|_| ()).unwrap_err();
        let CallError::Failed(KernelError::Panicked(report)) = &error else { panic!("{error}") };
        assert_eq!(report.message, text);
        assert!(report.location.as_ref().unwrap().contains("faults.rs"), "{report}");
        assert!(error.is_retryable());
        assert_eq!(count(&kernel).await, 1, "fresh state");
        eventually("it is counted", || kernel.stats().restarts == restarts).await;
    }
    assert_eq!(world.made.load(Ordering::SeqCst), 4);
    eventually("all are told", || panics(&mut runtime.events()).is_empty()).await;
    let mut told = Vec::new();
    eventually("all are told", || {
        told.extend(panics(&mut events));
        told == ["at once", "after a wait", "elsewhere"]
    })
    .await;
    assert!(runtime.shutdown().await.unwrap().is_clean());
}

/// Semantics: S5.
#[tokio::test]
async fn an_error_fails_its_request_alone_and_a_fatal_one_restarts() {
    let (runtime, kernel, _) = running(|spec| spec).await;
    let error = kernel.call(Do::Fail).await.map(|_| ()).unwrap_err();
    assert_eq!((error.to_string().as_str(), error.is_retryable()), ("this one only", false));
    assert_eq!(count(&kernel).await, 2, "the state is kept");
    let error = kernel.call(Do::FailForGood).await.map(|_| ()).unwrap_err();
    assert!(error.to_string().starts_with("state is broken"), "{error}");
    assert_eq!(count(&kernel).await, 1, "fresh state");
    let stats = kernel.stats();
    assert_eq!((stats.panics, stats.restarts, stats.ledger.failed), (0, 1, 2));
    runtime.shutdown().await.unwrap();
}

/// Semantics: S17.
#[tokio::test]
async fn requests_that_wait_survive_a_restart() {
    let (runtime, kernel, _) = running(|spec| spec).await;
    let requests = (0..1000).map(|n| if n == 50 { Do::Panic } else { Do::Count });
    let answers = within_a_minute(futures_util::future::join_all(
        requests.map(|request| kernel.call(request)),
    ))
    .await;
    let failed: Vec<usize> = answers
        .iter()
        .enumerate()
        .filter(|(_, answer)| answer.is_err())
        .map(|(index, _)| index)
        .collect();
    assert_eq!(failed, [50], "of a thousand queued requests one is lost, the one that panicked");
    assert_eq!(answers[999].as_ref().unwrap().count, 949);
    runtime.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_restart_that_fails_is_tried_again() {
    let (runtime, kernel, world) = running(|spec| spec).await;
    world.open_failures.store(3, Ordering::SeqCst);
    kernel.call(Do::Panic).await.map(|_| ()).unwrap_err();
    assert_eq!(count(&kernel).await, 1);
    assert_eq!(world.made.load(Ordering::SeqCst), 5, "made anew for each try");
    assert_eq!(kernel.stats().restarts, 1);
    assert!(runtime.shutdown().await.unwrap().is_clean());
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_a_restart_that_keeps_failing() {
    let (runtime, kernel, world) = running(|spec| spec).await;
    world.open_failures.store(usize::MAX, Ordering::SeqCst);
    kernel.call(Do::Panic).await.map(|_| ()).unwrap_err();
    eventually("it backs off", || world.made.load(Ordering::SeqCst) > 3).await;
    let report = within_a_minute(runtime.shutdown()).await.unwrap();
    assert_eq!(report.abandoned_threads, 0);
}

/// Semantics: S20.
#[tokio::test]
async fn state_that_panics_when_dropped_does_no_harm() {
    let (runtime, kernel, world) = running(|spec| spec).await;
    world.drop_panics.store(1, Ordering::SeqCst);
    kernel.call(Do::Panic).await.map(|_| ()).unwrap_err();
    assert_eq!(count(&kernel).await, 1);
    eventually("both panics are counted", || kernel.stats().panics == 2).await;
    world.drop_panics.store(1, Ordering::SeqCst);
    assert!(runtime.shutdown().await.unwrap().is_clean(), "nor does it at the end");
}

#[tokio::test]
async fn an_answer_that_nobody_collects_may_panic_when_dropped() {
    let (runtime, kernel, _) = running(|spec| spec).await;
    let error =
        kernel.call_within(Do::Bomb, Duration::from_millis(10)).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, CallError::Cancelled(Cancellation::DeadlineExceeded { .. })));
    assert_eq!(count(&kernel).await, 2);
    assert!(runtime.shutdown().await.unwrap().is_clean());
}

/// A request that panics when it is dropped, unless its kernel has it.
#[derive(Debug, Clone)]
struct Touchy {
    armed: bool,
    millis: u64,
}

impl Drop for Touchy {
    fn drop(&mut self) {
        assert!(!self.armed, "dropped unseen");
    }
}

struct Gentle;

impl Kernel for Gentle {
    type Request = Touchy;
    type Response = ();

    async fn execute(&mut self, mut request: Touchy, _: &mut KernelContext) -> KernelResult {
        request.armed = false;
        tokio::time::sleep(Duration::from_millis(request.millis)).await;
        Ok(())
    }
}

#[tokio::test]
async fn a_request_that_panics_when_it_is_dropped_does_no_harm() {
    let spec = KernelSpec::new("gentle", || Gentle).retry(RetryPolicy::default());
    let runtime = builder().with_kernel(spec).build().unwrap();
    runtime.start().await.unwrap();
    let kernel = runtime.kernel::<Gentle>("gentle").unwrap();
    let request = |armed, millis| Touchy { armed, millis };
    // The copy of one that succeeds.
    within_a_minute(kernel.call(request(true, 0))).await.unwrap();
    // One that is late before its turn comes.
    let late = kernel.call_within(request(true, 0), Duration::from_millis(10));
    let (slow, late) = futures_util::future::join(kernel.call(request(false, 50)), late).await;
    slow.unwrap();
    assert!(matches!(late, Err(CallError::Cancelled(Cancellation::DeadlineExceeded { .. }))));
    within_a_minute(kernel.call(request(false, 0))).await.unwrap();
    let stats = kernel.stats();
    assert_eq!((stats.panics, stats.restarts), (2, 0), "counted, and that is all");
    assert!(runtime.shutdown().await.unwrap().is_clean());
}

/// Semantics: S19.
#[tokio::test]
async fn a_kernel_that_panics_does_not_disturb_its_neighbour() {
    for placement in [Placement::Dedicated, Placement::Shared] {
        let world = Arc::new(World::default());
        let spec = |name: &str| {
            let world = Arc::clone(&world);
            KernelSpec::new(name, move || Counter { count: 0, world: Arc::clone(&world) })
                .restart(tireless())
                .placement(placement.clone())
        };
        let runtime = builder()
            .with_worker_threads(1)
            .with_kernel(spec("noisy"))
            .with_kernel(spec("quiet"))
            .build()
            .unwrap();
        runtime.start().await.unwrap();
        let noisy = runtime.kernel::<Counter>("noisy").unwrap();
        let quiet = runtime.kernel::<Counter>("quiet").unwrap();
        for expected in 1..=200 {
            let (crash, fine) =
                futures_util::future::join(noisy.call(Do::Panic), quiet.call(Do::Count)).await;
            assert!(crash.is_err());
            assert_eq!(fine.unwrap().count, expected, "{placement:?}");
        }
        assert_eq!((quiet.stats().panics, quiet.stats().restarts), (0, 0));
        assert!(runtime.shutdown().await.unwrap().is_clean());
    }
}

//! Calls: from any executor, answered exactly once, refused with a reason and the request back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix::prelude::*;
use futures_util::future::join_all;
use rustkernel_core::kernel::Instant;
use rustkernel_core::prelude::{
    Call, CallError, Cancellation, Kernel, KernelContext, KernelError, KernelRef, KernelResult,
    KernelSpec, Placement, Rejection, Runtime,
};
use rustkernel_core::runtime::LookupError;
use rustkernel_tests::{builder, eventually, tireless, within_a_minute};
use tokio::sync::Semaphore;

/// Doubles numbers; knows some that make trouble.
struct Double {
    gate: Arc<Semaphore>,
}

const PANIC: u64 = 13;
const HANG: u64 = 99;
/// Answered once the gate gives a permit.
const WAIT: u64 = 7;

impl Kernel for Double {
    type Request = u64;
    type Response = u64;

    async fn execute(&mut self, request: u64, cx: &mut KernelContext) -> KernelResult<u64> {
        assert!(!cx.is_cancelled() && cx.request_id().is_some());
        match request {
            PANIC => panic!("unlucky"),
            HANG => std::future::pending().await,
            WAIT => self
                .gate
                .acquire()
                .await
                .map(|permit| permit.forget())
                .map_err(KernelError::failed)?,
            _ => {}
        }
        Ok(2 * request)
    }
}

fn spec(gate: &Arc<Semaphore>) -> KernelSpec<Double> {
    let gate = Arc::clone(gate);
    KernelSpec::new("double", move || Double { gate: Arc::clone(&gate) }).restart(tireless())
}

async fn running(spec: KernelSpec<Double>) -> (Runtime, KernelRef<Double>) {
    let runtime = builder().with_kernel(spec).build().unwrap();
    runtime.start().await.unwrap();
    let kernel = runtime.kernel::<Double>("double").unwrap();
    (runtime, kernel)
}

fn no_gate() -> KernelSpec<Double> {
    spec(&Arc::new(Semaphore::new(0)))
}

async fn stop(runtime: Runtime) {
    let report = within_a_minute(runtime.shutdown()).await.unwrap();
    assert!(report.is_clean() && report.ledger.is_balanced(), "{report:?}");
}

#[tokio::test]
async fn a_call_is_answered() {
    let (runtime, double) = running(no_gate()).await;
    assert_eq!(double.call(21).await.unwrap(), 42);
    assert_eq!(double.try_call(4).await.unwrap(), 8);
    assert_eq!(double.call_within(5, Duration::from_secs(5)).await.unwrap(), 10);
    assert_eq!(double.call_before(6, Instant::now() + Duration::from_secs(5)).await.unwrap(), 12);
    let report = within_a_minute(runtime.shutdown()).await.unwrap();
    assert_eq!((report.ledger.submitted, report.ledger.completed), (4, 4));
}

#[test]
fn calls_work_without_any_executor_of_the_runtimes_kind() {
    let runtime = builder().with_kernel(no_gate()).build().unwrap();
    futures_executor::block_on(async {
        runtime.start().await.unwrap();
        let double = runtime.kernel::<Double>("double").unwrap();
        assert_eq!(double.call(3).await.unwrap(), 6);
        let error = double.call_within(HANG, Duration::from_millis(20)).await.unwrap_err();
        assert!(matches!(error, CallError::Cancelled(Cancellation::DeadlineExceeded { .. })));
        assert!(runtime.shutdown().await.unwrap().is_clean());
    });
}

/// An application's own actor, which asks a kernel by message.
struct Asker {
    double: Addr<rustkernel_core::kernel::KernelProxy<Double>>,
}

#[derive(Message)]
#[rtype(result = "u64")]
struct Quadruple(u64);

impl Actor for Asker {
    type Context = Context<Self>;
}

impl Handler<Quadruple> for Asker {
    type Result = ResponseFuture<u64>;

    fn handle(&mut self, Quadruple(n): Quadruple, _: &mut Self::Context) -> Self::Result {
        let double = self.double.clone();
        Box::pin(async move {
            let twice = double.send(Call(n)).await.unwrap().unwrap();
            double.send(Call(twice)).await.unwrap().unwrap()
        })
    }
}

#[test]
fn calls_work_from_actix_main_and_from_inside_an_actor() {
    System::new().block_on(async {
        let (runtime, double) = running(no_gate()).await;
        assert_eq!(double.call(2).await.unwrap(), 4);
        let asker = Asker { double: double.start_actor() }.start();
        assert_eq!(asker.send(Quadruple(10)).await.unwrap(), 40);
        stop(runtime).await;
    });
}

#[test]
fn a_kernel_can_live_on_the_applications_own_arbiter_beside_its_callers() {
    System::new().block_on(async {
        let (runtime, double) =
            running(no_gate().placement(Placement::On(Arbiter::current()))).await;
        let answers = join_all((100..200).map(|n| double.call(n))).await;
        assert!(answers.into_iter().zip(100..200).all(|(answer, n)| answer.unwrap() == 2 * n));
        assert!(matches!(
            double.call(PANIC).await,
            Err(CallError::Failed(KernelError::Panicked(_)))
        ));
        assert_eq!(double.call(1).await.unwrap(), 2);
        stop(runtime).await;
    });
}

/// Semantics: S1, S2, S18.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_calls_of_which_one_in_a_hundred_panics() {
    let (runtime, double) = running(no_gate().instances(2)).await;
    let tasks = (0..8).map(|task| {
        let double = double.clone();
        tokio::spawn(async move {
            let mut panicked = 0u64;
            for n in 0..12_500u64 {
                let request = if n % 100 == 0 { PANIC } else { 1_000 + task * 100_000 + n };
                match double.call(request).await {
                    Ok(answer) => assert_eq!(answer, 2 * request),
                    Err(CallError::Failed(KernelError::Panicked(report))) => {
                        assert_eq!((request, report.message.as_str()), (PANIC, "unlucky"));
                        panicked += 1;
                    }
                    Err(other) => panic!("{other}"),
                }
            }
            panicked
        })
    });
    let panicked: u64 = join_all(tasks).await.into_iter().map(Result::unwrap).sum();
    assert_eq!(panicked, 1_000);
    let report = within_a_minute(runtime.shutdown()).await.unwrap();
    let ledger = report.ledger;
    assert_eq!((ledger.submitted, ledger.completed, ledger.failed), (100_000, 99_000, 1_000));
    assert!(ledger.is_balanced() && report.is_clean(), "{report:?}");
}

/// Semantics: S7, S12.
#[tokio::test]
async fn a_deadline_is_kept_and_a_dropped_call_is_given_up() {
    let (runtime, double) = running(no_gate()).await;
    let error = double.call_within(HANG, Duration::from_millis(30)).await.unwrap_err();
    assert!(
        matches!(error, CallError::Cancelled(Cancellation::DeadlineExceeded { .. })),
        "{error}"
    );
    assert!(error.is_retryable());
    let hanging = tokio::time::timeout(Duration::from_millis(30), double.call(HANG)).await;
    assert!(hanging.is_err());
    // Both were given up: the one instance is free again.
    assert_eq!(within_a_minute(double.call(1)).await.unwrap(), 2);
    eventually("the books balance", || double.stats().ledger.is_balanced()).await;
    assert_eq!(double.stats().ledger.cancelled, 2);
    stop(runtime).await;
}

/// Semantics: S12.
#[tokio::test]
async fn a_request_that_waits_is_answered_at_its_deadline_and_never_runs() {
    let (runtime, double) = running(no_gate()).await;
    let hanging = double.call_within(HANG, Duration::from_secs(5));
    let waiting = async {
        let error = double.call_within(1, Duration::from_millis(30)).await.unwrap_err();
        assert!(matches!(error, CallError::Cancelled(Cancellation::DeadlineExceeded { .. })));
    };
    tokio::select! {
        biased;
        _ = hanging => panic!("it was answered while it hung"),
        () = waiting => {}
    }
    eventually("both are given up", || double.stats().ledger.cancelled == 2).await;
    assert_eq!(double.stats().ledger.completed, 0);
    stop(runtime).await;
}

/// A kernel that nobody called for longer than its deadline gives the next requests all of theirs.
///
/// Semantics: S12.
#[tokio::test]
async fn deadlines_count_from_the_call_also_after_a_pause() {
    let gate = Arc::new(Semaphore::new(0));
    let deadline = Duration::from_secs(1);
    let (runtime, double) = running(spec(&gate).deadline(deadline)).await;
    assert_eq!(double.call(1).await.unwrap(), 2);
    // Until nobody looks for deadlines any more, and as long as one again.
    tokio::time::sleep(Duration::from_millis(1500) + deadline).await;
    let mut calls = [(); 3].map(|()| Box::pin(double.call(WAIT)));
    for call in &mut calls {
        assert!(futures_util::poll!(call).is_pending());
    }
    tokio::time::sleep(deadline / 5).await;
    assert_eq!(double.stats().ledger.cancelled, 0);
    gate.add_permits(calls.len());
    assert!(join_all(calls).await.into_iter().all(|answer| answer.unwrap() == 2 * WAIT));
    stop(runtime).await;
}

/// Semantics: S12.
#[tokio::test]
async fn who_waits_for_room_is_told_of_its_deadline_although_nothing_is_open() {
    let gate = Arc::new(Semaphore::new(0));
    let (runtime, double) = running(spec(&gate).queue(1)).await;
    let mut first = Box::pin(double.call(WAIT));
    assert!(futures_util::poll!(&mut first).is_pending());
    gate.add_permits(1);
    eventually("it is answered", || double.stats().ledger.completed == 1).await;
    // Its answer takes up the only place. Nothing is open, and after a while nobody looks for deadlines.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let waits = double.call_within(5, Duration::from_millis(30));
    let error = tokio::time::timeout(Duration::from_secs(5), waits).await.unwrap().unwrap_err();
    assert!(
        matches!(error, CallError::Rejected { rejection: Rejection::Expired { .. }, .. }),
        "{error}"
    );
    assert_eq!(first.await.unwrap(), 2 * WAIT);
    stop(runtime).await;
}

/// Semantics: S3, S11.
#[tokio::test]
async fn the_bound_is_shared_by_all_clones_and_refuses_at_once() {
    let gate = Arc::new(Semaphore::new(0));
    let (runtime, double) = running(spec(&gate).queue(3)).await;
    let calls: Vec<_> = (0..3).map(|_| double.clone()).collect();
    let mut calls: Vec<_> = calls.iter().map(|double| Box::pin(double.call(WAIT))).collect();
    for call in &mut calls {
        assert!(futures_util::poll!(call).is_pending());
    }
    let error = double.clone().try_call(1).await.unwrap_err();
    assert!(
        matches!(
            &error,
            CallError::Rejected { rejection: Rejection::QueueFull { bound: 3, .. }, .. }
        ),
        "{error}"
    );
    assert_eq!(error.into_request(), Some(1), "the request comes back");
    gate.add_permits(3);
    assert!(join_all(calls).await.into_iter().all(|answer| answer.unwrap() == 2 * WAIT));
    assert_eq!(double.stats().ledger.rejected, 1);
    stop(runtime).await;
}

/// Semantics: S9, S11.
#[tokio::test]
async fn a_call_waits_for_room_in_turn_and_no_longer_than_its_deadline() {
    let gate = Arc::new(Semaphore::new(0));
    let (runtime, double) = running(spec(&gate).queue(1)).await;
    let mut first = Box::pin(double.call(WAIT));
    assert!(futures_util::poll!(&mut first).is_pending());

    let error = double.call_within(5, Duration::from_millis(30)).await.unwrap_err();
    assert!(
        matches!(&error, CallError::Rejected { rejection: Rejection::Expired { .. }, .. }),
        "{error}"
    );
    assert_eq!(error.into_request(), Some(5));

    let mut second = Box::pin(double.call(5));
    assert!(futures_util::poll!(&mut second).is_pending());
    gate.add_permits(1);
    assert_eq!((first.await.unwrap(), within_a_minute(second).await.unwrap()), (2 * WAIT, 10));
    stop(runtime).await;
}

/// Semantics: S1, S2, S7.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_cancellations_lose_nothing() {
    let (runtime, double) = running(no_gate().instances(2).queue(16)).await;
    let answered = Arc::new(AtomicU64::new(0));
    let tasks = (0..8u64).map(|task| {
        let (double, answered) = (double.clone(), Arc::clone(&answered));
        tokio::spawn(async move {
            for n in 0..500u64 {
                let patience = Duration::from_micros((task * 37 + n * 11) % 120);
                let request = if n % 7 == 0 { HANG } else { 100 + n };
                if let Ok(answer) = tokio::time::timeout(patience, double.call(request)).await {
                    assert_eq!(answer.unwrap(), 2 * request);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            }
        })
    });
    join_all(tasks).await.into_iter().for_each(Result::unwrap);
    eventually("the books balance", || double.stats().ledger.is_balanced()).await;
    let ledger = double.stats().ledger;
    // An answer that came when its caller had just gone counts as completed all the same.
    assert!(
        ledger.completed >= answered.load(Ordering::Relaxed) && ledger.failed == 0,
        "{ledger:?}"
    );
    assert_eq!(within_a_minute(double.call(1)).await.unwrap(), 2, "it still serves");
    stop(runtime).await;
}

#[tokio::test]
async fn looking_a_kernel_up_says_what_is_wrong() {
    struct Other;
    impl Kernel for Other {
        type Request = ();
        type Response = ();
        async fn execute(&mut self, (): (), _: &mut KernelContext) -> KernelResult {
            Ok(())
        }
    }
    let (runtime, _) = running(no_gate()).await;
    let unknown = runtime.kernel::<Double>("dubble").unwrap_err();
    assert_eq!(unknown.to_string(), "there is no kernel `dubble`; there is double");
    assert_eq!(
        runtime.kernel::<Other>("double").unwrap_err(),
        LookupError::OtherType("double".into())
    );
    let by_name = runtime.call_by_name("double", rustkernel_core::message::Fields::new());
    assert!(by_name.map(drop).unwrap_err().to_string().contains(".publish()"));
    stop(runtime).await;
}

//! Calls: from any executor, answered once, refused with a reason.
#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::time::Duration;

use rustkernel_core::prelude::*;
use rustkernel_tests::{builder, eventually, within_a_minute};

/// Doubles numbers; knows some that make trouble.
struct Double;

const PANIC: u64 = 13;
const HANG: u64 = 99;

impl Kernel for Double {
    type Request = u64;
    type Response = u64;

    async fn execute(&mut self, request: u64, _: &mut KernelContext) -> KernelResult<u64> {
        match request {
            PANIC => panic!("unlucky"),
            HANG => std::future::pending().await,
            n => Ok(2 * n),
        }
    }
}

async fn running(spec: KernelSpec<Double>) -> (Runtime, KernelRef<Double>) {
    let runtime = builder().with_kernel(spec).build().unwrap();
    runtime.start().await.unwrap();
    let kernel = runtime.kernel::<Double>("double").unwrap();
    (runtime, kernel)
}

#[tokio::test]
async fn a_call_is_answered() {
    let (runtime, double) = running(KernelSpec::new("double", || Double)).await;
    assert_eq!(double.call(21).await.unwrap(), 42);
    let report = within_a_minute(runtime.shutdown()).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!((report.ledger.submitted, report.ledger.completed), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_calls_of_which_one_in_a_hundred_panics() {
    let (runtime, double) = running(KernelSpec::new("double", || Double).instances(2)).await;
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
    let mut panicked = 0;
    for task in tasks.collect::<Vec<_>>() {
        panicked += task.await.unwrap();
    }
    assert_eq!(panicked, 1_000);
    let report = within_a_minute(runtime.shutdown()).await.unwrap();
    let ledger = report.ledger;
    assert_eq!((ledger.submitted, ledger.completed, ledger.failed), (100_000, 99_000, 1_000));
    assert!(ledger.is_balanced() && report.leaked_bytes == 0, "{report:?}");
}

#[tokio::test]
async fn a_deadline_is_kept_and_a_dropped_call_is_given_up() {
    let (runtime, double) = running(KernelSpec::new("double", || Double)).await;
    let error = double.call_within(HANG, Duration::from_millis(30)).await.unwrap_err();
    assert!(matches!(error, CallError::Cancelled(Cancellation::DeadlineExceeded)), "{error}");
    let hanging = tokio::time::timeout(Duration::from_millis(30), double.call(HANG)).await;
    assert!(hanging.is_err());
    // Both were given up: the one instance is free again.
    assert_eq!(within_a_minute(double.call(1)).await.unwrap(), 2);
    eventually("the books balance", || double.stats().ledger.is_balanced()).await;
    assert_eq!(double.stats().ledger.cancelled, 2);
    runtime.shutdown().await.unwrap();
}

//! Requests that are tried again, and those that are not.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rustkernel_core::kernel::Effects;
use rustkernel_core::prelude::*;
use rustkernel_tests::{builder, eventually, tireless, within_a_minute};

use super::child::{Do, call, count, running, stop};

/// Semantics: S10, S30.
#[tokio::test]
async fn a_request_that_ended_its_kernel_once_is_tried_again() {
    let (runtime, child, world) =
        running(|spec| spec.restart(tireless()).retry(RetryPolicy::default())).await;
    world.panics.store(1, Ordering::SeqCst);
    assert_eq!(call(&child, Do::PanicIfAny).await.unwrap(), 1, "served by fresh state");
    let stats = child.stats();
    assert_eq!((stats.panics, stats.retried, stats.dead_letters), (1, 1, 0));
    assert_eq!((stats.ledger.submitted, stats.ledger.completed), (1, 1), "one request, one answer");
    stop(runtime).await;
}

/// Semantics: S10, S31.
#[tokio::test]
async fn one_that_ends_it_twice_is_a_dead_letter_and_those_behind_it_are_served() {
    let (runtime, child, _) =
        running(|spec| spec.restart(tireless()).retry(RetryPolicy::default())).await;
    let requests = [Do::Count, Do::Panic, Do::Count];
    let answers =
        futures_util::future::join_all(requests.map(|request| call(&child, request))).await;
    let error = answers[1].as_ref().unwrap_err();
    assert!(matches!(error, CallError::Failed(KernelError::Panicked(_))), "{error}");
    assert_eq!(error.effects(), Effects::Possible);
    assert_eq!(*answers[2].as_ref().unwrap(), 1);
    let letters = runtime.dead_letters();
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].kernel.as_str(), letters[0].request, letters[0].tries), ("child", 2, 2));
    assert!(letters[0].cause.to_string().contains("as asked"));
    assert_eq!((child.stats().dead_letters, child.stats().restarts), (1, 2));
    stop(runtime).await;
}

/// Semantics: S6.
#[tokio::test]
async fn without_a_policy_nothing_is_tried_again() {
    let (runtime, child, world) = running(|spec| spec.restart(tireless())).await;
    world.panics.store(1, Ordering::SeqCst);
    call(&child, Do::PanicIfAny).await.unwrap_err();
    assert_eq!((child.stats().retried, runtime.dead_letters().len()), (0, 0));
    stop(runtime).await;
}

/// Semantics: S30.
#[tokio::test]
async fn the_budget_bounds_what_is_tried_again() {
    let retry = RetryPolicy::default().budget(0.1);
    let (runtime, child, world) = running(|spec| spec.restart(tireless()).retry(retry)).await;
    let mut failed = 0;
    for _ in 0..20 {
        world.panics.store(1, Ordering::SeqCst);
        failed += u32::from(call(&child, Do::PanicIfAny).await.is_err());
        world.panics.store(0, Ordering::SeqCst);
    }
    // Ten are saved up; each that succeeds earns a tenth of another.
    assert_eq!((child.stats().retried, failed), (11, 9));
    stop(runtime).await;
}

/// Semantics: S30.
#[tokio::test]
async fn a_retry_ends_with_its_deadline_and_with_a_quarantine() {
    let policy = RestartPolicy::permanent()
        .limit(1, Duration::from_secs(60))
        .backoff(Backoff::none())
        .quarantine_until_lifted();
    let (runtime, child, _) =
        running(|spec| spec.restart(policy).retry(RetryPolicy::default().attempts(9))).await;
    let error = call(&child, Do::Panic).await.unwrap_err();
    assert!(matches!(error, CallError::Failed(KernelError::Panicked(_))), "{error}");
    assert_eq!((child.stats().panics, child.stats().retried), (2, 2));
    stop(runtime).await;

    let slow = Backoff::exponential(Duration::from_secs(3600), Duration::from_secs(3600));
    let policy = RestartPolicy::permanent().unlimited().backoff(slow);
    let (runtime, child, world) =
        running(|spec| spec.restart(policy).retry(RetryPolicy::default().attempts(9))).await;
    assert_eq!(count(&child).await, 1);
    world.panics.store(9, Ordering::SeqCst);
    let error = child.call_within(Do::PanicIfAny, Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(error, CallError::Cancelled(_)), "{error}");
    stop(runtime).await;
}

/// Cannot be copied, although its type says so.
#[derive(Debug)]
struct Single {
    panics: bool,
}

impl Clone for Single {
    fn clone(&self) -> Self {
        panic!("there is one of it");
    }
}

/// Serves what there is one of.
struct Serves;

impl Kernel for Serves {
    type Request = Single;
    type Response = ();

    async fn execute(&mut self, request: Single, _: &mut KernelContext) -> KernelResult {
        assert!(!request.panics, "as asked");
        Ok(())
    }
}

/// Semantics: S18, S30.
#[tokio::test]
async fn a_request_whose_copying_panics_is_tried_once() {
    let spec = KernelSpec::new("serves", || Serves);
    let spec = spec.restart(tireless()).retry(RetryPolicy::default());
    let runtime = builder().with_kernel(spec).build().unwrap();
    runtime.start().await.unwrap();
    let mut events = runtime.events();
    let kernel = runtime.kernel::<Serves>("serves").unwrap();
    within_a_minute(kernel.call(Single { panics: false })).await.unwrap();
    assert_eq!((kernel.stats().panics, kernel.stats().restarts), (1, 0), "it does no more harm");
    let error = within_a_minute(kernel.call(Single { panics: true })).await.unwrap_err();
    assert!(error.to_string().contains("as asked"), "{error}");
    within_a_minute(kernel.call(Single { panics: false })).await.unwrap();
    let stats = kernel.stats();
    assert_eq!((stats.panics, stats.restarts, stats.retried), (4, 1, 0));
    let mut told = || std::iter::from_fn(|| events.try_next()).any(is_of_the_copy);
    eventually("it is told", &mut told).await;
    stop(runtime).await;
}

/// Can be copied, but no copy of it.
#[derive(Debug)]
struct Original(bool);

impl Clone for Original {
    fn clone(&self) -> Self {
        assert!(self.0, "a copy of a copy");
        Self(false)
    }
}

struct Fails;

impl Kernel for Fails {
    type Request = Original;
    type Response = ();

    async fn execute(&mut self, _: Original, _: &mut KernelContext) -> KernelResult {
        Err(KernelError::fatal("each time"))
    }
}

/// Semantics: S31.
#[tokio::test]
async fn the_last_attempt_takes_no_copy_and_leaves_a_dead_letter() {
    let spec = KernelSpec::new("fails", || Fails);
    let spec = spec.restart(tireless()).retry(RetryPolicy::default());
    let runtime = builder().with_kernel(spec).build().unwrap();
    runtime.start().await.unwrap();
    let kernel = runtime.kernel::<Fails>("fails").unwrap();
    within_a_minute(kernel.call(Original(true))).await.unwrap_err();
    let stats = kernel.stats();
    assert_eq!((stats.panics, stats.retried, stats.dead_letters), (0, 1, 1));
    assert_eq!(runtime.dead_letters()[0].tries, 2);
    stop(runtime).await;
}

fn is_of_the_copy(heard: Heard) -> bool {
    matches!(heard, Heard::Event(RuntimeEvent::KernelPanicked { report, .. })
        if report.message == "there is one of it")
}

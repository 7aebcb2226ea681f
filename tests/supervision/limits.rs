//! Restart intensity, backoff, quarantine and what ends it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustkernel_core::kernel::Condition;
use rustkernel_core::memory::MemoryConfig;
use rustkernel_core::prelude::*;
use rustkernel_core::runtime::StopReason;
use rustkernel_tests::{builder, eventually, tireless, within_a_minute};

use super::child::{Child, Do, call, count, now, running, spec, stop, what_happened};

const SECOND: Duration = Duration::from_secs(1);

fn limited(limit: u32) -> RestartPolicy {
    RestartPolicy::permanent().limit(limit, 60 * SECOND).backoff(Backoff::none())
}

fn quarantined(error: &CallError<Do>) -> bool {
    matches!(error, CallError::Rejected { rejection: Rejection::Quarantined { .. }, .. })
}

/// Semantics: S3, S5, S13, S24.
#[tokio::test]
async fn one_panic_more_than_the_limit_is_a_quarantine_and_requests_come_back_at_once() {
    let (runtime, child, _) = running(|spec| spec.restart(limited(3))).await;
    let mut events = runtime.events();
    for _ in 0..3 {
        call(&child, Do::Panic).await.unwrap_err();
        assert_eq!(count(&child).await, 1);
    }
    // Those that wait behind the last panic come back with it.
    let requests = [Do::Panic, Do::Count, Do::Count];
    let answers =
        futures_util::future::join_all(requests.map(|request| call(&child, request))).await;
    assert!(matches!(answers[0], Err(CallError::Failed(KernelError::Panicked(_)))));
    for answer in answers.into_iter().skip(1) {
        let error = answer.unwrap_err();
        assert!(quarantined(&error) && error.is_retryable(), "{error}");
        assert!(error.to_string().contains("as asked"), "{error}");
        assert_eq!(error.into_request(), Some(Do::Count));
    }
    let start = now();
    assert!(quarantined(&call(&child, Do::Count).await.unwrap_err()));
    assert!(start.elapsed() < SECOND, "at once");
    let stats = child.stats();
    assert_eq!((stats.condition, stats.panics, stats.restarts), (Condition::Quarantined, 4, 3));
    assert!(what_happened(&stats).iter().all(|what| what.contains("as asked")), "{stats:?}");
    eventually("it is told", || {
        std::iter::from_fn(|| events.try_next()).any(|heard| {
            matches!(heard, Heard::Event(RuntimeEvent::KernelQuarantined { time: Some(_), .. }))
        })
    })
    .await;
    stop(runtime).await;
}

/// Semantics: S24.
#[tokio::test]
async fn a_request_that_waits_for_memory_comes_back_at_once_too() {
    const MIB: u64 = 1 << 20;
    let world = Arc::default();
    let declares = |request: &Do| if *request == Do::Count { MIB } else { 0 };
    let child = spec("child", &world).instances(2).restart(limited(0)).memory(declares);
    let memory = MemoryConfig { max_gpu_memory: 64 * MIB, ..MemoryConfig::default() };
    let runtime = builder().with_memory(memory).with_kernel(child).build().unwrap();
    runtime.start().await.unwrap();
    let child = runtime.kernel::<Child>("child").unwrap();
    // Under warning requests of low priority wait.
    let held = runtime.memory().unwrap().allocate(46 * MIB as usize).unwrap();
    let level = || runtime.stats().devices[0].pressure;
    eventually("it is warning", || level() == PressureLevel::Warning).await;
    let low = child.with_priority(Priority::Low);
    let waits = tokio::spawn(async move { call(&low, Do::Count).await });
    let deferred = || runtime.stats().devices[0].allocator.deferred == 1;
    eventually("it waits", deferred).await;
    call(&child, Do::Panic).await.unwrap_err();
    let error = waits.await.unwrap().unwrap_err();
    assert!(quarantined(&error), "{error}");
    assert_eq!(error.into_request(), Some(Do::Count), "it has not begun");
    drop(held);
    stop(runtime).await;
}

/// Semantics: S25.
#[tokio::test]
async fn after_its_quarantine_one_instance_is_tried_and_then_all_serve() {
    let policy = limited(0).quarantine(Duration::from_millis(50));
    let (runtime, child, world) = running(|spec| spec.instances(3).restart(policy)).await;
    world.panics.store(2, Ordering::SeqCst);
    call(&child, Do::PanicIfAny).await.unwrap_err();
    eventually("it is tried", || child.stats().condition == Condition::OnTrial).await;
    assert_eq!(child.stats().running, 1, "one alone");
    call(&child, Do::PanicIfAny).await.unwrap_err();
    assert!(quarantined(&call(&child, Do::Count).await.unwrap_err()), "the trial has failed");
    eventually("it is tried again", || child.stats().condition == Condition::OnTrial).await;
    assert_eq!(count(&child).await, 1);
    eventually("all serve", || child.stats().running == 3).await;
    assert_eq!(child.stats().condition, Condition::Serving);
    stop(runtime).await;
}

/// Two instances, of which the first waits through the quarantine that the other causes: it is the one that is
/// tried, as it is.
async fn on_trial_at_work() -> (Runtime, KernelRef<Child>) {
    let policy = limited(0).quarantine(Duration::from_millis(20));
    for _ in 0..20 {
        let (runtime, child, _) = running(|spec| spec.instances(2).restart(policy)).await;
        let waits = tokio::spawn({
            let child = child.clone();
            async move { call(&child, Do::Wait(200)).await }
        });
        eventually("it waits", || child.stats().open == 1).await;
        call(&child, Do::Panic).await.unwrap_err();
        let ended = child.stats().history.iter().find_map(|entry| entry.instance);
        waits.await.unwrap().unwrap();
        eventually("it is tried", || child.stats().condition != Condition::Quarantined).await;
        if ended == Some(1) {
            return (runtime, child);
        }
        stop(runtime).await;
    }
    panic!("the first instance has ended each time");
}

/// Semantics: S25.
#[tokio::test]
async fn an_instance_that_was_at_work_all_the_while_can_prove_its_kernel() {
    let (runtime, child) = on_trial_at_work().await;
    count(&child).await;
    eventually("all serve", || child.stats().running == 2).await;
    assert_eq!(child.stats().condition, Condition::Serving);
    stop(runtime).await;
}

#[tokio::test]
async fn a_quarantine_without_an_end_is_lifted_by_hand() {
    let (runtime, child, _) =
        running(|spec| spec.restart(limited(0).quarantine_until_lifted())).await;
    assert!(!runtime.lift_quarantine("child").await.unwrap(), "there is none");
    call(&child, Do::Fail).await.unwrap_err();
    assert!(quarantined(&call(&child, Do::Count).await.unwrap_err()));
    assert!(runtime.lift_quarantine("child").await.unwrap());
    eventually("it serves", || child.stats().condition == Condition::OnTrial).await;
    assert_eq!(count(&child).await, 1);
    assert!(runtime.lift_quarantine("nobody").await.is_err());
    stop(runtime).await;
}

/// Semantics: S26.
#[tokio::test]
async fn a_kernel_can_stop_the_runtime() {
    let (runtime, child, _) = running(|spec| spec.restart(limited(1).stop_runtime())).await;
    call(&child, Do::Panic).await.unwrap_err();
    assert_eq!(count(&child).await, 1);
    call(&child, Do::Panic).await.unwrap_err();
    let report = within_a_minute(runtime.stopped()).await;
    assert!(report.is_clean() && report.ledger.is_balanced(), "{report:?}");
    assert!(
        matches!(&report.reason, StopReason::KernelFailed { kernel, .. } if kernel == "child"),
        "{report:?}"
    );
}

/// Semantics: S13.
#[tokio::test]
async fn a_restart_that_fails_counts_and_a_crash_loop_ends() {
    let (runtime, child, world) = running(|spec| spec.restart(limited(5))).await;
    world.open_failures.store(usize::MAX, Ordering::SeqCst);
    call(&child, Do::Panic).await.unwrap_err();
    eventually("it is quarantined", || child.stats().condition == Condition::Quarantined).await;
    let tried = usize::MAX - world.open_failures.load(Ordering::SeqCst);
    assert_eq!(tried, 5, "five restarts and no more");
    stop(runtime).await;
}

#[tokio::test]
async fn a_failed_health_check_restarts_it() {
    let world = std::sync::Arc::default();
    let runtime = builder()
        .with_health_check_interval(Duration::from_millis(20))
        .with_kernel(spec("child", &world).restart(tireless()))
        .build()
        .unwrap();
    runtime.start().await.unwrap();
    let child = runtime.kernel("child").unwrap();
    assert_eq!((count(&child).await, count(&child).await), (1, 2));
    world.check_failures.store(1, Ordering::SeqCst);
    eventually("it is restarted", || child.stats().restarts == 1).await;
    assert_eq!(count(&child).await, 1);
    assert!(what_happened(&child.stats())[0].contains("unwell"));
    stop(runtime).await;
}

/// Semantics: S23.
#[tokio::test]
async fn a_restart_waits_while_memory_is_critical() {
    const MIB: u64 = 1 << 20;
    let world = std::sync::Arc::default();
    let memory = MemoryConfig { max_gpu_memory: 100 * MIB, ..MemoryConfig::default() };
    let runtime = builder()
        .with_memory(memory)
        .with_kernel(spec("child", &world).restart(tireless()))
        .build()
        .unwrap();
    runtime.start().await.unwrap();
    let child = runtime.kernel("child").unwrap();
    let held = runtime.memory().unwrap().allocate(90 << 20).unwrap();
    eventually("it is critical", || runtime.stats().devices[0].pressure >= PressureLevel::Critical)
        .await;
    call(&child, Do::Panic).await.unwrap_err();
    eventually("it is down", || child.stats().running == 0).await;
    let waiting = tokio::spawn({
        let child = child.clone();
        async move { count(&child).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!((child.stats().running, child.stats().condition), (0, Condition::Restarting));
    drop(held);
    assert_eq!(within_a_minute(waiting).await.unwrap(), 1);
    stop(runtime).await;
}

/// Semantics: S19.
#[tokio::test]
async fn a_crash_loop_starves_nobody() {
    let world = std::sync::Arc::default();
    let runtime = builder()
        .with_worker_threads(1)
        .with_kernel(spec("loops", &world).placement(Placement::Shared).restart(tireless()))
        .with_kernel(spec("quiet", &world).placement(Placement::Shared))
        .build()
        .unwrap();
    runtime.start().await.unwrap();
    let (loops, quiet) = (runtime.kernel("loops").unwrap(), runtime.kernel("quiet").unwrap());
    world.open_failures.store(usize::MAX, Ordering::SeqCst);
    call(&loops, Do::Panic).await.unwrap_err();
    for expected in 1..=100 {
        assert_eq!(count(&quiet).await, expected);
    }
    let report = within_a_minute(runtime.shutdown()).await.unwrap();
    assert!(report.ledger.is_balanced(), "{report:?}");
}

//! Kernels unloaded and loaded again while the runtime runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustkernel_core::kernel::Condition;
use rustkernel_core::prelude::*;
use rustkernel_core::runtime::{LoadError, LookupError};
use rustkernel_tests::{builder, eventually, within_a_minute};

use super::child::{Do, call, count, running, spec, stop, what_happened};

fn unloaded(error: &CallError<Do>) -> bool {
    matches!(error, CallError::Rejected { rejection: Rejection::Unloaded { .. }, .. })
}

/// Semantics: S50.
#[tokio::test]
async fn an_unloaded_kernel_has_no_state_and_refuses_until_it_is_loaded() {
    let (runtime, child, world) = running(|spec| spec.instances(2)).await;
    let mut events = runtime.events();
    assert_eq!(count(&child).await, 1);
    assert_eq!(world.read(), ["+child", "+child"]);
    assert_eq!(runtime.unload_kernel("child").await.unwrap(), 0);
    assert_eq!(world.read(), ["-child", "-child"]);
    let stats = child.stats();
    assert_eq!((stats.condition, stats.running, stats.open), (Condition::Unloaded, 0, 0));
    let error = call(&child, Do::Count).await.unwrap_err();
    assert!(unloaded(&error) && error.is_retryable(), "{error}");
    assert_eq!(error.into_request(), Some(Do::Count));

    assert_eq!(runtime.unload_kernel("child").await.unwrap(), 0, "once more changes nothing");
    runtime.restart_kernel("child").await.unwrap();
    assert!(!runtime.lift_quarantine("child").await.unwrap());
    assert!(unloaded(&call(&child, Do::Count).await.unwrap_err()), "nor do other orders");

    assert_eq!(runtime.load_kernel("child").await.unwrap(), 2);
    assert_eq!(world.read(), ["+child", "+child"]);
    assert_eq!(count(&child).await, 1, "its state is fresh");
    assert_eq!(runtime.load_kernel("child").await.unwrap(), 2, "it is loaded");
    assert_eq!(world.read(), [""; 0]);
    assert_eq!(what_happened(&child.stats()), ["it is unloaded", "it is loaded again"]);
    let told = std::iter::from_fn(|| events.try_next()).filter_map(|heard| match heard {
        Heard::Event(RuntimeEvent::KernelUnloaded { replaced, .. }) => Some(Some(replaced)),
        Heard::Event(RuntimeEvent::KernelLoaded { .. }) => Some(None),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), [Some(0), None]);
    stop(runtime).await;
}

/// Semantics: S50.
#[tokio::test]
async fn what_was_asked_before_is_finished_first() {
    let (runtime, child, _) = running(|spec| spec).await;
    let before = futures_util::future::join_all((0..4).map(|_| call(&child, Do::Wait(20))));
    let unload = async {
        eventually("they are open", || child.stats().open == 4).await;
        runtime.unload_kernel("child").await.unwrap()
    };
    let (answers, replaced) = tokio::join!(before, unload);
    assert_eq!(answers.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!((replaced, child.stats().condition), (0, Condition::Unloaded));
    stop(runtime).await;
}

/// Semantics: S50.
#[tokio::test]
async fn one_that_is_loaded_before_it_is_down_was_never_unloaded() {
    let (runtime, child, world) = running(|spec| spec).await;
    let mut events = runtime.events();
    let before = call(&child, Do::Wait(100));
    let unload = async {
        eventually("it is open", || child.stats().open == 1).await;
        runtime.unload_kernel("child").await.unwrap()
    };
    let load = async {
        eventually("it is to unload", || child.stats().condition == Condition::Unloaded).await;
        runtime.load_kernel("child").await.unwrap()
    };
    let (answer, replaced, up) = tokio::join!(before, unload, load);
    assert_eq!((answer.unwrap(), replaced, up), (1, 0, 1));
    assert_eq!(count(&child).await, 2, "it has its state");
    assert_eq!(world.read(), ["+child"]);
    assert!(!what_happened(&child.stats()).contains(&"it is unloaded"));
    let told = std::iter::from_fn(|| events.try_next());
    let unloaded = |heard| matches!(heard, Heard::Event(RuntimeEvent::KernelUnloaded { .. }));
    assert_eq!(told.filter(|heard| unloaded(heard.clone())).count(), 0);
    stop(runtime).await;
}

/// Semantics: S50.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_as_it_is_loaded_is_not_told_that_it_is_full() {
    let (runtime, child, _) = running(|spec| spec).await;
    let over = Arc::new(AtomicBool::new(false));
    let callers = [(); 4].map(|()| {
        let (child, over) = (child.clone(), Arc::clone(&over));
        tokio::spawn(async move {
            while !over.load(Ordering::Relaxed) {
                if let Err(error) = child.try_call(Do::Count).await {
                    assert!(unloaded(&error), "{error}");
                }
                tokio::task::yield_now().await;
            }
        })
    });
    for _ in 0..300 {
        runtime.unload_kernel("child").await.unwrap();
        runtime.load_kernel("child").await.unwrap();
    }
    over.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    stop(runtime).await;
}

/// Semantics: S29, S50.
#[tokio::test]
async fn to_load_one_whose_sibling_is_quarantined_does_not_wait_for_that() {
    let world = Default::default();
    let never = RestartPolicy::permanent().limit(0, Duration::from_secs(60));
    let patient = |name| spec(name, &world).group("both").start_timeout(Duration::from_secs(600));
    let a = patient("a");
    let b = patient("b").restart(never.quarantine_until_lifted());
    let builder = builder().with_group("both", Strategy::OneForAll);
    let runtime = builder.with_kernel(a).with_kernel(b).build().unwrap();
    runtime.start().await.unwrap();
    let (a, b) = (runtime.kernel("a").unwrap(), runtime.kernel("b").unwrap());
    call(&b, Do::Panic).await.unwrap_err();
    eventually("it is quarantined too", || a.stats().condition == Condition::Quarantined).await;
    assert_eq!(within_a_minute(runtime.load_kernel("a")).await.unwrap(), 0);
    assert_eq!(a.stats().condition, Condition::Quarantined);
    runtime.lift_quarantine("b").await.unwrap();
    eventually("both serve", || [&a, &b].iter().all(|kernel| kernel.stats().running == 1)).await;
    assert_eq!(count(&a).await, 1);
    stop(runtime).await;
}

/// Semantics: S3, S50.
#[tokio::test]
async fn what_is_not_finished_in_time_is_interrupted_and_what_waits_comes_back() {
    let patience = Duration::from_millis(20);
    let (runtime, child, world) = running(|spec| spec.shutdown_timeout(patience)).await;
    let requests = [Do::Wait(60_000), Do::Count].map(|request| call(&child, request));
    let unload = async {
        eventually("they are open", || child.stats().open == 2).await;
        runtime.unload_kernel("child").await.unwrap()
    };
    let (answers, replaced) = tokio::join!(futures_util::future::join_all(requests), unload);
    assert!(matches!(answers[0], Err(CallError::Failed(KernelError::Interrupted(_)))));
    assert!(unloaded(answers[1].as_ref().unwrap_err()));
    assert_eq!(replaced, 0);
    // (One that is interrupted does not close.)
    assert_eq!(world.read(), ["+child"]);
    assert_eq!(runtime.load_kernel("child").await.unwrap(), 1);
    assert_eq!(count(&child).await, 1);
    stop(runtime).await;
}

/// Semantics: S50.
#[tokio::test]
async fn an_instance_that_hangs_does_not_keep_its_kernel_loaded() {
    let of = |spec: KernelSpec<_>| {
        let spec = spec.shutdown_timeout(Duration::from_millis(20));
        spec.restart(RestartPolicy::permanent().hang_grace(Duration::from_millis(20)))
    };
    let (runtime, child, _) = running(of).await;
    let hangs = call(&child, Do::Block(2000));
    let unload = async {
        eventually("it hangs", || child.stats().open == 1).await;
        runtime.unload_kernel("child").await.unwrap()
    };
    let (answer, replaced) = tokio::join!(hangs, unload);
    assert!(answer.is_err());
    assert_eq!(replaced, 1);
    assert!(unloaded(&call(&child, Do::Count).await.unwrap_err()));
    assert_eq!(runtime.load_kernel("child").await.unwrap(), 1);
    assert_eq!(count(&child).await, 1);
    eventually("its thread has come back", || child.stats().abandoned == 0).await;
    stop(runtime).await;
}

/// Semantics: S24, S25, S50.
#[tokio::test]
async fn to_load_a_kernel_lifts_its_quarantine() {
    let policy = RestartPolicy::permanent().limit(0, Duration::from_secs(60));
    let (runtime, child, _) = running(|spec| spec.restart(policy.quarantine_until_lifted())).await;
    call(&child, Do::Panic).await.unwrap_err();
    eventually("it is quarantined", || child.stats().condition == Condition::Quarantined).await;
    runtime.unload_kernel("child").await.unwrap();
    assert_eq!(child.stats().condition, Condition::Unloaded);
    assert_eq!(runtime.load_kernel("child").await.unwrap(), 1);
    assert_eq!(child.stats().condition, Condition::OnTrial);
    assert_eq!(count(&child).await, 1);
    stop(runtime).await;
}

/// Semantics: S50.
#[tokio::test]
async fn a_kernel_that_does_not_open_is_not_loaded_in_time() {
    let policy = RestartPolicy::permanent().limit(0, Duration::from_secs(60));
    let (runtime, child, world) = running(|spec| spec.restart(policy)).await;
    runtime.unload_kernel("child").await.unwrap();
    world.open_failures.store(1, Ordering::SeqCst);
    assert_eq!(runtime.load_kernel("child").await.unwrap(), 0);
    eventually("it is quarantined", || child.stats().condition == Condition::Quarantined).await;
    let none = runtime.load_kernel("nobody").await.unwrap_err();
    assert!(matches!(none, LoadError::Lookup(LookupError::Unknown { .. })), "{none}");
    stop(runtime).await;
}

/// Semantics: S29, S50.
#[tokio::test]
async fn its_group_restarts_without_it() {
    let world = Default::default();
    let of = |name| spec(name, &world).group("both");
    let runtime = builder()
        .with_group("both", Strategy::OneForAll)
        .with_kernel(of("a"))
        .with_kernel(of("b"))
        .build()
        .unwrap();
    runtime.start().await.unwrap();
    let (a, b) = (runtime.kernel("a").unwrap(), runtime.kernel("b").unwrap());
    runtime.unload_kernel("a").await.unwrap();
    call(&b, Do::Panic).await.unwrap_err();
    assert_eq!(count(&b).await, 1);
    assert!(unloaded(&call(&a, Do::Count).await.unwrap_err()));
    assert_eq!(runtime.load_kernel("a").await.unwrap(), 1);
    assert_eq!(count(&a).await, 1);
    stop(runtime).await;
}

//! Code that does not come back.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustkernel_core::kernel::Effects;
use rustkernel_core::prelude::*;
use rustkernel_tests::{builder, eventually, tireless, within_a_minute};

use super::child::{Do, World, call, count, now, running, spec, stop};

const SHORT: Duration = Duration::from_millis(50);

fn impatient() -> RestartPolicy {
    tireless().hang_grace(SHORT)
}

/// Semantics: S4, S12, S15, S32.
#[tokio::test]
async fn a_hung_instance_is_answered_for_in_time_and_replaced_and_its_thread_counted() {
    let (runtime, child, _) = running(|spec| spec.restart(impatient())).await;
    let start = now();
    let error = child.call_within(Do::Block(1500), SHORT).await.unwrap_err();
    assert!(start.elapsed() < SHORT + Duration::from_millis(500), "{:?}", start.elapsed());
    assert!(matches!(
        error,
        CallError::Cancelled(Cancellation::DeadlineExceeded { started: true })
    ));
    assert_eq!(error.effects(), Effects::Possible);
    assert_eq!(count(&child).await, 1, "another serves");
    assert!(start.elapsed() < Duration::from_millis(1400), "while the first still hangs");
    let stats = child.stats();
    assert_eq!((stats.hung, stats.abandoned, stats.running), (1, 1, 1), "{stats:?}");
    eventually("the thread comes back after all", || child.stats().abandoned == 0).await;
    assert_eq!((count(&child).await, child.stats().running), (2, 1));
    stop(runtime).await;
}

/// Semantics: S32.
#[tokio::test]
async fn requests_that_wait_behind_one_that_hangs_are_served_by_its_successor() {
    let (runtime, child, _) = running(|spec| spec.restart(impatient())).await;
    let hangs = child.call_within(Do::Block(1000), SHORT);
    let behind = futures_util::future::join_all((0..50).map(|_| call(&child, Do::Count)));
    let (hung, served) = within_a_minute(futures_util::future::join(hangs, behind)).await;
    assert!(hung.is_err());
    let counts: Vec<u64> = served.into_iter().map(Result::unwrap).collect();
    assert_eq!(counts, (1..=50).collect::<Vec<_>>());
    eventually("its thread is back", || child.stats().abandoned == 0).await;
    stop(runtime).await;
}

/// Semantics: S13, S15.
#[tokio::test]
async fn hangs_count_against_the_intensity_and_so_do_not_eat_all_threads() {
    let policy = RestartPolicy::permanent().limit(2, Duration::from_secs(60)).hang_grace(SHORT);
    let (runtime, child, _) = running(|spec| spec.restart(policy)).await;
    for hung in 1..=3 {
        child.call_within(Do::Block(2000), SHORT).await.unwrap_err();
        eventually("it is noticed", || {
            let stats = child.stats();
            stats.hung == hung && (stats.running == 1 || hung == 3)
        })
        .await;
    }
    let error = call(&child, Do::Count).await.unwrap_err();
    assert!(matches!(error, CallError::Rejected { rejection: Rejection::Quarantined { .. }, .. }));
    assert_eq!(child.stats().abandoned, 3);
    eventually("its threads are back", || child.stats().abandoned == 0).await;
    stop(runtime).await;
}

#[tokio::test]
async fn a_close_may_take_as_long_as_a_shutdown_however_long_a_start_may() {
    let (of_start, of_close) = (Duration::from_secs(1), Duration::from_secs(10));
    let of = |spec: KernelSpec<_>| spec.start_timeout(of_start).shutdown_timeout(of_close);
    let (runtime, child, world) = running(|spec| of(spec).restart(impatient())).await;
    world.closing.store(1500, Ordering::SeqCst);
    runtime.restart_kernel("child").await.unwrap();
    eventually("it closes", || world.closing.load(Ordering::SeqCst) == 0).await;
    assert_eq!(count(&child).await, 1);
    assert_eq!(world.read(), ["+child", "-child", "+child"]);
    assert_eq!(child.stats().hung, 0);
    stop(runtime).await;
}

/// Semantics: S33.
#[tokio::test]
async fn neighbours_on_a_shared_thread_that_hangs_move_to_another() {
    let world = Arc::<World>::default();
    let shared = |name| spec(name, &world).placement(Placement::Shared).restart(impatient());
    let runtime = builder()
        .with_worker_threads(1)
        .with_kernel(shared("hangs"))
        .with_kernel(shared("quiet"))
        .build()
        .unwrap();
    runtime.start().await.unwrap();
    let (hangs, quiet) =
        (runtime.kernel::<super::child::Child>("hangs").unwrap(), runtime.kernel("quiet").unwrap());
    let start = now();
    let (waits, hung) = futures_util::future::join(
        call(&quiet, Do::Wait(5000)),
        hangs.call_within(Do::Block(2000), SHORT),
    )
    .await;
    assert!(hung.is_err());
    let error = waits.unwrap_err();
    assert!(
        matches!(error, CallError::Failed(KernelError::Interrupted(Cause::Hung(_)))),
        "{error}"
    );
    assert_eq!(count(&quiet).await, 1);
    assert_eq!(count(&hangs).await, 1);
    assert!(start.elapsed() < Duration::from_millis(1900), "{:?}", start.elapsed());
    assert_eq!((quiet.stats().hung, hangs.stats().hung), (0, 1));
    eventually("the thread is back", || hangs.stats().abandoned + quiet.stats().abandoned == 0)
        .await;
    stop(runtime).await;
}

/// Computes on a stream of its own, which cannot be interrupted.
struct Elsewhere;

impl Kernel for Elsewhere {
    type Request = u64;
    type Response = ();

    async fn execute(&mut self, millis: u64, cx: &mut KernelContext) -> KernelResult {
        cx.compute(move || super::child::block_for(millis)).await
    }
}

/// Semantics: S34.
#[tokio::test]
async fn a_stream_that_does_not_end_is_left_behind() {
    // (On a thread of its own the instance would compute itself.)
    let kernel = KernelSpec::new("elsewhere", || Elsewhere)
        .placement(Placement::Shared)
        .restart(impatient());
    let runtime = builder().with_kernel(kernel).build().unwrap();
    runtime.start().await.unwrap();
    let kernel = runtime.kernel::<Elsewhere>("elsewhere").unwrap();
    let start = now();
    kernel.call_within(1500, SHORT).await.unwrap_err();
    kernel.call(0).await.unwrap();
    assert!(start.elapsed() < Duration::from_millis(1400), "{:?}", start.elapsed());
    assert_eq!(kernel.stats().restarts, 1);
    stop(runtime).await;
}

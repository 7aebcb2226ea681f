//! Erlang/OTP's matrix: restart type × reason of the end × strategy. (`supervisor_SUITE` names its cases by
//! the same conditions.)
//!
//! Three kernels, `a`, `b`, `c`, started in that order; `b` ends. The diary tells who closed (`-`) and who
//! opened (`+`) after that; who panics does not close.
//!
//! Semantics: S17, S21, S22, S27.

use std::sync::Arc;
use std::time::Duration;

use rustkernel_core::kernel::Condition;
use rustkernel_core::prelude::*;
use rustkernel_tests::{builder, eventually};

use super::child::{Child, Do, World, call, count, spec, stop};

#[derive(Clone, Copy)]
enum Ends {
    Normally,
    ByPanic,
    ByError,
}

use Ends::{ByError, ByPanic, Normally};

/// Has `b` end, and returns what the diary then says, for as long as `complete` says that it is not.
async fn diary(policy: RestartPolicy, strategy: Strategy, ends: Ends, expected: &[&str]) {
    let world = Arc::<World>::default();
    let mut runtime = builder().with_group("siblings", strategy);
    for name in ["a", "b", "c"] {
        let policy = if name == "b" { policy } else { RestartPolicy::permanent() };
        runtime = runtime.with_kernel(spec(name, &world).group("siblings").restart(policy));
    }
    let runtime = runtime.build().unwrap();
    runtime.start().await.unwrap();
    assert_eq!(world.read(), ["+a", "+b", "+c"]);
    let [a, b, c] = ["a", "b", "c"].map(|name| runtime.kernel::<Child>(name).unwrap());
    for kernel in [&a, &b, &c] {
        assert_eq!(count(kernel).await, 1);
    }
    match ends {
        Normally => assert_eq!(call(&b, Do::Exit).await.unwrap(), 2, "its last answer"),
        ByPanic => drop(call(&b, Do::Panic).await.unwrap_err()),
        ByError => drop(call(&b, Do::Fail).await.unwrap_err()),
    }
    let mut written = Vec::new();
    eventually(&format!("{expected:?}"), || {
        written.extend(world.read());
        written == expected
    })
    .await;
    // Those that were restarted have fresh state; the others have kept theirs.
    for (name, kernel) in [("a", &a), ("b", &b), ("c", &c)] {
        if name == "b" && !expected.contains(&"+b") {
            eventually("it has ended", || b.stats().condition == Condition::Ended).await;
            let error = call(&b, Do::Count).await.unwrap_err();
            assert!(
                matches!(error, CallError::Rejected { rejection: Rejection::Ended { .. }, .. }),
                "{error}"
            );
            continue;
        }
        let restarted = expected.contains(&format!("+{name}").as_str());
        assert_eq!(count(kernel).await, if restarted { 1 } else { 2 }, "{name}");
    }
    assert_eq!(world.read(), [""; 0], "and nothing else happens");
    stop(runtime).await;
}

macro_rules! matrix {
    ($($name:ident: $kind:ident, $ends:expr, $strategy:ident => $expected:expr;)*) => {$(
        #[tokio::test]
        async fn $name() {
            diary(RestartPolicy::$kind(), Strategy::$strategy, $ends, &$expected).await;
        }
    )*};
}

matrix! {
    permanent_normal_one_for_one: permanent, Normally, OneForOne => ["-b", "+b"];
    permanent_panic_one_for_one: permanent, ByPanic, OneForOne => ["+b"];
    permanent_error_one_for_one: permanent, ByError, OneForOne => ["+b"];
    transient_normal_one_for_one: transient, Normally, OneForOne => ["-b"];
    transient_panic_one_for_one: transient, ByPanic, OneForOne => ["+b"];
    transient_error_one_for_one: transient, ByError, OneForOne => ["+b"];
    temporary_normal_one_for_one: temporary, Normally, OneForOne => ["-b"];
    temporary_panic_one_for_one: temporary, ByPanic, OneForOne => [""; 0];
    temporary_error_one_for_one: temporary, ByError, OneForOne => [""; 0];

    permanent_normal_one_for_all: permanent, Normally, OneForAll => ["-b", "-c", "-a", "+a", "+b", "+c"];
    permanent_panic_one_for_all: permanent, ByPanic, OneForAll => ["-c", "-a", "+a", "+b", "+c"];
    permanent_error_one_for_all: permanent, ByError, OneForAll => ["-c", "-a", "+a", "+b", "+c"];
    transient_normal_one_for_all: transient, Normally, OneForAll => ["-b"];
    transient_panic_one_for_all: transient, ByPanic, OneForAll => ["-c", "-a", "+a", "+b", "+c"];
    transient_error_one_for_all: transient, ByError, OneForAll => ["-c", "-a", "+a", "+b", "+c"];
    temporary_normal_one_for_all: temporary, Normally, OneForAll => ["-b"];
    temporary_panic_one_for_all: temporary, ByPanic, OneForAll => [""; 0];
    temporary_error_one_for_all: temporary, ByError, OneForAll => [""; 0];

    permanent_normal_rest_for_one: permanent, Normally, RestForOne => ["-b", "-c", "+b", "+c"];
    permanent_panic_rest_for_one: permanent, ByPanic, RestForOne => ["-c", "+b", "+c"];
    permanent_error_rest_for_one: permanent, ByError, RestForOne => ["-c", "+b", "+c"];
    transient_normal_rest_for_one: transient, Normally, RestForOne => ["-b"];
    transient_panic_rest_for_one: transient, ByPanic, RestForOne => ["-c", "+b", "+c"];
    transient_error_rest_for_one: transient, ByError, RestForOne => ["-c", "+b", "+c"];
    temporary_normal_rest_for_one: temporary, Normally, RestForOne => ["-b"];
    temporary_panic_rest_for_one: temporary, ByPanic, RestForOne => [""; 0];
    temporary_error_rest_for_one: temporary, ByError, RestForOne => [""; 0];
}

/// A group with `a` before `b`, restarted together; `b` is never restarted by itself.
async fn siblings(
    of_b: RestartPolicy,
) -> (Runtime, Arc<World>, KernelRef<Child>, KernelRef<Child>) {
    let world = Arc::<World>::default();
    let member = |name| spec(name, &world).group("siblings");
    let runtime = builder()
        .with_group("siblings", Strategy::OneForAll)
        .with_kernel(member("a"))
        .with_kernel(member("b").restart(of_b))
        .build()
        .unwrap();
    runtime.start().await.unwrap();
    let (a, b) = (runtime.kernel("a").unwrap(), runtime.kernel("b").unwrap());
    (runtime, world, a, b)
}

#[tokio::test]
async fn a_temporary_kernel_does_not_come_back_with_its_group() {
    let (runtime, _, a, b) = siblings(RestartPolicy::temporary()).await;
    call(&b, Do::Panic).await.unwrap_err();
    eventually("it has ended", || b.stats().condition == Condition::Ended).await;
    call(&a, Do::Panic).await.unwrap_err();
    assert_eq!(count(&a).await, 1);
    assert_eq!(b.stats().condition, Condition::Ended);
    assert!(call(&b, Do::Count).await.is_err());
    stop(runtime).await;
}

/// Semantics: S29.
#[tokio::test]
async fn a_group_is_quarantined_with_its_member_and_comes_back_with_it() {
    let policy =
        RestartPolicy::permanent().limit(0, Duration::from_secs(60)).quarantine_until_lifted();
    let (runtime, _, a, b) = siblings(policy).await;
    call(&b, Do::Panic).await.unwrap_err();
    eventually("both are quarantined", || {
        [&a, &b].iter().all(|kernel| kernel.stats().condition == Condition::Quarantined)
    })
    .await;
    let error = call(&a, Do::Count).await.unwrap_err();
    assert!(error.to_string().contains("`b` of its group"), "{error}");
    assert!(runtime.lift_quarantine("b").await.unwrap());
    eventually("b is tried", || b.stats().condition == Condition::OnTrial).await;
    eventually("a serves", || a.stats().condition == Condition::Serving).await;
    assert_eq!((count(&a).await, count(&b).await), (1, 1));
    eventually("b serves", || b.stats().condition == Condition::Serving).await;
    stop(runtime).await;
}

/// Semantics: S27, S29.
#[tokio::test]
async fn a_temporary_kernel_that_ends_while_its_group_is_quarantined_does_not_come_back_with_it() {
    let world = Arc::<World>::default();
    let never = RestartPolicy::permanent().limit(0, Duration::from_secs(60));
    let member = |name, policy| spec(name, &world).group("siblings").restart(policy);
    let runtime = builder()
        .with_group("siblings", Strategy::OneForAll)
        .with_kernel(member("a", never.quarantine_until_lifted()))
        .with_kernel(member("b", RestartPolicy::temporary()))
        .build()
        .unwrap();
    runtime.start().await.unwrap();
    let (a, b) = (runtime.kernel("a").unwrap(), runtime.kernel("b").unwrap());
    let in_flight = call(&b, Do::HoldAndPanic);
    let quarantine = async {
        eventually("b holds", || world.read().contains(&"b holds".into())).await;
        call(&a, Do::Panic).await.unwrap_err();
        eventually("b is quarantined with it", || b.stats().condition == Condition::Quarantined)
            .await;
        world.let_go.notify_one();
    };
    futures_util::future::join(in_flight, quarantine).await.0.unwrap_err();
    eventually("b has ended", || b.stats().condition == Condition::Ended).await;
    assert!(runtime.lift_quarantine("a").await.unwrap());
    eventually("a serves", || a.stats().running == 1).await;
    assert_eq!(count(&a).await, 1);
    let error = call(&b, Do::Count).await.unwrap_err();
    assert!(
        matches!(error, CallError::Rejected { rejection: Rejection::Ended { .. }, .. }),
        "{error}"
    );
    stop(runtime).await;
}

/// Semantics: S28.
#[tokio::test]
async fn requests_in_flight_finish_before_their_group_is_restarted_and_those_that_wait_are_kept() {
    let (runtime, world, a, b) = siblings(RestartPolicy::permanent()).await;
    let in_flight = call(&a, Do::Hold);
    let waiting = futures_util::future::join_all((0..9).map(|_| call(&a, Do::Count)));
    let crash = async {
        call(&b, Do::Panic).await.unwrap_err();
        eventually("b is down", || b.stats().condition == Condition::Restarting).await;
        // (Nothing shows that `a` has been told to leave; it is told at once.)
        tokio::time::sleep(Duration::from_millis(500)).await;
        world.let_go.notify_one();
    };
    let (in_flight, waiting, ()) = futures_util::future::join3(in_flight, waiting, crash).await;
    assert_eq!(in_flight.unwrap(), 1);
    let counts: Vec<u64> = waiting.into_iter().map(Result::unwrap).collect();
    assert_eq!(counts, (1..=9).collect::<Vec<_>>(), "by fresh state");
    stop(runtime).await;
}

#[tokio::test]
async fn a_kernel_is_restarted_by_hand_and_its_group_with_it() {
    let (runtime, _, a, b) = siblings(RestartPolicy::permanent()).await;
    assert_eq!((count(&a).await, count(&b).await), (1, 1));
    runtime.restart_kernel("a").await.unwrap();
    eventually("both are restarted", || a.stats().restarts + b.stats().restarts == 2).await;
    assert_eq!((count(&a).await, count(&b).await), (1, 1));
    assert!(runtime.restart_kernel("nobody").await.is_err());
    stop(runtime).await;
}

#[test]
fn a_group_that_the_runtime_does_not_have_is_refused() {
    let world = Arc::<World>::default();
    let error = builder().with_kernel(spec("a", &world).group("famliy")).build().unwrap_err();
    assert!(error.to_string().contains("`famliy`"), "{error}");
    let timeout = std::time::Duration::from_secs(3600);
    let error = builder().with_kernel(spec("a", &world).shutdown_timeout(timeout)).build();
    assert!(error.unwrap_err().to_string().contains("longer than the runtime's"));
}

//! What can be changed while a runtime runs has its effect, all at once or not at all.

use std::sync::Arc;
use std::time::Duration;

use rustkernel_core::kernel::{ChangeError, KernelChange};
use rustkernel_core::memory::PressureThresholds;
use rustkernel_core::observability::LogLevel;
use rustkernel_core::prelude::*;
use rustkernel_core::runtime::{LiveConfig, ReconfigureError};
use rustkernel_tests::{builder, eventually, within_a_minute};
use tokio::sync::Semaphore;

const MIB: usize = 1 << 20;

/// Waits for a permit.
struct Waits(Arc<Semaphore>);

impl Kernel for Waits {
    type Request = ();
    type Response = ();

    async fn execute(&mut self, (): (), _: &mut KernelContext) -> KernelResult {
        self.0.acquire().await.map_err(KernelError::failed)?.forget();
        Ok(())
    }
}

/// A running runtime with the kernel `waits`, whose queue was made for four.
async fn start(gate: &Arc<Semaphore>) -> Runtime {
    let gate = Arc::clone(gate);
    let memory = MemoryConfig { max_gpu_memory: 64 * MIB as u64, ..MemoryConfig::default() };
    let waits = KernelSpec::new("waits", move || Waits(Arc::clone(&gate))).queue(4);
    let runtime = builder().with_memory(memory).with_kernel(waits).build().unwrap();
    runtime.start().await.unwrap();
    runtime
}

fn of_waits(change: KernelChange) -> LiveConfig {
    LiveConfig { kernels: [("waits".to_owned(), change)].into(), ..LiveConfig::default() }
}

fn queue(bound: usize) -> LiveConfig {
    of_waits(KernelChange { queue: Some(bound), ..KernelChange::default() })
}

#[tokio::test]
async fn a_queue_bound_holds_for_the_next_request_and_opens_again() {
    let gate = Arc::new(Semaphore::new(0));
    let runtime = start(&gate).await;
    let waits = runtime.kernel::<Waits>("waits").unwrap();
    let mut calls: Vec<_> = (0..3).map(|_| Box::pin(waits.call(()))).collect();
    for call in &mut calls {
        assert!(futures_util::poll!(call).is_pending());
    }
    runtime.reconfigure(&queue(2)).unwrap();
    let error = waits.try_call(()).await.unwrap_err();
    let full = |error: &CallError<()>, most: usize| match error {
        CallError::Rejected { rejection: Rejection::QueueFull { bound, .. }, .. } => *bound == most,
        _ => false,
    };
    assert!(full(&error, 2), "three are open, which is more than two: {error}");
    gate.add_permits(2);
    let last = calls.pop().unwrap();
    within_a_minute(futures_util::future::join_all(calls))
        .await
        .into_iter()
        .for_each(|answer| answer.unwrap());
    let mut second = Box::pin(waits.try_call(()));
    assert!(futures_util::poll!(&mut second).is_pending(), "there is room for it");
    assert!(full(&waits.try_call(()).await.unwrap_err(), 2));

    // Who waits for room has it when the bound is raised.
    let mut waiting = Box::pin(waits.call(()));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    let open = || runtime.stats().kernels[0].open;
    assert_eq!(open(), 2);
    runtime.reconfigure(&queue(4)).unwrap();
    assert!(futures_util::poll!(&mut waiting).is_pending());
    assert_eq!(open(), 3);
    gate.add_permits(3);
    let all = futures_util::future::join3(last, second, waiting);
    let (last, second, waiting) = within_a_minute(all).await;
    assert!(last.is_ok() && second.is_ok() && waiting.is_ok());
    assert!(runtime.shutdown().await.unwrap().is_clean());
}

#[tokio::test]
async fn a_deadline_holds_for_the_requests_that_come_after() {
    let gate = Arc::new(Semaphore::new(0));
    let runtime = start(&gate).await;
    let waits = runtime.kernel::<Waits>("waits").unwrap();
    let mut before = Box::pin(waits.call(()));
    assert!(futures_util::poll!(&mut before).is_pending());
    let short = Some(Duration::from_millis(20));
    runtime
        .reconfigure(&of_waits(KernelChange { deadline: Some(short), ..KernelChange::default() }))
        .unwrap();
    assert_eq!(runtime.stats().kernels[0].deadline, short);
    let error = within_a_minute(waits.call(())).await.unwrap_err();
    assert!(
        matches!(error, CallError::Cancelled(Cancellation::DeadlineExceeded { .. })),
        "{error}"
    );
    assert!(
        futures_util::poll!(&mut before).is_pending(),
        "its deadline is the one that it came with"
    );
    gate.add_permits(1);
    within_a_minute(before).await.unwrap();
    let none = KernelChange { deadline: Some(None), ..KernelChange::default() };
    runtime.reconfigure(&of_waits(none)).unwrap();
    assert_eq!(runtime.stats().kernels[0].deadline, None);
    runtime.shutdown().await.unwrap();
}

#[tokio::test]
async fn pressure_thresholds_move_the_level_though_no_byte_does() {
    let runtime = start(&Arc::new(Semaphore::new(0))).await;
    let memory = runtime.memory().unwrap();
    let held = memory.allocate(32 * MIB).unwrap();
    assert_eq!(memory.pressure(), PressureLevel::Normal);
    let set = |warning, critical| {
        let pressure_thresholds = Some(PressureThresholds { warning, critical, emergency: 0.95 });
        runtime.reconfigure(&LiveConfig { pressure_thresholds, ..LiveConfig::default() }).unwrap();
    };
    set(0.3, 0.85);
    eventually("it rises", || memory.pressure() == PressureLevel::Warning).await;
    set(0.2, 0.4);
    eventually("it rises on", || memory.pressure() == PressureLevel::Critical).await;
    set(0.7, 0.85);
    eventually("it falls", || memory.pressure() == PressureLevel::Normal).await;
    memory.deallocate(held);
    assert!(runtime.shutdown().await.unwrap().is_clean());
}

#[tokio::test]
async fn what_cannot_be_changed_is_all_told_and_then_nothing_is_changed() {
    let runtime = start(&Arc::new(Semaphore::new(0))).await;
    let mut live = queue(5);
    live.kernels.insert("wait".into(), KernelChange::default());
    live.log_level = Some(LogLevel::Error);
    live.pressure_thresholds =
        Some(PressureThresholds { warning: 0.1, ..PressureThresholds::default() });
    let error = runtime.reconfigure(&live).unwrap_err();
    let ReconfigureError::Kernels(errors) = &error else { panic!("{error}") };
    let too_long = ChangeError::QueueTooLong { kernel: "waits".into(), asked: 5, capacity: 4 };
    assert!(errors.contains(&too_long) && too_long.needs_restart(), "{error}");
    let unknown = ChangeError::Unknown { name: "wait".into(), known: vec!["waits".into()] };
    assert!(errors.contains(&unknown) && !unknown.needs_restart(), "{error}");
    assert_eq!(runtime.log_level(), Some(LogLevel::Off));

    let no_time = KernelChange { deadline: Some(Some(Duration::ZERO)), ..KernelChange::default() };
    let wrong = PressureThresholds { warning: 0.9, ..PressureThresholds::default() };
    let mut thresholds = queue(1);
    thresholds.pressure_thresholds = Some(wrong);
    for live in [queue(0), of_waits(no_time), thresholds] {
        runtime.reconfigure(&live).unwrap_err();
    }
    assert_eq!(runtime.stats().kernels[0].queue, 4, "as it was");
    let memory = runtime.memory().unwrap();
    let held = memory.allocate(32 * MIB).unwrap();
    assert!(runtime.responds(Duration::from_secs(10)).await);
    assert_eq!(memory.pressure(), PressureLevel::Normal, "the thresholds are those of before");
    drop(held);

    live = LiveConfig { log_level: Some(LogLevel::Error), ..LiveConfig::default() };
    runtime.reconfigure(&live).unwrap();
    assert_eq!(runtime.log_level(), Some(LogLevel::Error));
    runtime.shutdown().await.unwrap();
    let stopped = ReconfigureError::NotRunning(LifecycleState::Stopped);
    assert_eq!(runtime.reconfigure(&live), Err(stopped));
    // (The last thing that its thread does may be to answer.)
    within_a_minute(async { while runtime.responds(Duration::from_secs(10)).await {} }).await;
}

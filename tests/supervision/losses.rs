//! Devices that are lost, over the fake driver: who is told, what is kept, where kernels go.

use std::time::Duration;

use fake_cuda::{Fault, Point, inject};
use rustkernel_core::kernel::{Condition, Devices, Effects};
use rustkernel_core::prelude::*;
use rustkernel_core::runtime::{Events, OnDeviceLoss, StopReason};
use rustkernel_gpu::DeviceError;
use rustkernel_tests::adding::{Add, AddRequest, add, numbers};
use rustkernel_tests::{builder, eventually, fake, within_a_minute};

use super::child::now;

const STICKY: [u32; 4] = [700, 710, 714, 719];
const RESET: &str = "cuDevicePrimaryCtxReset_v2";

/// A runtime on one fake device and the host, with such kernels.
async fn running(
    of: impl FnOnce(RuntimeBuilder) -> RuntimeBuilder,
    kernels: Vec<KernelSpec<Add>>,
) -> (u32, Runtime, Vec<KernelRef<Add>>) {
    let ordinal = fake::claim();
    let devices = [DeviceId::Cuda(ordinal), DeviceId::Host];
    let mut builder = of(builder().with_gpu_enabled(true).with_devices(devices));
    let names: Vec<String> = kernels.iter().map(|spec| spec.name().to_owned()).collect();
    for spec in kernels {
        builder = builder.with_kernel(spec);
    }
    let runtime = builder.build().unwrap();
    runtime.start().await.unwrap();
    let kernels = names.iter().map(|name| runtime.kernel(name).unwrap()).collect();
    (ordinal, runtime, kernels)
}

fn on(ordinal: u32, fault: Fault) {
    inject(fault.on_device(ordinal as usize));
}

fn is_lost(error: &CallError<AddRequest>) -> bool {
    matches!(error, CallError::Failed(KernelError::Device(DeviceError::Lost { .. })))
}

async fn heard(events: &mut Events, expected: impl Fn(&RuntimeEvent) -> bool) {
    eventually("it is told", || {
        std::iter::from_fn(|| events.try_next())
            .any(|heard| matches!(heard, Heard::Event(event) if expected(&event)))
    })
    .await;
}

async fn check(kernel: &KernelRef<Add>) {
    assert_eq!(within_a_minute(kernel.call(numbers(4))).await.unwrap(), [0.0, 2.0, 4.0, 6.0]);
}

async fn stop(runtime: Runtime, ordinal: u32) {
    let report = within_a_minute(runtime.shutdown()).await.unwrap();
    assert!(report.is_clean() && report.ledger.is_balanced(), "{report:?}");
    let ledger = fake::ledger(ordinal);
    assert_eq!(ledger.stale, [""; 0], "handles of a lost epoch were passed to the driver");
    assert_eq!((ledger.device_bytes, ledger.registered_bytes), (0, 0), "{ledger:?}");
}

/// Semantics: S4, S35, S36, S37, S39.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_flight_is_told_at_once_and_what_waits_is_served_when_the_device_is_back() {
    let host = add(DeviceChoice::On(DeviceId::Host));
    let (ordinal, runtime, kernels) =
        running(|builder| builder, vec![add(DeviceChoice::Auto).instances(2), host]).await;
    let [cuda, host] = &kernels[..] else { unreachable!("there are two") };
    let mut events = runtime.events();
    check(cuda).await;
    let gate = fake_cuda::hold("saxpy", Some(ordinal as usize));
    let calls: Vec<_> = (0..10)
        .map(|_| {
            let cuda = cuda.clone();
            tokio::spawn(async move {
                let answer = cuda.call(numbers(4)).await;
                (answer, now())
            })
        })
        .collect();
    eventually("both instances are at work", || gate.arrived() == 2).await;
    on(ordinal, Fault::call("cuEventQuery", 719).sticky());
    let start = now();
    check(host).await;
    gate.open();
    let (mut lost, mut served) = (0, 0);
    for call in calls {
        match within_a_minute(call).await.unwrap() {
            (Ok(sums), _) => {
                assert_eq!(sums, [0.0, 2.0, 4.0, 6.0]);
                served += 1;
            }
            (Err(error), at) => {
                assert!(is_lost(&error) && error.is_retryable(), "{error}");
                assert_eq!(error.effects(), Effects::Possible);
                assert!(at - start < Duration::from_millis(500), "{:?}", at - start);
                lost += 1;
            }
        }
    }
    assert_eq!((lost, served), (2, 8), "those in flight; those that waited");
    let device = DeviceId::Cuda(ordinal);
    heard(
        &mut events,
        |event| matches!(event, RuntimeEvent::DeviceLost { device: lost, .. } if *lost == device),
    )
    .await;
    heard(&mut events, |event| *event == RuntimeEvent::DeviceRecovered { device }).await;
    assert_eq!(host.stats().restarts, 0, "it has nothing to do with this");
    assert_eq!((cuda.stats().restarts, cuda.stats().condition), (2, Condition::Serving));
    assert!(runtime.stats().devices[0].lost.is_none());
    stop(runtime, ordinal).await;
}

/// Semantics: S22, S36.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kernels_of_a_device_that_does_not_come_back_move_or_end() {
    let ordinal = fake::claim();
    let device = DeviceId::Cuda(ordinal);
    let builder = builder().with_gpu_enabled(true).with_devices([device, DeviceId::Host]);
    let runtime = builder
        .with_kernel(add(DeviceChoice::Auto))
        .with_kernel(add(DeviceChoice::On(device)))
        .build()
        .unwrap();
    runtime.start().await.unwrap();
    let mut events = runtime.events();
    let auto = runtime.kernel::<Add>("add Auto").unwrap();
    let pinned = runtime.kernel::<Add>(&format!("add {:?}", DeviceChoice::On(device))).unwrap();
    check(&auto).await;
    on(ordinal, Fault::call(RESET, 999).from_then_on());
    on(ordinal, Fault::call("cuEventQuery", 700).sticky());
    assert!(is_lost(&within_a_minute(pinned.call(numbers(4))).await.unwrap_err()));
    // It waits while the device is tried again, for some seconds.
    check(&auto).await;
    assert_eq!(auto.stats().devices, [DeviceId::Host]);
    heard(&mut events, |event| matches!(event, RuntimeEvent::DeviceOut { .. })).await;
    eventually("the other has ended", || pinned.stats().condition == Condition::Ended).await;
    let error = pinned.call(numbers(4)).await.unwrap_err();
    assert!(
        matches!(error, CallError::Rejected { rejection: Rejection::Ended { .. }, .. }),
        "{error}"
    );
    assert!(runtime.stats().devices[0].lost.is_some());
    let report = within_a_minute(runtime.shutdown()).await.unwrap();
    assert!(report.is_clean() && report.ledger.is_balanced(), "{report:?}");
}

/// Semantics: S38.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runtime_can_end_with_its_device_once_all_others_are_served() {
    let kernels = vec![add(DeviceChoice::Auto), add(DeviceChoice::On(DeviceId::Host))];
    let exit = |builder: RuntimeBuilder| builder.with_device_loss(OnDeviceLoss::Exit);
    let (ordinal, runtime, kernels) = running(exit, kernels).await;
    on(ordinal, Fault::call("cuEventQuery", 714).sticky());
    assert!(is_lost(&within_a_minute(kernels[0].call(numbers(4))).await.unwrap_err()));
    let report = within_a_minute(runtime.stopped()).await;
    assert_eq!(report.reason, StopReason::DeviceLost(DeviceId::Cuda(ordinal)));
    assert!(report.ledger.is_balanced(), "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_nobody_uses_is_found_lost_by_the_health_check() {
    let often =
        |builder: RuntimeBuilder| builder.with_health_check_interval(Duration::from_millis(20));
    let (ordinal, runtime, kernels) = running(often, vec![add(DeviceChoice::Auto)]).await;
    let mut events = runtime.events();
    check(&kernels[0]).await;
    on(ordinal, Fault::at(Point::AnyCall, 710).sticky());
    heard(&mut events, |event| matches!(event, RuntimeEvent::DeviceRecovered { .. })).await;
    check(&kernels[0]).await;
    stop(runtime, ordinal).await;
}

/// Fails by refused calls, which breaks nothing; and says how often it was opened.
#[derive(Default)]
struct Refused;

impl Kernel for Refused {
    type Request = ();
    type Response = ();

    const DEVICES: Devices = Devices::Cuda;

    async fn execute(&mut self, (): (), cx: &mut KernelContext) -> KernelResult {
        cx.upload(&[1u8]).await?;
        cx.stream().completion()?.await?;
        Ok(())
    }
}

#[tokio::test]
async fn requests_in_a_row_that_the_driver_refuses_restart_the_kernel() {
    let ordinal = fake::claim();
    let spec = KernelSpec::new("refused", || Refused)
        .restart(RestartPolicy::permanent().launch_failures(3));
    let builder = builder().with_gpu_enabled(true).with_devices([DeviceId::Cuda(ordinal)]);
    let runtime = builder.with_kernel(spec).build().unwrap();
    runtime.start().await.unwrap();
    let kernel = runtime.kernel::<Refused>("refused").unwrap();
    let refuse = || on(ordinal, Fault::call("cuMemcpyHtoDAsync_v2", 1));
    for fails in [true, true, false, true, true] {
        if fails {
            refuse();
        }
        assert_eq!(kernel.call(()).await.is_err(), fails);
    }
    assert_eq!(kernel.stats().restarts, 0, "not in a row");
    refuse();
    kernel.call(()).await.unwrap_err();
    eventually("it is restarted", || kernel.stats().restarts == 1).await;
    kernel.call(()).await.unwrap();
    runtime.shutdown().await.unwrap();
}

/// How many calls of the driver, from the first on, the device is lost at.
fn calls() -> u64 {
    std::env::var("LOSSES").map_or(50, |text| text.parse().unwrap())
}

/// `LOSSES=200` for the full size.
/// Semantics: S1, S35, S37.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_lost_at_any_call_under_load_answers_everything_and_comes_back() {
    let (ordinal, runtime, kernels) =
        running(|builder| builder, vec![add(DeviceChoice::Auto).instances(2)]).await;
    let kernel = &kernels[0];
    let (mut failed, mut losses) = (0, 0);
    for (k, code) in (1..=calls()).flat_map(|k| STICKY.map(|code| (k, code))) {
        on(ordinal, Fault::at(Point::AnyCall, code).nth(k).sticky());
        let calls = (1..=4).map(|n| kernel.call(numbers(100 * n)));
        for answer in within_a_minute(futures_util::future::join_all(calls)).await {
            match answer {
                Ok(sums) => {
                    assert!(sums.iter().enumerate().all(|(n, sum)| *sum == 2.0 * n as f32));
                }
                Err(error) => {
                    assert!(is_lost(&error), "{code} at {k}: {error}");
                    failed += 1;
                }
            }
        }
        fake_cuda::clear_faults_on(ordinal as usize);
        losses += u64::from(runtime.stats().devices[0].lost.is_some());
        // (A loss that nobody has met yet is met now.)
        let answer = within_a_minute(kernel.call(numbers(4))).await;
        assert!(answer.as_ref().map_or_else(is_lost, |sums| sums.len() == 4), "{answer:?}");
    }
    check(kernel).await;
    assert!(failed > calls(), "{failed} of {} losses", calls() * 4);
    assert!(losses < calls() * 4);
    stop(runtime, ordinal).await;
}

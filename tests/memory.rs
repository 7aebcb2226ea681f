//! Memory: really allocated and reused, reserved before it is needed, given back at the end.

use std::time::Duration;

use futures_util::future::join_all;
use rustkernel_core::kernel::Need;
use rustkernel_core::memory::{KernelMemoryManager, MemoryConfig, MemoryKind, PressureLevel};
use rustkernel_core::prelude::*;
use rustkernel_core::runtime::StartError;
use rustkernel_gpu::host::{HostOptions, ThreadBudget};
use rustkernel_gpu::{Device, DeviceError, host};
use rustkernel_kernels as kernels;
use rustkernel_kernels::gemm::{Gemm, GemmRequest};
use rustkernel_kernels::histogram::{Histogram, HistogramRequest};
use rustkernel_tests::{builder, eventually, within_a_minute};

const MIB: u64 = 1 << 20;

fn small() -> MemoryConfig {
    MemoryConfig {
        max_gpu_memory: 64 * MIB,
        max_staging_memory: 16 * MIB,
        ..MemoryConfig::default()
    }
}

fn host_device() -> Device {
    host::open(HostOptions {
        name: "test".into(),
        memory_bytes: 64 * MIB,
        staging_bytes: 16 * MIB,
        threads: ThreadBudget::new(2),
    })
}

fn manager(config: MemoryConfig) -> KernelMemoryManager {
    KernelMemoryManager::on(&host_device(), &config)
}

#[test]
fn memory_is_real_page_aligned_and_reused() {
    let manager = manager(small());
    let mut buffer = manager.allocate(MIB as usize).unwrap();
    assert_eq!(buffer.address() % 4096, 0);
    buffer.as_mut_slice().unwrap().fill(7);
    assert_eq!((buffer.len(), buffer.as_slice().unwrap()[MIB as usize - 1]), (MIB as usize, 7));
    let address = buffer.address();
    assert_eq!((manager.stats().allocated_bytes, manager.stats().pool_utilization), (MIB, 1.0));
    manager.deallocate(buffer);
    let stats = manager.stats();
    assert_eq!((stats.allocated_bytes, stats.device.cached, stats.pool_utilization), (0, MIB, 0.0));
    let again = manager.allocate(MIB as usize - 100).unwrap();
    assert_eq!(again.address(), address, "the block is used again");
    assert_eq!((manager.stats().device.hits, manager.stats().device.growths), (1, 1));
}

#[test]
fn the_limit_is_kept_and_says_so() {
    let manager = manager(small());
    let half = manager.allocate(32 * MIB as usize).unwrap();
    let error = manager.allocate(40 * MIB as usize).unwrap_err();
    let DeviceError::OutOfMemory { free, limit, .. } = error else { panic!("{error}") };
    assert_eq!((free, limit), (32 * MIB, 64 * MIB));
    drop(half);
    manager.allocate(40 * MIB as usize).unwrap();
    for asked in [65 * MIB as usize, usize::MAX] {
        assert!(matches!(manager.allocate(asked), Err(DeviceError::OutOfMemory { .. })));
    }
    assert!(manager.allocate(0).unwrap().is_empty());
}

#[test]
fn free_pages_move_to_where_they_are_needed_unless_told_not_to() {
    for auto_defrag in [true, false] {
        let manager = manager(MemoryConfig { auto_defrag, ..small() });
        let mut blocks: Vec<_> =
            (0..16).map(|_| manager.allocate(4 * MIB as usize).unwrap()).collect();
        for (number, block) in blocks.iter_mut().enumerate() {
            block.as_mut_slice().unwrap().fill(number as u8);
        }
        // Every other goes: half of the memory is free, in pieces of 4 MiB.
        let mut number = 0;
        blocks.retain(|_| {
            number += 1;
            number % 2 == 0
        });
        assert_eq!(manager.stats().device.cached, 32 * MIB);
        // Not so much that pressure would have them given back.
        let large = manager.allocate(16 * MIB as usize);
        assert_eq!(large.is_ok(), auto_defrag, "{large:?}");
        if let Ok(mut large) = large {
            large.as_mut_slice().unwrap().fill(255);
            assert_eq!(manager.stats().device.remaps, 1);
        }
        for (number, block) in blocks.iter().enumerate() {
            let bytes = block.as_slice().unwrap();
            assert!(bytes.iter().all(|byte| usize::from(*byte) == 2 * number + 1), "{number}");
        }
    }
}

#[test]
fn without_pooling_each_allocation_really_allocates_and_releases() {
    let manager = manager(MemoryConfig { pooling_enabled: false, ..small() });
    for _ in 0..5 {
        let buffer = manager.allocate(MIB as usize).unwrap();
        manager.deallocate(buffer);
    }
    let stats = manager.stats().device;
    assert_eq!((stats.growths, stats.releases, stats.hits, stats.mapped), (5, 5, 0, 0));
}

#[test]
fn a_manager_of_its_own_keeps_the_pressure_level() {
    let manager = manager(small());
    let mut held = Vec::new();
    let mut levels = vec![manager.pressure()];
    while let Ok(buffer) = manager.allocate(MIB as usize) {
        held.push(buffer);
        if manager.pressure() != levels[levels.len() - 1] {
            levels.push(manager.pressure());
        }
    }
    assert_eq!((levels.as_slice(), held.len()), (&PressureLevel::ALL[..], 64));
    held.into_iter().for_each(|buffer| manager.deallocate(buffer));
    assert_eq!(manager.pressure(), PressureLevel::Normal);
}

/// Holds device memory for as long as it is told.
struct Hold;

#[derive(Clone, Copy)]
struct HoldRequest {
    declared: u64,
    held: usize,
    time: Duration,
}

impl Kernel for Hold {
    type Request = HoldRequest;
    type Response = ();

    async fn execute(&mut self, request: HoldRequest, cx: &mut KernelContext) -> KernelResult {
        let mut buffer = cx.alloc::<u8>(request.held).await?;
        cx.stream().fill(&mut buffer, 1)?;
        tokio::time::sleep(request.time).await;
        Ok(())
    }
}

fn hold(instances: usize) -> KernelSpec<Hold> {
    KernelSpec::new("hold", || Hold)
        .instances(instances)
        .memory(|request: &HoldRequest| request.declared)
}

fn request(mebibytes: u64, millis: u64) -> HoldRequest {
    let bytes = mebibytes * MIB;
    HoldRequest { declared: bytes, held: bytes as usize, time: Duration::from_millis(millis) }
}

async fn running(spec: KernelSpec<Hold>, memory: MemoryConfig) -> (Runtime, KernelRef<Hold>) {
    let runtime = builder().with_memory(memory).with_kernel(spec).build().unwrap();
    runtime.start().await.unwrap();
    let kernel = runtime.kernel::<Hold>("hold").unwrap();
    (runtime, kernel)
}

async fn stop(runtime: Runtime) {
    let report = within_a_minute(runtime.shutdown()).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    let device = &runtime.stats().devices[0];
    for memory in [&device.device, &device.staging] {
        assert_eq!((memory.live, memory.committed, memory.mapped), (0, 0, 0), "all memory is back");
    }
}

#[tokio::test]
async fn a_request_is_given_what_it_declared_and_waits_for_it() {
    // Thresholds out of the way: four requests of which two fit.
    let memory = MemoryConfig {
        pressure_threshold: 0.96,
        critical_threshold: 0.97,
        emergency_threshold: 0.98,
        ..small()
    };
    let (runtime, kernel) = running(hold(4), memory).await;
    let answers = within_a_minute(join_all((0..40).map(|_| kernel.call(request(26, 2))))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let stats = runtime.stats().devices[0].device.clone();
    assert!(stats.peak_live > 26 * MIB && stats.peak_live <= 64 * MIB, "{stats:?}");
    assert!(stats.hits > 30, "blocks are reused: {stats:?}");
    let learned = kernel.stats().memory.device;
    assert_eq!((learned.requests, learned.max, learned.declared), (40, 26 * MIB, 26 * MIB));
    assert_eq!((learned.p99_9, kernel.stats().memory.staging.max), (26 * MIB, 0));
    stop(runtime).await;
}

#[tokio::test]
async fn a_request_that_can_never_fit_is_refused_at_once_and_comes_back() {
    let (runtime, kernel) = running(hold(1), small()).await;
    let error = kernel.call(request(65, 0)).await.unwrap_err();
    let CallError::Rejected { rejection: Rejection::NeverFits { limit, .. }, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!((*limit, error.is_retryable()), (64 * MIB, false));
    assert_eq!(error.into_request().unwrap().declared, 65 * MIB);
    stop(runtime).await;
}

#[tokio::test]
async fn a_request_that_declared_too_little_fails_alone() {
    let (runtime, kernel) = running(hold(1), small()).await;
    let greedy = HoldRequest { declared: MIB, ..request(8, 0) };
    let error = kernel.call(greedy).await.unwrap_err();
    let CallError::Failed(KernelError::Device(DeviceError::DeclaredTooLittle { declared, .. })) =
        &error
    else {
        panic!("{error}")
    };
    assert_eq!(*declared, MIB);
    kernel.call(request(8, 0)).await.unwrap();
    assert_eq!(kernel.stats().restarts, 0);
    stop(runtime).await;
}

#[tokio::test]
async fn what_is_not_declared_is_learned_too() {
    let spec = KernelSpec::new("hold", || Hold);
    let (runtime, kernel) = running(spec, small()).await;
    for mebibytes in [3, 8, 5] {
        kernel.call(request(mebibytes, 0)).await.unwrap();
    }
    let learned = kernel.stats().memory;
    assert_eq!((learned.device.requests, learned.device.max), (3, 8 * MIB));
    assert_eq!((learned.device.p99_9, learned.device.declared), (8 * MIB, 0));
    assert_eq!(learned.staging.max, 0);
    stop(runtime).await;
}

#[tokio::test]
async fn a_reservation_waits_no_longer_than_its_deadline() {
    let memory = MemoryConfig {
        pressure_threshold: 0.96,
        critical_threshold: 0.97,
        emergency_threshold: 0.98,
        ..small()
    };
    let (runtime, kernel) = running(hold(2), memory).await;
    let long = kernel.call(request(50, 400));
    let short = async {
        eventually("the first holds its memory", || runtime.stats().devices[0].device.live > 0)
            .await;
        let error =
            kernel.call_within(request(30, 0), Duration::from_millis(40)).await.unwrap_err();
        let expired = matches!(
            &error,
            CallError::Cancelled(Cancellation::DeadlineExceeded { .. })
                | CallError::Rejected { rejection: Rejection::OutOfMemory { .. }, .. }
        );
        assert!(expired, "{error}");
    };
    let (long, ()) = within_a_minute(futures_util::future::join(long, short)).await;
    long.unwrap();
    stop(runtime).await;
}

#[tokio::test]
async fn pressure_moves_through_its_levels_and_critical_refuses() {
    let (runtime, kernel) = running(hold(1), small()).await;
    let mut events = runtime.events();
    let memory = runtime.memory().unwrap();
    let level = || runtime.stats().devices[0].pressure;

    let mut held = vec![memory.allocate(46 * MIB as usize).unwrap()];
    eventually("warning", || level() == PressureLevel::Warning).await;
    kernel.call(request(1, 0)).await.unwrap();

    held.push(memory.allocate(10 * MIB as usize).unwrap());
    eventually("critical", || level() == PressureLevel::Critical).await;
    let error = kernel.call(request(1, 0)).await.unwrap_err();
    let refused =
        Rejection::UnderPressure { device: DeviceId::Host, level: PressureLevel::Critical };
    assert!(
        matches!(&error, CallError::Rejected { rejection, .. } if *rejection == refused),
        "{error}"
    );
    let other = KernelSpec::new("other", || Hold);
    let error = runtime.add_kernel(other).await.unwrap_err();
    assert!(matches!(error, StartError::UnderPressure { .. }), "{error}");

    held.push(memory.allocate(6 * MIB as usize).unwrap());
    eventually("emergency", || level() == PressureLevel::Emergency).await;
    held.clear();
    eventually("normal", || level() == PressureLevel::Normal).await;
    kernel.call(request(1, 0)).await.unwrap();
    runtime.add_kernel(KernelSpec::new("other", || Hold)).await.unwrap();

    let mut moves = Vec::new();
    while let Some(heard) = events.try_next() {
        if let Heard::Event(RuntimeEvent::PressureChanged { from, to, .. }) = heard {
            moves.push((from, to));
        }
    }
    use PressureLevel::{Critical, Emergency, Normal, Warning};
    assert_eq!(moves[..3], [(Normal, Warning), (Warning, Critical), (Critical, Emergency)]);
    assert_eq!(moves.last().map(|(_, to)| *to), Some(Normal));
    stop(runtime).await;
}

/// Semantics: S44.
#[tokio::test]
async fn memory_that_a_caller_still_holds_is_told_at_the_end() {
    let (runtime, _) = running(hold(1), small()).await;
    let held = runtime.memory().unwrap().allocate(MIB as usize).unwrap();
    let report = within_a_minute(runtime.shutdown()).await.unwrap();
    assert_eq!((report.leaked_bytes, report.is_clean()), (MIB, false));
    drop(held);
    assert_eq!(runtime.stats().devices[0].device.live, 0);
}

/// As much memory as its request says, as a result. Semantics: S44.
#[tokio::test]
async fn results_are_memory_of_the_pool_until_they_are_dropped() {
    let spec = kernels::gemm::spec().instances(2);
    let runtime = builder().with_memory(small()).with_kernel(spec).build().unwrap();
    runtime.start().await.unwrap();
    let gemm = runtime.kernel::<Gemm>("gemm").unwrap();
    let square = |side: usize| {
        let (a, b) =
            (Tensor::new([side, 1], vec![2.0; side]), Tensor::new([1, side], vec![3.0; side]));
        GemmRequest { a: a.unwrap(), b: b.unwrap() }
    };
    let stats = || runtime.stats().devices[0].device.clone();

    // Small ones are not worth it.
    let small = gemm.call(square(100)).await.unwrap();
    assert_eq!((small.c.as_slice()[0], stats().live), (6.0, 0));

    let held = gemm.call(square(3000)).await.unwrap();
    assert!(held.c.as_slice().iter().all(|element| *element == 6.0));
    let (live, results) = (stats().live, stats().results);
    assert!((36_000_000..36_100_000).contains(&live) && results == live, "{live} {results}");
    // The next does not fit beside it, and says so in time.
    let error = gemm.call_within(square(3000), Duration::from_millis(50)).await.unwrap_err();
    let expired = matches!(
        &error,
        CallError::Cancelled(Cancellation::DeadlineExceeded { .. })
            | CallError::Rejected { rejection: Rejection::OutOfMemory { .. }, .. }
    );
    assert!(expired, "{error}");
    let error = gemm.call(square(5000)).await.unwrap_err();
    let never =
        matches!(&error, CallError::Rejected { rejection: Rejection::NeverFits { .. }, .. });
    assert!(never, "{error}");
    let copy = held.c.clone();
    drop(held);
    assert_eq!((stats().live, stats().results), (0, 0), "a copy is on the heap");
    let last = gemm.call(square(3000)).await.unwrap();
    assert!(last.c == copy, "in a block that was used before");
    let learned = gemm.stats().memory.device;
    assert!((36_000_000..36_100_000).contains(&learned.max), "{learned:?}");
    assert_eq!(learned.declared, 36_000_000);

    // Who has a result at the end has nothing of the runtime's.
    let report = within_a_minute(runtime.shutdown()).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert!(last.c == copy);
    drop(last);
    let stats = stats();
    assert_eq!((stats.live, stats.results, stats.committed), (0, 0, 0));
}

/// A request of a few bytes asks for counts of megabytes. Semantics: S44.
#[tokio::test]
async fn counts_are_memory_of_the_pool_too() {
    let runtime = builder().with_memory(small()).with_kernel(kernels::histogram::spec()).build();
    let runtime = runtime.unwrap();
    runtime.start().await.unwrap();
    let histogram = runtime.kernel::<Histogram>("histogram").unwrap();
    let request =
        |bins: u32| HistogramRequest { input: vec![0.5].into(), bins, low: 0.0, high: 1.0 };
    let stats = || runtime.stats().devices[0].device.clone();

    let counts = histogram.call(request(1_000_000)).await.unwrap().counts;
    assert_eq!((counts.as_slice()[500_000], counts.as_slice().iter().sum()), (1, 1));
    let (live, results) = (stats().live, stats().results);
    assert!((8_000_000..8_100_000).contains(&live) && results == live, "{live} {results}");
    assert_eq!(histogram.stats().memory.device.declared, 8_000_000);
    drop(counts);
    assert_eq!((stats().live, stats().results), (0, 0));

    // 128 MiB are refused for what they are, more bins for their number.
    let error = histogram.call(request(1 << 24)).await.unwrap_err();
    let never =
        matches!(&error, CallError::Rejected { rejection: Rejection::NeverFits { .. }, .. });
    assert!(never, "{error}");
    let error = histogram.call(request((1 << 24) + 1)).await.unwrap_err();
    assert!(matches!(&error, CallError::Failed(KernelError::InvalidRequest(_))), "{error}");
    stop(runtime).await;
}

/// Squares numbers on a stream of the device, in both directions through staging memory.
struct Square;

impl Kernel for Square {
    type Request = Tensor<f32>;
    type Response = Tensor<f32>;

    async fn execute(
        &mut self,
        x: Tensor<f32>,
        cx: &mut KernelContext,
    ) -> KernelResult<Tensor<f32>> {
        let module = cx.load(&ModuleSource::new().host("square", |arguments| {
            let (x, y) = (arguments.read::<f32>(0)?, arguments.write::<f32>(1)?);
            x.iter().zip(y).for_each(|(x, y)| *y = x * x);
            Ok(())
        }))?;
        let x = cx.upload(x.as_slice()).await?;
        let mut y = cx.alloc::<f32>(x.len()).await?;
        cx.stream().launch(
            &module.function("square")?,
            LaunchConfig::new(1, 1),
            arguments![&x, &mut y],
        )?;
        Ok(cx.download(&y).await?.into())
    }
}

#[tokio::test]
async fn data_goes_through_device_and_staging_memory_unharmed() {
    for placement in [Placement::Dedicated, Placement::Shared] {
        let square = KernelSpec::new("square", || Square)
            .placement(placement)
            .memory_on(|x: &Tensor<f32>, _| Need::device(2 * x.bytes()));
        let runtime = builder().with_kernel(square).build().unwrap();
        runtime.start().await.unwrap();
        let square = runtime.kernel::<Square>("square").unwrap();
        // Empty, small, and more than two chunks of staging memory.
        for len in [0, 1, 1000, 3_000_001] {
            let x: Vec<f32> = (0..len).map(|n| (n % 1000) as f32).collect();
            let expected: Vec<f32> = x.iter().map(|x| x * x).collect();
            let y = within_a_minute(square.call(x.into())).await.unwrap();
            assert!(y.as_slice() == expected, "{len}");
        }
        assert!(runtime.stats().devices[0].staging.peak_live > 0);
        stop(runtime).await;
    }
}

#[test]
fn kinds_have_names() {
    assert_eq!(
        (MemoryKind::Device.to_string(), MemoryKind::Staging.to_string()),
        ("device".into(), "staging".into())
    );
}

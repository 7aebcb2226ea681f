//! Memory pressure: what each level does to requests, and what the application can spare.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use rustkernel_core::memory::{AllocatorStats, MemoryBuffer, MemoryConfig};
use rustkernel_core::prelude::*;
use rustkernel_gpu::DeviceError;
use rustkernel_tests::{builder, eventually, fake, within_a_minute};
use tokio::sync::Notify;
use tokio::time::Instant;

const MIB: usize = 1 << 20;

fn small() -> MemoryConfig {
    MemoryConfig { max_gpu_memory: 64 * MIB as u64, ..MemoryConfig::default() }
}

/// Takes a mebibyte and, if asked to, stays until it is let go.
struct Worker {
    go: Arc<Notify>,
}

#[derive(Clone, Copy, PartialEq)]
enum Work {
    Short,
    Long,
}

impl Kernel for Worker {
    type Request = Work;
    type Response = ();

    async fn execute(&mut self, work: Work, cx: &mut KernelContext) -> KernelResult {
        let _buffer = cx.alloc::<u8>(MIB).await?;
        if work == Work::Long {
            self.go.notified().await;
        }
        Ok(())
    }
}

/// A runtime with a kernel that declares what it takes, and one that does not.
struct World {
    runtime: Runtime,
    declares: KernelRef<Worker>,
    silent: KernelRef<Worker>,
    go: Arc<Notify>,
}

impl World {
    async fn start(builder: RuntimeBuilder) -> Self {
        let go = Arc::new(Notify::new());
        let spec = |name: &str| {
            let go = Arc::clone(&go);
            KernelSpec::new(name, move || Worker { go: Arc::clone(&go) })
        };
        let declares = spec("declares").memory(|_| MIB as u64);
        let builder = builder.with_memory(small()).with_kernel(declares);
        let runtime = builder.with_kernel(spec("silent")).build().unwrap();
        runtime.start().await.unwrap();
        let [declares, silent] =
            ["declares", "silent"].map(|name| runtime.kernel::<Worker>(name).unwrap());
        Self { runtime, declares, silent, go }
    }

    fn hold(&self, mebibytes: usize) -> MemoryBuffer {
        self.runtime.memory().unwrap().allocate(mebibytes * MIB).unwrap()
    }

    fn level(&self) -> PressureLevel {
        self.runtime.stats().devices[0].pressure
    }

    async fn becomes(&self, level: PressureLevel) {
        eventually(level.name(), || self.level() == level).await;
    }

    fn allocator(&self) -> AllocatorStats {
        self.runtime.stats().devices[0].allocator
    }

    async fn stop(self) -> Ledger {
        let report = within_a_minute(self.runtime.shutdown()).await.unwrap();
        assert!(report.is_clean() && report.ledger.is_balanced(), "{report:?}");
        let memory = &self.runtime.stats().devices[0].device;
        assert_eq!((memory.live, memory.committed, memory.mapped), (0, 0, 0));
        report.ledger
    }
}

#[tokio::test]
async fn under_warning_low_priority_waits_for_the_level_and_others_do_not() {
    let world = World::start(builder()).await;
    let held = world.hold(46);
    world.becomes(PressureLevel::Warning).await;
    for (kernel, deferred) in [(&world.declares, 1), (&world.silent, 2)] {
        kernel.call(Work::Short).await.unwrap();
        let low = kernel.with_priority(Priority::Low);
        let waiting = tokio::spawn(async move { low.call(Work::Short).await });
        eventually("it waits", || world.allocator().waiting == 1).await;
        eventually("for the level", || world.allocator().deferred == deferred).await;
        waiting.abort();
        eventually("it was given up", || kernel.stats().open == 0).await;
    }
    let low = world.declares.with_priority(Priority::Low);
    let waiting = tokio::spawn(async move { low.call(Work::Short).await });
    eventually("it waits", || world.allocator().deferred == 3).await;
    drop(held);
    within_a_minute(waiting).await.unwrap().unwrap();
    assert_eq!((world.level(), world.allocator().deferred), (PressureLevel::Normal, 3));
    let ledger = world.stop().await;
    assert_eq!((ledger.completed, ledger.cancelled), (3, 2));
}

#[tokio::test]
async fn a_deferred_request_waits_no_longer_than_its_deadline() {
    let world = World::start(builder()).await;
    let _held = world.hold(46);
    world.becomes(PressureLevel::Warning).await;
    let low = world.declares.with_priority(Priority::Low);
    let error = low.call_within(Work::Short, Duration::from_millis(30)).await.unwrap_err();
    let refused =
        Rejection::UnderPressure { device: DeviceId::Host, level: PressureLevel::Warning };
    match &error {
        CallError::Rejected { rejection, .. } => assert_eq!(*rejection, refused),
        error => {
            assert!(matches!(error, CallError::Cancelled(Cancellation::DeadlineExceeded { .. })))
        }
    }
    assert!(error.is_retryable());
}

#[tokio::test]
async fn under_emergency_low_priority_that_waits_is_cancelled_and_counted() {
    let world = World::start(builder()).await;
    let mut held = vec![world.hold(46)];
    world.becomes(PressureLevel::Warning).await;
    // One waits in the allocator, and behind one that runs there are more in the port.
    let deferred = world.declares.with_priority(Priority::Low);
    let deferred = tokio::spawn(async move { deferred.call(Work::Short).await });
    eventually("it waits", || world.allocator().waiting == 1).await;
    let running = world.silent.clone();
    let running = tokio::spawn(async move { running.call(Work::Long).await });
    eventually("it runs", || world.runtime.stats().devices[0].device.live == 47 * MIB as u64).await;
    let (low, normal) = (world.silent.with_priority(Priority::Low), world.silent.clone());
    let queued = join_all((0..5).map(|_| low.call(Work::Short)));
    let other = normal.call(Work::Short);
    let act = async {
        eventually("they queue", || world.silent.stats().open == 7).await;
        held.push(world.hold(15));
        world.becomes(PressureLevel::Emergency).await;
        let error = within_a_minute(deferred).await.unwrap().unwrap_err();
        assert!(is_pressure(&error), "{error}");
        world.go.notify_one();
    };
    let (queued, other, ()) =
        within_a_minute(futures_util::future::join3(queued, other, act)).await;
    running.await.unwrap().unwrap();
    other.unwrap();
    assert!(queued.iter().all(|answer| answer.as_ref().is_err_and(is_pressure)), "{queued:?}");
    assert_eq!(world.allocator().cancelled, 1);
    drop(held);
    let ledger = world.stop().await;
    assert_eq!((ledger.submitted, ledger.completed, ledger.cancelled), (8, 2, 6));
}

fn is_pressure(error: &CallError<Work>) -> bool {
    let expected = Cancellation::MemoryPressure { device: DeviceId::Host };
    matches!(error, CallError::Cancelled(cancellation) if *cancellation == expected)
        && error.is_retryable()
}

/// Buffers that the application can do without.
type Cache = Arc<Mutex<Vec<MemoryBuffer>>>;

/// Drops one buffer of the cache.
fn spare_one(cache: &Cache) -> u64 {
    cache.lock().unwrap().pop().map_or(0, |buffer| buffer.len() as u64)
}

#[tokio::test]
async fn what_the_application_spares_lets_a_refused_allocation_succeed() {
    let cache = Cache::default();
    let spared = Arc::clone(&cache);
    let world = World::start(builder().with_spill_hook(move |_| spare_one(&spared))).await;
    cache.lock().unwrap().push(world.hold(40));
    let memory = world.runtime.memory().unwrap();
    let large = memory.allocate(60 * MIB).unwrap();
    assert!(cache.lock().unwrap().is_empty());
    let stats = world.allocator();
    assert_eq!((stats.spills, stats.spilled_bytes, stats.spill_panics), (1, 40 * MIB as u64, 0));
    // There is nothing left to spare, and what can never fit is not asked for.
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert!(matches!(memory.allocate(60 * MIB), Err(DeviceError::OutOfMemory { .. })));
    let spills = world.allocator().spills;
    assert!(matches!(memory.allocate(65 * MIB), Err(DeviceError::OutOfMemory { .. })));
    assert_eq!(world.allocator().spills, spills);
    drop(large);
    world.stop().await;
}

#[tokio::test]
async fn a_kernel_that_finds_no_memory_has_the_application_asked_too() {
    let cache = Cache::default();
    let spared = Arc::clone(&cache);
    let world = World::start(builder().with_spill_hook(move |_| spare_one(&spared))).await;
    // (Whether the kernel's lease or `Emergency` asks first does not matter.)
    cache.lock().unwrap().push(world.hold(30));
    let rest = world.hold(34);
    world.silent.call(Work::Short).await.unwrap();
    assert!(world.allocator().spills >= 1);
    drop(rest);
    world.stop().await;
}

#[tokio::test]
async fn under_emergency_the_application_is_asked_until_the_level_falls() {
    let cache = Cache::default();
    let (spared, asked) = (Arc::clone(&cache), Arc::new(Mutex::new(Vec::new())));
    let requests = Arc::clone(&asked);
    let hook = move |request| {
        requests.lock().unwrap().push((request, Instant::now()));
        spare_one(&spared)
    };
    let world = World::start(builder().with_spill_hook(hook)).await;
    let buffers = (0..31).map(|_| world.hold(2));
    cache.lock().unwrap().extend(buffers);
    // Down to 90 % are 4.4 MiB and a byte: three buffers.
    eventually("it is asked", || asked.lock().unwrap().len() >= 3).await;
    world.becomes(PressureLevel::Critical).await;
    let asked = asked.lock().unwrap().clone();
    let (first, _) = asked[0];
    assert_eq!((first.device, first.pressure), (DeviceId::Host, PressureLevel::Emergency));
    assert!(first.bytes > 0 && first.bytes < 8 * MIB as u64, "{first:?}");
    for pair in asked.windows(2) {
        let apart = pair[1].1 - pair[0].1;
        assert!(apart >= Duration::from_millis(45), "{apart:?}");
    }
    cache.lock().unwrap().clear();
    world.stop().await;
}

#[tokio::test]
async fn a_hook_that_panics_or_allocates_harms_nobody() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let manager = Arc::new(Mutex::new(None::<KernelMemoryManager>));
    let own = Arc::clone(&manager);
    let hook = move |_| {
        if counted.fetch_add(1, Ordering::SeqCst) == 0 {
            panic!("nothing to spare");
        }
        let manager = own.lock().unwrap().clone().unwrap();
        // Refused at once: it would have to wait for itself.
        u64::from(manager.allocate(60 * MIB).is_ok())
    };
    let world = World::start(builder().with_spill_hook(hook)).await;
    let memory = world.runtime.memory().unwrap();
    *manager.lock().unwrap() = Some(memory.clone());
    let held = world.hold(40);
    for (call, panics) in [(1, 1), (2, 1)] {
        let error = memory.allocate(40 * MIB).unwrap_err();
        assert!(matches!(error, DeviceError::OutOfMemory { .. }), "{error}");
        assert_eq!(calls.load(Ordering::SeqCst), call);
        assert_eq!(world.allocator().spill_panics, panics);
        // Not asked again within the dwell.
        memory.allocate(40 * MIB).unwrap_err();
        assert_eq!(calls.load(Ordering::SeqCst), call);
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    drop(held);
    world.silent.call(Work::Short).await.unwrap();
    world.stop().await;
}

/// Leases what it declares.
struct Large;

impl Kernel for Large {
    type Request = usize;
    type Response = ();
    const DEVICES: Devices = Devices::Any;

    async fn execute(&mut self, bytes: usize, cx: &mut KernelContext) -> KernelResult {
        cx.alloc::<u8>(bytes).await.map(drop)
    }
}

#[tokio::test]
async fn what_others_hold_of_a_device_is_pressure_and_not_a_limit() {
    let ordinal = fake::claim();
    let device = DeviceId::Cuda(ordinal);
    // (The fake device has 256 MiB.)
    let limit = 200 * MIB as u64;
    let memory = MemoryConfig { max_gpu_memory: limit, ..MemoryConfig::default() };
    let large = KernelSpec::new("large", || Large).memory(|bytes| *bytes as u64);
    let builder = builder().with_gpu_enabled(true).with_devices([device]).with_memory(memory);
    let runtime = builder.with_kernel(large).build().unwrap();
    runtime.start().await.unwrap();
    let (large, manager) =
        (runtime.kernel::<Large>("large").unwrap(), runtime.memory_of(device).unwrap());
    let stats = || manager.stats().device;
    // (A tenth is kept back for parts of pages.)
    let promised = |bytes: u64| bytes - bytes / 10;
    let limit = promised(limit);
    assert_eq!((stats().limit, stats().attainable, stats().foreign), (limit, limit, 0));

    fake_cuda::occupy(ordinal as usize, 128 * MIB as u64);
    eventually("it is seen", || stats().foreign == 128 * MIB as u64).await;
    assert_eq!(stats().attainable, promised(128 * MIB as u64));
    let (never, waits) = (large.clone(), large);
    let error = never.call(201 * MIB).await.unwrap_err();
    assert!(matches!(
        error,
        CallError::Rejected { rejection: Rejection::NeverFits { limit: told, .. }, .. }
            if told == limit
    ));
    let waiting = tokio::spawn(async move { waits.call(150 * MIB).await });
    let allocator = || runtime.stats().devices[0].allocator;
    eventually("it waits for the others", || allocator().waiting == 1).await;
    // 90 % of what is left to promise, 58 % of the limit.
    let held = manager.allocate(108 * MIB).unwrap();
    let level = || runtime.stats().devices[0].pressure;
    eventually("critical", || level() == PressureLevel::Critical).await;
    assert!(matches!(manager.allocate(20 * MIB), Err(DeviceError::OutOfMemory { .. })));
    // Others take nearly all that is left.
    fake_cuda::occupy(ordinal as usize, 135 * MIB as u64);
    eventually("emergency", || level() == PressureLevel::Emergency).await;
    assert!(stats().committed <= stats().attainable, "{:?}", stats());

    drop(held);
    fake_cuda::occupy(ordinal as usize, 0);
    within_a_minute(waiting).await.unwrap().unwrap();
    eventually("normal", || level() == PressureLevel::Normal).await;
    assert_eq!((stats().foreign, stats().attainable), (0, limit));
    let report = within_a_minute(runtime.shutdown()).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
}

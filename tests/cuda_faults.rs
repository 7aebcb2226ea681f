//! A CUDA device that fails, over the fake driver: what is told to whom, and what goes on.

use std::collections::BTreeSet;
use std::time::Duration;

use fake_cuda::{Fault, Ledger, Point, inject};
use futures_executor::block_on;
use rustkernel_core::memory::MemoryConfig;
use rustkernel_core::prelude::*;
use rustkernel_gpu::memory::{BlockSizes, Grown, Lease, Leased, MemoryKind, Need, Shortage};
use rustkernel_gpu::{
    Buffer, Device, DeviceError, DeviceResult, Function, LaunchConfig, Stream, arguments,
};
use rustkernel_tests::adding::{Add, AddRequest, add, numbers};
use rustkernel_tests::rig::{Rig, conformance_module};
use rustkernel_tests::{builder, fake, within_a_minute};

/// Codes after which a context is broken for good.
const STICKY: [u32; 4] = [700, 710, 714, 719];

fn open() -> (u32, Rig) {
    let ordinal = fake::claim();
    (ordinal, Rig::new(rustkernel_gpu::cuda::open(ordinal).unwrap()))
}

/// Memory in blocks, and in pages and slabs.
const RIGS: [fn(Device) -> Rig; 2] = [Rig::new, Rig::paged];

fn open_as(rig: fn(Device) -> Rig) -> (u32, Rig) {
    let ordinal = fake::claim();
    (ordinal, rig(rustkernel_gpu::cuda::open(ordinal).unwrap()))
}

fn on(ordinal: u32, fault: Fault) {
    inject(fault.on_device(ordinal as usize));
}

fn saxpy(device: &Device) -> DeviceResult<Function> {
    device.load_module(&conformance_module())?.function("saxpy")
}

fn launch(
    saxpy: &Function,
    stream: &mut Stream,
    x: &Buffer<f32>,
    y: &mut Buffer<f32>,
) -> DeviceResult {
    stream.launch(saxpy, LaunchConfig::new(1, 32), arguments![1.0f32, x, y, 8u32])
}

/// Uploads, launches, downloads.
fn scenario(rig: &Rig) -> DeviceResult<Vec<f32>> {
    let mut stream = rig.stream()?;
    let saxpy = saxpy(&rig.device)?;
    let x = rig.upload(&[1.0f32; 8], &mut stream)?;
    let mut y = rig.upload(&[2.0f32; 8], &mut stream)?;
    let event = rig.device.create_event()?;
    launch(&saxpy, &mut stream, &x, &mut y)?;
    stream.record(&event)?;
    stream.wait(&event)?;
    rig.download(&y, &mut stream)
}

#[test]
fn a_fault_of_a_kernel_loses_the_device_with_all_that_is_on_it() {
    for code in STICKY {
        let ((ordinal, rig), (_, healthy)) = (open(), open());
        let (mut stream, mut bystander) = (rig.stream().unwrap(), rig.stream().unwrap());
        let function = saxpy(&rig.device).unwrap();
        let x = rig.upload(&[1.0f32; 8], &mut stream).unwrap();
        let mut y = rig.upload(&[1.0f32; 8], &mut stream).unwrap();
        let kept = rig.upload(&[1.0f32; 8], &mut bystander).unwrap();
        block_on(bystander.completion().unwrap()).unwrap();
        let epoch = rig.device.epoch();
        on(ordinal, Fault::launch("saxpy", code));
        launch(&function, &mut stream, &x, &mut y).unwrap();
        let lost = |error: DeviceError| {
            assert!(
                matches!(error, DeviceError::Lost { code: told, .. } if told == code),
                "{code}: {error}"
            );
        };
        match stream.completion() {
            Ok(completion) => lost(block_on(completion).unwrap_err()),
            Err(error) => lost(error),
        }
        // Everything of the device is told so, without a further call of the driver.
        assert!(rig.device.epoch() > epoch);
        let calls = fake::ledger(ordinal).calls;
        lost(rig.device.health().unwrap_err());
        lost(launch(&function, &mut stream, &x, &mut y).unwrap_err());
        lost(
            bystander
                .completion()
                .map(drop)
                .and_then(|()| rig.download(&kept, &mut bystander).map(drop))
                .unwrap_err(),
        );
        lost(rig.stream().unwrap_err());
        lost(rig.device.create_event().unwrap_err());
        lost(saxpy(&rig.device).unwrap_err());
        drop((x, y, kept, stream, bystander, function));
        assert_eq!(
            fake::ledger(ordinal).calls,
            calls,
            "stale handles are forgotten, not passed on"
        );
        assert_eq!(rig.device.drop_errors(), 0);
        rig.memory.pool(MemoryKind::Device).forget_lost();
        rig.memory.pool(MemoryKind::Staging).forget_lost();
        for kind in [MemoryKind::Device, MemoryKind::Staging] {
            let stats = rig.memory.stats(kind);
            assert_eq!((stats.live, stats.committed, stats.mapped), (0, 0, 0));
        }
        assert_eq!(scenario(&healthy), Ok(vec![3.0; 8]), "another device goes on");
    }
}

#[test]
fn an_error_that_breaks_nothing_concerns_one_call() {
    for (entry, code) in
        [("cuMemcpyHtoDAsync_v2", 1), ("cuEventRecord", 400), ("cuMemcpyDtoHAsync_v2", 914)]
    {
        let (ordinal, rig) = open();
        on(ordinal, Fault::call(entry, code));
        let error = scenario(&rig).unwrap_err();
        assert!(
            matches!(error, DeviceError::Driver { code: told, .. } if told == code),
            "{entry}: {error}"
        );
        assert!(rig.device.health().is_ok());
        assert_eq!(scenario(&rig), Ok(vec![3.0; 8]));
    }
}

#[test]
fn memory_that_the_driver_refuses_is_out_of_memory_and_comes_back() {
    for entry in ["cuMemAlloc_v2", "cuMemHostRegister_v2"] {
        let (ordinal, rig) = open();
        on(ordinal, Fault::call(entry, 2));
        let error = scenario(&rig).unwrap_err();
        assert!(matches!(error, DeviceError::OutOfMemory { .. }), "{entry}: {error}");
        assert_eq!(scenario(&rig), Ok(vec![3.0; 8]));
        rig.memory.trim();
        let ledger = fake::ledger(ordinal);
        assert_eq!((ledger.allocation_bytes, ledger.registered_bytes), (0, 0), "{ledger:?}");
    }
}

#[test]
fn errors_while_dropping_are_counted() {
    let (ordinal, rig) = open();
    on(ordinal, Fault::call("cuStreamDestroy_v2", 1));
    assert_eq!(scenario(&rig), Ok(vec![3.0; 8]));
    assert_eq!(rig.device.drop_errors(), 1);
    assert!(rig.device.health().is_ok());
}

/// How many calls a scenario makes. The more it has to ask whether something is done the more they are; each
/// of so many needs a device of its own, of which there are not endlessly many.
fn calls(rig: fn(Device) -> Rig) -> u64 {
    let (ordinal, rig) = open_as(rig);
    scenario(&rig).unwrap();
    fake::ledger(ordinal).calls.values().sum::<u64>().min(80)
}

#[test]
fn a_device_lost_at_any_call_is_told_and_nothing_hangs() {
    for kind in RIGS {
        let calls = calls(kind);
        let mut told = BTreeSet::new();
        for k in 1..=calls {
            let (ordinal, rig) = open_as(kind);
            let code = STICKY[k as usize % STICKY.len()];
            inject(Fault::at(Point::AnyCall, code).nth(k).on_device(ordinal as usize).sticky());
            let result = scenario(&rig);
            fake_cuda::clear_faults_on(ordinal as usize);
            match result {
                Ok(result) => assert_eq!(result, [3.0; 8]),
                Err(DeviceError::Lost { code: told_code, .. }) => {
                    assert_eq!(told_code, code);
                    told.insert(k);
                }
                Err(other) => panic!("call {k}: {other}"),
            }
            rig.memory.trim();
            for memory in [MemoryKind::Device, MemoryKind::Staging] {
                let stats = rig.memory.stats(memory);
                assert_eq!((stats.live, stats.committed, stats.mapped), (0, 0, 0), "call {k}");
            }
        }
        // (The number of calls varies with how often streams are asked.)
        assert!(told.len() > 25, "{} of {calls}", told.len());
    }
}

/// What the driver's books have of memory, and of addresses.
fn held(ordinal: u32) -> [u64; 4] {
    let ledger = fake::ledger(ordinal);
    let Ledger { allocation_bytes, physical_bytes, pinned_bytes, registered_bytes, .. } = ledger;
    [allocation_bytes, physical_bytes, pinned_bytes, registered_bytes]
}

#[test]
#[allow(clippy::disallowed_methods, reason = "without actors, a thread waits for a device")]
fn memory_refused_at_any_call_is_an_error_and_nothing_is_lost() {
    for kind in RIGS {
        let calls = calls(kind);
        let (mut refused, mut whole) = (0, 0);
        for k in 1..=calls {
            let (ordinal, rig) = open_as(kind);
            inject(Fault::at(Point::AnyCall, 2).nth(k).on_device(ordinal as usize));
            let result = scenario(&rig);
            // (How often a scenario asks whether it is done differs from run to run.)
            fake_cuda::clear_faults_on(ordinal as usize);
            match result {
                Ok(result) => assert_eq!(result, [3.0; 8], "call {k}"),
                Err(DeviceError::OutOfMemory { .. }) => refused += 1,
                // Not a call for memory: its own name is told.
                Err(DeviceError::Driver { code: 2, .. } | DeviceError::InvalidLaunch { .. }) => {}
                Err(DeviceError::InvalidModule { .. }) => {}
                Err(other) => panic!("call {k}: {other}"),
            }
            assert_eq!(scenario(&rig), Ok(vec![3.0; 8]), "call {k}: and goes on");
            let mapped = |memory| rig.memory.stats(memory).mapped;
            for _ in 0..10_000 {
                // The last copies may not be over yet.
                if mapped(MemoryKind::Device) + mapped(MemoryKind::Staging) == 0 {
                    break;
                }
                std::thread::sleep(Duration::from_micros(100));
                rig.memory.trim();
            }
            let (device, staging) =
                (rig.memory.stats(MemoryKind::Device), rig.memory.stats(MemoryKind::Staging));
            assert_eq!((device.live, device.committed), (0, 0), "call {k}");
            let [allocated, physical, pinned, registered] = held(ordinal);
            // What the driver refused to take back stays with it, and is counted.
            if rig.device.drop_errors() == 0 {
                assert_eq!(device.mapped, allocated + physical, "call {k}");
                assert_eq!(staging.mapped, pinned + registered, "call {k}");
                // What a stream still uses when it cannot be asked any more stays where it is.
                if device.quarantined + staging.quarantined == 0 {
                    drop(rig);
                    assert_eq!(held(ordinal), [0; 4], "call {k}");
                    whole += 1;
                }
            }
        }
        assert!(refused > 0 && whole > 25, "{refused}, {whole} of {calls}");
    }
}

#[test]
fn our_books_and_the_drivers_agree() {
    let (ordinal, rig) = open();
    let mut stream = rig.stream().unwrap();
    let mut held = Vec::new();
    for round in 0..40usize {
        held.push(rig.buffer::<u8>(1000 * (round + 1) * (round % 3 + 1), &stream).unwrap());
        if round % 4 == 3 {
            held.remove(round % held.len());
        }
        if round % 10 == 9 {
            block_on(stream.completion().unwrap()).unwrap();
            rig.memory.trim();
        }
        let (ours, theirs) = (rig.memory.stats(MemoryKind::Device), fake::ledger(ordinal));
        assert_eq!(ours.mapped, theirs.allocation_bytes);
        let live: u64 = held
            .iter()
            .map(|buffer| BlockSizes::classes(512).block_bytes(buffer.bytes()).unwrap() as u64)
            .sum();
        assert_eq!(ours.live, live);
    }
    drop(held);
    rig.memory.trim();
    assert_eq!(fake::ledger(ordinal).allocation_bytes, 0);
}

/// A runtime on one fake device and the host, with an `Add` on each.
async fn runtime() -> (u32, Runtime, KernelRef<Add>, KernelRef<Add>) {
    let ordinal = fake::claim();
    let device = DeviceId::Cuda(ordinal);
    let (cuda, host) = (add(DeviceChoice::Auto), add(DeviceChoice::On(DeviceId::Host)));
    let names = [cuda.name().to_owned(), host.name().to_owned()];
    let runtime = builder()
        .with_gpu_enabled(true)
        .with_devices([device, DeviceId::Host])
        .with_health_check_interval(Duration::from_millis(20))
        .with_kernel(cuda.instances(2))
        .with_kernel(host)
        .build()
        .unwrap();
    runtime.start().await.unwrap();
    let [cuda, host] = names.map(|name| runtime.kernel::<Add>(&name).unwrap());
    assert_eq!(cuda.stats().devices, [device; 2]);
    (ordinal, runtime, cuda, host)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_many_calls_and_panics_nothing_is_left_on_the_device() {
    const CALLS: usize = 100_000;
    const TASKS: usize = 8;
    let (ordinal, runtime, cuda, _) = runtime().await;
    let tasks = (0..TASKS).map(|task| {
        let cuda = cuda.clone();
        tokio::spawn(async move {
            let mut panicked = 0;
            for n in 0..CALLS / TASKS {
                let panic = n % 100 == 50;
                match cuda.call(AddRequest { panic, ..numbers(1 + (n * 37 + task) % 500) }).await {
                    Ok(sums) => {
                        assert!(sums.iter().enumerate().all(|(n, sum)| *sum == 2.0 * n as f32))
                    }
                    Err(CallError::Failed(KernelError::Panicked(_))) => panicked += 1,
                    Err(other) => panic!("{other}"),
                }
            }
            panicked
        })
    });
    let panicked: u64 =
        futures_util::future::join_all(tasks).await.into_iter().map(Result::unwrap).sum();
    let report = within_a_minute(runtime.shutdown()).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    let ledger = report.ledger;
    assert_eq!((ledger.submitted, ledger.failed), (CALLS as u64, panicked));
    assert_eq!((ledger.completed, panicked), (CALLS as u64 - panicked, CALLS as u64 / 100));
    let ledger = fake::ledger(ordinal);
    assert_eq!((ledger.device_bytes, ledger.pinned_bytes, ledger.streams), (0, 0, 0), "{ledger:?}");
}

/// There and back.
struct Echo;

impl Kernel for Echo {
    type Request = Vec<u32>;
    type Response = Vec<u32>;

    const DEVICES: Devices = Devices::Any;

    async fn execute(&mut self, data: Vec<u32>, cx: &mut KernelContext) -> KernelResult<Vec<u32>> {
        let buffer = cx.upload(&data).await?;
        cx.download(&buffer).await
    }
}

#[tokio::test]
async fn large_data_goes_through_little_staging_memory() {
    const MIB: u64 = 1 << 20;
    let device = DeviceId::Cuda(fake::claim());
    let little = MemoryConfig { max_staging_memory: 12 * MIB, ..MemoryConfig::default() };
    let builder = builder().with_gpu_enabled(true).with_devices([device]).with_memory(little);
    let runtime = builder.with_kernel(KernelSpec::new("echo", || Echo)).build().unwrap();
    runtime.start().await.unwrap();
    // Ten chunks, of which three have room: copies have to end before the request does.
    let data: Vec<u32> = (0..10 << 20).collect();
    let echo = runtime.kernel::<Echo>("echo").unwrap();
    let back = within_a_minute(echo.call(data.clone())).await.unwrap();
    assert!(back == data);
    assert!(runtime.stats().devices[0].staging.mapped <= 12 * MIB);
    assert!(within_a_minute(runtime.shutdown()).await.unwrap().is_clean());
}

#[tokio::test]
async fn a_broken_device_does_not_keep_a_runtime_from_another() {
    let broken = fake::claim();
    for call in ["cuDeviceGetAttribute", "cuDeviceGetName", "cuDeviceTotalMem_v2"] {
        inject(Fault::call(call, 999).from_then_on().on_device(broken as usize));
    }
    rustkernel_gpu::cuda::open(broken).unwrap_err();
    let (_, runtime, cuda, _) = runtime().await;
    assert_eq!(cuda.call(numbers(3)).await.unwrap(), [0.0, 2.0, 4.0]);
    runtime.shutdown().await.unwrap();
}

/// A copy out of several registrations is several calls of the driver: what it has begun with keeps its memory, although
/// the rest is refused.
#[test]
fn a_copy_that_is_refused_in_its_middle_is_waited_for() {
    let (ordinal, rig) = open_as(Rig::paged);
    let mut stream = rig.stream().unwrap();
    on(ordinal, Fault::call("cuMemcpyHtoDAsync_v2", 1).nth(2));
    let refused = rig.upload(&vec![7u8; 20 << 20], &mut stream).unwrap_err();
    assert!(matches!(refused, DeviceError::Driver { code: 1, .. }), "{refused}");
    let quarantined = || rig.memory.stats(MemoryKind::Staging).quarantined;
    assert!(!stream.is_idle() && quarantined() >= 20 << 20, "{}", quarantined());
    block_on(stream.completion().unwrap()).unwrap();
    assert_eq!((stream.is_idle(), quarantined()), (true, 0));
}

const PAGE: usize = 2 << 20;
/// Of a page, what a small block takes.
const END: usize = 32 << 10;

fn have(rig: &Rig, bytes: usize) -> Lease {
    match rig.memory.lease(MemoryKind::Device, bytes, None, None).unwrap() {
        Leased::Ready(lease) => lease,
        Leased::NeedsGrowth(growth) => match growth.run().unwrap() {
            Grown::Ready(lease) => lease,
            other => panic!("{bytes} bytes: {other:?}"),
        },
    }
}

/// As many pages as are promised, each with a small block at its end: those.
fn ends_of_pages(rig: &Rig) -> Vec<Lease> {
    let blocks = (0..90).map(|_| (have(rig, PAGE - END), have(rig, END)));
    let (large, small): (Vec<_>, Vec<_>) = blocks.unzip();
    drop(large);
    let stats = rig.memory.stats(MemoryKind::Device);
    assert_eq!((stats.live, stats.stranded), (90 * END as u64, 90 * (PAGE - END) as u64));
    small
}

#[test]
fn bytes_that_lie_in_parts_of_pages_only_are_not_promised() {
    let (_, rig) = open_as(Rig::paged);
    let small = ends_of_pages(&rig);
    let need = Need::device(6 * PAGE as u64);
    assert!(matches!(rig.memory.try_reserve(need), Err(Shortage::NotNow { .. })));
    let refused = rig.memory.lease(MemoryKind::Device, 6 * PAGE, None, None).unwrap_err();
    let DeviceError::OutOfMemory { free, .. } = refused else { panic!("{refused}") };
    assert!(
        free < 6 * PAGE as u64 && free > 2 * PAGE as u64,
        "ten pages are left, less some: {free}"
    );
    drop(have(&rig, free as usize / END * END));
    drop(small);
    rig.memory.try_reserve(need).unwrap();
    assert_eq!(rig.memory.stats(MemoryKind::Device).unkept, 0);
}

#[test]
fn bytes_that_lie_where_they_cannot_be_had_are_waited_for() {
    let (_, rig) = open_as(Rig::fixed);
    let small = ends_of_pages(&rig);
    let short = || {
        let lease = rig.memory.lease(MemoryKind::Device, 12 * PAGE, None, None);
        let Leased::NeedsGrowth(growth) = lease.unwrap() else { panic!("ten pages are left") };
        let Grown::Short(growth) = growth.run().unwrap() else { panic!("ten pages are left") };
        growth
    };
    let (one, growth) = (short(), short());
    assert!(matches!(one.give_up(), DeviceError::OutOfMemory { .. }));
    assert_eq!(rig.memory.stats(MemoryKind::Device).unkept, 1, "a promise was not kept");
    drop(small);
    assert!(matches!(growth.run().unwrap(), Grown::Ready(_)), "others have made room");
}

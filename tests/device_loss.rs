//! A CUDA device that is lost and brought back, over the fake driver: the same work runs again, nothing is
//! lost with it, and no handle of a lost epoch reaches the driver.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fake_cuda::{Fault, Point, inject};
use futures_executor::block_on;
use rustkernel_gpu::memory::{Leased, MemoryKind};
use rustkernel_gpu::{
    Buffer, Device, DeviceError, DeviceResult, LaunchConfig, RecoveryFailure, Stream, arguments,
};
use rustkernel_tests::fake;
use rustkernel_tests::rig::{Rig, conformance_module};

/// Codes after which a context is broken for good.
const STICKY: [u32; 4] = [700, 710, 714, 719];
const KINDS: [MemoryKind; 2] = [MemoryKind::Device, MemoryKind::Staging];
/// Memory in blocks, and in pages and slabs.
const RIGS: [fn(Device) -> Rig; 2] = [Rig::new, Rig::paged];
/// At each of so many calls the device is lost.
const CALLS: u64 = 200;
const RESET: &str = "cuDevicePrimaryCtxReset_v2";
const CANARY: &str = "rk_canary";
/// As many elements are computed with, however many there are: a fake device is slow.
const FEW: usize = 1000;

fn open(rig: fn(Device) -> Rig) -> (u32, Rig) {
    let ordinal = fake::claim();
    (ordinal, rig(rustkernel_gpu::cuda::open(ordinal).unwrap()))
}

fn on(ordinal: u32, fault: Fault) {
    inject(fault.on_device(ordinal as usize));
}

/// Loses the device by the next call that is made.
fn lose(ordinal: u32, rig: &Rig) {
    on(ordinal, Fault::at(Point::AnyCall, 719).sticky());
    assert!(is_lost(&rig.device.memory_info().unwrap_err()));
}

fn is_lost(error: &DeviceError) -> bool {
    matches!(error, DeviceError::Lost { .. })
}

fn saxpy(rig: &Rig, stream: &mut Stream, x: &Buffer<f32>, y: &mut Buffer<f32>) -> DeviceResult {
    let saxpy = rig.device.load_module(&conformance_module())?.function("saxpy")?;
    let n = x.len().min(FEW);
    stream.launch(&saxpy, LaunchConfig::linear(n, 128, 64), arguments![2.0f32, x, y, n as u32])
}

/// Uploads, launches, hands over and downloads, with small blocks and large ones, of which some stay: some
/// 250 calls of the driver.
fn work(rig: &Rig) -> DeviceResult {
    let mut kept = Vec::new();
    for round in 0..5usize {
        let (mut one, mut other) = (rig.stream()?, rig.stream()?);
        let data = vec![round as f32; [8, 2000, 300_000][round % 3]];
        let x = rig.upload(&data, &mut one)?;
        let mut y = rig.upload(&data, &mut one)?;
        saxpy(rig, &mut one, &x, &mut y)?;
        one.take_over(&mut kept_by(rig, &mut other)?, &mut other)?;
        other.take_over(&mut y, &mut one)?;
        let sums = rig.download(&y, &mut other)?;
        let (computed, copied) = sums.split_at(sums.len().min(FEW));
        assert!(computed.iter().all(|sum| *sum == 3.0 * round as f32), "the results are right");
        assert!(copied.iter().all(|sum| *sum == round as f32), "the results are right");
        kept.push((y, other));
        if round % 2 == 1 {
            kept.remove(0);
            rig.memory.trim();
        }
    }
    kept.iter_mut().try_for_each(|(_, stream)| block_on(stream.completion()?))
}

fn kept_by(rig: &Rig, stream: &mut Stream) -> DeviceResult<Buffer<u8>> {
    let mut buffer = rig.buffer(3000, stream)?;
    stream.fill(&mut buffer, 7)?;
    Ok(buffer)
}

/// Nothing is left, by our books and by the driver's.
#[allow(clippy::disallowed_methods, reason = "without actors, a thread waits for a device")]
fn settle(ordinal: u32, rig: &Rig, when: &str) {
    let books = || KINDS.map(|kind| rig.memory.stats(kind));
    for _ in 0..10_000 {
        // The last copies may not be over yet.
        rig.memory.trim();
        if books().iter().all(|stats| stats.mapped == 0) {
            break;
        }
        std::thread::sleep(Duration::from_micros(100));
    }
    for stats in books() {
        let left = (stats.live, stats.committed, stats.mapped, stats.quarantined);
        assert_eq!(left, (0, 0, 0, 0), "{when}");
    }
    let theirs = fake::ledger(ordinal);
    let bytes = (theirs.device_bytes, theirs.pinned_bytes, theirs.registered_bytes);
    assert_eq!(bytes, (0, 0, 0), "{when}");
    assert_eq!((theirs.streams, theirs.physical_handles), (0, 0), "{when}");
    assert!(theirs.modules <= 1, "{when}: the same text is compiled once");
    assert_eq!(theirs.stale, [""; 0], "{when}: handles of a lost epoch were passed to the driver");
}

#[test]
fn a_device_lost_at_any_call_does_the_same_work_again() {
    std::thread::scope(|scope| {
        for (rig, code) in RIGS.into_iter().flat_map(|rig| STICKY.map(|code| (rig, code))) {
            scope.spawn(move || lose_at_any_call(rig, code));
        }
    });
}

/// (The same device and the same memory, again and again.)
fn lose_at_any_call(rig: fn(Device) -> Rig, code: u32) {
    let (ordinal, rig) = open(rig);
    let mut losses = 0;
    for k in 1..=CALLS {
        let when = format!("{code} at call {k}");
        let epoch = rig.device.epoch();
        assert_eq!(epoch, losses);
        on(ordinal, Fault::at(Point::AnyCall, code).nth(k).sticky());
        match work(&rig) {
            // (The last calls are those of drops; and how many there are differs from run to run.)
            Ok(()) => {}
            Err(DeviceError::Lost { code: told, epoch: ended, .. }) => {
                assert_eq!((told, ended), (code, epoch), "{when}");
            }
            Err(other) => panic!("{when}: {other}"),
        }
        fake_cuda::clear_faults_on(ordinal as usize);
        losses += u64::from(rig.device.health().is_err());
        assert_eq!(rig.device.recover(), Ok(losses), "{when}");
        assert_eq!(rig.device.health(), Ok(()), "{when}");
        settle(ordinal, &rig, &when);
        assert_eq!(work(&rig), Ok(()), "{when}");
        settle(ordinal, &rig, &when);
    }
    assert!(losses >= CALLS * 9 / 10, "{losses}");
}

#[test]
fn what_is_not_lost_is_left_as_it_is() {
    let (ordinal, rig) = open(Rig::new);
    assert_eq!(rig.device.recover(), Ok(0));
    assert_eq!(fake::ledger(ordinal).calls_of(RESET), 0);
    let host = Rig::host();
    assert_eq!(host.device.recover(), Ok(host.device.epoch()));
}

/// Semantics: S37.
#[test]
fn what_is_held_from_before_is_accounted_refused_and_forgotten() {
    for kind in RIGS {
        let (ordinal, rig) = open(kind);
        let mut stream = rig.stream().unwrap();
        let event = rig.device.create_event().unwrap();
        stream.record(&event).unwrap();
        let module = rig.device.load_module(&conformance_module()).unwrap();
        let function = module.function("saxpy").unwrap();
        let mut old = rig.upload(&[1.0f32; 1000], &mut stream).unwrap();
        let mut staging = rig.staging::<f32>(8, &stream).unwrap();
        staging.fill(7.0);
        let done = stream.completion().unwrap();
        block_on(stream.completion().unwrap()).unwrap();
        lose(ordinal, &rig);
        assert_eq!(rig.device.recover(), Ok(1));

        let held = KINDS.map(|kind| rig.memory.stats(kind));
        assert!(held.iter().all(|stats| stats.live > 0 && stats.committed >= stats.live));
        assert!(staging.iter().all(|number| *number == 7.0), "the host's memory is the host's");
        // Old with old, and old with new: each says that the device was lost, and the driver hears nothing.
        let mut new = rig.stream().unwrap();
        let mut fresh = rig.upload(&[2.0f32; 8], &mut new).unwrap();
        block_on(new.completion().unwrap()).unwrap();
        assert!(is_lost(&new.take_over(&mut old, &mut stream).unwrap_err()));
        assert_eq!(block_on(done), Ok(()), "what was done stays done");
        let calls = fake::ledger(ordinal).calls;
        let one = LaunchConfig::new(1, 32);
        let refused = [
            stream.fill(&mut old, 0),
            stream.launch(&function, one, arguments![1.0f32, &old, 1u32, 8u32]),
            new.launch(&function, one, arguments![1.0f32, &fresh, 1u64, 8u32]),
            new.wait(&event),
            event.is_reached().map(drop),
            module.function("saxpy").map(drop),
            rig.buffer::<u8>(100, &stream).map(drop),
            new.upload(staging, &mut fresh, 0).map(drop),
        ];
        for (index, refused) in refused.into_iter().enumerate() {
            let error = refused.unwrap_err();
            let expected = is_lost(&error) || matches!(error, DeviceError::InvalidLaunch { .. });
            assert!(expected, "{index}: {error}");
        }
        drop((old, stream, event, function, module));
        assert_eq!(fake::ledger(ordinal).calls, calls, "what is dropped is forgotten");
        assert_eq!(rig.download(&fresh, &mut new), Ok(vec![2.0; 8]));
        drop((fresh, new));
        assert_eq!(rig.device.drop_errors(), 0);
        assert!(KINDS.iter().any(|kind| rig.memory.stats(*kind).forgotten > 0));
        settle(ordinal, &rig, "after all");
    }
}

#[test]
fn pages_of_a_lost_epoch_come_back_with_the_device_also_those_that_are_held() {
    let (ordinal, rig) = open(Rig::paged);
    let limit = 256 << 20;
    for loss in 1..=5 {
        let mut stream = rig.stream().unwrap();
        let mut held = rig.buffer::<u8>(100 << 20, &stream).unwrap();
        stream.fill(&mut held, 1).unwrap();
        block_on(stream.completion().unwrap()).unwrap();
        assert!(fake::ledger(ordinal).physical_bytes >= 100 << 20);
        lose(ordinal, &rig);
        assert_eq!(rig.device.recover(), Ok(loss));
        let left = fake::ledger(ordinal);
        assert_eq!((left.physical_bytes, left.physical_handles), (0, 0));
        assert_eq!(rig.device.memory_info().unwrap().free, limit);
        drop((held, stream));
    }
    assert_eq!(rig.device.drop_errors(), 0);
}

#[test]
fn pages_that_the_driver_does_not_take_back_are_told_and_tried_again() {
    let (ordinal, rig) = open(Rig::paged);
    let stream = rig.stream().unwrap();
    drop(rig.buffer::<u8>(2 << 20, &stream).unwrap());
    lose(ordinal, &rig);
    on(ordinal, Fault::call("cuMemRelease", 999).from_then_on());
    assert_eq!(rig.device.recover(), Ok(1));
    fake_cuda::clear_faults_on(ordinal as usize);
    let left = fake::ledger(ordinal).physical_handles as u64;
    assert!(left > 0);
    assert_eq!(rig.device.drop_errors(), left + 1, "the pages, and the addresses");
    lose(ordinal, &rig);
    assert_eq!(rig.device.recover(), Ok(2));
    drop(stream);
    settle(ordinal, &rig, "after all");
}

#[test]
fn a_reset_that_tells_of_the_loss_is_no_failure_of_the_recovery() {
    let (ordinal, rig) = open(Rig::new);
    // (The context is whole, as it is behind a reset that was done and tells of what was before it.)
    on(ordinal, Fault::call("cuMemGetInfo_v2", 719));
    assert!(is_lost(&rig.device.memory_info().unwrap_err()));
    on(ordinal, Fault::call(RESET, 719));
    assert_eq!(rig.device.recover(), Ok(1));
    assert_eq!(work(&rig), Ok(()));
}

#[test]
fn a_growth_that_waited_while_the_device_was_lost_is_refused() {
    let (ordinal, rig) = open(Rig::paged);
    let stream = rig.stream().unwrap();
    let leased = rig.memory.lease(MemoryKind::Device, 1 << 20, Some(&stream), None).unwrap();
    let Leased::NeedsGrowth(growth) = leased else { panic!("nothing is mapped yet") };
    lose(ordinal, &rig);
    rig.device.recover().unwrap();
    assert!(is_lost(&growth.run().map(drop).unwrap_err()));
    drop(stream);
    settle(ordinal, &rig, "after all");
}

/// What recovering a lost device says, and that the device is lost as long as it fails.
fn fails_to_recover(rig: &Rig) -> RecoveryFailure {
    let error = rig.device.recover().unwrap_err();
    assert!(is_lost(&rig.device.health().unwrap_err()) && is_lost(&rig.stream().unwrap_err()));
    let DeviceError::NotRecovered { cause, .. } = error else { panic!("{error}") };
    cause
}

#[test]
fn a_recovery_that_fails_at_any_call_can_be_tried_again() {
    for code in [2, 719] {
        let (ordinal, rig) = open(Rig::paged);
        let mut failed = 0;
        let mut k = 1;
        loop {
            lose(ordinal, &rig);
            let fault = Fault::at(Point::AnyCall, code).nth(k);
            on(ordinal, if code == 2 { fault } else { fault.sticky() });
            let before = fake::ledger(ordinal).calls.values().sum::<u64>();
            // (Some calls set what is only wished for.)
            let recovered = rig.device.recover();
            let calls = fake::ledger(ordinal).calls.values().sum::<u64>() - before;
            fake_cuda::clear_faults_on(ordinal as usize);
            if let Err(error) = recovered {
                let driver = |cause: &RecoveryFailure| matches!(cause, RecoveryFailure::Driver { code: told, .. } if *told == code);
                let told =
                    matches!(&error, DeviceError::NotRecovered { cause, .. } if driver(cause));
                assert!(told, "{k}: {error}");
                assert!(is_lost(&rig.device.health().unwrap_err()));
                failed += 1;
                rig.device.recover().unwrap();
            }
            settle(ordinal, &rig, &format!("{code} at call {k} of the recovery"));
            if calls < k {
                break;
            }
            k += 1;
        }
        assert_eq!(work(&rig), Ok(()));
        settle(ordinal, &rig, "after all");
        assert!(failed >= 15, "{failed} of {k}");
    }
}

#[test]
fn each_way_to_fail_is_told() {
    let (ordinal, rig) = open(Rig::new);
    lose(ordinal, &rig);
    on(ordinal, Fault::call(RESET, 999));
    let reset = fails_to_recover(&rig);
    assert!(matches!(
        reset,
        RecoveryFailure::Driver { call: "cuDevicePrimaryCtxReset", code: 999, .. }
    ));
    on(ordinal, Fault::launch(CANARY, 700));
    let canary = fails_to_recover(&rig);
    assert!(
        matches!(canary, RecoveryFailure::Driver { call: "cuEventQuery", code: 700, .. }),
        "{canary}"
    );
    fake_cuda::register_on(ordinal as usize, CANARY, |launch| {
        launch.slice::<u32>(launch.arg(0), 1)?[0] = 5;
        Ok(())
    });
    let wrong = fails_to_recover(&rig);
    assert!(matches!(wrong, RecoveryFailure::Wrong { found: 5, .. }), "{wrong}");
    fake_cuda::unregister(CANARY);
    let gate = fake_cuda::hold(CANARY, Some(ordinal as usize));
    let hung = fails_to_recover(&rig);
    assert!(matches!(hung, RecoveryFailure::Hung { .. }), "{hung}");
    gate.open();
    assert_eq!(rig.device.recover(), Ok(1), "and in the end it comes back");
    assert_eq!(work(&rig), Ok(()));
    settle(ordinal, &rig, "after all");
}

#[test]
fn a_device_lost_again_soon_after_it_came_back_is_lost_again() {
    for n in [1, 3, 10, 30, 60, 120] {
        let (ordinal, rig) = open(Rig::paged);
        lose(ordinal, &rig);
        on(ordinal, Fault::at(Point::AnyCall, 714).nth(n).sticky().after_reset());
        let lost_again = rig.device.recover().and_then(|_| work(&rig)).unwrap_err();
        let as_told = match lost_again {
            DeviceError::Lost { code: 714, epoch: 1, .. } => true,
            DeviceError::NotRecovered { .. } => n <= 30,
            _ => false,
        };
        assert!(as_told, "{n}: {lost_again}");
        rig.device.recover().unwrap();
        assert_eq!(work(&rig), Ok(()));
        settle(ordinal, &rig, "after all");
    }
}

#[test]
fn a_second_recovery_waits_for_the_first_and_calls_are_refused_meanwhile() {
    let (ordinal, rig) = open(Rig::new);
    let mut stream = rig.stream().unwrap();
    let mut buffer = rig.buffer::<u8>(100, &stream).unwrap();
    lose(ordinal, &rig);
    let resets = fake::ledger(ordinal).calls_of(RESET);
    let gate = fake_cuda::hold(CANARY, Some(ordinal as usize));
    std::thread::scope(|scope| {
        let recoveries = [(); 3].map(|()| scope.spawn(|| rig.device.recover()));
        gate.wait_for(1);
        assert!(is_lost(&stream.fill(&mut buffer, 1).unwrap_err()));
        assert!(is_lost(&rig.stream().unwrap_err()));
        assert!(is_lost(&rig.device.health().unwrap_err()));
        gate.open();
        assert!(recoveries.into_iter().all(|recovery| recovery.join().unwrap() == Ok(1)));
    });
    assert_eq!(fake::ledger(ordinal).calls_of(RESET), resets + 1);
    drop((buffer, stream));
    settle(ordinal, &rig, "after all");
}

#[test]
fn threads_at_work_while_the_device_comes_and_goes_pass_nothing_stale() {
    const LOSSES: u64 = 60;
    const THREADS: usize = 3;
    let (ordinal, rig) = open(Rig::paged);
    let (over, done) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let threads = [(); THREADS].map(|()| {
            scope.spawn(|| {
                while !over.load(Ordering::Acquire) {
                    match work(&rig) {
                        Ok(()) => _ = done.fetch_add(1, Ordering::AcqRel),
                        Err(error) => assert!(is_lost(&error), "{error}"),
                    }
                }
            })
        });
        let goes_on = || {
            assert!(!threads.iter().any(|thread| thread.is_finished()), "a thread has failed");
            std::thread::yield_now();
        };
        for loss in 1..=LOSSES {
            on(ordinal, Fault::at(Point::AnyCall, 700).nth(40 + loss * 7).sticky());
            while rig.device.health().is_ok() {
                goes_on();
            }
            assert_eq!(rig.device.recover(), Ok(loss));
        }
        let before = done.load(Ordering::Acquire);
        while done.load(Ordering::Acquire) < before + THREADS as u64 {
            goes_on();
        }
        over.store(true, Ordering::Release);
    });
    settle(ordinal, &rig, "after all");
    assert_eq!(work(&rig), Ok(()));
    settle(ordinal, &rig, "and again");
}

//! One suite for every kind of device: the host, CUDA over the fake driver, CUDA over a real one.
//!
//! ```text
//! cargo test -p rustkernel-tests --test conformance                       host and fake driver
//! cargo test -p rustkernel-tests --test conformance -- --ignored cuda     a real GPU, all of them
//! ```

use futures_executor::block_on;
use rustkernel_gpu::memory::MemoryKind;
use rustkernel_gpu::{
    Buffer, DeviceError, DeviceKind, DeviceResult, Element, Function, LaunchConfig, ModuleSource,
    Stream, StreamOptions, arguments,
};
use rustkernel_tests::rig::{Rig, conformance_module};

/// Rounds of `spin` that keep a stream busy for a while: some milliseconds on any device.
const A_WHILE: u32 = 300_000;

fn function(rig: &Rig, name: &str) -> Function {
    rig.device.load_module(&conformance_module()).unwrap().function(name).unwrap()
}

/// Keeps a stream busy for a while.
fn keep_busy(rig: &Rig, stream: &mut Stream) -> Buffer<u32> {
    let mut out = rig.buffer::<u32>(1, stream).unwrap();
    let spin = function(rig, "spin");
    stream.launch(&spin, LaunchConfig::new(1, 1), arguments![A_WHILE, &mut out]).unwrap();
    out
}

fn launch_saxpy(
    saxpy: &Function,
    stream: &mut Stream,
    a: f32,
    x: &Buffer<f32>,
    y: &mut Buffer<f32>,
) -> DeviceResult {
    let n = u32::try_from(x.len()).unwrap();
    stream.launch(saxpy, LaunchConfig::linear(x.len(), 128, 4096), arguments![a, x, y, n])
}

fn settle(rig: &Rig) {
    rig.memory.trim();
    for kind in [MemoryKind::Device, MemoryKind::Staging] {
        let stats = rig.memory.stats(kind);
        assert_eq!((stats.live, stats.committed, stats.mapped), (0, 0, 0), "{kind} memory is back");
    }
    assert_eq!(rig.device.drop_errors(), 0);
}

fn finish(stream: &mut Stream) {
    block_on(stream.completion().unwrap()).unwrap();
}

mod suite {
    use super::*;

    pub fn copies_keep_every_bit(rig: &Rig) {
        fn round_trip<T: Element>(rig: &Rig, data: &[T]) {
            let mut stream = rig.stream().unwrap();
            let buffer = rig.upload(data, &mut stream).unwrap();
            let mut copy = rig.buffer::<T>(data.len() + 3, &stream).unwrap();
            stream.copy_within_device(&buffer, &mut copy).unwrap();
            assert_eq!(rig.download(&buffer, &mut stream).unwrap(), data);
            assert_eq!(rig.download(&copy, &mut stream).unwrap()[..data.len()], *data);
        }
        for len in [0, 1, 2, 1009, 65_537, 1_000_003] {
            round_trip(rig, &(0..len).map(|n| n as u8).collect::<Vec<u8>>());
            round_trip(rig, &(0..len).map(|n| n as f32).collect::<Vec<f32>>());
        }
        round_trip(rig, &[f64::MIN_POSITIVE, -0.0, 1e300]);
        round_trip(rig, &[i64::MIN, i64::MAX, 0]);
        round_trip(rig, &[u16::MAX, 1, 0]);
        settle(rig);
    }

    pub fn parts_of_a_buffer_are_copied_and_filled(rig: &Rig) {
        let mut stream = rig.stream().unwrap();
        let mut buffer = rig.buffer::<u32>(10, &stream).unwrap();
        stream.fill(&mut buffer, 0xAB).unwrap();
        let mut staging = rig.staging::<u32>(3, &stream).unwrap();
        staging.copy_from_slice(&[1, 2, 3]);
        stream.upload(staging, &mut buffer, 4).unwrap();
        let staging = rig.staging::<u32>(5, &stream).unwrap();
        let part = block_on(stream.download(&buffer, 3..8, staging).unwrap()).unwrap();
        assert_eq!(part[..], [0xABAB_ABAB, 1, 2, 3, 0xABAB_ABAB]);
        let mut none = rig.buffer::<u32>(0, &stream).unwrap();
        stream.fill(&mut none, 1).unwrap();
        drop((part, buffer, none));
        settle(rig);
    }

    pub fn work_of_a_stream_runs_in_order(rig: &Rig) {
        let mut stream = rig.stream().unwrap();
        let saxpy = function(rig, "saxpy");
        let x = rig.upload(&[1.0f32; 1000], &mut stream).unwrap();
        let mut y = rig.upload(&[0.0f32; 1000], &mut stream).unwrap();
        for round in 0..50 {
            launch_saxpy(&saxpy, &mut stream, round as f32, &x, &mut y).unwrap();
        }
        assert_eq!(rig.download(&y, &mut stream).unwrap(), [1225.0; 1000]);
        stream.fill(&mut y, 0).unwrap();
        launch_saxpy(&saxpy, &mut stream, 2.0, &x, &mut y).unwrap();
        assert_eq!(rig.download(&y, &mut stream).unwrap(), [2.0; 1000]);
        drop((x, y));
        settle(rig);
    }

    pub fn completions_come_in_order_and_only_for_what_is_done(rig: &Rig) {
        let mut stream = rig.stream().unwrap();
        finish(&mut stream);
        assert!(stream.is_idle(), "a stream without work is complete");
        let out = keep_busy(rig, &mut stream);
        let first = stream.completion().unwrap();
        let outs: Vec<_> = (0..3).map(|_| keep_busy(rig, &mut stream)).collect();
        let second = stream.completion().unwrap();
        block_on(first).unwrap();
        block_on(second).unwrap();
        assert!(stream.is_idle());
        assert_eq!(rig.download(&out, &mut stream).unwrap()[0] % 2, 1);
        drop((out, outs));
        settle(rig);
    }

    pub fn an_event_orders_streams(rig: &Rig) {
        let (mut first, mut second) = (rig.stream().unwrap(), rig.stream().unwrap());
        let event = rig.device.create_event().unwrap();
        assert!(event.is_reached().unwrap(), "an event that was never recorded counts as reached");
        second.wait(&event).unwrap();
        for _ in 0..20 {
            let out = keep_busy(rig, &mut first);
            first.record(&event).unwrap();
            second.wait(&event).unwrap();
            let after = second.completion().unwrap();
            let mut taken = out;
            second.take_over(&mut taken, &mut first).unwrap();
            assert_eq!(
                rig.download(&taken, &mut second).unwrap()[0] % 2,
                1,
                "the write came before the read"
            );
            block_on(after).unwrap();
            assert!(event.is_reached().unwrap());
        }
        settle(rig);
    }

    pub fn an_event_recorded_again_moves_and_earlier_waits_do_not(rig: &Rig) {
        let (mut first, mut second) = (rig.stream().unwrap(), rig.stream().unwrap());
        let event = rig.device.create_event().unwrap();
        first.record(&event).unwrap();
        finish(&mut first);
        second.wait(&event).unwrap();
        // (The work may be over before this thread looks; then once more.)
        let moved = (0..50).any(|_| {
            let out = keep_busy(rig, &mut first);
            first.record(&event).unwrap();
            let moved = !event.is_reached().unwrap();
            finish(&mut second);
            finish(&mut first);
            assert!(event.is_reached().unwrap());
            drop(out);
            moved
        });
        assert!(moved, "an event recorded again lies behind the work");
        settle(rig);
    }

    pub fn streams_run_beside_each_other(rig: &Rig) {
        // One stream waits for a point that the other has yet to reach, and both have work: if they
        // shared one queue, this would never end.
        let (mut waits, mut leads) = (rig.stream().unwrap(), rig.stream().unwrap());
        let event = rig.device.create_event().unwrap();
        let out = keep_busy(rig, &mut leads);
        leads.record(&event).unwrap();
        waits.wait(&event).unwrap();
        let behind = keep_busy(rig, &mut waits);
        let beside: Vec<_> = (0..4).map(|_| rig.stream().unwrap()).collect();
        let mut beside: Vec<_> =
            beside.into_iter().map(|mut stream| (keep_busy(rig, &mut stream), stream)).collect();
        beside.iter_mut().for_each(|(_, stream)| finish(stream));
        finish(&mut waits);
        drop((out, behind, beside));
        finish(&mut leads);
        settle(rig);
    }

    pub fn memory_in_use_is_not_handed_to_others(rig: &Rig) {
        let (mut busy, mut other) = (rig.stream().unwrap(), rig.stream().unwrap());
        let data: Vec<u32> = (0..100_000).collect();
        for _ in 0..10 {
            let out = keep_busy(rig, &mut busy);
            let source = rig.upload(&data, &mut busy).unwrap();
            let mut target = rig.buffer::<u32>(data.len(), &busy).unwrap();
            busy.copy_within_device(&source, &mut target).unwrap();
            // Dropped while the copy from it waits; others take memory of the same class and write it.
            drop(source);
            for _ in 0..3 {
                let mut scratch = rig.buffer::<u32>(data.len(), &other).unwrap();
                other.fill(&mut scratch, 0xFF).unwrap();
            }
            assert_eq!(rig.download(&target, &mut busy).unwrap(), data);
            drop(out);
        }
        finish(&mut other);
        settle(rig);
    }

    pub fn a_download_dropped_in_flight_harms_nobody(rig: &Rig) {
        let mut stream = rig.stream().unwrap();
        let data = vec![7u8; 1 << 20];
        let buffer = rig.upload(&data, &mut stream).unwrap();
        for _ in 0..10 {
            let out = keep_busy(rig, &mut stream);
            let staging = rig.staging::<u8>(data.len(), &stream).unwrap();
            drop(stream.download(&buffer, 0..data.len(), staging).unwrap());
            let mut fresh = rig.staging::<u8>(data.len(), &stream).unwrap();
            fresh.fill(1);
            assert!(fresh.iter().all(|byte| *byte == 1), "nobody else writes here");
            drop((out, fresh));
        }
        finish(&mut stream);
        drop(buffer);
        settle(rig);
    }

    pub fn memory_runs_out_with_a_reason_and_comes_back(rig: &Rig) {
        let mut stream = rig.stream().unwrap();
        let half = rig.buffer::<u8>(20 << 20, &stream).unwrap();
        let error = rig.buffer::<u8>(20 << 20, &stream).unwrap_err();
        let DeviceError::OutOfMemory { device, free, limit, .. } = error else { panic!("{error}") };
        assert_eq!((device, limit), (rig.device.id(), 32 << 20));
        assert!(free < 20 << 20);
        drop(half);
        let mut again = rig.buffer::<u8>(20 << 20, &stream).unwrap();
        stream.fill(&mut again, 3).unwrap();
        drop(again);
        finish(&mut stream);
        settle(rig);
    }

    pub fn what_belongs_to_another_is_refused(rig: &Rig) {
        let other = Rig::host();
        let (mut stream, mut second) = (rig.stream().unwrap(), rig.stream().unwrap());
        let saxpy = function(rig, "saxpy");
        let x = rig.upload(&[1.0f32; 8], &mut stream).unwrap();
        let mut foreign = rig.upload(&[1.0f32; 8], &mut second).unwrap();
        let wrong = |result: DeviceResult, part: &str| {
            let error = result.unwrap_err();
            assert!(
                matches!(error, DeviceError::WrongOwner(_)) && error.to_string().contains(part),
                "{error}"
            );
        };
        wrong(launch_saxpy(&saxpy, &mut stream, 1.0, &x, &mut foreign), "another stream");
        wrong(stream.fill(&mut foreign, 0), "another stream");
        wrong(stream.copy_within_device(&x, &mut foreign), "another stream");
        let mut elsewhere = other.stream().unwrap();
        wrong(launch_saxpy(&saxpy, &mut elsewhere, 1.0, &x, &mut foreign), "the kernel is of");
        wrong(elsewhere.wait(&rig.device.create_event().unwrap()), "the event is of");
        stream.take_over(&mut foreign, &mut second).unwrap();
        launch_saxpy(&saxpy, &mut stream, 1.0, &x, &mut foreign).unwrap();
        assert_eq!(rig.download(&foreign, &mut stream).unwrap(), [2.0; 8]);
        finish(&mut second);
        drop((x, foreign));
        settle(rig);
    }

    pub fn ranges_are_checked(rig: &Rig) {
        let mut stream = rig.stream().unwrap();
        let mut buffer = rig.buffer::<u32>(10, &stream).unwrap();
        for at in [8, 10, usize::MAX] {
            let staging = rig.staging::<u32>(3, &stream).unwrap();
            let error = stream.upload(staging, &mut buffer, at).unwrap_err();
            assert!(matches!(error, DeviceError::InvalidArgument(_)), "{error}");
        }
        let staging = rig.staging::<u32>(3, &stream).unwrap();
        assert!(
            stream.download(&buffer, 0..4, staging).is_err(),
            "the staging memory is too short"
        );
        let larger = rig.buffer::<u32>(11, &stream).unwrap();
        assert!(stream.copy_within_device(&larger, &mut buffer).is_err());
        drop((buffer, larger));
        finish(&mut stream);
        settle(rig);
    }

    pub fn launches_are_checked_against_the_ptx(rig: &Rig) {
        let mut stream = rig.stream().unwrap();
        let saxpy = function(rig, "saxpy");
        let x = rig.upload(&[1.0f32; 8], &mut stream).unwrap();
        let mut y = rig.upload(&[1.0f32; 8], &mut stream).unwrap();
        let one = LaunchConfig::new(1, 32);
        let refused = |result: DeviceResult, part: &str| {
            let error = result.unwrap_err();
            assert!(
                matches!(error, DeviceError::InvalidLaunch { .. })
                    && error.to_string().contains(part),
                "{error}"
            );
        };
        refused(
            stream.launch(&saxpy, one, arguments![1.0f32, &x, &mut y]),
            "takes 4 arguments, 3 given",
        );
        refused(
            stream.launch(&saxpy, one, arguments![1.0f64, &x, &mut y, 8u32]),
            "argument 0 has 4 bytes, 8 given",
        );
        refused(
            stream.launch(&saxpy, one, arguments![1.0f32, &x, &mut y, 8u64]),
            "argument 3 has 4 bytes, 8 given",
        );
        for (config, part) in [
            (LaunchConfig::new(0, 32), "no threads"),
            (LaunchConfig::linear(0, 32, 9), "no threads"),
            (LaunchConfig::new(1, (1024, 2)), "2048 threads"),
            (LaunchConfig::new((1, 70_000), 1), "too large"),
            (LaunchConfig::new(1, 32).shared(1 << 30), "shared memory"),
        ] {
            refused(stream.launch(&saxpy, config, arguments![1.0f32, &x, &mut y, 8u32]), part);
        }
        assert_eq!(rig.download(&y, &mut stream).unwrap(), [1.0; 8], "nothing was launched");
        drop((x, y));
        settle(rig);
    }

    pub fn modules_say_what_is_wrong(rig: &Rig) {
        let module = rig.device.load_module(&conformance_module()).unwrap();
        let error = module.function("sexpy").unwrap_err();
        assert!(error.to_string().contains("no kernel `sexpy`"), "{error}");
        let empty = rig.device.load_module(&ModuleSource::new()).unwrap_err();
        assert!(matches!(empty, DeviceError::InvalidModule { .. }), "{empty}");
        if rig.device.kind() == DeviceKind::Cuda {
            for text in [
                "",
                "hello",
                ".entry f() { ret; }",
                ".version 6.0\n.target sm_50\n.entry f() { frobnicate; }",
            ] {
                let error = rig.device.load_module(&ModuleSource::new().ptx(text)).unwrap_err();
                assert!(matches!(error, DeviceError::InvalidModule { .. }), "{text}: {error}");
            }
        }
        settle(rig);
    }

    pub fn host_functions_run_where_they_can(rig: &Rig) {
        let mut stream = rig.stream().unwrap();
        match rig.device.kind() {
            DeviceKind::Host => {
                let thread = std::thread::current().id();
                let run = stream.run(move || (std::thread::current().id() != thread, 7)).unwrap();
                assert_eq!(block_on(run).unwrap(), (true, 7), "off the submitting thread");
            }
            DeviceKind::Cuda => {
                let error = stream.run(|| ()).map(drop).unwrap_err();
                assert!(matches!(error, DeviceError::Unsupported { .. }), "{error}");
            }
        }
        settle(rig);
    }

    pub fn a_stream_dropped_with_work_lets_it_finish(rig: &Rig) {
        let mut stream = rig.stream().unwrap();
        let out = keep_busy(rig, &mut stream);
        let completion = stream.completion().unwrap();
        drop((out, stream));
        block_on(completion).unwrap();
        settle(rig);
    }

    pub fn many_streams_and_threads_work_at_once(rig: &Rig) {
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || {
                    let mut stream = rig.device.open_stream(&StreamOptions::default()).unwrap();
                    let saxpy = function(rig, "saxpy");
                    for round in 0..20 {
                        let n = 1000 + 100 * thread + round;
                        let x = rig.upload(&vec![thread as f32; n], &mut stream).unwrap();
                        let mut y = rig.upload(&vec![round as f32; n], &mut stream).unwrap();
                        launch_saxpy(&saxpy, &mut stream, 2.0, &x, &mut y).unwrap();
                        let expected = (2 * thread + round) as f32;
                        assert!(
                            rig.download(&y, &mut stream).unwrap().iter().all(|y| *y == expected)
                        );
                    }
                });
            }
        });
        settle(rig);
    }
}

/// Instantiates the suite for a device.
macro_rules! conformance {
    ($device:ident, $rig:expr $(, #[$attribute:meta])?) => {
        mod $device {
            conformance!(@ $rig, [$(#[$attribute])?],
                copies_keep_every_bit
                parts_of_a_buffer_are_copied_and_filled
                work_of_a_stream_runs_in_order
                completions_come_in_order_and_only_for_what_is_done
                an_event_orders_streams
                an_event_recorded_again_moves_and_earlier_waits_do_not
                streams_run_beside_each_other
                memory_in_use_is_not_handed_to_others
                a_download_dropped_in_flight_harms_nobody
                memory_runs_out_with_a_reason_and_comes_back
                what_belongs_to_another_is_refused
                ranges_are_checked
                launches_are_checked_against_the_ptx
                modules_say_what_is_wrong
                host_functions_run_where_they_can
                a_stream_dropped_with_work_lets_it_finish
                many_streams_and_threads_work_at_once);
        }
    };
    (@ $rig:expr, $attributes:tt, $($test:ident)*) => {
        $(conformance!(# $rig, $attributes, $test);)*
    };
    (# $rig:expr, [$(#[$attribute:meta])?], $test:ident) => {
        #[test]
        $(#[$attribute])?
        fn $test() {
            super::suite::$test(&$rig);
        }
    };
}

conformance!(host, rustkernel_tests::rig::Rig::host());
conformance!(fake, rustkernel_tests::fake::rig());
conformance!(cuda, rustkernel_tests::rig::Rig::new(rustkernel_gpu::cuda::open(0).unwrap()), #[ignore = "needs a GPU"]);

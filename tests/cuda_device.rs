//! What the driver answers a CUDA device, over the fake driver: what it means to whoever called.

use cust::context::CurrentContext;
use fake_cuda::{Fault, inject};
use futures_executor::block_on;
use rustkernel_gpu::memory::{Grown, Leased, MemoryKind};
use rustkernel_gpu::{Device, DeviceError, DeviceResult, LaunchConfig, ModuleSource, arguments};
use rustkernel_tests::rig::{Rig, conformance_module};
use rustkernel_tests::{eventually, fake, within_a_minute};

fn open(rig: fn(Device) -> Rig) -> (u32, Rig) {
    let ordinal = fake::claim();
    (ordinal, rig(rustkernel_gpu::cuda::open(ordinal).unwrap()))
}

fn on(ordinal: u32, fault: Fault) {
    inject(fault.on_device(ordinal as usize));
}

/// Uploads, launches, downloads.
fn scenario(rig: &Rig) -> DeviceResult<Vec<f32>> {
    let mut stream = rig.stream()?;
    let saxpy = rig.device.load_module(&conformance_module())?.function("saxpy")?;
    let x = rig.upload(&[1.0f32; 8], &mut stream)?;
    let mut y = rig.upload(&[2.0f32; 8], &mut stream)?;
    stream.launch(&saxpy, LaunchConfig::new(1, 32), arguments![1.0f32, &x, &mut y, 8u32])?;
    rig.download(&y, &mut stream)
}

#[test]
fn no_memory_is_told_as_that_by_whatever_call() {
    let calls =
        ["cuLaunchKernel", "cuStreamCreateWithPriority", "cuModuleLoadDataEx", "cuEventCreate"];
    for (rig, entry) in calls.map(|entry| (Rig::new as fn(Device) -> Rig, entry)) {
        let (ordinal, rig) = open(rig);
        on(ordinal, Fault::call(entry, 2));
        let error = scenario(&rig).unwrap_err();
        let DeviceError::OutOfMemory { kind, asked, limit, .. } = error else {
            panic!("{entry}: {error}");
        };
        assert_eq!((kind, asked), (MemoryKind::Device, 0), "{entry}");
        assert_eq!(limit, rig.device.info().memory_bytes);
        assert_eq!(scenario(&rig), Ok(vec![3.0; 8]), "{entry}");
    }
}

#[test]
fn pages_that_cannot_be_mapped_are_tried_again_without_those_that_are_idle() {
    for entry in ["cuMemCreate", "cuMemMap", "cuMemSetAccess", "cuMemHostRegister_v2"] {
        let (ordinal, rig) = open(Rig::paged);
        let mut stream = rig.stream().unwrap();
        // Pages that are idle, and fewer than are asked for next.
        drop((rig.buffer::<u8>(4 << 20, &stream), rig.staging::<u8>(4 << 20, &stream)));
        block_on(stream.completion().unwrap()).unwrap();
        on(ordinal, Fault::call(entry, 2));
        rig.buffer::<u8>(30 << 20, &stream).unwrap();
        rig.staging::<u8>(80 << 20, &stream).unwrap();
        assert!(fake::ledger(ordinal).stale.is_empty());
    }
}

#[test]
fn staging_memory_that_runs_out_is_not_told_in_bytes_of_the_device() {
    for rig in [Rig::new, Rig::paged] {
        let (ordinal, rig) = open(rig);
        let stream = rig.stream().unwrap();
        on(ordinal, Fault::call("cuMemHostRegister_v2", 2).from_then_on());
        let error = rig.staging::<u8>(12 << 20, &stream).unwrap_err();
        let DeviceError::OutOfMemory { kind, free, limit, .. } = error else { panic!("{error}") };
        assert_eq!((kind, free, limit), (MemoryKind::Staging, 0, 0));
    }
}

#[test]
fn a_device_that_does_not_answer_what_is_done_is_lost() {
    for code in [1, 400, 810, 911, 999] {
        let (ordinal, rig) = open(Rig::new);
        // (Each time: of two who ask at once the other would be told that it is done.)
        on(ordinal, Fault::call("cuEventQuery", code).from_then_on());
        let error = scenario(&rig).unwrap_err();
        assert!(matches!(error, DeviceError::Lost { code: told, .. } if told == code), "{error}");
        fake_cuda::clear_faults_on(ordinal as usize);
        rig.device.recover().unwrap();
        assert_eq!(scenario(&rig), Ok(vec![3.0; 8]));
    }
}

#[test]
fn the_end_of_what_a_context_depends_on_is_its_own() {
    for code in [810, 911] {
        let (ordinal, rig) = open(Rig::new);
        on(ordinal, Fault::call("cuMemcpyHtoDAsync_v2", code));
        let error = scenario(&rig).unwrap_err();
        assert!(matches!(error, DeviceError::Lost { code: told, .. } if told == code), "{error}");
    }
}

#[test]
fn while_others_capture_a_graph_the_answer_is_waited_for() {
    let (ordinal, rig) = open(Rig::new);
    on(ordinal, Fault::call("cuEventQuery", 900));
    assert_eq!(scenario(&rig), Ok(vec![3.0; 8]));
    assert!(rig.device.health().is_ok());
}

#[test]
fn a_text_is_compiled_once_and_stays_loaded() {
    let (ordinal, rig) = open(Rig::new);
    for _ in 0..3 {
        assert_eq!(scenario(&rig), Ok(vec![3.0; 8]));
    }
    let ledger = fake::ledger(ordinal);
    let calls = ["cuModuleLoadDataEx", "cuModuleUnload"].map(|name| ledger.calls_of(name));
    assert_eq!((calls, ledger.modules), ([1, 0], 1));
}

#[test]
fn a_text_that_has_variables_is_loaded_by_each_for_itself() {
    let (ordinal, rig) = open(Rig::new);
    let text = ".version 7.0\n.target sm_50\n.address_size 64\n\
        .visible .global .align 4 .u32 count;\n.visible .entry nothing()\n{\nret;\n}\n";
    let load = || rig.device.load_module(&ModuleSource::new().ptx(text)).unwrap();
    let (one, other) = (load(), load());
    assert_eq!(fake::ledger(ordinal).modules, 2);
    drop((one, other));
    assert_eq!(fake::ledger(ordinal).modules, 0);
}

#[test]
fn a_stream_whose_end_cannot_be_marked_when_it_is_dropped_is_counted() {
    let (ordinal, rig) = open(Rig::new);
    let mut stream = rig.stream().unwrap();
    let mut buffer = rig.buffer::<u8>(100, &stream).unwrap();
    stream.fill(&mut buffer, 1).unwrap();
    on(ordinal, Fault::call("cuEventRecord", 1));
    drop(stream);
    assert_eq!(rig.device.drop_errors(), 1);
    assert!(rig.device.health().is_ok());
}

#[tokio::test]
async fn a_stream_refuses_more_before_the_driver_would_wait() {
    let (ordinal, rig) = open(Rig::new);
    let mut stream = rig.stream().unwrap();
    let saxpy = rig.device.load_module(&conformance_module()).unwrap().function("saxpy").unwrap();
    let x = rig.upload(&[1.0f32; 8], &mut stream).unwrap();
    let mut y = rig.upload(&[0.0f32; 8], &mut stream).unwrap();
    block_on(stream.completion().unwrap()).unwrap();
    let mut launch = |times: usize| -> DeviceResult {
        (0..times).try_for_each(|_| {
            let arguments = arguments![1.0f32, &x, &mut y, 8u32];
            stream.launch(&saxpy, LaunchConfig::new(1, 32), arguments)
        })
    };
    let gate = fake_cuda::hold("saxpy", Some(ordinal as usize));
    let full = DeviceError::StreamFull { limit: 896 };
    launch(896).unwrap();
    assert_eq!(launch(1), Err(full));
    drop(gate);
    // (Nobody asks for a completion.)
    eventually("there is room again", || launch(1).is_ok()).await;
    assert_eq!(rig.download(&y, &mut stream), Ok(vec![897.0; 8]));
}

#[tokio::test]
async fn memory_behind_a_stream_that_nobody_asks_comes_back_to_who_waits_for_it() {
    const BYTES: usize = 120 << 20;
    let (_, rig) = open(Rig::paged);
    let (mut silent, other) = (rig.stream().unwrap(), rig.stream().unwrap());
    let mut buffer = rig.buffer::<u8>(BYTES, &silent).unwrap();
    silent.fill(&mut buffer, 0).unwrap();
    drop(buffer);
    let lease = rig.memory.lease(MemoryKind::Device, BYTES, Some(&other), None).unwrap();
    let Leased::NeedsGrowth(growth) = lease else { panic!("{lease:?}") };
    let Grown::Wait(growth, passing) = growth.run().unwrap() else { panic!("it is in use") };
    within_a_minute(passing).await.unwrap();
    assert!(matches!(growth.run(), Ok(Grown::Ready(_))));
}

#[test]
fn a_driver_that_makes_no_pages_gives_memory_in_blocks() {
    for call in ["cuMemCreate", "cuMemMap", "cuMemSetAccess"] {
        let ordinal = fake::claim();
        on(ordinal, Fault::call(call, 801).from_then_on());
        let rig = Rig::paged(rustkernel_gpu::cuda::open(ordinal).unwrap());
        assert_eq!(scenario(&rig), Ok(vec![3.0; 8]), "{call}");
        let ledger = fake::ledger(ordinal);
        assert_eq!(ledger.physical_handles, 0, "{call}: the page that was tried is given back");
    }
}

#[test]
fn what_context_the_application_has_made_current_stays_so() {
    let theirs = fake::claim();
    let (ordinal, rig) = open(Rig::paged);
    let device = cust::device::Device::get_device(theirs).unwrap();
    let _context = cust::context::Context::new(device).unwrap();
    let current = || CurrentContext::get_device().map(|device| device.as_raw());
    assert_eq!(scenario(&rig), Ok(vec![3.0; 8]));
    assert_eq!(current(), Ok(device.as_raw()));
    rustkernel_gpu::cuda::open(fake::claim()).unwrap();
    assert_eq!(current(), Ok(device.as_raw()), "also where a device is opened");
    on(ordinal, Fault::call("cuEventQuery", 700).from_then_on());
    scenario(&rig).unwrap_err();
    fake_cuda::clear_faults_on(ordinal as usize);
    rig.device.recover().unwrap();
    assert_eq!(current(), Ok(device.as_raw()), "or brought back");
}

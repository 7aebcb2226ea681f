//! Streams: order within one, none between two, barriers of the legacy one, callbacks, values.

use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, mpsc};

use cust::memory::LockedBuffer;
use cust::stream::Stream;
use cust::sys;

use crate::support::*;

/// A stream that the legacy one does not hold up. (`cust` takes the flag away.)
pub(crate) fn non_blocking() -> sys::CUstream {
    let mut stream = ptr::null_mut();
    // SAFETY: a place for the result.
    ok(unsafe { sys::cuStreamCreateWithPriority(&mut stream, 1, 0) });
    stream
}

pub(crate) fn destroy(stream: sys::CUstream) {
    // SAFETY: made by this driver.
    ok(unsafe { sys::cuStreamDestroy_v2(stream) });
}

fn query(stream: sys::CUstream) -> u32 {
    // SAFETY: made by this driver, or the legacy stream.
    code(unsafe { sys::cuStreamQuery(stream) })
}

fn synchronize(stream: sys::CUstream) -> u32 {
    // SAFETY: as above.
    code(unsafe { sys::cuStreamSynchronize(stream) })
}

/// Launches the PTX kernel `saxpy` on a stream, with no elements.
fn nothing(module: &cust::module::Module, stream: sys::CUstream) {
    let function = module.get_function("saxpy").unwrap();
    let (a, x, n) = (0f32, 0u64, 0u32);
    let mut arguments = args![a, x, x, n].map(<*const c_void>::cast_mut);
    // SAFETY: the arguments are those of the kernel.
    ok(unsafe {
        sys::cuLaunchKernel(
            function.to_raw(),
            1,
            1,
            1,
            1,
            1,
            1,
            0,
            stream,
            arguments.as_mut_ptr(),
            ptr::null_mut(),
        )
    });
}

#[test]
fn work_of_one_stream_is_done_in_order_and_of_two_beside_each_other() {
    let gpu = gpu();
    let module = module(MEMORY_KERNELS);
    let (held, free) = (non_blocking(), non_blocking());
    let gate = fake_cuda::hold("saxpy", Some(gpu.ordinal()));
    let data = buffer(&[1u32; 4]);
    let mut pinned = LockedBuffer::new(&0u32, 4).unwrap();
    nothing(&module, held);
    // behind the kernel that hangs, on the same stream
    let (to, from) = (pinned.as_mut_ptr().cast::<c_void>(), data.as_device_ptr().as_raw());
    // SAFETY: both live until the stream is done.
    unsafe {
        ok(sys::cuMemcpyDtoHAsync_v2(to, from, 16, held));
        gate.wait_for(1);
        // the other stream is not held up
        ok(sys::cuMemsetD32Async(from, 7, 4, free));
    }
    assert_eq!(synchronize(free), 0);
    assert_eq!(query(held), 600);
    assert_eq!(pinned[..], [0; 4]);
    gate.open();
    assert_eq!(synchronize(held), 0);
    assert_eq!(pinned[..], [7; 4], "the copy came after the kernel");
    destroy(held);
    destroy(free);
}

#[test]
fn the_legacy_stream_waits_for_the_others_and_they_for_it() {
    let gpu = gpu();
    let module = module(MEMORY_KERNELS);
    let (blocking, other, free) = (gpu.stream(), gpu.stream(), non_blocking());
    let data = buffer(&[0u32]);
    let gate = fake_cuda::hold("saxpy", Some(gpu.ordinal()));
    nothing(&module, blocking.as_inner());
    gate.wait_for(1);
    // on the legacy stream: waits for the stream that is held
    nothing(&module, ptr::null_mut());
    assert_eq!(query(ptr::null_mut()), 600);
    gate.open();
    assert_eq!(synchronize(ptr::null_mut()), 0);
    assert_eq!(query(blocking.as_inner()), 0, "it came first");
    // on another stream: waits for the legacy one
    let gate = fake_cuda::hold("saxpy", Some(gpu.ordinal()));
    nothing(&module, ptr::null_mut());
    gate.wait_for(1);
    let place = data.as_device_ptr().as_raw();
    // SAFETY: a place that lives.
    unsafe {
        ok(sys::cuMemsetD32Async(place, 1, 1, other.as_inner()));
        ok(sys::cuMemsetD32Async(place, 2, 1, free));
    }
    assert_eq!(synchronize(free), 0, "a non-blocking stream waits for nobody");
    assert_eq!(query(other.as_inner()), 600, "a blocking one waits for the legacy stream");
    gate.open();
    assert_eq!(read(&data), [1]);
    destroy(free);
}

#[test]
fn streams_have_priorities_flags_and_a_device() {
    let gpu = gpu();
    let (mut least, mut greatest, mut stream) = (9, 9, ptr::null_mut());
    let (mut priority, mut flags, mut context) = (9, 9, ptr::null_mut());
    // SAFETY: places for the results.
    unsafe {
        ok(sys::cuCtxGetStreamPriorityRange(&mut least, &mut greatest));
        assert!(greatest < least);
        ok(sys::cuStreamCreateWithPriority(&mut stream, 1, -100));
        ok(sys::cuStreamGetPriority(stream, &mut priority));
        ok(sys::cuStreamGetFlags(stream, &mut flags));
        ok(sys::cuStreamGetCtx(stream, &mut context));
        assert_eq!((priority, flags), (greatest, 1));
        let mut current = ptr::null_mut();
        ok(sys::cuCtxGetCurrent(&mut current));
        assert_eq!(context, current);
        assert_eq!(code(sys::cuStreamCreate(&mut stream, 2)), 1, "no such flag");
    }
    assert_eq!(gpu.ledger().streams, 1);
    destroy(stream);
    assert_eq!(query(stream), 400, "the handle is stale");
    assert_eq!(gpu.ledger().streams, 0);
}

#[test]
fn a_destroyed_stream_finishes_its_work() {
    let gpu = gpu();
    let module = module(MEMORY_KERNELS);
    let data = buffer(&[0u32]);
    let stream = non_blocking();
    let gate = fake_cuda::hold("saxpy", Some(gpu.ordinal()));
    nothing(&module, stream);
    // SAFETY: a place that lives.
    ok(unsafe { sys::cuMemsetD32Async(data.as_device_ptr().as_raw(), 5, 1, stream) });
    destroy(stream);
    gate.open();
    // SAFETY: no arguments.
    ok(unsafe { sys::cuCtxSynchronize() });
    assert_eq!(read(&data), [5]);
}

#[test]
fn pageable_memory_is_read_in_the_call_and_pinned_memory_later() {
    let gpu = gpu();
    let module = module(MEMORY_KERNELS);
    let (a, b) = (buffer(&[0u32]), buffer(&[0u32]));
    let stream = non_blocking();
    let gate = fake_cuda::hold("saxpy", Some(gpu.ordinal()));
    nothing(&module, stream);
    let mut pinned = LockedBuffer::new(&1u32, 1).unwrap();
    let mut pageable = Box::new(1u32);
    let (pa, pb) = (a.as_device_ptr().as_raw(), b.as_device_ptr().as_raw());
    // SAFETY: places that live.
    unsafe {
        ok(sys::cuMemcpyHtoDAsync_v2(pa, ptr::from_ref(&*pageable).cast(), 4, stream));
        ok(sys::cuMemcpyHtoDAsync_v2(pb, pinned.as_ptr().cast(), 4, stream));
    }
    *pageable = 2;
    pinned[0] = 2;
    gate.open();
    assert_eq!(synchronize(stream), 0);
    assert_eq!((read(&a), read(&b)), (vec![1], vec![2]));
    destroy(stream);
}

#[test]
fn a_host_function_runs_in_order_and_may_not_call_the_driver() {
    let gpu = gpu();
    let stream = gpu.stream();
    let (tell, told) = mpsc::sync_channel(1);
    let gate = Arc::new(Barrier::new(2));
    let inside = Arc::clone(&gate);
    let context = gpu.context.clone();
    stream
        .add_callback(Box::new(move || {
            inside.wait();
            // (what the closure owns goes later, on this thread: it must not need the driver)
            let current = cust::context::CurrentContext::set_current(&context);
            std::mem::forget(context);
            tell.send(current.map_err(|_| rustkernel_driver::last_code())).unwrap();
        }))
        .unwrap();
    assert_eq!(query(stream.as_inner()), 600);
    gate.wait();
    stream.synchronize().unwrap();
    assert_eq!(told.recv().unwrap(), Err(800));
    // (the clone that was forgotten)
    // SAFETY: retained by the clone.
    ok(unsafe { sys::cuDevicePrimaryCtxRelease_v2(gpu.ordinal() as i32) });
}

/// Keeps the status that it is called with.
unsafe extern "C" fn keep(_: sys::CUstream, status: sys::CUresult, place: *mut c_void) {
    // SAFETY: the test passes a place.
    unsafe { &*place.cast::<AtomicU32>() }.store(status as u32, Ordering::SeqCst);
}

#[test]
fn a_status_callback_is_called_in_any_case() {
    let gpu = gpu();
    let module = module(MEMORY_KERNELS);
    let stream = gpu.stream();
    let (well, ill) = (AtomicU32::new(9), AtomicU32::new(9));
    let place = |status: &AtomicU32| ptr::from_ref(status).cast_mut().cast();
    // SAFETY: the places outlive the stream's work.
    unsafe {
        ok(sys::cuStreamAddCallback(stream.as_inner(), Some(keep), place(&well), 0));
        assert_eq!(synchronize(stream.as_inner()), 0);
        assert_eq!(well.load(Ordering::SeqCst), 0);
        let gate = fake_cuda::hold("saxpy", Some(gpu.ordinal()));
        fake_cuda::inject(fake_cuda::Fault::launch("saxpy", 719).on_device(gpu.ordinal()));
        nothing(&module, stream.as_inner());
        ok(sys::cuStreamAddCallback(stream.as_inner(), Some(keep), place(&ill), 0));
        gate.open();
    }
    assert_eq!(synchronize(stream.as_inner()), 719);
    assert_eq!(ill.load(Ordering::SeqCst), 719);
    std::mem::forget((module, stream));
    gpu.reset();
}

#[test]
fn a_status_callback_that_waits_hears_of_a_reset() {
    let gpu = gpu();
    let module = module(MEMORY_KERNELS);
    let stream = gpu.stream();
    let status = Box::leak(Box::new(AtomicU32::new(9)));
    let gate = fake_cuda::hold("saxpy", Some(gpu.ordinal()));
    nothing(&module, stream.as_inner());
    gate.wait_for(1);
    let place = ptr::from_ref(status).cast_mut().cast();
    // SAFETY: the place lives for good.
    ok(unsafe { sys::cuStreamAddCallback(stream.as_inner(), Some(keep), place, 0) });
    gpu.reset();
    // the reset has ended the kernel that hung; the callback follows
    while status.load(Ordering::SeqCst) == 9 {
        std::thread::yield_now();
    }
    assert_eq!(status.load(Ordering::SeqCst), 709);
    std::mem::forget((module, stream));
}

#[test]
fn values_are_written_and_waited_for() {
    let gpu = gpu();
    let (one, two) = (non_blocking(), non_blocking());
    let flags = LockedBuffer::new(&0u64, 2).unwrap();
    let data = buffer(&[0u32]);
    let (word, long) = (flags.as_ptr() as u64, flags.as_ptr() as u64 + 8);
    // SAFETY: the flags are pinned, and only used through atomics here.
    let here = unsafe { AtomicU64::from_ptr(flags.as_ptr().cast_mut()) };
    // SAFETY: as above.
    let there = unsafe { AtomicU64::from_ptr(flags.as_ptr().cast_mut().add(1)) };
    // SAFETY: places that live.
    unsafe {
        ok(sys::cuStreamWaitValue32(one, word, 3, 0));
        ok(sys::cuMemsetD32Async(data.as_device_ptr().as_raw(), 8, 1, one));
        ok(sys::cuStreamWriteValue64(one, long, 0x1_0000_0005, 0));
        ok(sys::cuStreamWaitValue64(two, long, 0x1_0000_0005, 1));
        ok(sys::cuStreamWriteValue32(two, word, 100, 0));
        assert_eq!(query(two), 600);
        here.store(2, Ordering::SeqCst);
        assert_eq!(query(one), 600, "2 is less than 3");
        here.store(3, Ordering::SeqCst);
        assert_eq!((synchronize(two), synchronize(one)), (0, 0));
        assert_eq!(code(sys::cuStreamWriteValue32(one, 0xdead_0000, 1, 0)), 1);
        assert_eq!(code(sys::cuStreamWaitValue32(one, word + 1, 1, 0)), 1, "not aligned");
    }
    assert_eq!((here.load(Ordering::SeqCst), there.load(Ordering::SeqCst)), (100, 0x1_0000_0005));
    assert_eq!(read(&data), [8]);
    destroy(one);
    // a stream that waits for ever does not outlive a reset
    // SAFETY: as above.
    ok(unsafe { sys::cuStreamWaitValue32(two, word, 7, 1) });
    gpu.reset();
    std::mem::forget((flags, data));
    assert!(gpu.ledger().streams == 0);
}

#[test]
fn attributes_say_that_values_can_be_waited_for() {
    use cust::device::{Device, DeviceAttribute};
    let gpu = gpu();
    let device = Device::get_device(gpu.ordinal() as u32).unwrap();
    let get = |attribute| device.get_attribute(attribute).unwrap();
    assert_eq!(get(DeviceAttribute::WarpSize), 32);
    assert_eq!(
        (
            get(DeviceAttribute::ComputeCapabilityMajor),
            get(DeviceAttribute::ComputeCapabilityMinor)
        ),
        (8, 0)
    );
    let mut value = 0;
    use sys::CUdevice_attribute as Of;
    for attribute in [
        Of::CU_DEVICE_ATTRIBUTE_CAN_USE_STREAM_MEM_OPS,
        Of::CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS,
        Of::CU_DEVICE_ATTRIBUTE_VIRTUAL_ADDRESS_MANAGEMENT_SUPPORTED,
        Of::CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED,
        Of::CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING,
    ] {
        // SAFETY: a place for the result.
        ok(unsafe { sys::cuDeviceGetAttribute(&mut value, attribute, gpu.ordinal() as i32) });
        assert_eq!(value, 1, "{attribute:?}");
    }
    assert_eq!(device.total_memory().unwrap() as u64, MEMORY);
    assert_eq!(device.name().unwrap(), format!("Fake CUDA device {}", gpu.ordinal()));
    let uuid = |ordinal: usize| {
        let mut uuid = sys::CUuuid { bytes: [0; 16] };
        // SAFETY: a place for the result.
        ok(unsafe { sys::cuDeviceGetUuid(&mut uuid, ordinal as i32) });
        uuid.bytes
    };
    assert_ne!(uuid(gpu.ordinal()), uuid((gpu.ordinal() + 1) % 64));
}

#[test]
fn threads_end_with_their_streams() {
    let gpu = gpu();
    let threads = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let name = format!("fake-cuda {}\n", gpu.ordinal());
        let named = tasks.filter(|task| {
            let name_of = task.as_ref().unwrap().path().join("comm");
            std::fs::read_to_string(name_of).is_ok_and(|own| own == name)
        });
        named.count()
    };
    let data = buffer(&[0u32]);
    let before = threads();
    let streams: Vec<Stream> = (0..8).map(|_| gpu.stream()).collect();
    assert_eq!(threads(), before, "an idle stream has no thread");
    for stream in &streams {
        let place = data.as_device_ptr().as_raw();
        // SAFETY: a place that lives.
        ok(unsafe { sys::cuMemsetD32Async(place, 1, 1, stream.as_inner()) });
    }
    drop(streams);
    while threads() > before {
        std::thread::yield_now();
    }
}

//! Faults: those of kernels, those that tests inject, and what is left after them.

use std::ptr;
use std::time::Duration;

use cust::context::CurrentContext;
use cust::error::CudaError;
use cust::memory::DeviceBuffer;
use cust::sys;
use fake_cuda::{Fault, Point};

use crate::support::*;

fn synchronize() -> u32 {
    // SAFETY: no arguments.
    code(unsafe { sys::cuCtxSynchronize() })
}

/// Whatever is asked of the context, the answer is the fault.
fn everything_fails(gpu: &Gpu, with: u32, address: u64, stream: sys::CUstream) {
    let (mut place, mut event, mut module) = (0, ptr::null_mut(), ptr::null_mut());
    // SAFETY: places for the results; handles that the fake driver looks up.
    unsafe {
        assert_eq!(code(sys::cuMemAlloc_v2(&mut place, 1)), with);
        assert_eq!(code(sys::cuMemFree_v2(address)), with);
        assert_eq!(code(sys::cuStreamSynchronize(stream)), with);
        assert_eq!(code(sys::cuStreamQuery(stream)), with);
        assert_eq!(code(sys::cuStreamDestroy_v2(stream)), with);
        assert_eq!(code(sys::cuEventCreate(&mut event, 0)), with);
        assert_eq!(code(sys::cuModuleLoadData(&mut module, c"".as_ptr().cast())), with);
        assert_eq!(code(sys::cuMemsetD8_v2(address, 0, 1)), with);
        assert_eq!(synchronize(), with);
        // what asks nothing of the device is answered
        let (mut ordinal, mut context) = (-1, ptr::null_mut());
        ok(sys::cuCtxGetDevice(&mut ordinal));
        assert_eq!(ordinal as usize, gpu.ordinal());
        ok(sys::cuCtxGetCurrent(&mut context));
        ok(sys::cuCtxSetCurrent(context));
    }
}

#[test]
fn a_stray_address_breaks_the_context_until_it_is_reset() {
    let gpu = gpu();
    let module = module(MEMORY_KERNELS);
    let (data, stream) = (buffer(&[0i32; 64]), crate::streams::non_blocking());
    let (pointer, n) = (data.as_device_ptr(), 32i32);
    launch(&module, "stray", block(32), args![pointer, n]);
    let n = 64i32;
    ok(try_launch(&module, "stray", block(1), args![pointer, n]));
    assert_eq!(synchronize(), 700, "one element past the end");
    everything_fails(&gpu, 700, pointer.as_raw(), stream);
    // retaining the context again does not help
    let again = context_of(gpu.ordinal());
    assert_eq!(CurrentContext::synchronize(), Err(CudaError::IllegalAddress));
    assert!(gpu.ledger().device_bytes > 0);
    // a reset does; everything that was made before it is gone
    gpu.reset();
    assert_eq!(synchronize(), 709, "not retained since");
    assert_eq!((gpu.ledger().device_bytes, gpu.ledger().modules, gpu.ledger().streams), (0, 0, 0));
    let fresh = context_of(gpu.ordinal());
    assert_eq!(synchronize(), 0);
    // SAFETY: numbers that the fake driver looks up, and finds stale.
    unsafe {
        assert_eq!(code(sys::cuMemFree_v2(pointer.as_raw())), 1);
        assert_eq!(code(sys::cuStreamSynchronize(stream)), 400);
        let function = module.get_function("stray");
        assert_eq!(function.err(), Some(CudaError::InvalidHandle));
    }
    let stale = gpu.ledger().stale;
    let told = ["cuMemFree_v2: 0x", "cuStreamSynchronize: 0x", "cuModuleGetFunction: 0x"];
    assert!(stale.iter().zip(told).all(|(stale, told)| stale.starts_with(told)), "{stale:?}");
    assert_eq!(
        stale.len(),
        told.len(),
        "what was passed before the reset was not stale: {stale:?}"
    );
    drop((data, module));
    assert_eq!(read(&buffer(&[1, 2, 3])), [1, 2, 3]);
    drop((again, fresh));
}

#[test]
fn memory_that_was_freed_is_a_stray_address() {
    let gpu = gpu();
    let module = module(MEMORY_KERNELS);
    let data = buffer(&[0i32; 64]);
    let (pointer, n) = (data.as_device_ptr(), 0i32);
    drop(data);
    let _other = buffer(&[0i32; 64]);
    ok(try_launch(&module, "stray", block(1), args![pointer, n]));
    assert_eq!(synchronize(), 700);
    gpu.reset();
    std::mem::forget((module, _other));
}

#[test]
fn a_misaligned_address_is_another_fault() {
    let gpu = gpu();
    let module = module(MEMORY_KERNELS);
    let data = buffer(&[0u8; 64]);
    let pointer = data.as_device_ptr();
    ok(try_launch(&module, "misaligned", block(2), args![pointer]));
    assert_eq!(synchronize(), 716);
    gpu.reset();
    std::mem::forget((module, data));
}

#[test]
fn memory_that_goes_while_a_copy_waits_is_found_by_the_device() {
    let gpu = gpu();
    let module = module(MEMORY_KERNELS);
    let [one, two] = [(); 2].map(|()| crate::streams::non_blocking());
    let mut address = 0;
    // SAFETY: places for the results, handles that live.
    unsafe {
        ok(sys::cuMemAllocAsync(&mut address, 64, two));
        let gate = fake_cuda::hold("stray", Some(gpu.ordinal()));
        let data = buffer(&[0i32; 64]);
        let (pointer, n) = (data.as_device_ptr().as_raw(), 0i32);
        let mut arguments = args![pointer, n].map(<*const std::ffi::c_void>::cast_mut);
        let function = module.get_function("stray").unwrap().to_raw();
        ok(sys::cuLaunchKernel(
            function,
            1,
            1,
            1,
            1,
            1,
            1,
            0,
            one,
            arguments.as_mut_ptr(),
            ptr::null_mut(),
        ));
        ok(sys::cuMemsetD8Async(address, 1, 64, one));
        ok(sys::cuMemFreeAsync(address, two));
        ok(sys::cuStreamSynchronize(two));
        gate.open();
        assert_eq!(code(sys::cuStreamSynchronize(one)), 700);
        std::mem::forget(data);
    }
    gpu.reset();
    std::mem::forget(module);
}

#[test]
fn the_nth_call_fails_and_only_that_one() {
    let gpu = gpu();
    fake_cuda::inject(Fault::call("cuMemAlloc_v2", 2).nth(3).on_device(gpu.ordinal()));
    let results: Vec<bool> = (0..5).map(|_| DeviceBuffer::<u8>::zeroed(10).is_ok()).collect();
    assert_eq!(results, [true, true, false, true, true]);
    assert_eq!(synchronize(), 0, "a call that fails breaks nothing");
    let later = Fault::call("cuMemAlloc_v2", 2).nth(2).on_device(gpu.ordinal()).from_then_on();
    fake_cuda::inject(later);
    let results: Vec<bool> = (0..4).map(|_| DeviceBuffer::<u8>::zeroed(10).is_ok()).collect();
    assert_eq!(results, [true, false, false, false]);
    fake_cuda::clear_faults_on(gpu.ordinal());
    assert!(DeviceBuffer::<u8>::zeroed(10).is_ok());
    assert_eq!(gpu.ledger().calls_of("cuMemAlloc_v2"), 10);
}

#[test]
fn faults_of_one_device_are_not_those_of_another() {
    let (one, two) = (gpu(), gpu());
    fake_cuda::inject(Fault::call("cuMemAlloc_v2", 2).on_device(one.ordinal()));
    assert!(DeviceBuffer::<u8>::zeroed(1).is_ok(), "the second device is current");
    one.enter();
    assert!(DeviceBuffer::<u8>::zeroed(1).is_err());
    assert!(DeviceBuffer::<u8>::zeroed(1).is_ok());
    two.enter();
}

#[test]
fn a_sticky_fault_of_any_call_breaks_the_context() {
    let gpu = gpu();
    let fault = Fault::at(Point::AnyCall, 214).nth(4).on_device(gpu.ordinal()).sticky();
    fake_cuda::inject(fault);
    assert_eq!([(); 3].map(|()| synchronize()), [0; 3]);
    assert_eq!([(); 3].map(|()| synchronize()), [214; 3]);
    gpu.reset();
}

#[test]
fn codes_that_cust_does_not_know_keep_their_number() {
    let gpu = gpu();
    fake_cuda::inject(Fault::call("cuCtxSynchronize", 914).on_device(gpu.ordinal()));
    assert_eq!(CurrentContext::synchronize(), Err(CudaError::UnknownError));
    assert_eq!(rustkernel_driver::last_code(), 914);
}

#[test]
fn the_nth_launch_fails_on_the_device() {
    let gpu = gpu();
    let module = module(MEMORY_KERNELS);
    let x = buffer(&[1f32; 8]);
    let (a, p, n) = (1f32, x.as_device_ptr(), 8u32);
    fake_cuda::inject(Fault::launch("saxpy", 719).nth(2).on_device(gpu.ordinal()));
    launch(&module, "saxpy", block(8), args![a, p, p, n]);
    ok(try_launch(&module, "saxpy", block(8), args![a, p, p, n]));
    assert_eq!(synchronize(), 719);
    assert_eq!(synchronize(), 719, "for good");
    assert_eq!(gpu.ledger().launches["saxpy"], 2);
    gpu.reset();
    std::mem::forget((module, x));
}

#[test]
fn a_delay_makes_kernels_slow_and_a_reset_cuts_it_short() {
    let gpu = gpu();
    let module = module(CONTROL);
    let out = buffer(&[0i32; 32]);
    let (pointer, limit) = (out.as_device_ptr(), 32i32);
    fake_cuda::delay("early_return", Duration::from_secs(3600));
    ok(try_launch(&module, "early_return", block(32), args![pointer, limit]));
    // SAFETY: the legacy stream.
    assert_eq!(code(unsafe { sys::cuStreamQuery(ptr::null_mut()) }), 600);
    gpu.reset();
    fake_cuda::delay("early_return", Duration::ZERO);
    std::mem::forget((module, out));
}

#[test]
fn a_rust_body_replaces_the_ptx() {
    let gpu = gpu();
    let module = module(MEMORY_KERNELS);
    fake_cuda::register_on(gpu.ordinal(), "saxpy", |launch| {
        assert_eq!((launch.grid, launch.block, launch.threads()), ([1; 3], [8, 1, 1], 8));
        let (x, y) =
            (launch.slice::<f32>(launch.arg(1), 8)?, launch.slice::<f32>(launch.arg(2), 8)?);
        y.iter_mut().zip(x).for_each(|(y, x)| *y = *x * launch.arg::<f32>(0) * 100.0);
        if launch.arg::<u32>(3) == 99 {
            launch.slice::<f32>(0xdead_0000, 1)?;
        }
        Ok(())
    });
    let (x, y) = (buffer(&[2f32; 8]), buffer(&[0f32; 8]));
    let (a, px, py, n) = (3f32, x.as_device_ptr(), y.as_device_ptr(), 8u32);
    launch(&module, "saxpy", block(8), args![a, px, py, n]);
    assert_eq!(read(&y), [600f32; 8]);
    let n = 99u32;
    ok(try_launch(&module, "saxpy", block(8), args![a, px, py, n]));
    assert_eq!(synchronize(), 700, "a stray address in it is the device's fault too");
    gpu.reset();
    std::mem::forget((module, x, y));
}

#[test]
fn a_body_that_panics_fails_the_launch() {
    let gpu = gpu();
    let module = module(MEMORY_KERNELS);
    let data = buffer(&[0i32; 64]);
    let (pointer, n) = (data.as_device_ptr(), 0i32);
    fake_cuda::register_on(gpu.ordinal(), "stray", |_| panic!("on purpose"));
    ok(try_launch(&module, "stray", block(1), args![pointer, n]));
    assert_eq!(synchronize(), 719);
    gpu.reset();
    std::mem::forget((module, data));
}

#[test]
fn contexts_are_per_thread_and_stack() {
    let gpu = gpu();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            assert_eq!(DeviceBuffer::<u8>::zeroed(1).err(), Some(CudaError::InvalidContext));
            gpu.enter();
            DeviceBuffer::<u8>::zeroed(1).unwrap();
        });
    });
    let other = crate::support::gpu();
    let (mut ours, mut theirs, mut top) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
    // SAFETY: places for the results, and contexts that live.
    unsafe {
        ok(sys::cuCtxGetCurrent(&mut theirs));
        gpu.enter();
        ok(sys::cuCtxGetCurrent(&mut ours));
        ok(sys::cuCtxPushCurrent_v2(theirs));
        ok(sys::cuCtxGetCurrent(&mut top));
        assert_eq!(top, theirs);
        ok(sys::cuCtxPopCurrent_v2(&mut top));
        assert_eq!(top, theirs);
        ok(sys::cuCtxGetCurrent(&mut top));
        assert_eq!(top, ours);
        ok(sys::cuCtxSetCurrent(ptr::null_mut()));
        assert_eq!(code(sys::cuCtxSynchronize()), 201);
        assert_eq!(code(sys::cuCtxPushCurrent_v2(0x1234 as sys::CUcontext)), 201);
        let (mut flags, mut active) = (0, 0);
        let ordinal = gpu.ordinal() as i32;
        ok(sys::cuDevicePrimaryCtxSetFlags_v2(ordinal, 4));
        ok(sys::cuDevicePrimaryCtxGetState(ordinal, &mut flags, &mut active));
        assert_eq!((flags, active), (4, 1));
        assert_eq!(code(sys::cuDevicePrimaryCtxRetain(&mut top, 64)), 101);
    }
    drop(other);
}

#[test]
fn the_last_release_ends_the_context_and_leaves_nothing() {
    start();
    let claim = fake_cuda::claim();
    let context = context_of(claim.ordinal);
    let more = context.clone();
    let data = buffer(&[1u8; 100]);
    drop(context);
    let now = claim.ledger();
    assert_eq!((now.contexts_retained, now.device_bytes), (1, 100));
    std::mem::forget(data);
    drop(more);
    let mut end = claim.ledger();
    assert!(end.is_settled(), "{end:?}");
    end.launches.clear();
    // SAFETY: any ordinal may be passed.
    assert_eq!(code(unsafe { sys::cuDevicePrimaryCtxRelease_v2(claim.ordinal as i32) }), 201);
}

#[test]
fn sixty_four_devices_at_once() {
    start();
    let failures: Vec<usize> = std::thread::scope(|scope| {
        let tests: Vec<_> = (0..32)
            .map(|i| {
                scope.spawn(move || {
                    let gpu = gpu();
                    let module = module(MEMORY_KERNELS);
                    let x = buffer(&vec![1f32; 500]);
                    let (a, p, n) = (i as f32, x.as_device_ptr(), 500u32);
                    if i % 4 == 3 {
                        fake_cuda::inject(Fault::launch("saxpy", 700).on_device(gpu.ordinal()));
                    }
                    ok(try_launch(&module, "saxpy", line(500), args![a, p, p, n]));
                    let result = synchronize();
                    if result == 0 {
                        assert_eq!(read(&x), vec![a + 1.0; 500]);
                    }
                    usize::from(result == 700)
                })
            })
            .collect();
        tests.into_iter().map(|test| test.join().unwrap()).collect()
    });
    assert_eq!(failures.iter().sum::<usize>(), 8, "each fault on its own device");
}

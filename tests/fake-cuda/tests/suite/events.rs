//! Events.

use std::ptr;

use cust::event::{Event, EventFlags, EventStatus};
use cust::sys;

use crate::streams::{destroy, non_blocking};
use crate::support::*;

fn held(gpu: &Gpu, module: &cust::module::Module, stream: sys::CUstream) -> fake_cuda::Gate {
    let gate = fake_cuda::hold("saxpy", Some(gpu.ordinal()));
    let function = module.get_function("saxpy").unwrap();
    let (a, x, n) = (0f32, 0u64, 0u32);
    let mut arguments = args![a, x, x, n].map(<*const std::ffi::c_void>::cast_mut);
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
    gate
}

#[test]
fn an_event_is_ready_when_the_work_before_it_is_done() {
    let gpu = gpu();
    let module = module(MEMORY_KERNELS);
    let stream = gpu.stream();
    let event = Event::new(EventFlags::DEFAULT).unwrap();
    assert_eq!(event.query().unwrap(), EventStatus::Ready, "never recorded");
    let gate = held(&gpu, &module, stream.as_inner());
    event.record(&stream).unwrap();
    assert_eq!(event.query().unwrap(), EventStatus::NotReady);
    gate.open();
    event.synchronize().unwrap();
    assert_eq!(event.query().unwrap(), EventStatus::Ready);
    assert_eq!(gpu.ledger().events, 1);
}

#[test]
fn streams_wait_for_events_of_other_streams_and_devices() {
    let (one, two) = (gpu(), gpu());
    one.enter();
    let module = module(MEMORY_KERNELS);
    let (first, second) = (non_blocking(), non_blocking());
    let data = buffer(&[0u32]);
    let mut event = ptr::null_mut();
    // SAFETY: places for the results, handles and places that live.
    unsafe {
        ok(sys::cuEventCreate(&mut event, 2));
        let gate = held(&one, &module, first);
        ok(sys::cuEventRecord(event, first));
        ok(sys::cuStreamWaitEvent(second, event, 0));
        ok(sys::cuMemsetD32Async(data.as_device_ptr().as_raw(), 1, 1, second));
        // and one of another device
        two.enter();
        let (far, there) = (non_blocking(), buffer(&[0u32]));
        ok(sys::cuStreamWaitEvent(far, event, 0));
        ok(sys::cuMemsetD32Async(there.as_device_ptr().as_raw(), 1, 1, far));
        assert_eq!(code(sys::cuEventRecord(event, far)), 400, "an event is of one context");
        assert_eq!(code(sys::cuStreamQuery(far)), 600);
        assert_eq!(code(sys::cuStreamQuery(second)), 600);
        gate.open();
        ok(sys::cuStreamSynchronize(far));
        assert_eq!(read(&there), [1]);
        destroy(far);
        drop(there);
        one.enter();
        ok(sys::cuStreamSynchronize(second));
        assert_eq!(read(&data), [1]);
        ok(sys::cuEventDestroy_v2(event));
        assert_eq!(code(sys::cuEventQuery(event)), 400);
    }
    destroy(first);
    destroy(second);
}

#[test]
fn a_stream_that_waits_for_a_lost_device_goes_on() {
    let (one, two) = (gpu(), gpu());
    one.enter();
    let module = module(MEMORY_KERNELS);
    let (stream, mut event) = (non_blocking(), ptr::null_mut());
    // SAFETY: places for the results, handles that live.
    unsafe {
        ok(sys::cuEventCreate(&mut event, 2));
        let _gate = held(&one, &module, stream);
        ok(sys::cuEventRecord(event, stream));
        two.enter();
        let far = non_blocking();
        ok(sys::cuStreamWaitEvent(far, event, 0));
        one.reset();
        ok(sys::cuStreamSynchronize(far));
        destroy(far);
    }
    std::mem::forget(module);
}

#[test]
fn time_passes_between_events() {
    let gpu = gpu();
    let stream = gpu.stream();
    let [start, end] = [(); 2].map(|()| Event::new(EventFlags::DEFAULT).unwrap());
    assert!(end.elapsed_time_f32(&start).is_err(), "not recorded");
    start.record(&stream).unwrap();
    stream.synchronize().unwrap();
    end.record(&stream).unwrap();
    stream.synchronize().unwrap();
    let milliseconds = end.elapsed_time_f32(&start).unwrap();
    assert!(milliseconds > 0.0 && start.elapsed_time_f32(&end).unwrap() == -milliseconds);
    let untimed = Event::new(EventFlags::DISABLE_TIMING).unwrap();
    untimed.record(&stream).unwrap();
    stream.synchronize().unwrap();
    assert!(untimed.elapsed_time_f32(&start).is_err());
}

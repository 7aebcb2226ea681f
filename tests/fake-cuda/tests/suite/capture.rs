//! Graphs, recorded from streams and launched.

use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use cust::sys;

use crate::streams::{destroy, non_blocking};
use crate::support::*;

const GLOBAL: sys::CUstreamCaptureMode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_GLOBAL;
const RELAXED: sys::CUstreamCaptureMode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;

fn begin(stream: sys::CUstream, mode: sys::CUstreamCaptureMode) {
    // SAFETY: a stream that lives.
    ok(unsafe { sys::cuStreamBeginCapture_v2(stream, mode) });
}

fn end(stream: sys::CUstream) -> Result<sys::CUgraph, u32> {
    let mut graph = ptr::null_mut();
    // SAFETY: a place for the result.
    match code(unsafe { sys::cuStreamEndCapture(stream, &mut graph) }) {
        0 => Ok(graph),
        code => {
            assert!(graph.is_null());
            Err(code)
        }
    }
}

fn nodes(graph: sys::CUgraph) -> usize {
    let mut count = 0;
    // SAFETY: a place for the result.
    ok(unsafe { sys::cuGraphGetNodes(graph, ptr::null_mut(), &mut count) });
    count
}

unsafe extern "C" fn count(place: *mut c_void) {
    // SAFETY: the test passes a place.
    unsafe { &*place.cast::<AtomicU32>() }.fetch_add(1, Ordering::SeqCst);
}

#[test]
fn recorded_work_is_launched_again_and_again() {
    let gpu = gpu();
    let module = module(MEMORY_KERNELS);
    let function = module.get_function("saxpy").unwrap().to_raw();
    let (x, y) = (buffer(&[1f32; 100]), buffer(&[0f32; 100]));
    let calls = AtomicU32::new(0);
    let [first, second] = [(); 2].map(|()| non_blocking());
    let (mut forked, mut joined) = (ptr::null_mut(), ptr::null_mut());
    let (a, px, py, n) = (2f32, x.as_device_ptr(), y.as_device_ptr(), 100u32);
    let mut arguments = args![a, px, py, n].map(<*const c_void>::cast_mut);
    // SAFETY: handles and places that live.
    unsafe {
        ok(sys::cuEventCreate(&mut forked, 2));
        ok(sys::cuEventCreate(&mut joined, 2));
        begin(first, GLOBAL);
        let mut launch = |stream| {
            ok(sys::cuLaunchKernel(
                function,
                1,
                1,
                1,
                128,
                1,
                1,
                0,
                stream,
                arguments.as_mut_ptr(),
                ptr::null_mut(),
            ));
        };
        launch(first);
        ok(sys::cuEventRecord(forked, first));
        ok(sys::cuStreamWaitEvent(second, forked, 0));
        launch(second);
        ok(sys::cuLaunchHostFunc(second, Some(count), ptr::from_ref(&calls).cast_mut().cast()));
        ok(sys::cuEventRecord(joined, second));
        assert_eq!(code(sys::cuEventQuery(joined)), 907);
        ok(sys::cuMemsetD32Async(x.as_device_ptr().as_raw(), 1f32.to_bits(), 100, first));
        ok(sys::cuStreamWaitEvent(first, joined, 0));
        let mut status = sys::CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE;
        ok(sys::cuStreamIsCapturing(second, &mut status));
        assert_eq!(status, sys::CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_ACTIVE);
        assert_eq!(end(second), Err(903), "it began in another stream");
        let graph = end(first).unwrap();
        assert_eq!(nodes(graph), 4);
        assert_eq!(read(&y), [0f32; 100], "nothing has been done yet");
        let (mut exec, mut edges) = (ptr::null_mut(), 0);
        ok(sys::cuGraphGetEdges(graph, ptr::null_mut(), ptr::null_mut(), &mut edges));
        assert_eq!(edges, 3);
        let (mut of, mut kind, mut room) = ([ptr::null_mut(); 4], node_type(), 4);
        ok(sys::cuGraphGetNodes(graph, of.as_mut_ptr(), &mut room));
        ok(sys::cuGraphNodeGetType(of[3], &mut kind));
        assert_eq!(kind, sys::CUgraphNodeType::CU_GRAPH_NODE_TYPE_MEMSET);
        ok(sys::cuGraphInstantiateWithFlags(&mut exec, graph, 0));
        ok(sys::cuGraphDestroy(graph));
        assert_eq!(code(sys::cuGraphDestroy(graph)), 400);
        for _ in 0..3 {
            ok(sys::cuGraphLaunch(exec, first));
        }
        ok(sys::cuStreamSynchronize(first));
        assert_eq!(read(&y), [12f32; 100]);
        assert_eq!(calls.load(Ordering::SeqCst), 3);
        assert_eq!(gpu.ledger().graphs, 1);
        ok(sys::cuGraphExecDestroy(exec));
        ok(sys::cuEventDestroy_v2(forked));
        ok(sys::cuEventDestroy_v2(joined));
    }
    assert_eq!(gpu.ledger().graphs, 0);
    destroy(first);
    destroy(second);
}

fn node_type() -> sys::CUgraphNodeType {
    sys::CUgraphNodeType::CU_GRAPH_NODE_TYPE_EMPTY
}

#[test]
fn a_fault_in_a_graph_is_counted_at_its_launches() {
    let gpu = gpu();
    let module = module(MEMORY_KERNELS);
    let function = module.get_function("saxpy").unwrap().to_raw();
    let (stream, mut exec) = (non_blocking(), ptr::null_mut());
    let (a, p, n) = (2f32, 0u64, 0u32);
    let mut arguments = args![a, p, p, n].map(<*const c_void>::cast_mut);
    // SAFETY: handles and places that live.
    unsafe {
        begin(stream, GLOBAL);
        ok(sys::cuLaunchKernel(
            function,
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
        ));
        let graph = end(stream).unwrap();
        ok(sys::cuGraphInstantiateWithFlags(&mut exec, graph, 0));
        fake_cuda::inject(fake_cuda::Fault::launch("saxpy", 700).nth(2).on_device(gpu.ordinal()));
        ok(sys::cuGraphLaunch(exec, stream));
        ok(sys::cuStreamSynchronize(stream));
        ok(sys::cuGraphLaunch(exec, stream));
        assert_eq!(code(sys::cuStreamSynchronize(stream)), 700);
    }
    gpu.reset();
    std::mem::forget(module);
}

#[test]
fn what_may_not_be_done_in_a_capture_ends_it() {
    let _gpu = gpu();
    let stream = non_blocking();
    let mut address = 0;
    // SAFETY: handles and places that live.
    unsafe {
        assert_eq!(
            code(sys::cuStreamBeginCapture_v2(ptr::null_mut(), GLOBAL)),
            900,
            "the legacy stream"
        );
        for forbidden in [
            || sys::cuCtxSynchronize(),
            || sys::cuMemAlloc_v2(&mut 0, 1),
            || sys::cuMemAllocHost_v2(&mut ptr::null_mut(), 1),
        ] {
            begin(stream, GLOBAL);
            assert_eq!(code(forbidden()), 900);
            assert_eq!(end(stream), Err(901));
        }
        begin(stream, RELAXED);
        ok(sys::cuMemAlloc_v2(&mut address, 4));
        assert_eq!(code(sys::cuStreamSynchronize(stream)), 900);
        assert_eq!(end(stream), Err(901));
        assert_eq!(end(stream), Err(401), "there is none");
        ok(sys::cuMemFree_v2(address));
        // a stream that would have to wait for the legacy one
        let mut blocking = ptr::null_mut();
        ok(sys::cuStreamCreate(&mut blocking, 0));
        let data = buffer(&[0u32]);
        begin(blocking, RELAXED);
        assert_eq!(code(sys::cuMemsetD32_v2(data.as_device_ptr().as_raw(), 0, 1)), 906);
        assert_eq!(end(blocking), Err(901));
        destroy(blocking);
    }
    destroy(stream);
}

#[test]
fn work_that_was_not_joined_is_found() {
    let _gpu = gpu();
    let [first, second] = [(); 2].map(|()| non_blocking());
    let data = buffer(&[0u32]);
    let mut event = ptr::null_mut();
    // SAFETY: handles and places that live.
    unsafe {
        ok(sys::cuEventCreate(&mut event, 2));
        begin(first, RELAXED);
        ok(sys::cuEventRecord(event, first));
        ok(sys::cuStreamWaitEvent(second, event, 0));
        ok(sys::cuMemsetD32Async(data.as_device_ptr().as_raw(), 1, 1, second));
        assert_eq!(end(first), Err(904));
        // both streams are free again
        ok(sys::cuMemsetD32Async(data.as_device_ptr().as_raw(), 2, 1, second));
        ok(sys::cuStreamSynchronize(second));
        ok(sys::cuEventDestroy_v2(event));
    }
    assert_eq!(read(&data), [2]);
    destroy(first);
    destroy(second);
}

#[test]
fn graphs_are_built_by_hand() {
    let _gpu = gpu();
    let module = module(MEMORY_KERNELS);
    let function = module.get_function("saxpy").unwrap().to_raw();
    let (x, y) = (buffer(&[1f32; 32]), buffer(&[0f32; 32]));
    let (a, px, py, n) = (1f32, x.as_device_ptr(), y.as_device_ptr(), 32u32);
    let mut arguments = args![a, px, py, n].map(<*const c_void>::cast_mut);
    let kernel = sys::CUDA_KERNEL_NODE_PARAMS {
        func: function,
        gridDimX: 1,
        gridDimY: 1,
        gridDimZ: 1,
        blockDimX: 32,
        blockDimY: 1,
        blockDimZ: 1,
        sharedMemBytes: 0,
        kernelParams: arguments.as_mut_ptr(),
        extra: ptr::null_mut(),
    };
    let (mut graph, mut one, mut two, mut exec) =
        (ptr::null_mut(), ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
    let stream = non_blocking();
    // SAFETY: handles and places that live.
    unsafe {
        ok(sys::cuGraphCreate(&mut graph, 0));
        ok(sys::cuGraphAddKernelNode(&mut one, graph, ptr::null(), 0, &kernel));
        ok(sys::cuGraphAddKernelNode(&mut two, graph, &one, 1, &kernel));
        assert_eq!(
            code(sys::cuGraphAddKernelNode(&mut two, graph, &graph.cast(), 1, &kernel)),
            400
        );
        assert_eq!(nodes(graph), 2);
        ok(sys::cuGraphInstantiate_v2(&mut exec, graph, &mut one, ptr::null_mut(), 0));
        ok(sys::cuGraphLaunch(exec, stream));
        ok(sys::cuStreamSynchronize(stream));
        ok(sys::cuGraphExecDestroy(exec));
        ok(sys::cuGraphDestroy(graph));
    }
    assert_eq!(read(&y), [2f32; 32]);
    destroy(stream);
}

//! What the tests have in common.

use std::ffi::c_void;
use std::sync::Once;

use cust::context::Context;
use cust::device::Device;
use cust::memory::{CopyDestination, DeviceBuffer, DeviceCopy};
use cust::module::Module;
use cust::stream::{Stream, StreamFlags};
use cust::{CudaFlags, sys};
use fake_cuda::{Claim, Config, Ledger};

/// The memory of each device.
pub(crate) const MEMORY: u64 = 64 << 20;

/// A device that is the test's own, with its context current.
pub(crate) struct Gpu {
    // (dropped in this order)
    pub(crate) context: Context,
    claim: Claim,
}

pub(crate) fn gpu() -> Gpu {
    start();
    let claim = fake_cuda::claim();
    let context = context_of(claim.ordinal);
    Gpu { context, claim }
}

/// Installs the fake driver, once.
pub(crate) fn start() {
    static START: Once = Once::new();
    START.call_once(|| {
        let verbose = std::env::var_os("FAKE_CUDA_VERBOSE").is_some();
        let config = Config { devices: 64, memory_bytes: MEMORY, verbose, ..Config::default() };
        assert!(fake_cuda::configure(&config));
        assert!(rustkernel_driver::install("fake", fake_cuda::lookup));
        cust::init(CudaFlags::empty()).unwrap();
    });
}

/// Retains the device's context, and makes it current.
pub(crate) fn context_of(ordinal: usize) -> Context {
    Context::new(Device::get_device(ordinal as u32).unwrap()).unwrap()
}

impl Gpu {
    pub(crate) fn ordinal(&self) -> usize {
        self.claim.ordinal
    }

    pub(crate) fn ledger(&self) -> Ledger {
        self.claim.ledger()
    }

    /// Resets the primary context; what was made in it is gone.
    pub(crate) fn reset(&self) {
        // SAFETY: the tests that reset know that every handle is stale after it.
        unsafe { ok(sys::cuDevicePrimaryCtxReset_v2(self.ordinal() as i32)) };
    }

    /// Makes the context current for another thread.
    pub(crate) fn enter(&self) {
        cust::context::CurrentContext::set_current(&self.context).unwrap();
    }

    pub(crate) fn stream(&self) -> Stream {
        Stream::new(StreamFlags::DEFAULT, None).unwrap()
    }
}

pub(crate) fn module(ptx: &str) -> Module {
    Module::from_ptx(ptx, &[]).unwrap()
}

pub(crate) fn buffer<T: DeviceCopy>(values: &[T]) -> DeviceBuffer<T> {
    DeviceBuffer::from_slice(values).unwrap()
}

pub(crate) fn read<T: DeviceCopy + Default>(buffer: &DeviceBuffer<T>) -> Vec<T> {
    let mut values = vec![T::default(); buffer.len()];
    buffer.copy_to(&mut values).unwrap();
    values
}

/// The driver's own number for a result.
pub(crate) fn code(result: sys::CUresult) -> u32 {
    if result == sys::CUresult::CUDA_SUCCESS { 0 } else { rustkernel_driver::last_code() }
}

pub(crate) fn ok(result: sys::CUresult) {
    assert_eq!(code(result), 0, "{result:?}");
}

/// Launches on a stream, by pointers to the arguments, and waits.
pub(crate) fn launch(
    module: &Module,
    name: &str,
    (grid, block, shared): ([u32; 3], [u32; 3], u32),
    arguments: &[*const c_void],
) {
    ok(try_launch(module, name, (grid, block, shared), arguments));
    // SAFETY: no arguments.
    ok(unsafe { sys::cuCtxSynchronize() });
}

/// As `launch`, without waiting.
pub(crate) fn try_launch(
    module: &Module,
    name: &str,
    (grid, block, shared): ([u32; 3], [u32; 3], u32),
    arguments: &[*const c_void],
) -> sys::CUresult {
    let function = module.get_function(name).unwrap();
    let mut arguments: Vec<*mut c_void> = arguments.iter().map(|a| a.cast_mut()).collect();
    // SAFETY: the arguments are those of the kernel, by the test.
    unsafe {
        sys::cuLaunchKernel(
            function.to_raw(),
            grid[0],
            grid[1],
            grid[2],
            block[0],
            block[1],
            block[2],
            shared,
            std::ptr::null_mut(),
            arguments.as_mut_ptr(),
            std::ptr::null_mut(),
        )
    }
}

/// Pointers to arguments: buffers by their addresses, numbers by their values.
macro_rules! args {
    ($($argument:expr),* $(,)?) => { &[$( std::ptr::from_ref(&$argument).cast::<std::ffi::c_void>() ),*] };
}
pub(crate) use args;

/// A line of threads: so many, in blocks of 128.
pub(crate) fn line(threads: usize) -> ([u32; 3], [u32; 3], u32) {
    ([(threads as u32).div_ceil(128), 1, 1], [128, 1, 1], 0)
}

/// One block.
pub(crate) fn block(threads: u32) -> ([u32; 3], [u32; 3], u32) {
    ([1; 3], [threads, 1, 1], 0)
}

pub(crate) const ARITHMETIC: &str = include_str!("../kernels/arithmetic.ptx");
pub(crate) const BLOCKS: &str = include_str!("../kernels/blocks.ptx");
pub(crate) const CONTROL: &str = include_str!("../kernels/control.ptx");
pub(crate) const CONVERT: &str = include_str!("../kernels/convert.ptx");
pub(crate) const MATH: &str = include_str!("../kernels/math.ptx");
pub(crate) const MEMORY_KERNELS: &str = include_str!("../kernels/memory.ptx");

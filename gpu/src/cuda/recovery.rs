//! A lost device is brought back: its context is reset and made anew, and has to prove itself.
//!
//! ```text
//!  lost (the gate is closed, the epoch has ended)
//!    │ calls that are under way have returned            else Busy
//!    │ cuDevicePrimaryCtxReset, cuDevicePrimaryCtxRetain  else Driver
//!    │ pages and addresses of the lost epoch are given back
//!    │ canary: a launch whose result is read back         else Driver, Hung, Wrong
//!    ▼
//!  open (calls of the new epoch reach the driver)
//! ```
//!
//! What was of the context is never given back to the driver: the reset has destroyed it, and its numbers may
//! be others' now. Pages of virtual memory and reserved addresses belong to no context and outlive it (the driver
//! says so of `cuCtxDestroy`): those are given back here, and what the driver does not take is counted as an error
//! of a drop, and tried again with the next recovery. What a canary that fails leaves behind goes with the next
//! reset.

use std::ffi::{CStr, c_void};
use std::time::Duration;

use cust::context::{Context, ContextFlags};
use cust::device::Device;
use cust::sys::{self, CUresult};

use super::driver::{self, Raw};
use super::hub::{Hub, OthersContext};
use super::reactor::now;
use crate::device::Epoch;
use crate::error::{DeviceResult, RecoveryFailure};

/// How long the canary may take.
const CANARY: Duration = Duration::from_secs(2);
/// Between two looks whether it is over.
const PATIENCE: Duration = Duration::from_micros(200);

const PTX: &str = concat!(include_str!("canary.ptx"), "\0");
const ENTRY: &CStr = c"rk_canary";

impl Hub {
    /// Brings a lost device back, and returns the epoch. One at a time: who comes second waits, and finds it
    /// done or tries for itself. Does nothing where the device is not lost.
    pub(super) fn recover(&self) -> DeviceResult<Epoch> {
        let mut context = self.retained();
        let _others = OthersContext::unless(context.as_raw());
        self.epochs().recover(|| self.make_anew(&mut context))
    }

    fn make_anew(&self, context: &mut Context) -> Result<(), RecoveryFailure> {
        let device = Device::get_device(self.ordinal()).map_err(|_| failed("cuDeviceGet"))?;
        // SAFETY: nobody calls the driver for this device: the gate is closed, and all have left. What was
        // made in the context is forgotten by its owners, by their epoch.
        let reset = unsafe { sys::cuDevicePrimaryCtxReset_v2(device.as_raw()) };
        // (It may still tell of what has broken the context before: the canary knows whether it is whole.)
        if !driver::is_sticky(driver::code(reset)) {
            check("cuDevicePrimaryCtxReset", reset)?;
        }
        let anew = retain(device).map_err(|_| failed("cuDevicePrimaryCtxRetain"))?;
        // Not released: whether a reset ends what was retained before, nobody says in so many words, and the
        // last release would end the new context.
        std::mem::forget(std::mem::replace(context, anew));
        self.set_current(context);
        // SAFETY: the context was retained just now.
        check("cuCtxSetCurrent", unsafe { sys::cuCtxSetCurrent(context.as_raw()) })?;
        self.epochs().count_drop_errors(self.holdings().give_back_lost());
        canary(self.epoch() as u32)
    }
}

/// Retains a device's primary context.
pub(super) fn retain(device: Device) -> cust::error::CudaResult<Context> {
    let context = Context::new(device)?;
    // Stray synchronisation shall sleep, not spin. Where others use the context already the driver
    // refuses, and their choice stands.
    context.set_flags(ContextFlags::SCHED_BLOCKING_SYNC).ok();
    Ok(context)
}

/// Launches a kernel in the current context and compares what it has written.
fn canary(value: u32) -> Result<(), RecoveryFailure> {
    let (module, function) = load()?;
    let (mut address, mut stream, mut event) = (0, std::ptr::null_mut(), std::ptr::null_mut());
    let non_blocking = sys::CUstream_flags_enum::CU_STREAM_NON_BLOCKING as u32;
    let no_timing = sys::CUevent_flags_enum::CU_EVENT_DISABLE_TIMING as u32;
    // SAFETY: each place is valid for a write.
    unsafe {
        check("cuMemAlloc", sys::cuMemAlloc_v2(&raw mut address, size_of::<u32>()))?;
        check("cuStreamCreate", sys::cuStreamCreate(&raw mut stream, non_blocking))?;
        check("cuEventCreate", sys::cuEventCreate(&raw mut event, no_timing))?;
    }
    launch(function, stream, address, value)?;
    // SAFETY: event and stream were made just now.
    check("cuEventRecord", unsafe { sys::cuEventRecord(event, stream) })?;
    wait(Raw(event))?;
    let mut found = 0u32;
    // SAFETY: both places have four bytes, and the stream that has written there is done.
    let read = unsafe {
        sys::cuMemcpyDtoH_v2((&raw mut found).cast::<c_void>(), address, size_of::<u32>())
    };
    check("cuMemcpyDtoH", read)?;
    let expected = value.wrapping_mul(0x9e37_79b9).wrapping_add(1);
    if found != expected {
        return Err(RecoveryFailure::Wrong { expected, found });
    }
    // SAFETY: all of it was made here, and nothing uses it any more.
    unsafe {
        check("cuEventDestroy", sys::cuEventDestroy_v2(event))?;
        check("cuStreamDestroy", sys::cuStreamDestroy_v2(stream))?;
        check("cuMemFree", sys::cuMemFree_v2(address))?;
        check("cuModuleUnload", sys::cuModuleUnload(module))
    }
}

fn load() -> Result<(sys::CUmodule, sys::CUfunction), RecoveryFailure> {
    let (mut module, mut function) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: the image is a C string, and `module` is valid for a write.
    check("cuModuleLoadData", unsafe {
        sys::cuModuleLoadData(&raw mut module, PTX.as_ptr().cast())
    })?;
    // SAFETY: the module was loaded just now, and `function` is valid for a write.
    check("cuModuleGetFunction", unsafe {
        sys::cuModuleGetFunction(&raw mut function, module, ENTRY.as_ptr())
    })?;
    Ok((module, function))
}

fn launch(
    function: sys::CUfunction,
    stream: sys::CUstream,
    mut address: u64,
    mut value: u32,
) -> Result<(), RecoveryFailure> {
    let mut arguments: [*mut c_void; 2] = [(&raw mut address).cast(), (&raw mut value).cast()];
    // SAFETY: the two arguments are those that the PTX declares; the driver copies them before it returns.
    check("cuLaunchKernel", unsafe {
        let (arguments, extra) = (arguments.as_mut_ptr(), std::ptr::null_mut());
        sys::cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, stream, arguments, extra)
    })
}

/// Asks the event until it is reached. (Synchronising would wait for ever if the device hangs.)
fn wait(event: Raw<sys::CUevent_st>) -> Result<(), RecoveryFailure> {
    let start = now();
    loop {
        // SAFETY: the event lives.
        match driver::code(unsafe { sys::cuEventQuery(event.0) }) {
            0 => return Ok(()),
            driver::NOT_READY if start.elapsed() < CANARY => {
                std::thread::park_timeout(PATIENCE);
            }
            driver::NOT_READY => return Err(RecoveryFailure::Hung { limit: CANARY }),
            _ => return Err(failed("cuEventQuery")),
        }
    }
}

fn check(call: &'static str, result: CUresult) -> Result<(), RecoveryFailure> {
    if driver::code(result) == 0 { Ok(()) } else { Err(failed(call)) }
}

/// The failure of the call that failed last on this thread.
fn failed(call: &'static str) -> RecoveryFailure {
    let code = rustkernel_driver::last_code();
    RecoveryFailure::Driver { call, code, name: driver::name(code) }
}

//! Calls of the driver: results into errors, and the raw handles.

use std::ffi::{CStr, c_char};

use cust::CudaFlags;
use cust::device::{Device, DeviceAttribute};
use cust::error::CudaError;
use cust::sys::{self, CUresult};
use rustkernel_driver as shim;

use crate::device::{DeviceId, DeviceInfo};
use crate::error::{DeviceError, DeviceResult};

/// The driver's code for "done".
pub(super) const SUCCESS: u32 = 0;
/// The driver's code for "not yet".
pub(super) const NOT_READY: u32 = 600;
/// The driver's code for what may not be called while somebody, on any thread, captures a graph.
pub(super) const CAPTURING: u32 = 900;
/// The driver's code for "no memory".
pub(super) const OUT_OF_MEMORY: u32 = 2;

/// A handle of the driver, which any thread may use.
#[derive(Debug)]
pub(super) struct Raw<T>(pub(super) *mut T);

impl<T> Clone for Raw<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Raw<T> {}

// SAFETY: the driver's handles are opaque, and its functions are thread-safe.
unsafe impl<T> Send for Raw<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Raw<T> {}

/// The driver's own number for a failed call, also one that `cust` has no variant for.
pub(super) fn code(result: CUresult) -> u32 {
    if result == CUresult::CUDA_SUCCESS { 0 } else { shim::last_code() }
}

/// The code's name, or its absence in words.
pub(super) fn name(code: u32) -> &'static str {
    shim::code_name(code).unwrap_or("a code newer than this program")
}

/// The context is broken by these for good, and with it all that is on it.
///
/// From the CUDA driver API's description of `CUresult`: errors after which "the process must be
/// terminated and relaunched", uncorrectable memory errors, and the end of what the context depends on (a client
/// of MPS, a device outside). "Unknown error" (999) is not one: it says of nothing but its call.
pub(super) fn is_sticky(code: u32) -> bool {
    matches!(code, 214 | 220 | 226 | 700 | 702 | 709 | 710 | 714..=719 | 721 | 810 | 911)
}

/// Starts the driver, once; how many devices it has.
pub(super) fn initialise() -> DeviceResult<u32> {
    let location = shim::location()
        .map_err(|missing| DeviceError::NoDriver { reason: missing.to_string() })?;
    let no_device =
        || DeviceError::NoDriver { reason: format!("the CUDA driver {location} finds no device") };
    match cust::init(CudaFlags::empty()) {
        Ok(()) => {}
        Err(CudaError::NoDevice) => return Err(no_device()),
        Err(_) => return Err(failed("cuInit")),
    }
    match Device::num_devices() {
        Ok(0) => Err(no_device()),
        Ok(count) => Ok(count),
        Err(_) => Err(failed("cuDeviceGetCount")),
    }
}

/// The error of the call that failed last on this thread.
pub(super) fn failed(call: &'static str) -> DeviceError {
    let code = shim::last_code();
    DeviceError::Driver { call, code, name: name(code) }
}

/// What the driver knows of a device, without making a context.
pub(super) fn describe(ordinal: u32) -> DeviceResult<DeviceInfo> {
    let device = Device::get_device(ordinal).map_err(|_| failed("cuDeviceGet"))?;
    let attribute = |which| {
        let value = device.get_attribute(which).map_err(|_| failed("cuDeviceGetAttribute"))?;
        Ok(u32::try_from(value).unwrap_or_default())
    };
    Ok(DeviceInfo {
        id: DeviceId::Cuda(ordinal),
        name: device_name(device)?,
        memory_bytes: device.total_memory().map_err(|_| failed("cuDeviceTotalMem"))? as u64,
        processors: attribute(DeviceAttribute::MultiprocessorCount)?,
        compute_capability: Some((
            attribute(DeviceAttribute::ComputeCapabilityMajor)?,
            attribute(DeviceAttribute::ComputeCapabilityMinor)?,
        )),
        driver_version: driver_version(),
        max_threads_per_block: attribute(DeviceAttribute::MaxThreadsPerBlock)?,
        max_shared_bytes_per_block: attribute(DeviceAttribute::MaxSharedMemoryPerBlock)?,
    })
}

fn driver_version() -> Option<(u32, u32)> {
    let mut version = 0;
    // SAFETY: `version` is valid for a write.
    let result = unsafe { sys::cuDriverGetVersion(&raw mut version) };
    let version = u32::try_from(version).ok().filter(|_| code(result) == 0)?;
    Some((version / 1000, version % 1000 / 10))
}

/// (`cust` panics on names of more than 127 bytes.)
fn device_name(device: Device) -> DeviceResult<String> {
    let mut text: [c_char; 256] = [0; 256];
    let length = i32::try_from(text.len()).expect("invariant: 256 is an i32");
    // SAFETY: the driver writes at most `length` bytes, a C string.
    let result = unsafe { sys::cuDeviceGetName(text.as_mut_ptr(), length, device.as_raw()) };
    if code(result) != 0 {
        return Err(failed("cuDeviceGetName"));
    }
    let bytes = text.map(|byte| byte as u8);
    let name = CStr::from_bytes_until_nul(&bytes).unwrap_or(c"a CUDA device");
    Ok(name.to_string_lossy().into_owned())
}

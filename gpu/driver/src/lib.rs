//! The CUDA driver API, found at run time.
//!
//! `cust` calls `cuInit`, `cuMemAlloc_v2`… as link-time symbols. This crate is the one place that
//! defines them: each forwards to the entry point of the same name in the driver's shared library,
//! which is opened at the first call ([`location`]). A program with `cust` in it therefore builds
//! without a CUDA toolkit and starts without a driver: then `cuInit` answers
//! `CUDA_ERROR_NO_DEVICE` and every other call `CUDA_ERROR_NOT_INITIALIZED`.
//!
//! | part | role |
//! |---|---|
//! | [`source`](mod@source) | which library is the driver; chosen once, never unloaded |
//! | `entry` | one entry point: looked up at its first use, then one load and a jump |
//! | `table` | the 350 entry points of `cust_raw` that forward unchanged (generated) |
//! | `codes` | result codes that `CUresult` has a variant for (generated) |
//!
//! It also removes an undefined behaviour of the direct link: `CUresult` is a Rust enum, and newer
//! drivers return numbers that it has no variant for. Here a number becomes a variant only if there
//! is one; the others become `CUDA_ERROR_UNKNOWN`, and [`last_code`] keeps the number.
//!
//! The symbols are looked up by their exact names, never by `cuGetProcAddress`: six of the names
//! that `cust` uses mean a newer signature there.
#![allow(
    unsafe_code,
    reason = "this crate is a foreign-function boundary; see each SAFETY comment"
)]
#![allow(non_snake_case, reason = "the CUDA driver's own names")]

#[macro_use]
mod entry;
mod codes;
pub mod source;
mod table;

use std::ffi::{c_char, c_uint, c_void};

use cust_raw::CUresult;

use entry::Entry;
pub use entry::last_code;
pub use source::{ENV, Lookup, Missing, install, location};
pub use table::FORWARDED;

/// Initialises the driver, or says that there is none.
///
/// # Safety
/// As for the driver's `cuInit`: any `flags` may be passed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuInit(flags: c_uint) -> CUresult {
    static ENTRY: Entry = Entry::new(c"cuInit");
    match ENTRY.get() {
        Some(address) => {
            // SAFETY: the driver's entry point of this name has this signature.
            let call: unsafe extern "C" fn(c_uint) -> u32 = unsafe { std::mem::transmute(address) };
            // SAFETY: the caller's obligation is the driver's.
            entry::result(unsafe { call(flags) })
        }
        None => entry::failed(100, CUresult::CUDA_ERROR_NO_DEVICE),
    }
}

/// The text of a result code; answered without a driver too, because `cust` prints errors with it.
///
/// # Safety
/// `text` must be valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorString(error: CUresult, text: *mut *const c_char) -> CUresult {
    static ENTRY: Entry = Entry::new(c"cuGetErrorString");
    // SAFETY: passed on from the caller.
    unsafe { error_text(&ENTRY, error, text) }
}

/// The name of a result code; answered without a driver too.
///
/// # Safety
/// `text` must be valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorName(error: CUresult, text: *mut *const c_char) -> CUresult {
    static ENTRY: Entry = Entry::new(c"cuGetErrorName");
    // SAFETY: passed on from the caller.
    unsafe { error_text(&ENTRY, error, text) }
}

/// # Safety
/// `text` must be valid for a write.
unsafe fn error_text(entry: &Entry, error: CUresult, text: *mut *const c_char) -> CUresult {
    if let Some(address) = entry.get() {
        // SAFETY: both entry points that come here have this signature in the driver.
        let call = unsafe {
            std::mem::transmute::<*mut c_void, unsafe extern "C" fn(u32, *mut *const c_char) -> u32>(
                address,
            )
        };
        // SAFETY: `text` is valid for a write.
        if unsafe { call(error as u32, text) } == 0 {
            return CUresult::CUDA_SUCCESS;
        }
    }
    // SAFETY: as above; the names are static C strings.
    unsafe { text.write(codes::name(error).as_ptr()) };
    CUresult::CUDA_SUCCESS
}

/// The driver's name for a result code, for codes that `cust_raw` knows.
pub fn code_name(code: u32) -> Option<&'static str> {
    codes::known(code).and_then(|result| codes::name(result).to_str().ok())
}

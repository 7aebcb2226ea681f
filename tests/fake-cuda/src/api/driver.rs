//! The driver itself: its start, its version, its error texts.

use std::ffi::{CStr, c_char, c_int, c_uint};
use std::ptr;

use cust_raw::CUresult;

use crate::abi::{Out, Raw};
use crate::code::{Answer, Code};
use crate::control::config;
use crate::device;
use crate::device::attributes::DRIVER_VERSION;

pub(crate) fn init(flags: c_uint) -> Answer {
    if flags != 0 {
        return Err(Code::INVALID_VALUE);
    }
    device::initialise()?;
    // what was asked for in the environment and not understood must not go unnoticed
    if config::is_malformed() { Err(Code::INVALID_VALUE) } else { Ok(()) }
}

pub(crate) fn version(version: Out<c_int>) -> Answer {
    version.put(DRIVER_VERSION)
}

pub(crate) fn error_name(error: Raw<CUresult>, text: Out<*const c_char>) -> Answer {
    put_text(text, Code(error.0).texts().map(|(name, _)| name))
}

pub(crate) fn error_string(error: Raw<CUresult>, text: Out<*const c_char>) -> Answer {
    put_text(text, Code(error.0).texts().map(|(_, text)| text))
}

fn put_text(to: Out<*const c_char>, text: Option<&'static CStr>) -> Answer {
    to.put(text.map_or(ptr::null(), CStr::as_ptr))?;
    text.map(drop).ok_or(Code::INVALID_VALUE)
}

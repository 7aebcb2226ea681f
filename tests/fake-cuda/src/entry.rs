//! The entry points themselves: one function each, under its driver's name, that counts the call,
//! lets injected faults strike, and has the body in `api` answer.
//!
//! They are ordinary functions here: the names `cu…` belong to whoever looks them up. The crate
//! `fake-cuda-so` exports them as symbols.
#![allow(non_snake_case, reason = "the driver's own names")]

use std::ffi::{CStr, c_char, c_float, c_int, c_uchar, c_uint, c_ulonglong, c_ushort, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;

use cust_raw::*;

use crate::abi::*;
use crate::api::*;
use crate::code::{Answer, Code};
use crate::control::faults;
use crate::device::{self, current, stale};
use crate::stream::in_host_function;

macro_rules! serve {
    ($( $name:ident ( $($argument:ident : $kind:ty),* $(,)? ) => $body:path; )*) => {
        /// The name of every entry point of this driver.
        pub const ENTRY_POINTS: &[&str] = &[$(stringify!($name)),*];

        /// The numbers of the entry points, in the order of the table.
        #[allow(non_camel_case_types, clippy::enum_variant_names, reason = "the driver's names")]
        enum Number { $($name),* }

        $(
            #[doc = concat!("The driver's `", stringify!($name), "`.")]
            ///
            /// # Safety
            /// As for the driver's own: pointers must be null where that is allowed, or valid for
            /// what the driver's documentation says is done with them.
            #[allow(clippy::too_many_arguments, reason = "the driver's signature")]
            pub unsafe extern "C" fn $name($($argument: $kind),*) -> u32 {
                // the signature must be the driver's
                const _: unsafe extern "C" fn($(<$kind as Abi>::C),*) -> CudaResult = cust_raw::$name;
                #[allow(unused_mut, reason = "not every entry point has arguments")]
                let mut device = None;
                $(
                    device = device.or(Abi::device(&$argument));
                    if let Some(value) = Abi::handle(&$argument) {
                        stale::look(stringify!($name), value);
                    }
                )*
                answer(Number::$name as usize, device, || $body($($argument),*))
            }
        )*

        /// The address of an entry point, if this driver has it.
        ///
        /// This is what a program's table of entry points is filled from, as if by `dlsym`.
        pub fn lookup(name: &CStr) -> Option<*mut c_void> {
            match name.to_bytes() {
                $( name if name == stringify!($name).as_bytes() => Some($name as *mut c_void), )*
                _ => None,
            }
        }
    };
}

crate::entry_points!(serve);

/// Calls that a function of the program may make when a stream has called it.
fn is_harmless(name: &str) -> bool {
    matches!(name, "cuGetErrorName" | "cuGetErrorString" | "cuDriverGetVersion")
}

/// What all entry points have in common.
fn answer(number: usize, device: Option<usize>, body: impl FnOnce() -> Answer) -> u32 {
    let name = ENTRY_POINTS[number];
    // (a call that names no device concerns the current one; the driver is not started for it)
    let concerned = device.and_then(device::find).or_else(current::device);
    if let Some(device) = concerned {
        device.calls[number].fetch_add(1, Ordering::Relaxed);
    }
    if in_host_function() && !is_harmless(name) {
        return Code::NOT_PERMITTED.0;
    }
    if let Some((code, sticky)) = faults::at_call(name, concerned.map(|device| device.ordinal)) {
        if sticky && let Some(context) = concerned.and_then(device::Device::context) {
            context.fail(code);
        }
        return code.0;
    }
    // a panic here is a mistake of this crate's; it must not unwind into foreign frames
    let answered = catch_unwind(AssertUnwindSafe(body)).unwrap_or(Err(Code::UNKNOWN));
    answered.err().map_or(0, |code| code.0)
}

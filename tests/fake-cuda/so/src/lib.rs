//! `libfake_cuda.so`: the fake driver under the driver's own symbol names, for programs that open a
//! driver's file (`CUDA_DRIVER_LIBRARY=…/libfake_cuda.so`).
//!
//! All of it is in the crate `fake-cuda`; here each of its entry points gets the name `cu…`. It takes
//! its orders from the environment: see that crate's `README.md`.
#![allow(unsafe_code, reason = "this library is foreign code to those who open it")]
#![allow(non_snake_case, reason = "the driver's own names")]

use std::ffi::{c_char, c_float, c_int, c_uchar, c_uint, c_ulonglong, c_ushort, c_void};

use cust_raw::*;
use driver::abi::*;

macro_rules! export {
    ($( $name:ident ( $($argument:ident : $kind:ty),* $(,)? ) => $body:path; )*) => { $(
        #[doc = concat!("The driver's `", stringify!($name), "`.")]
        ///
        /// # Safety
        /// As for the driver's own.
        #[unsafe(no_mangle)]
        #[allow(clippy::too_many_arguments, reason = "the driver's signature")]
        pub unsafe extern "C" fn $name($($argument: $kind),*) -> u32 {
            // SAFETY: the caller's obligation is the same.
            unsafe { driver::entry::$name($($argument),*) }
        }
    )* };
}

driver::entry_points!(export);

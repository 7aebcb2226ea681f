//! One entry point of the driver: looked up at its first use, cached for good.

use std::cell::Cell;
use std::ffi::{CStr, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use cust_raw::CUresult;

use crate::{codes, source};

/// The driver does not have the entry point (any address that no function has will do).
const ABSENT: *mut c_void = ptr::dangling_mut::<u8>().cast();

thread_local!(static LAST: Cell<u32> = const { Cell::new(0) });

/// The driver's own number for this thread's last failure: newer drivers have codes that
/// `cust_raw` does not know, and those reach `cust` as `CUDA_ERROR_UNKNOWN`.
pub fn last_code() -> u32 {
    LAST.get()
}

pub(crate) fn failed(code: u32, result: CUresult) -> CUresult {
    LAST.set(code);
    result
}

/// A number becomes a variant of `CUresult` only if there is one.
#[inline]
pub(crate) fn result(code: u32) -> CUresult {
    if code == 0 {
        return CUresult::CUDA_SUCCESS;
    }
    failed(code, codes::known(code).unwrap_or(CUresult::CUDA_ERROR_UNKNOWN))
}

pub(crate) struct Entry {
    name: &'static CStr,
    address: AtomicPtr<c_void>,
}

impl Entry {
    pub(crate) const fn new(name: &'static CStr) -> Self {
        Self { name, address: AtomicPtr::new(ptr::null_mut()) }
    }

    /// The entry point's address, if the driver has it.
    #[inline]
    pub(crate) fn get(&self) -> Option<*mut c_void> {
        let mut address = self.address.load(Ordering::Acquire);
        if address.is_null() {
            address = self.find();
        }
        (address != ABSENT).then_some(address)
    }

    #[cold]
    fn find(&self) -> *mut c_void {
        let found = source::find(self.name).unwrap_or(ABSENT);
        self.address.store(found, Ordering::Release);
        found
    }

    /// What a call of an entry point that is not there answers: a driver without it is older than
    /// CUDA 11.4, and without a driver nothing was initialised.
    #[cold]
    pub(crate) fn absent(&self) -> CUresult {
        match source::location() {
            Ok(_) => failed(801, CUresult::CUDA_ERROR_NOT_SUPPORTED),
            Err(_) => failed(3, CUresult::CUDA_ERROR_NOT_INITIALIZED),
        }
    }
}

/// Defines each named entry point as a symbol that forwards to the driver's. The arguments must be
/// those that `cust_raw` declares, or this does not compile.
macro_rules! forward {
    ($( $name:ident ( $($argument:ident : $kind:ty),* ); )*) => {
        $(
            #[unsafe(no_mangle)]
            #[allow(clippy::too_many_arguments, reason = "the driver's signature")]
            pub(crate) unsafe extern "C" fn $name($($argument: $kind),*) -> CUresult {
                const _: unsafe extern "C" fn($($kind),*) -> CUresult = cust_raw::$name;
                static ENTRY: $crate::entry::Entry = $crate::entry::Entry::new(
                    match std::ffi::CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
                        Ok(name) => name,
                        Err(_) => unreachable!(),
                    },
                );
                match ENTRY.get() {
                    Some(address) => {
                        type Call = unsafe extern "C" fn($($kind),*) -> u32;
                        // SAFETY: the driver's entry point of this name has this signature, except
                        // that its result is any number, not only those that `CUresult` lists.
                        let call: Call = unsafe { std::mem::transmute(address) };
                        // SAFETY: the caller's obligation is the driver's.
                        $crate::entry::result(unsafe { call($($argument),*) })
                    }
                    None => ENTRY.absent(),
                }
            }
        )*

        /// The name of every entry point that is forwarded as it is.
        pub const FORWARDED: &[&str] = &[$(stringify!($name)),*];
    };
}

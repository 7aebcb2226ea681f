//! The types of the driver's C interface, as the entry points here receive them.
//!
//! Pointers become types that say what they are for, so that everything behind the entry points is
//! safe code. Their invariant is the contract of the entry points, which are `unsafe`: a pointer that
//! is passed for a result is null or valid for a write, one that is passed for a value is null or
//! valid for a read. Only a caller of an entry point makes such values.
//!
//! Enumerations become numbers ([`Raw`]): a caller may pass one that `cust_raw` does not know, which
//! a Rust `enum` must never hold.

use std::ffi::{CStr, c_char, c_float, c_int, c_uchar, c_uint, c_ulonglong, c_ushort, c_void};
use std::marker::PhantomData;

use cust_raw::{CUhostFn, CUoccupancyB2DSize, CUresult};

use crate::code::{Answer, Code};

/// How a type is declared in `cust_raw`, which every signature is checked against.
pub trait Abi {
    /// The type in `cust_raw`.
    type C;

    /// The device that an argument names.
    fn device(&self) -> Option<usize> {
        None
    }

    /// The value of an argument that may be a handle or an address.
    fn handle(&self) -> Option<u64> {
        None
    }
}

macro_rules! same {
    ($($ty:ty)*) => { $( impl Abi for $ty { type C = $ty; } )* };
}

same! { c_int c_uint c_uchar c_ushort usize c_float CUhostFn CUoccupancyB2DSize }

/// (Addresses and handles of `cuMemCreate`; among them flags, which are small numbers.)
impl Abi for c_ulonglong {
    type C = Self;

    fn handle(&self) -> Option<u64> {
        Some(*self)
    }
}

impl<T> Abi for *mut T {
    type C = *mut T;
}

impl<T> Abi for *const T {
    type C = *const T;
}

/// A place for a result.
#[repr(transparent)]
pub struct Out<T>(*mut T);

impl<T> Abi for Out<T> {
    type C = *mut T;
}

impl<T> Out<T> {
    /// A null pointer.
    pub(crate) fn none() -> Self {
        Self(std::ptr::null_mut())
    }

    /// A pointer that was passed in a structure.
    pub(crate) fn at(pointer: *mut T) -> Self {
        Self(pointer)
    }

    pub(crate) fn is_null(&self) -> bool {
        self.0.is_null()
    }

    pub(crate) fn put(&self, value: T) -> Answer {
        self.put_at(0, value)
    }

    /// Writes an element of an array, which must be so long.
    pub(crate) fn put_at(&self, index: usize, value: T) -> Answer {
        if self.0.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        // SAFETY: by the type's invariant. (Unaligned, because C programs are free with pointers.)
        unsafe { self.0.add(index).write_unaligned(value) };
        Ok(())
    }

    /// Writes only if the caller wants to know.
    pub(crate) fn put_if_wanted(&self, value: T) {
        let _not_wanted = self.put(value);
    }

    /// What is there: for arguments that go both ways.
    pub(crate) fn get(&self) -> Answer<T>
    where
        T: Copy,
    {
        self.get_at(0)
    }

    /// An element of an array, which must be so long.
    pub(crate) fn get_at(&self, index: usize) -> Answer<T>
    where
        T: Copy,
    {
        In(self.0.cast_const()).get_at(index)
    }
}

/// A place of a value, or of an array of them.
#[repr(transparent)]
pub struct In<T>(*const T);

impl<T> Abi for In<T> {
    type C = *const T;
}

impl<T: Copy> In<T> {
    pub(crate) fn get(&self) -> Answer<T> {
        self.get_at(0)
    }

    /// An element of an array, which must be so long.
    pub(crate) fn get_at(&self, index: usize) -> Answer<T> {
        if self.0.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        // SAFETY: by the type's invariant.
        Ok(unsafe { self.0.add(index).read_unaligned() })
    }
}

/// An `In` of a type of `cust_raw`, read as the twin `T` of the same layout.
#[repr(transparent)]
pub struct InAs<C, T>(*const T, PhantomData<C>);

impl<C, T> Abi for InAs<C, T> {
    type C = *const C;
}

impl<C, T: Copy> InAs<C, T> {
    const SAME_LAYOUT: () = assert!(size_of::<C>() == size_of::<T>());

    pub(crate) fn get(&self) -> Answer<T> {
        self.get_at(0)
    }

    pub(crate) fn get_at(&self, index: usize) -> Answer<T> {
        let () = Self::SAME_LAYOUT;
        In(self.0).get_at(index)
    }
}

/// An enumeration of `cust_raw`, as its number.
#[repr(transparent)]
pub struct Raw<E>(pub(crate) u32, PhantomData<E>);

impl<E> Abi for Raw<E> {
    type C = E;
}

/// A place for an enumeration's number.
#[repr(transparent)]
pub struct OutRaw<E>(Out<u32>, PhantomData<E>);

impl<E> Abi for OutRaw<E> {
    type C = *mut E;
}

impl<E> OutRaw<E> {
    pub(crate) fn put(&self, number: u32) -> Answer {
        self.0.put(number)
    }

    pub(crate) fn get(&self) -> Answer<u32> {
        self.0.get()
    }

    /// An element of an array of numbers.
    pub(crate) fn get_at(&self, index: usize) -> Answer<u32> {
        In((self.0).0.cast_const()).get_at(index)
    }
}

/// A device's ordinal.
#[repr(transparent)]
#[derive(Debug, Clone, Copy)]
pub struct Ordinal(pub(crate) c_int);

impl Abi for Ordinal {
    type C = c_int;

    fn device(&self) -> Option<usize> {
        usize::try_from(self.0).ok()
    }
}

/// An opaque pointer of the driver's: one of its handles.
#[repr(transparent)]
pub struct Handle<C>(*mut C);

impl<C> Clone for Handle<C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for Handle<C> {}

impl<C> Abi for Handle<C> {
    type C = *mut C;

    fn handle(&self) -> Option<u64> {
        Some(self.value())
    }
}

impl<C> Handle<C> {
    pub(crate) fn value(self) -> u64 {
        self.0.addr() as u64
    }

    /// A handle that was passed in a structure.
    pub(crate) fn from_pointer(pointer: *mut C) -> Self {
        Self(pointer)
    }

    /// The pointer that stands for a handle's value.
    pub(crate) fn of(value: u64) -> *mut C {
        std::ptr::without_provenance_mut(value as usize)
    }
}

/// Memory of the program's, which it keeps valid for as long as the call's documentation asks.
#[repr(transparent)]
#[derive(Debug, Clone, Copy)]
pub struct Host(pub(crate) *mut c_void);

impl Abi for Host {
    type C = *mut c_void;
}

impl Host {
    /// Writes a value whose type depends on another argument.
    pub(crate) fn put<T>(self, value: T) -> Answer {
        Out(self.0.cast::<T>()).put(value)
    }

    /// Reads a value whose type depends on another argument.
    pub(crate) fn get<T: Copy>(self) -> Answer<T> {
        In(self.0.cast_const().cast::<T>()).get()
    }
}

/// As [`Host`], to be read only.
#[repr(transparent)]
#[derive(Debug, Clone, Copy)]
pub struct ConstHost(pub(crate) *const c_void);

impl Abi for ConstHost {
    type C = *const c_void;
}

impl ConstHost {
    /// So many bytes, which must be readable.
    pub(crate) fn read(self, bytes: usize) -> Answer<Vec<u8>> {
        if self.0.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        // SAFETY: by the contract of the entry points, as in the module's documentation.
        Ok(unsafe { std::slice::from_raw_parts(self.0.cast::<u8>(), bytes) }.to_vec())
    }

    /// Bytes up to a zero.
    pub(crate) fn read_text(self) -> Answer<Vec<u8>> {
        if self.0.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        // SAFETY: as above.
        Ok(unsafe { CStr::from_ptr(self.0.cast()) }.to_bytes().to_vec())
    }
}

/// A string that ends with a zero.
#[repr(transparent)]
pub struct Text(*const c_char);

impl Abi for Text {
    type C = *const c_char;
}

impl Text {
    pub(crate) fn get(&self) -> Answer<&str> {
        if self.0.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        // SAFETY: by the contract of the entry points, as in the module's documentation.
        let text = unsafe { CStr::from_ptr(self.0) };
        text.to_str().map_err(|_| Code::INVALID_VALUE)
    }
}

/// A buffer for a string, whose length is another argument.
#[repr(transparent)]
pub struct TextOut(*mut c_char);

impl Abi for TextOut {
    type C = *mut c_char;
}

impl TextOut {
    /// A buffer that was passed among options.
    pub(crate) fn at(pointer: *mut c_void) -> Self {
        Self(pointer.cast())
    }

    /// Writes as much of `text` as fits before the final zero.
    pub(crate) fn put(&self, text: &str, room: usize) -> Answer {
        if self.0.is_null() || room == 0 {
            return Err(Code::INVALID_VALUE);
        }
        let count = text.len().min(room - 1);
        // SAFETY: by the contract of the entry points there is so much room.
        unsafe {
            self.0.cast::<u8>().copy_from_nonoverlapping(text.as_ptr(), count);
            self.0.add(count).write(0);
        }
        Ok(())
    }
}

/// `CUstreamCallback`, declared with a status of any number.
pub type StatusCallback =
    unsafe extern "C" fn(stream: *mut c_void, status: c_uint, data: *mut c_void);

/// A callback that is told a status.
#[repr(transparent)]
pub struct Callback(pub(crate) Option<StatusCallback>);

impl Abi for Callback {
    type C = cust_raw::CUstreamCallback;
}

/// What every entry point is checked to return.
pub type CudaResult = CUresult;

/// `CUmemLocation`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Location {
    pub(crate) kind: u32,
    pub(crate) id: c_int,
}

/// `CUmemAllocationProp`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct AllocationProperties {
    pub(crate) kind: u32,
    pub(crate) handle_types: u32,
    pub(crate) location: Location,
    metadata: *mut c_void,
    flags: [u8; 8],
}

/// `CUmemPoolProps`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct PoolProperties {
    pub(crate) kind: u32,
    pub(crate) handle_types: u32,
    pub(crate) location: Location,
    security: *mut c_void,
    reserved: [u8; 64],
}

/// `CUmemAccessDesc`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct AccessDescription {
    pub(crate) location: Location,
    pub(crate) flags: u32,
}

/// One side of a `CUDA_MEMCPY2D`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Side {
    pub(crate) x_bytes: usize,
    pub(crate) y: usize,
    pub(crate) memory_type: u32,
    pub(crate) host: *mut c_void,
    pub(crate) device: u64,
    array: *mut c_void,
    pub(crate) pitch: usize,
}

/// `CUDA_MEMCPY2D`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Copy2d {
    pub(crate) from: Side,
    pub(crate) to: Side,
    pub(crate) width_bytes: usize,
    pub(crate) height: usize,
}

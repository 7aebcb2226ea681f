//! Leases with an element type.
#![allow(
    unsafe_code,
    reason = "device memory is reached by address; each block says why it is sound"
)]

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::MemoryKind;
use super::lease::Lease;
use crate::argument::Value;
use crate::element::Element;
use crate::error::{DeviceError, DeviceResult};
use crate::timeline::Timeline;

/// Device memory for `len` elements, in use by one stream.
///
/// Its contents are whatever was there before; fill or upload before reading. It belongs to the
/// stream that it was leased for until [`Stream::take_over`](crate::Stream::take_over) hands it to
/// another, and returns to its pool when dropped, also while work on it is queued.
pub struct Buffer<T: Element> {
    lease: Lease,
    len: usize,
    element: PhantomData<T>,
}

impl<T: Element> Buffer<T> {
    /// `len` elements in the block of `lease`.
    ///
    /// # Errors
    /// [`DeviceError::InvalidArgument`] if the block is too small, is not device memory, or was not
    /// leased for a stream.
    pub fn new(lease: Lease, len: usize) -> DeviceResult<Self> {
        check(&lease, MemoryKind::Device, len.checked_mul(size_of::<T>()))?;
        if lease.home().is_none() {
            return Err(DeviceError::InvalidArgument("the lease is not for a stream".into()));
        }
        Ok(Self { lease, len, element: PhantomData })
    }

    /// How many elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The size of its elements, in bytes.
    pub fn bytes(&self) -> usize {
        self.len * size_of::<T>()
    }

    pub(crate) fn lease(&self) -> &Lease {
        &self.lease
    }

    pub(crate) fn home(&self) -> &Arc<Timeline> {
        self.lease.home().expect("invariant: looked at when it was made")
    }

    pub(crate) fn set_home(&mut self, home: &Arc<Timeline>) {
        self.lease.set_home(home);
    }

    pub(crate) fn as_value(&self, writable: bool) -> Value {
        Value::Buffer { kind: T::TYPE, address: self.lease.address(), len: self.len, writable }
    }

    /// The address of the element at `index`, which may be one past the last.
    pub(crate) fn address_of(&self, index: usize) -> u64 {
        self.lease.address() + (index * size_of::<T>()) as u64
    }
}

/// Host memory for `len` elements that the device copies from and to on its own.
///
/// A slice to read and write. A copy consumes it, so nobody writes what is being copied:
/// [`Stream::upload`](crate::Stream::upload) gives it back to its pool behind the copy,
/// [`Stream::download`](crate::Stream::download) returns it when the copy is done.
pub struct Staging<T: Element> {
    lease: Lease,
    len: usize,
    element: PhantomData<T>,
}

impl<T: Element> Staging<T> {
    /// `len` elements in the block of `lease`.
    ///
    /// # Errors
    /// [`DeviceError::InvalidArgument`] if the block is too small or is not staging memory.
    pub fn new(lease: Lease, len: usize) -> DeviceResult<Self> {
        check(&lease, MemoryKind::Staging, len.checked_mul(size_of::<T>()))?;
        Ok(Self { lease, len, element: PhantomData })
    }

    pub(crate) fn lease(&self) -> &Lease {
        &self.lease
    }

    /// The block is in use by that stream from now on.
    pub(crate) fn set_home(&mut self, home: &Arc<Timeline>) {
        self.lease.set_home(home);
    }
}

impl<T: Element> Deref for Staging<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: staging memory is host memory, initialised by its backend, aligned to 512 bytes and
        // at least `len` elements long; any bits are an element; no copy is in flight, because
        // copies consume the `Staging`, and the pool gives staging blocks out only when idle.
        unsafe { std::slice::from_raw_parts(self.lease.address() as *const T, self.len) }
    }
}

impl<T: Element> DerefMut for Staging<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`; the lease is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.lease.address() as *mut T, self.len) }
    }
}

fn check(lease: &Lease, kind: MemoryKind, bytes: Option<usize>) -> DeviceResult {
    if lease.kind() != kind {
        return Err(DeviceError::InvalidArgument(format!(
            "the lease is {} memory, not {kind}",
            lease.kind()
        )));
    }
    match bytes {
        Some(bytes) if bytes <= lease.bytes() => Ok(()),
        _ => {
            Err(DeviceError::InvalidArgument(format!("the lease has only {} bytes", lease.bytes())))
        }
    }
}

impl<T: Element> fmt::Debug for Buffer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer<{}>[{}] on {}", T::TYPE, self.len, self.lease.device().id())
    }
}

impl<T: Element> fmt::Debug for Staging<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Staging<{}>[{}] of {}", T::TYPE, self.len, self.lease.device().id())
    }
}

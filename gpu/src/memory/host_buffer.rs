//! Host memory for results: from the pool where it is large, from the heap where it is small.
#![allow(
    unsafe_code,
    reason = "pooled memory is reached by address; each block says why it is sound"
)]

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use super::lease::Lease;
use super::pool::ResultBytes;
use crate::element::Element;
use crate::error::{DeviceError, DeviceResult};

/// Elements in host memory that no stream uses: a slice to read and write, from any thread.
///
/// Either a vector, or a block of a pool that goes back there when this is dropped, and counts as in use
/// until then.
pub struct HostBuffer<T: Element> {
    memory: Memory<T>,
}

enum Memory<T> {
    Heap(Vec<T>),
    Pooled(Pooled<T>),
}

/// Host memory of a pool that no stream uses, large enough for `len` elements.
struct Pooled<T> {
    lease: Lease,
    len: usize,
    element: PhantomData<T>,
    /// Dropped after the lease: what is a result is leased.
    _result: ResultBytes,
}

impl<T: Element> Pooled<T> {
    fn new(lease: Lease, len: usize) -> Self {
        let result = ResultBytes::new(lease.pool(), lease.bytes() as u64);
        Self { lease, len, element: PhantomData, _result: result }
    }

    fn as_slice(&self) -> &[T] {
        // SAFETY: looked at when it was made: host memory, initialised by its backend, of at least `len`
        // elements, and for no stream; blocks are aligned to 512 bytes; any bits are an element; the block
        // lives, and is nobody else's, as long as the lease.
        unsafe { std::slice::from_raw_parts(self.lease.address() as *const T, self.len) }
    }

    fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: as in `as_slice`; the lease is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.lease.address() as *mut T, self.len) }
    }
}

impl<T: Element> HostBuffer<T> {
    /// `len` elements in the block of `lease`. Their values are whatever was there before.
    ///
    /// # Errors
    /// [`DeviceError::InvalidArgument`] if the block is too small, if the host cannot reach it, or if it was
    /// leased for a stream.
    pub fn new(lease: Lease, len: usize) -> DeviceResult<Self> {
        let Some(block) = lease.host_bytes() else {
            let error = "the lease is not of host memory, or is for a stream";
            return Err(DeviceError::InvalidArgument(error.into()));
        };
        match len.checked_mul(size_of::<T>()) {
            Some(bytes) if bytes <= block.len() => {
                Ok(Self { memory: Memory::Pooled(Pooled::new(lease, len)) })
            }
            _ => {
                let error = format!("the lease has only {} bytes", block.len());
                Err(DeviceError::InvalidArgument(error))
            }
        }
    }

    /// The elements as a vector; those in a block of a pool are copied.
    pub fn into_vec(self) -> Vec<T> {
        match self.memory {
            Memory::Heap(elements) => elements,
            Memory::Pooled(ref pooled) => pooled.as_slice().to_vec(),
        }
    }
}

impl<T: Element> From<Vec<T>> for HostBuffer<T> {
    fn from(elements: Vec<T>) -> Self {
        Self { memory: Memory::Heap(elements) }
    }
}

/// A copy, on the heap.
impl<T: Element> Clone for HostBuffer<T> {
    fn clone(&self) -> Self {
        self.to_vec().into()
    }
}

impl<T: Element> Deref for HostBuffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match &self.memory {
            Memory::Heap(elements) => elements,
            Memory::Pooled(pooled) => pooled.as_slice(),
        }
    }
}

impl<T: Element> DerefMut for HostBuffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match &mut self.memory {
            Memory::Heap(elements) => elements,
            Memory::Pooled(pooled) => pooled.as_mut_slice(),
        }
    }
}

impl<T: Element> PartialEq for HostBuffer<T> {
    fn eq(&self, other: &Self) -> bool {
        self[..] == other[..]
    }
}

impl<T: Element> fmt::Debug for HostBuffer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match self.memory {
            Memory::Heap(_) => "the heap",
            Memory::Pooled(_) => "a pool",
        };
        write!(f, "HostBuffer<{}>[{}] on {place}", T::TYPE, self.len())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::host::{self, HostOptions, ThreadBudget};
    use crate::memory::{
        DeviceMemory, Grown, Leased, MemoryKind, MemoryLimits, PressureThresholds,
    };
    use crate::stream::{Stream, StreamOptions};

    fn memory() -> Arc<DeviceMemory> {
        let bytes = 8 << 20;
        let options = HostOptions {
            name: "test".into(),
            memory_bytes: bytes,
            staging_bytes: bytes,
            threads: ThreadBudget::new(1),
        };
        let limits = MemoryLimits {
            device_bytes: bytes,
            staging_bytes: bytes,
            pooling: true,
            defrag: true,
            thresholds: PressureThresholds::default(),
        };
        DeviceMemory::new(host::open(options), &limits)
    }

    fn lease(memory: &DeviceMemory, bytes: usize, stream: Option<&Stream>) -> Lease {
        match memory.lease(MemoryKind::Device, bytes, stream, None).unwrap() {
            Leased::Ready(lease) => lease,
            Leased::NeedsGrowth(growth) => match growth.run().unwrap() {
                Grown::Ready(lease) => lease,
                other => panic!("nobody else uses the memory: {other:?}"),
            },
        }
    }

    #[test]
    fn a_block_is_a_result_until_it_is_dropped() {
        let memory = memory();
        let results = || memory.stats(MemoryKind::Device).results;
        let mut buffer = HostBuffer::<u32>::new(lease(&memory, 400_000, None), 100_000).unwrap();
        buffer.fill(7);
        assert!(results() >= 400_000, "{}", results());
        let copy = buffer.clone();
        assert_eq!(copy, buffer);
        assert_eq!(
            format!("{buffer:?} {copy:?}"),
            "HostBuffer<UINT32>[100000] on a pool HostBuffer<UINT32>[100000] on the heap"
        );
        assert_eq!(buffer.into_vec(), copy.into_vec());
        assert_eq!((results(), memory.stats(MemoryKind::Device).live), (0, 0));
    }

    #[test]
    fn what_is_too_small_or_for_a_stream_is_refused() {
        let memory = memory();
        let small = lease(&memory, 100_000, None);
        let most = small.bytes() / 4;
        assert!(HostBuffer::<u32>::new(small, most + 1).is_err());
        assert!(HostBuffer::<u64>::new(lease(&memory, 8, None), usize::MAX).is_err());
        let stream = memory.open_stream(&StreamOptions::default()).unwrap();
        let of_stream = lease(&memory, 100_000, Some(&stream));
        assert!(HostBuffer::<u32>::new(of_stream, 1).is_err());
    }
}

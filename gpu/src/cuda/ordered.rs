//! The driver's own stream-ordered memory, to measure ours beside it. Nothing else uses it.

use std::sync::Arc;

use cust::sys;

use super::driver::Raw;
use super::hub::Hub;
use crate::device::Epoch;
use crate::error::DeviceResult;

/// A stream of its own, on which `cuMemAllocAsync` and `cuMemFreeAsync` are called.
pub struct StreamOrdered {
    hub: Arc<Hub>,
    stream: Raw<sys::CUstream_st>,
    epoch: Epoch,
}

/// A block of the driver's. Not `Clone`: it is given back once, or leaks.
#[derive(Debug)]
#[must_use = "a block that is dropped is lost to the device"]
pub struct OrderedBlock(u64);

impl StreamOrdered {
    /// On the CUDA device of that ordinal, which there is.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(ordinal: u32) -> DeviceResult<Self> {
        let hub = Hub::open(ordinal)?;
        let (epoch, mut stream) = (hub.epoch(), std::ptr::null_mut());
        let flags = sys::CUstream_flags_enum::CU_STREAM_NON_BLOCKING as u32;
        // SAFETY: `stream` is valid for a write.
        hub.call(epoch, "cuStreamCreate", || unsafe {
            sys::cuStreamCreate(&raw mut stream, flags)
        })?;
        Ok(Self { hub, stream: Raw(stream), epoch })
    }

    /// Takes a block for work of the stream.
    ///
    /// # Errors
    /// If the driver has none, or fails.
    pub fn allocate(&self, bytes: usize) -> DeviceResult<OrderedBlock> {
        let mut address = 0;
        // SAFETY: `address` is valid for a write, and the stream lives.
        self.hub.call(self.epoch, "cuMemAllocAsync", || unsafe {
            sys::cuMemAllocAsync(&raw mut address, bytes, self.stream.0)
        })?;
        Ok(OrderedBlock(address))
    }

    /// Gives a block back when the stream comes to it.
    ///
    /// # Errors
    /// If the driver fails.
    pub fn free(&self, OrderedBlock(address): OrderedBlock) -> DeviceResult {
        // SAFETY: a block is given back once, and nothing was ever submitted that uses it.
        self.hub.call(self.epoch, "cuMemFreeAsync", || unsafe {
            sys::cuMemFreeAsync(address, self.stream.0)
        })
    }
}

impl Drop for StreamOrdered {
    fn drop(&mut self) {
        // SAFETY: nobody has the handle any more. The driver lets submitted work finish.
        let destroy = || unsafe { sys::cuStreamDestroy_v2(self.stream.0) };
        self.hub.call_in_drop(self.epoch, "cuStreamDestroy", destroy);
    }
}

impl std::fmt::Debug for StreamOrdered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("StreamOrdered").field(&self.hub.id()).finish()
    }
}

//! Device memory with an address of its own.

use std::ffi::c_uint;
use std::sync::Arc;

use cust_raw::CUdeviceptr;

use super::refuse_unsafe;
use crate::abi::Out;
use crate::code::{Answer, Code};
use crate::device::context::Context;
use crate::device::{self, current};
use crate::memory::budget::Use;
use crate::memory::space::{Live, Origin};
use crate::memory::{Storage, device_of, host};

/// The alignment of every allocation.
const ALIGN: u64 = 512;

pub(crate) fn info(free: Out<usize>, total: Out<usize>) -> Answer {
    let context = current::in_order()?;
    let budget = &context.device.budget;
    free.put(budget.free() as usize)?;
    total.put(budget.capacity() as usize)
}

pub(crate) fn allocate(to: Out<CUdeviceptr>, bytes: usize) -> Answer {
    let context = current::in_order()?;
    refuse_unsafe(&context)?;
    if bytes == 0 || to.is_null() {
        return Err(Code::INVALID_VALUE);
    }
    to.put(allocated(&context, bytes as u64)?)
}

fn allocated(context: &Context, bytes: u64) -> Answer<u64> {
    let device = context.device;
    let share = device.budget.take(Use::Allocation, bytes)?;
    let storage = Arc::new(Storage::new(bytes).ok_or(Code::OUT_OF_MEMORY)?);
    let address = device.addresses.take(bytes, ALIGN)?;
    let origin = Origin::Allocated { _share: share };
    context.space().add(address, Live { bytes, storage, origin, freeing: false });
    Ok(address)
}

pub(crate) fn allocate_pitch(
    to: Out<CUdeviceptr>,
    pitch: Out<usize>,
    width: usize,
    height: usize,
    element: c_uint,
) -> Answer {
    if !matches!(element, 4 | 8 | 16) || width == 0 || height == 0 {
        return Err(Code::INVALID_VALUE);
    }
    let row = width.checked_next_multiple_of(ALIGN as usize).ok_or(Code::OUT_OF_MEMORY)?;
    allocate(to, row.checked_mul(height).ok_or(Code::OUT_OF_MEMORY)?)?;
    pitch.put(row)
}

/// Frees memory of any device, and managed memory. It waits for the device first, except for memory
/// of a pool, which is gone at once.
pub(crate) fn free(address: CUdeviceptr) -> Answer {
    let context = current::in_order()?;
    refuse_unsafe(&context)?;
    let Some(ordinal) = device_of(address) else {
        context.synchronize()?;
        let managed = host::remove(address, host::Range::is_managed);
        return managed.map(drop).ok_or(Code::INVALID_VALUE);
    };
    let owner = device::find(ordinal).and_then(device::Device::context);
    let owner = owner.ok_or(Code::INVALID_VALUE)?;
    owner.status()?;
    let pooled = matches!(owner.space().freeable(address)?.origin, Origin::Pooled { .. });
    if !pooled {
        owner.synchronize()?;
    }
    let mut space = owner.space();
    space.freeable(address)?;
    let live = space.remove(address);
    drop(space);
    drop(live);
    Ok(())
}

pub(crate) fn address_range(
    base: Out<CUdeviceptr>,
    bytes: Out<usize>,
    address: CUdeviceptr,
) -> Answer {
    let context = current::in_order()?;
    let (start, length) = match context.space().find(address) {
        Some((start, live)) => (start, live.bytes),
        None => {
            host::find(address).map(|range| (range.start, range.bytes)).ok_or(Code::NOT_FOUND)?
        }
    };
    base.put_if_wanted(start);
    bytes.put_if_wanted(length as usize);
    Ok(())
}

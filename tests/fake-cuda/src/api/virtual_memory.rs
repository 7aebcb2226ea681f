//! Virtual memory management: addresses, physical memory, and mappings between them.

use std::ffi::c_ulonglong;
use std::sync::Arc;

use cust_raw::{
    CUdeviceptr, CUmemAccessDesc, CUmemAllocationGranularity_flags, CUmemAllocationProp,
    CUmemGenericAllocationHandle, CUmemLocation,
};

use crate::abi::{AccessDescription, AllocationProperties, InAs, Location, Out, Raw};
use crate::code::{Answer, Code};
use crate::device::context::Context;
use crate::device::handle::Kind;
use crate::device::{self, Device, current, handle};
use crate::memory::physical::Physical;
use crate::memory::space::Origin;
use crate::memory::{PAGE, device_of};

/// `CU_MEM_LOCATION_TYPE_DEVICE`, and `CU_MEM_ALLOCATION_TYPE_PINNED`.
const ON_DEVICE: u32 = 1;
const PINNED: u32 = 1;

fn located(location: Location) -> Answer<&'static Device> {
    if location.kind != ON_DEVICE {
        return Err(Code::INVALID_VALUE);
    }
    let ordinal = usize::try_from(location.id).map_err(|_| Code::INVALID_DEVICE)?;
    device::find(ordinal).ok_or(Code::INVALID_DEVICE)
}

pub(crate) fn granularity(
    to: Out<usize>,
    properties: InAs<CUmemAllocationProp, AllocationProperties>,
    _which: Raw<CUmemAllocationGranularity_flags>,
) -> Answer {
    located(properties.get()?.location)?;
    to.put(PAGE as usize)
}

/// (A wish for an address is not heeded, as it need not be.)
pub(crate) fn reserve(
    to: Out<CUdeviceptr>,
    bytes: usize,
    align: usize,
    _address: CUdeviceptr,
    flags: c_ulonglong,
) -> Answer {
    let context = current::in_order()?;
    let (bytes, align) = (bytes as u64, (align as u64).max(PAGE));
    if bytes == 0 || bytes % PAGE != 0 || !align.is_power_of_two() || flags != 0 {
        return Err(Code::INVALID_VALUE);
    }
    let address = context.device.addresses.take(bytes, align)?;
    context.space().reserve(address, bytes);
    to.put(address)
}

/// The context whose addresses these are.
fn owner(address: u64) -> Answer<Arc<Context>> {
    current::in_order()?;
    let device = device_of(address).and_then(device::find).ok_or(Code::INVALID_VALUE)?;
    let context = device.context().ok_or(Code::INVALID_VALUE)?;
    context.status()?;
    Ok(context)
}

pub(crate) fn unreserve(address: CUdeviceptr, bytes: usize) -> Answer {
    owner(address)?.space().unreserve(address, bytes as u64)
}

pub(crate) fn create(
    to: Out<CUmemGenericAllocationHandle>,
    bytes: usize,
    properties: InAs<CUmemAllocationProp, AllocationProperties>,
    flags: c_ulonglong,
) -> Answer {
    current::in_order()?;
    let properties = properties.get()?;
    let device = located(properties.location)?;
    if properties.kind != PINNED || flags != 0 {
        return Err(Code::INVALID_VALUE);
    }
    if properties.handle_types != 0 {
        return Err(Code::NOT_SUPPORTED);
    }
    let physical = Physical::new(&device.budget, bytes as u64)?;
    to.put(device.physical.add(physical))
}

fn physical(handle: u64) -> Answer<Arc<Physical>> {
    physical_device(handle)?.physical.get(handle).map_err(|_| Code::INVALID_VALUE)
}

fn physical_device(handle: u64) -> Answer<&'static Device> {
    current::in_order()?;
    handle::device(Kind::Physical, handle).and_then(device::find).ok_or(Code::INVALID_VALUE)
}

/// The memory itself stays while it is mapped.
pub(crate) fn release(handle: CUmemGenericAllocationHandle) -> Answer {
    let released = physical_device(handle)?.physical.remove(handle);
    released.map(drop).map_err(|_| Code::INVALID_VALUE)
}

pub(crate) fn map(
    address: CUdeviceptr,
    bytes: usize,
    offset: usize,
    handle: CUmemGenericAllocationHandle,
    flags: c_ulonglong,
) -> Answer {
    let context = owner(address)?;
    let physical = physical(handle)?;
    if offset != 0 || flags != 0 {
        return Err(Code::INVALID_VALUE);
    }
    context.space().map(address, bytes as u64, physical)
}

/// (It does not wait for the device: work that still comes there is a stray access.)
pub(crate) fn unmap(address: CUdeviceptr, bytes: usize) -> Answer {
    owner(address)?.space().unmap(address, bytes as u64)
}

pub(crate) fn set_access(
    address: CUdeviceptr,
    bytes: usize,
    descriptions: InAs<CUmemAccessDesc, AccessDescription>,
    count: usize,
) -> Answer {
    let context = owner(address)?;
    let (mut own, mut known) = (None, 0);
    for i in 0..count {
        let AccessDescription { location, flags } = descriptions.get_at(i)?;
        let device = located(location)?;
        if !matches!(flags, 0 | 1 | 3) {
            return Err(Code::INVALID_VALUE);
        }
        known += 1;
        if device.ordinal == context.device.ordinal {
            own = Some(flags != 0);
        }
    }
    match own {
        Some(open) => context.space().set_access(address, bytes as u64, open),
        // (access of peers is a matter of their contexts here)
        None if known > 0 => Ok(()),
        None => Err(Code::INVALID_VALUE),
    }
}

pub(crate) fn access(
    to: Out<c_ulonglong>,
    location: InAs<CUmemLocation, Location>,
    address: CUdeviceptr,
) -> Answer {
    located(location.get()?)?;
    let context = owner(address)?;
    let space = context.space();
    let mapping = space.mapping(address).ok_or(Code::INVALID_VALUE)?;
    match mapping.origin {
        Origin::Mapped { accessible, .. } => to.put(if accessible { 3 } else { 0 }),
        _ => Err(Code::INVALID_VALUE),
    }
}

//! What an address is of.

use std::ffi::{c_int, c_uint};

use cust_raw::{CUctx_st, CUdeviceptr, CUmemPoolHandle_st, CUpointer_attribute};

use crate::abi::{Handle, Host, Out, OutRaw, Raw};
use crate::code::{Answer, Code};
use crate::device::{self, Device, current};
use crate::memory::space::Origin;
use crate::memory::{device_of, host};

/// All that attributes ask for.
struct Facts {
    start: u64,
    bytes: u64,
    device: usize,
    is_host: bool,
    is_managed: bool,
    pooled: bool,
    mapped: bool,
}

fn facts(address: u64) -> Answer<Facts> {
    let Some(ordinal) = device_of(address) else {
        let range = host::find(address).ok_or(Code::INVALID_VALUE)?;
        return Ok(Facts {
            start: range.start,
            bytes: range.bytes,
            device: range.device,
            is_host: !range.managed,
            is_managed: range.managed,
            pooled: false,
            mapped: true,
        });
    };
    let context = device::find(ordinal).and_then(Device::context).ok_or(Code::INVALID_VALUE)?;
    let space = context.space();
    if let Some((start, live)) = space.find(address) {
        let reserved = space.reservation(address);
        let (start, bytes) = reserved.unwrap_or((start, live.bytes));
        let pooled = matches!(live.origin, Origin::Pooled { .. });
        let (is_host, is_managed) = (false, false);
        return Ok(Facts { start, bytes, device: ordinal, is_host, is_managed, pooled, mapped: true });
    }
    let (start, bytes) = space.reservation(address).ok_or(Code::INVALID_VALUE)?;
    let (is_host, is_managed, pooled) = (false, false, false);
    Ok(Facts { start, bytes, device: ordinal, is_host, is_managed, pooled, mapped: false })
}

/// Memory types: 1 is the host's, 2 the device's.
fn memory_type(facts: &Facts) -> c_uint {
    if facts.is_host { 1 } else { 2 }
}

pub(crate) fn attribute(
    to: Host,
    attribute: Raw<CUpointer_attribute>,
    address: CUdeviceptr,
) -> Answer {
    current::in_order()?;
    put(to, attribute.0, address, &facts(address)?)
}

fn put(to: Host, attribute: u32, address: u64, facts: &Facts) -> Answer {
    let device = device::find(facts.device).ok_or(Code::INVALID_VALUE)?;
    let on_host = facts.is_host || facts.is_managed;
    match attribute {
        1 => to.put(Handle::<CUctx_st>::of(device.context_handle())),
        2 => to.put(memory_type(facts)),
        3 => to.put(address),
        4 if on_host => to.put(address),
        6 | 10 | 15 => to.put::<c_int>(0),
        7 => to.put(facts.start),
        8 => to.put::<c_uint>(facts.is_managed.into()),
        9 => to.put(facts.device as c_int),
        11 => to.put(facts.start),
        12 => to.put(facts.bytes as usize),
        13 => to.put::<c_int>(facts.mapped.into()),
        16 => to.put::<c_uint>(3),
        17 => {
            let pool = if facts.pooled { device.pools.default } else { 0 };
            to.put(Handle::<CUmemPoolHandle_st>::of(pool))
        }
        _ => Err(Code::INVALID_VALUE),
    }
}

/// Several at once. What an address is not of is answered with zeros, and no error.
pub(crate) fn attributes(
    count: c_uint,
    attributes: OutRaw<CUpointer_attribute>,
    to: Out<*mut std::ffi::c_void>,
    address: CUdeviceptr,
) -> Answer {
    current::in_order()?;
    let facts = facts(address).ok();
    for i in 0..count as usize {
        let (attribute, to) = (attributes.get_at(i)?, Host(to.get_at(i)?));
        let known = facts.as_ref().map(|facts| put(to, attribute, address, facts));
        match (known, attribute) {
            (Some(Ok(())), _) => {}
            (_, 1 | 3 | 4 | 7 | 11 | 12 | 17) => to.put(0u64)?,
            (_, 9) => to.put::<c_int>(-2)?,
            (_, 2 | 6 | 8 | 10 | 13 | 15 | 16) => to.put(0u32)?,
            _ => return Err(Code::INVALID_VALUE),
        }
    }
    Ok(())
}

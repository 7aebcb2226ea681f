//! Devices, and their primary contexts.

use std::ffi::{c_char, c_int, c_uint};

use cust_raw::{CUcontext, CUctx_st, CUdevice, CUdevice_attribute, CUuuid};

use crate::abi::{Handle, Ordinal, Out, Raw, Text, TextOut};
use crate::code::{Answer, Code};
use crate::control::faults;
use crate::device::{self, Device, attributes, initialised};

/// The device of an ordinal.
pub(super) fn device(ordinal: Ordinal) -> Answer<&'static Device> {
    initialised()?;
    let found = usize::try_from(ordinal.0).ok().and_then(device::find);
    found.ok_or(Code::INVALID_DEVICE)
}

pub(crate) fn get(to: Out<CUdevice>, ordinal: c_int) -> Answer {
    device(Ordinal(ordinal))?;
    to.put(ordinal)
}

pub(crate) fn count(count: Out<c_int>) -> Answer {
    initialised()?;
    count.put(device::all().len() as c_int)
}

pub(crate) fn name(name: TextOut, length: c_int, ordinal: Ordinal) -> Answer {
    let device = device(ordinal)?;
    let text = format!("Fake CUDA device {}", device.ordinal);
    name.put(&text, usize::try_from(length).unwrap_or(0))
}

pub(crate) fn uuid(to: Out<CUuuid>, ordinal: Ordinal) -> Answer {
    let mut bytes = *b"fake-cuda device";
    bytes[14..].copy_from_slice(&(device(ordinal)?.ordinal as u16).to_be_bytes());
    to.put(CUuuid { bytes: bytes.map(|byte| byte as c_char) })
}

pub(crate) fn pci_bus_id(to: TextOut, length: c_int, ordinal: Ordinal) -> Answer {
    let text = bus_id(device(ordinal)?);
    to.put(&text, usize::try_from(length).unwrap_or(0))
}

pub(crate) fn by_pci_bus_id(to: Out<CUdevice>, id: Text) -> Answer {
    initialised()?;
    let id = id.get()?;
    let found = device::all().iter().find(|device| bus_id(device).eq_ignore_ascii_case(id));
    to.put(found.ok_or(Code::INVALID_DEVICE)?.ordinal as CUdevice)
}

fn bus_id(device: &Device) -> String {
    format!("0000:{:02X}:{:02X}.0", (device.ordinal + 1) & 0xff, (device.ordinal + 1) >> 8)
}

pub(crate) fn total_memory(bytes: Out<usize>, ordinal: Ordinal) -> Answer {
    bytes.put(device(ordinal)?.budget.capacity() as usize)
}

pub(crate) fn attribute(
    to: Out<c_int>,
    attribute: Raw<CUdevice_attribute>,
    ordinal: Ordinal,
) -> Answer {
    let device = device(ordinal)?;
    if attribute.0 == 0 {
        return Err(Code::INVALID_VALUE);
    }
    to.put(attributes::value(attribute.0, device.ordinal))
}

pub(crate) fn can_access_peer(to: Out<c_int>, one: Ordinal, other: Ordinal) -> Answer {
    to.put((device(one)?.ordinal != device(other)?.ordinal).into())
}

pub(crate) fn retain(to: Out<CUcontext>, ordinal: Ordinal) -> Answer {
    let device = device(ordinal)?;
    to.put(Handle::<CUctx_st>::of(device.context_handle()))?;
    device.retain();
    Ok(())
}

pub(crate) fn release(ordinal: Ordinal) -> Answer {
    device(ordinal)?.release()
}

pub(crate) fn reset(ordinal: Ordinal) -> Answer {
    let device = device(ordinal)?;
    device.reset();
    faults::at_reset(device.ordinal);
    Ok(())
}

pub(crate) fn set_flags(ordinal: Ordinal, flags: c_uint) -> Answer {
    device(ordinal)?.set_flags(flags);
    Ok(())
}

pub(crate) fn state(ordinal: Ordinal, flags: Out<c_uint>, active: Out<c_int>) -> Answer {
    let (own, is_active, _) = device(ordinal)?.state();
    flags.put(own)?;
    active.put(is_active.into())
}

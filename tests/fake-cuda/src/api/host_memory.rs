//! Host memory that devices can reach: pinned, registered, managed.

use std::ffi::{c_uint, c_void};
use std::sync::Arc;

use cust_raw::{CUdeviceptr, CUmem_advise};

use super::{refuse_unsafe, stream};
use crate::abi::{Handle, Host, Ordinal, Out, Raw};
use crate::code::{Answer, Code};
use crate::device::current;
use crate::memory::Storage;
use crate::memory::budget::Use;
use crate::memory::host::{self, Kind, Range};

/// The flags of `cuMemHostAlloc`: portable, mapped, write-combined.
const ALLOCATION_FLAGS: u32 = 7;
/// Those of `cuMemHostRegister`: portable, mapped, of a device, read-only.
const REGISTRATION_FLAGS: u32 = 15;

pub(crate) fn allocate_host(to: Out<*mut c_void>, bytes: usize) -> Answer {
    allocate(to, bytes, 0)
}

pub(crate) fn allocate(to: Out<*mut c_void>, bytes: usize, flags: c_uint) -> Answer {
    let context = current::in_order()?;
    refuse_unsafe(&context)?;
    if bytes == 0 || to.is_null() || flags & !ALLOCATION_FLAGS != 0 {
        return Err(Code::INVALID_VALUE);
    }
    let storage = Arc::new(Storage::new(bytes as u64).ok_or(Code::OUT_OF_MEMORY)?);
    let start = storage.start();
    let range = Range {
        bytes: bytes as u64,
        flags,
        kind: Kind::Pinned(storage),
        context: context.number,
        device: context.device.ordinal,
    };
    host::add(start.expose_provenance() as u64, range)?;
    to.put(start.cast())
}

pub(crate) fn free(pointer: Host) -> Answer {
    current::in_order()?;
    let pinned = |range: &Range| matches!(range.kind, Kind::Pinned(_));
    host::remove(address(pointer), pinned).map(drop).ok_or_else(|| {
        note_stale("cuMemFreeHost", pointer);
        Code::INVALID_VALUE
    })
}

fn address(pointer: Host) -> u64 {
    pointer.0.expose_provenance() as u64
}

pub(crate) fn register(pointer: Host, bytes: usize, flags: c_uint) -> Answer {
    let context = current::in_order()?;
    if pointer.0.is_null() || bytes == 0 || flags & !REGISTRATION_FLAGS != 0 {
        return Err(Code::INVALID_VALUE);
    }
    let range = Range {
        bytes: bytes as u64,
        flags,
        kind: Kind::Registered,
        context: context.number,
        device: context.device.ordinal,
    };
    host::add(address(pointer), range)
}

pub(crate) fn unregister(pointer: Host) -> Answer {
    current::in_order()?;
    let registered = |range: &Range| matches!(range.kind, Kind::Registered);
    host::remove(address(pointer), registered).map(drop).ok_or_else(|| {
        note_stale("cuMemHostUnregister", pointer);
        Code::HOST_MEMORY_NOT_REGISTERED
    })
}

/// Memory of the host that the driver does not know: it was of a context that is gone, if of any.
fn note_stale(name: &str, pointer: Host) {
    if let Some(device) = current::device() {
        device.generation.note(name, address(pointer));
    }
}

/// (With unified addressing the device's pointer is the host's.)
pub(crate) fn device_pointer(to: Out<CUdeviceptr>, pointer: Host, flags: c_uint) -> Answer {
    current::in_order()?;
    let known = host::find(address(pointer)).filter(|_| flags == 0);
    known.ok_or(Code::INVALID_VALUE)?;
    to.put(address(pointer))
}

pub(crate) fn flags(to: Out<c_uint>, pointer: Host) -> Answer {
    current::in_order()?;
    to.put(host::find(address(pointer)).ok_or(Code::INVALID_VALUE)?.flags)
}

/// Memory that moves between host and device by itself. Here it is the host's, and every device
/// reaches it there.
pub(crate) fn allocate_managed(to: Out<CUdeviceptr>, bytes: usize, flags: c_uint) -> Answer {
    let context = current::in_order()?;
    refuse_unsafe(&context)?;
    if bytes == 0 || to.is_null() || !matches!(flags, 1 | 2) {
        return Err(Code::INVALID_VALUE);
    }
    let share = context.device.budget.take(Use::Allocation, bytes as u64)?;
    let storage = Arc::new(Storage::new(bytes as u64).ok_or(Code::OUT_OF_MEMORY)?);
    let start = storage.start().expose_provenance() as u64;
    let range = Range {
        bytes: bytes as u64,
        flags,
        kind: Kind::Managed(storage, share),
        context: context.number,
        device: context.device.ordinal,
    };
    host::add(start, range)?;
    to.put(start)
}

fn managed(address: u64, bytes: usize) -> Answer {
    let range = host::find(address).filter(|range| range.managed).ok_or(Code::INVALID_VALUE)?;
    let rest = range.bytes - (address - range.start);
    if (1..=rest).contains(&(bytes as u64)) { Ok(()) } else { Err(Code::INVALID_VALUE) }
}

/// A hint, which has nothing to move here.
pub(crate) fn prefetch(
    address: CUdeviceptr,
    bytes: usize,
    _to: Ordinal,
    on: Handle<cust_raw::CUstream_st>,
) -> Answer {
    stream(on.value())?;
    managed(address, bytes)
}

/// A hint too.
pub(crate) fn advise(
    address: CUdeviceptr,
    bytes: usize,
    advice: Raw<CUmem_advise>,
    _device: Ordinal,
) -> Answer {
    current::in_order()?;
    if !(1..=6).contains(&advice.0) {
        return Err(Code::INVALID_VALUE);
    }
    managed(address, bytes)
}

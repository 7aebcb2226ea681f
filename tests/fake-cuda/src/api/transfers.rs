//! Copies and fills. The synchronous ones are done on the calling thread, in the legacy stream's
//! order; the others are given to their stream.
//!
//! A bad pointer is found at the call where that can be (1, and nothing is broken). Memory that goes
//! while the work waits is the device's fault to find (700, and the context is broken).

use std::ffi::{c_uchar, c_uint, c_ushort, c_void};
use std::sync::Arc;

use cust_raw::{CUctx_st, CUdeviceptr, CUstream_st, CUDA_MEMCPY2D};

use super::{stream, submit, synchronous};
use crate::abi::{ConstHost, Copy2d, Handle, Host, InAs, Side};
use crate::code::{Answer, Code};
use crate::memory::transfer::{self, HostAddress, Place, Rows};
use crate::stream::Stream;
use crate::stream::capture::Action;

type OnStream = Handle<CUstream_st>;

/// Host memory, by whether the driver knows it.
fn host_place(pointer: *const c_void) -> Place {
    Place::unified(pointer.expose_provenance() as u64)
}

fn now(to: &Place, from: &Place, bytes: usize) -> Answer {
    synchronous()?;
    if bytes == 0 {
        return Ok(());
    }
    to.check(bytes as u64)?;
    from.check(bytes as u64)?;
    transfer::copy(to, from, bytes as u64)
}

/// What the device finds out later is worse than what the call finds out.
fn found_late(result: Answer) -> Answer {
    result.map_err(|code| if code == Code::INVALID_VALUE { Code::ILLEGAL_ADDRESS } else { code })
}

fn later(to: Place, from: Place, bytes: usize, on: OnStream) -> Answer {
    let stream = stream(on.value())?;
    if bytes == 0 {
        return Ok(());
    }
    let bytes = bytes as u64;
    to.check(bytes)?;
    from.check(bytes)?;
    let captures = stream.capturing.lock().is_some();
    let waits = to.is_pageable() && !captures;
    let from = match from {
        // what a call reads of pageable memory it reads before it returns
        Place::Pageable(HostAddress(pointer)) if !captures => {
            // SAFETY: the program passes memory of so many bytes.
            unsafe { transfer::staged(pointer, bytes) }
        }
        from => from,
    };
    let task = move |_: &Stream| found_late(transfer::copy(&to, &from, bytes));
    submit(&stream, Action::Copy(Arc::new(task)))?;
    if waits { wait(&stream) } else { Ok(()) }
}

/// To pageable memory nothing is written after the call has returned.
fn wait(stream: &Stream) -> Answer {
    stream.wait();
    stream.context.status()
}

pub(crate) fn host_to_device(to: CUdeviceptr, from: ConstHost, bytes: usize) -> Answer {
    now(&Place::Known(to), &host_place(from.0), bytes)
}

pub(crate) fn device_to_host(to: Host, from: CUdeviceptr, bytes: usize) -> Answer {
    now(&host_place(to.0), &Place::Known(from), bytes)
}

pub(crate) fn device_to_device(to: CUdeviceptr, from: CUdeviceptr, bytes: usize) -> Answer {
    now(&Place::Known(to), &Place::Known(from), bytes)
}

pub(crate) fn unified(to: CUdeviceptr, from: CUdeviceptr, bytes: usize) -> Answer {
    now(&Place::unified(to), &Place::unified(from), bytes)
}

pub(crate) fn peer(
    to: CUdeviceptr,
    _to: Handle<CUctx_st>,
    from: CUdeviceptr,
    _from: Handle<CUctx_st>,
    bytes: usize,
) -> Answer {
    now(&Place::Known(to), &Place::Known(from), bytes)
}

pub(crate) fn host_to_device_async(
    to: CUdeviceptr,
    from: ConstHost,
    bytes: usize,
    on: OnStream,
) -> Answer {
    later(Place::Known(to), host_place(from.0), bytes, on)
}

pub(crate) fn device_to_host_async(
    to: Host,
    from: CUdeviceptr,
    bytes: usize,
    on: OnStream,
) -> Answer {
    later(host_place(to.0), Place::Known(from), bytes, on)
}

pub(crate) fn device_to_device_async(
    to: CUdeviceptr,
    from: CUdeviceptr,
    bytes: usize,
    on: OnStream,
) -> Answer {
    later(Place::Known(to), Place::Known(from), bytes, on)
}

pub(crate) fn unified_async(
    to: CUdeviceptr,
    from: CUdeviceptr,
    bytes: usize,
    on: OnStream,
) -> Answer {
    later(Place::unified(to), Place::unified(from), bytes, on)
}

pub(crate) fn peer_async(
    to: CUdeviceptr,
    _to: Handle<CUctx_st>,
    from: CUdeviceptr,
    _from: Handle<CUctx_st>,
    bytes: usize,
    on: OnStream,
) -> Answer {
    later(Place::Known(to), Place::Known(from), bytes, on)
}

/// Both sides of a copy of rows.
fn rows(copy: &Copy2d) -> Answer<Rows> {
    Ok(Rows {
        to: side(&copy.to, copy)?,
        from: side(&copy.from, copy)?,
        width: copy.width_bytes as u64,
        height: copy.height as u64,
    })
}

fn side(side: &Side, copy: &Copy2d) -> Answer<(Place, u64)> {
    let pitch = if side.pitch == 0 { copy.width_bytes } else { side.pitch };
    if pitch < copy.width_bytes + side.x_bytes && copy.height > 1 {
        return Err(Code::INVALID_VALUE);
    }
    let offset = (side.y * pitch + side.x_bytes) as u64;
    let place = match side.memory_type {
        1 => Place::unified((side.host.expose_provenance() as u64).wrapping_add(offset)),
        2 => Place::Known(side.device.wrapping_add(offset)),
        4 => Place::unified(side.device.wrapping_add(offset)),
        // arrays
        _ => return Err(Code::NOT_SUPPORTED),
    };
    Ok((place, pitch as u64))
}

pub(crate) fn rows_now(copy: InAs<CUDA_MEMCPY2D, Copy2d>) -> Answer {
    let rows = rows(&copy.get()?)?;
    synchronous()?;
    if rows.width == 0 || rows.height == 0 {
        return Ok(());
    }
    rows.check()?;
    rows.copy()
}

/// (Of pageable memory, the call waits until all is done: it is read and written in the call.)
pub(crate) fn rows_async(copy: InAs<CUDA_MEMCPY2D, Copy2d>, on: OnStream) -> Answer {
    let (rows, stream) = (rows(&copy.get()?)?, stream(on.value())?);
    if rows.width == 0 || rows.height == 0 {
        return Ok(());
    }
    rows.check()?;
    let captures = stream.capturing.lock().is_some();
    let waits = !captures && (rows.to.0.is_pageable() || rows.from.0.is_pageable());
    submit(&stream, Action::Copy(Arc::new(move |_: &Stream| found_late(rows.copy()))))?;
    if waits { wait(&stream) } else { Ok(()) }
}

fn check_fill(to: CUdeviceptr, size: usize, count: usize) -> Answer<Place> {
    if to % size as u64 != 0 {
        return Err(Code::INVALID_VALUE);
    }
    let place = Place::Known(to);
    let bytes = size.checked_mul(count).ok_or(Code::INVALID_VALUE)?;
    place.check(bytes as u64)?;
    Ok(place)
}

fn fill_now(to: CUdeviceptr, pattern: &[u8], count: usize) -> Answer {
    synchronous()?;
    let place = check_fill(to, pattern.len(), count)?;
    transfer::fill(&place, pattern, count as u64)
}

fn fill_later(to: CUdeviceptr, pattern: Vec<u8>, count: usize, on: OnStream) -> Answer {
    let stream = stream(on.value())?;
    let place = check_fill(to, pattern.len(), count)?;
    let task = move |_: &Stream| found_late(transfer::fill(&place, &pattern, count as u64));
    submit(&stream, Action::Fill(Arc::new(task)))
}

pub(crate) fn fill_bytes(to: CUdeviceptr, value: c_uchar, count: usize) -> Answer {
    fill_now(to, &[value], count)
}

pub(crate) fn fill_halves(to: CUdeviceptr, value: c_ushort, count: usize) -> Answer {
    fill_now(to, &value.to_ne_bytes(), count)
}

pub(crate) fn fill_words(to: CUdeviceptr, value: c_uint, count: usize) -> Answer {
    fill_now(to, &value.to_ne_bytes(), count)
}

pub(crate) fn fill_bytes_async(
    to: CUdeviceptr,
    value: c_uchar,
    count: usize,
    on: OnStream,
) -> Answer {
    fill_later(to, vec![value], count, on)
}

pub(crate) fn fill_halves_async(
    to: CUdeviceptr,
    value: c_ushort,
    count: usize,
    on: OnStream,
) -> Answer {
    fill_later(to, value.to_ne_bytes().into(), count, on)
}

pub(crate) fn fill_words_async(
    to: CUdeviceptr,
    value: c_uint,
    count: usize,
    on: OnStream,
) -> Answer {
    fill_later(to, value.to_ne_bytes().into(), count, on)
}

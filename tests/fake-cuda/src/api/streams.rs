//! Streams.

use std::ffi::{c_int, c_uint};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use cust_raw::{
    CUcontext, CUctx_st, CUdeviceptr, CUgraph, CUgraph_st, CUstream, CUstreamCaptureMode,
    CUstreamCaptureStatus, CUstream_st,
};

use super::{graphs, stream};
use crate::abi::{Callback, Handle, Host, Out, OutRaw, Raw};
use crate::code::{Answer, Code};
use crate::device::attributes::PRIORITIES;
use crate::device::current;
use crate::device::handle::Kind;
use crate::memory::transfer::{self, HostAddress};
use crate::stream::capture::{self, Mode};
use crate::stream::{Stream, Work};

type OnStream = Handle<CUstream_st>;

pub(crate) fn create(to: Out<CUstream>, flags: c_uint) -> Answer {
    create_with_priority(to, flags, 0)
}

pub(crate) fn create_with_priority(
    to: Out<CUstream>,
    flags: c_uint,
    priority: c_int,
) -> Answer {
    let context = current::in_order()?;
    if flags > 1 || to.is_null() {
        return Err(Code::INVALID_VALUE);
    }
    let priority = priority.clamp(PRIORITIES.1, PRIORITIES.0);
    to.put(OnStream::of(context.new_stream(flags, priority)))
}

/// The stream's handle is gone at once; its work goes on.
pub(crate) fn destroy(handle: OnStream) -> Answer {
    let value = handle.value();
    if value <= 2 {
        return Err(Code::INVALID_VALUE);
    }
    let remove = |context: &Arc<crate::device::context::Context>| context.streams.remove(value);
    let stream = current::find_handle(Kind::Stream, value, remove)?;
    if let Some(capturing) = &*stream.capturing.lock() {
        let _ = capturing.capture.refuse::<()>(Code::STREAM_CAPTURE_INVALIDATED);
    }
    stream.close();
    Ok(())
}

pub(crate) fn flags(of: OnStream, to: Out<c_uint>) -> Answer {
    to.put(stream(of.value())?.flags)
}

pub(crate) fn priority(of: OnStream, to: Out<c_int>) -> Answer {
    to.put(stream(of.value())?.priority)
}

pub(crate) fn context(of: OnStream, to: Out<CUcontext>) -> Answer {
    let handle = stream(of.value())?.context.device.context_handle();
    to.put(Handle::<CUctx_st>::of(handle))
}

/// Waiting for a stream that captures, or asking for its state, ends the capture.
fn refuse_capture(stream: &Stream) -> Answer {
    if let Some(capturing) = &*stream.capturing.lock() {
        return capturing.capture.refuse(Code::STREAM_CAPTURE_UNSUPPORTED);
    }
    if stream.handle == 0 { stream.context.refuse_implicit() } else { Ok(()) }
}

pub(crate) fn synchronize(handle: OnStream) -> Answer {
    let stream = stream(handle.value())?;
    refuse_capture(&stream)?;
    if stream.handle == 0 {
        stream.context.wait_as_legacy()?;
    } else {
        stream.wait();
    }
    stream.context.status()?;
    stream.context.device.trim_pools();
    Ok(())
}

pub(crate) fn query(handle: OnStream) -> Answer {
    let stream = stream(handle.value())?;
    refuse_capture(&stream)?;
    let legacy = stream.handle == 0;
    let waits = legacy && !stream.context.barriers(&stream).is_empty();
    if waits || !stream.is_idle() {
        return Err(Code::NOT_READY);
    }
    stream.context.status()
}

/// The function is called whatever happens, with the context's state.
pub(crate) fn add_callback(
    handle: OnStream,
    callback: Callback,
    data: Host,
    flags: c_uint,
) -> Answer {
    let stream = stream(handle.value())?;
    let callback = callback.0.filter(|_| flags == 0).ok_or(Code::INVALID_VALUE)?;
    refuse_capture(&stream)?;
    let passed = (handle.value(), HostAddress(data.0.cast()));
    let call = move |status: u32| {
        let (stream, HostAddress(data)) = { passed };
        let stream = OnStream::of(stream).cast();
        // SAFETY: the program passes a function for these arguments.
        unsafe { callback(stream, status, data.cast()) };
    };
    stream.context.enqueue(&stream, Work::Status(Box::new(call)))
}

/// The place of a value in device memory, or in host memory that the driver knows.
fn place(address: u64, bytes: u64) -> Answer<*mut u8> {
    let segment = transfer::segment(address).filter(|_| address % bytes == 0);
    segment.and_then(|segment| segment.at(address, bytes)).ok_or(Code::INVALID_VALUE)
}

/// Looks a place up again when the device comes to it, and works on it.
fn at_place<T>(
    address: u64,
    bytes: u64,
    work: impl FnOnce(*mut u8) -> T,
) -> Answer<T> {
    let segment = transfer::segment(address);
    let place = segment.as_ref().and_then(|segment| segment.at(address, bytes));
    // (the segment keeps the memory until the work is done)
    place.map(work).ok_or(Code::ILLEGAL_ADDRESS)
}

fn refuse_memory_operation(stream: &Stream) -> Answer {
    match &*stream.capturing.lock() {
        Some(capturing) => capturing.capture.refuse(Code::STREAM_CAPTURE_UNSUPPORTED),
        None => Ok(()),
    }
}

pub(crate) fn write_value32(
    on: OnStream,
    address: CUdeviceptr,
    value: c_uint,
    flags: c_uint,
) -> Answer {
    write(on, (address, 4), flags, move |place| {
        // SAFETY: the place is live and aligned.
        unsafe { AtomicU32::from_ptr(place.cast()) }.store(value, Ordering::SeqCst);
    })
}

pub(crate) fn write_value64(on: OnStream, address: CUdeviceptr, value: u64, flags: c_uint) -> Answer {
    write(on, (address, 8), flags, move |place| {
        // SAFETY: the place is live and aligned.
        unsafe { AtomicU64::from_ptr(place.cast()) }.store(value, Ordering::SeqCst);
    })
}

fn write(
    on: OnStream,
    (address, bytes): (u64, u64),
    flags: c_uint,
    store: impl Fn(*mut u8) + Send + Sync + 'static,
) -> Answer {
    let stream = stream(on.value())?;
    refuse_memory_operation(&stream)?;
    place(address, bytes)?;
    if flags > 1 {
        return Err(Code::INVALID_VALUE);
    }
    let task = move |_: &Stream| at_place(address, bytes, &store);
    stream.context.enqueue(&stream, Work::Device(Arc::new(task)))
}

pub(crate) fn wait_value32(
    on: OnStream,
    address: CUdeviceptr,
    value: c_uint,
    flags: c_uint,
) -> Answer {
    wait(on, (address, 4), flags, move |place, how| {
        // SAFETY: the place is live and aligned.
        let now = unsafe { AtomicU32::from_ptr(place.cast()) }.load(Ordering::SeqCst);
        match how {
            0 => now.wrapping_sub(value).cast_signed() >= 0,
            1 => now == value,
            2 => now & value != 0,
            _ => !(now | value) != 0,
        }
    })
}

pub(crate) fn wait_value64(on: OnStream, address: CUdeviceptr, value: u64, flags: c_uint) -> Answer {
    wait(on, (address, 8), flags, move |place, how| {
        // SAFETY: the place is live and aligned.
        let now = unsafe { AtomicU64::from_ptr(place.cast()) }.load(Ordering::SeqCst);
        match how {
            0 => now.wrapping_sub(value).cast_signed() >= 0,
            1 => now == value,
            2 => now & value != 0,
            _ => !(now | value) != 0,
        }
    })
}

/// Waits until the value compares as `flags` say: at least, equal, any bit, any bit missing.
fn wait(
    on: OnStream,
    (address, bytes): (u64, u64),
    flags: c_uint,
    holds: impl Fn(*mut u8, u32) -> bool + Send + 'static,
) -> Answer {
    const FLUSH: u32 = 1 << 30;
    let stream = stream(on.value())?;
    refuse_memory_operation(&stream)?;
    place(address, bytes)?;
    let how = flags & !FLUSH;
    if how > 3 {
        return Err(Code::INVALID_VALUE);
    }
    let look = move || at_place(address, bytes, |place| holds(place, how));
    stream.context.enqueue(&stream, Work::Poll(Box::new(look)))
}

pub(crate) fn begin_capture(handle: OnStream, mode: Raw<CUstreamCaptureMode>) -> Answer {
    let stream = stream(handle.value())?;
    let mode = Mode::numbered(mode.0).ok_or(Code::INVALID_VALUE)?;
    if stream.handle == 0 {
        return Err(Code::STREAM_CAPTURE_UNSUPPORTED);
    }
    capture::begin(&stream, mode)
}

/// 0 is for no capture, 1 for one, 2 for one that is lost.
pub(crate) fn is_capturing(handle: OnStream, to: OutRaw<CUstreamCaptureStatus>) -> Answer {
    let stream = stream(handle.value())?;
    let capturing = stream.capturing.lock();
    to.put(capturing.as_ref().map_or(0, |part| 1 + u32::from(part.capture.is_broken())))
}

pub(crate) fn end_capture(handle: OnStream, to: Out<CUgraph>) -> Answer {
    let stream = stream(handle.value())?;
    match capture::end(&stream) {
        Ok(graph) => {
            let handle = graphs::add(&stream.context, graph);
            to.put(Handle::<CUgraph_st>::of(handle))
        }
        Err(code) => {
            to.put_if_wanted(std::ptr::null_mut());
            Err(code)
        }
    }
}

//! Events.

use std::ffi::{c_float, c_uint};
use std::sync::Arc;

use cust_raw::{CUevent, CUevent_st, CUstream_st};

use super::stream;
use crate::abi::{Handle, Out};
use crate::code::{Answer, Code};
use crate::device::current;
use crate::device::handle::Kind;
use crate::stream::event::Event;

/// Blocking synchronisation, no timing, for other processes.
const FLAGS: u32 = 7;
const INTERPROCESS: u32 = 4;

type OfEvent = Handle<CUevent_st>;

fn event(handle: OfEvent) -> Answer<Arc<Event>> {
    let handle = handle.value();
    current::find_handle(Kind::Event, handle, |context| context.events.get(handle))
}

pub(crate) fn create(to: Out<CUevent>, flags: c_uint) -> Answer {
    let context = current::in_order()?;
    if flags & !FLAGS != 0 || to.is_null() {
        return Err(Code::INVALID_VALUE);
    }
    if flags & INTERPROCESS != 0 {
        return Err(Code::NOT_SUPPORTED);
    }
    let event = Event::new(Arc::clone(&context), flags);
    to.put(OfEvent::of(context.events.add(event)))
}

pub(crate) fn destroy(handle: OfEvent) -> Answer {
    let handle = handle.value();
    current::find_handle(Kind::Event, handle, |context| context.events.remove(handle)).map(drop)
}

pub(crate) fn record(handle: OfEvent, on: Handle<CUstream_st>) -> Answer {
    event(handle)?.record(&stream(on.value())?)
}

/// (The flag says that a capture is to make a node of it; here a capture never does.)
pub(crate) fn record_with_flags(
    handle: OfEvent,
    on: Handle<CUstream_st>,
    flags: c_uint,
) -> Answer {
    if flags != 0 {
        return Err(Code::NOT_SUPPORTED);
    }
    record(handle, on)
}

pub(crate) fn query(handle: OfEvent) -> Answer {
    event(handle)?.query()
}

pub(crate) fn synchronize(handle: OfEvent) -> Answer {
    let event = event(handle)?;
    event.synchronize()?;
    event.context.device.trim_pools();
    Ok(())
}

pub(crate) fn elapsed(to: Out<c_float>, start: OfEvent, end: OfEvent) -> Answer {
    to.put(event(end)?.since(&*event(start)?)?)
}

pub(crate) fn wait(on: Handle<CUstream_st>, handle: OfEvent, flags: c_uint) -> Answer {
    let (stream, event) = (stream(on.value())?, event(handle)?);
    if flags > 1 {
        return Err(Code::INVALID_VALUE);
    }
    event.make_wait(&stream)
}

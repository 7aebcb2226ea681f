//! What the entry points do, by subject. Each function here is the body of one entry point, whose
//! name and signature are in [`table`](crate::table).

pub(crate) mod contexts;
pub(crate) mod devices;
pub(crate) mod driver;
pub(crate) mod events;
pub(crate) mod graphs;
pub(crate) mod host_memory;
pub(crate) mod launches;
pub(crate) mod memory;
pub(crate) mod modules;
pub(crate) mod pointers;
pub(crate) mod pools;
pub(crate) mod streams;
pub(crate) mod transfers;
pub(crate) mod virtual_memory;

use std::cell::Cell;
use std::sync::Arc;

use crate::code::{Answer, Code};
use crate::device::context::Context;
use crate::device::current;
use crate::device::handle::Kind;
use crate::stream::capture::{Action, Mode};
use crate::stream::{Stream, Work};

thread_local! {
    /// What captures forbid the thread, by `cuThreadExchangeStreamCaptureMode`.
    static CAPTURE_MODE: Cell<Mode> = const { Cell::new(Mode::Global) };
}

/// The stream of a handle. 0 and 1 are the legacy stream of the current context.
fn stream(handle: u64) -> Answer<Arc<Stream>> {
    match handle {
        0 | 1 => Ok(current::in_order()?.legacy()),
        // the default stream of the thread
        2 => Err(Code::NOT_SUPPORTED),
        _ => current::find_handle(Kind::Stream, handle, |context| context.streams.get(handle)),
    }
}

/// Gives `stream` something to do, or to its capture.
fn submit(stream: &Arc<Stream>, action: Action) -> Answer {
    if let Some(capturing) = &mut *stream.capturing.lock() {
        return capturing.add(action);
    }
    if stream.handle == 0 {
        stream.context.refuse_implicit()?;
    }
    match action {
        Action::Kernel(task) | Action::Copy(task) | Action::Fill(task) => {
            stream.context.enqueue(stream, Work::Device(task))
        }
        Action::Host(function) => {
            stream.context.enqueue(stream, Work::Host(Box::new(move || function())))
        }
        Action::Child(graph) => {
            graph.actions().into_iter().try_for_each(|action| submit(stream, action))
        }
    }
}

/// Waits until a synchronous call may do its work: on the thread that called, with the ordering of
/// the legacy stream.
fn synchronous() -> Answer<Arc<Context>> {
    let context = current::in_order()?;
    refuse_unsafe(&context)?;
    context.refuse_implicit()?;
    context.wait_as_legacy()?;
    Ok(context)
}

/// Refuses a call that waits or allocates, while a capture forbids it.
fn refuse_unsafe(context: &Context) -> Answer {
    let own = CAPTURE_MODE.get();
    let captures = context.captures();
    let forbids = captures.iter().find(|capture| capture.forbids_unsafe_calls(own));
    forbids.map_or(Ok(()), |capture| capture.refuse(Code::STREAM_CAPTURE_UNSUPPORTED))
}

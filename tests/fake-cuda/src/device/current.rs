//! The contexts that a thread has made current.

use std::cell::RefCell;
use std::sync::Arc;

use super::context::Context;
use super::handle::{self, Kind};
use super::{Device, find, initialised};
use crate::code::{Answer, Code};

thread_local! {
    /// The devices whose primary contexts are on the thread's stack; `None` where the null context is.
    static STACK: RefCell<Vec<Option<usize>>> = const { RefCell::new(Vec::new()) };
}

/// The device of a context handle.
fn named(handle: u64) -> Answer<&'static Device> {
    let device = handle::device(Kind::Context, handle).and_then(find);
    device.filter(|device| device.context_handle() == handle).ok_or(Code::INVALID_CONTEXT)
}

pub(crate) fn push(handle: u64) -> Answer {
    let device = named(handle)?;
    STACK.with_borrow_mut(|stack| stack.push(Some(device.ordinal)));
    Ok(())
}

/// Takes the top off the stack; its handle.
pub(crate) fn pop() -> Answer<u64> {
    let top = STACK.with_borrow_mut(Vec::pop).flatten().and_then(find);
    top.map(Device::context_handle).ok_or(Code::INVALID_CONTEXT)
}

/// Replaces the top of the stack; a null handle leaves no context.
pub(crate) fn set(handle: u64) -> Answer {
    let device = if handle == 0 { None } else { Some(named(handle)?.ordinal) };
    STACK.with_borrow_mut(|stack| {
        stack.pop();
        stack.push(device);
    });
    Ok(())
}

/// The device whose context is current.
pub(crate) fn device() -> Option<&'static Device> {
    let top = STACK.with_borrow(|stack| stack.last().copied().flatten());
    top.and_then(find)
}

/// The current context, whatever its state.
pub(crate) fn context() -> Answer<Arc<Context>> {
    initialised()?;
    let device = device().ok_or(Code::INVALID_CONTEXT)?;
    device.context().ok_or(Code::CONTEXT_IS_DESTROYED)
}

/// The current context, if it is in order.
pub(crate) fn in_order() -> Answer<Arc<Context>> {
    let context = context()?;
    context.status()?;
    Ok(context)
}

/// Looks a handle up in the context that it is of, when both that one and the current one are in
/// order.
pub(crate) fn find_handle<T>(
    kind: Kind,
    handle: u64,
    get: impl FnOnce(&Arc<Context>) -> Answer<T>,
) -> Answer<T> {
    in_order()?;
    let device = handle::device(kind, handle).and_then(find).ok_or(Code::INVALID_HANDLE)?;
    let context = device.context().ok_or(Code::INVALID_HANDLE)?;
    context.status()?;
    get(&context)
}

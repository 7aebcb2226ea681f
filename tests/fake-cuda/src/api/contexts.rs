//! The current context: a stack for each thread, and the context's settings.

use std::ffi::{c_int, c_uint};

use cust_raw::{CUcontext, CUctx_st, CUdevice, CUfunc_cache, CUlimit, CUsharedconfig, CUstreamCaptureMode};

use crate::abi::{Handle, Out, OutRaw, Raw};
use crate::code::{Answer, Code};
use crate::device::attributes::{DRIVER_VERSION, PRIORITIES};
use crate::device::handle::{self, Kind};
use crate::device::{self, current, initialised};
use crate::stream::capture::Mode;

pub(crate) fn push(context: Handle<CUctx_st>) -> Answer {
    initialised()?;
    current::push(context.value())
}

pub(crate) fn pop(to: Out<CUcontext>) -> Answer {
    initialised()?;
    to.put_if_wanted(Handle::<CUctx_st>::of(current::pop()?));
    Ok(())
}

pub(crate) fn set(context: Handle<CUctx_st>) -> Answer {
    initialised()?;
    current::set(context.value())
}

pub(crate) fn get(to: Out<CUcontext>) -> Answer {
    initialised()?;
    let handle = current::device().map_or(0, device::Device::context_handle);
    to.put(Handle::<CUctx_st>::of(handle))
}

/// (Answered by a broken context too: it asks nothing of the device.)
pub(crate) fn device(to: Out<CUdevice>) -> Answer {
    to.put(current::context()?.device.ordinal as CUdevice)
}

pub(crate) fn flags(to: Out<c_uint>) -> Answer {
    to.put(current::in_order()?.device.state().0)
}

pub(crate) fn api_version(_: Handle<CUctx_st>, to: Out<c_uint>) -> Answer {
    initialised()?;
    to.put(DRIVER_VERSION as c_uint)
}

pub(crate) fn synchronize() -> Answer {
    let context = current::in_order()?;
    if let Some(capture) = context.captures().first() {
        return capture.refuse(Code::STREAM_CAPTURE_UNSUPPORTED);
    }
    context.synchronize()?;
    context.device.trim_pools();
    Ok(())
}

pub(crate) fn priority_range(least: Out<c_int>, greatest: Out<c_int>) -> Answer {
    current::in_order()?;
    least.put_if_wanted(PRIORITIES.0);
    greatest.put_if_wanted(PRIORITIES.1);
    Ok(())
}

/// The limits that there are, with what they begin as.
fn default_limit(limit: u32) -> Answer<u64> {
    Ok(match limit {
        0 => 1024,
        1 => 1 << 20,
        2 => 8 << 20,
        3 => 2,
        4 => 2048,
        5 => 64,
        6 => 0,
        _ => return Err(Code::UNSUPPORTED_LIMIT),
    })
}

/// Settings that are kept and reported, and have no effect here.
const CACHE: u32 = 1000;
const SHARED_BANKS: u32 = 1001;

pub(crate) fn limit(to: Out<usize>, limit: Raw<CUlimit>) -> Answer {
    let context = current::in_order()?;
    let default = default_limit(limit.0)?;
    let value = context.limits.lock().get(&limit.0).copied().unwrap_or(default);
    to.put(value as usize)
}

pub(crate) fn set_limit(limit: Raw<CUlimit>, value: usize) -> Answer {
    let context = current::in_order()?;
    default_limit(limit.0)?;
    context.limits.lock().insert(limit.0, value as u64);
    Ok(())
}

fn setting(to: &OutRaw<impl Sized>, which: u32) -> Answer {
    let context = current::in_order()?;
    let value = context.limits.lock().get(&which).copied().unwrap_or(0);
    to.put(value as u32)
}

fn set_setting(which: u32, value: u32) -> Answer {
    current::in_order()?.limits.lock().insert(which, value.into());
    Ok(())
}

pub(crate) fn cache_config(to: OutRaw<CUfunc_cache>) -> Answer {
    setting(&to, CACHE)
}

pub(crate) fn set_cache_config(config: Raw<CUfunc_cache>) -> Answer {
    set_setting(CACHE, config.0)
}

pub(crate) fn shared_config(to: OutRaw<CUsharedconfig>) -> Answer {
    setting(&to, SHARED_BANKS)
}

pub(crate) fn set_shared_config(config: Raw<CUsharedconfig>) -> Answer {
    set_setting(SHARED_BANKS, config.0)
}

/// The ordinal of another device, by its context.
fn peer(context: Handle<CUctx_st>) -> Answer<usize> {
    let ordinal = handle::device(Kind::Context, context.value()).ok_or(Code::INVALID_CONTEXT)?;
    let device = device::find(ordinal).ok_or(Code::INVALID_CONTEXT)?;
    device.context().ok_or(Code::INVALID_CONTEXT)?;
    Ok(ordinal)
}

pub(crate) fn enable_peer(other: Handle<CUctx_st>, flags: c_uint) -> Answer {
    let context = current::in_order()?;
    let other = peer(other)?;
    if flags != 0 {
        return Err(Code::INVALID_VALUE);
    }
    if other == context.device.ordinal {
        return Err(Code::PEER_ACCESS_UNSUPPORTED);
    }
    let new = context.peers.lock().insert(other);
    if new { Ok(()) } else { Err(Code::PEER_ACCESS_ALREADY_ENABLED) }
}

pub(crate) fn disable_peer(other: Handle<CUctx_st>) -> Answer {
    let context = current::in_order()?;
    let known = context.peers.lock().remove(&peer(other)?);
    if known { Ok(()) } else { Err(Code::PEER_ACCESS_NOT_ENABLED) }
}

pub(crate) fn exchange_capture_mode(mode: OutRaw<CUstreamCaptureMode>) -> Answer {
    let new = Mode::numbered(mode.get()?).ok_or(Code::INVALID_VALUE)?;
    let old = super::CAPTURE_MODE.replace(new);
    mode.put(old as u32)
}

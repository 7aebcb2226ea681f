//! Stream-ordered memory and its pools.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use cust_raw::{
    CUdeviceptr, CUmemPoolHandle_st, CUmemPoolProps, CUmemPool_attribute, CUmemoryPool, CUstream_st,
};

use super::devices::device;
use super::{stream, submit};
use crate::abi::{Handle, Host, InAs, Ordinal, Out, PoolProperties, Raw};
use crate::code::{Answer, Code};
use crate::device::handle::Kind;
use crate::device::{self, Device, handle};
use crate::memory::pool::{Attribute, Pool};
use crate::memory::space::{Live, Origin};
use crate::memory::{Storage, device_of};
use crate::stream::Stream;
use crate::stream::capture::Action;

type PoolHandle = Handle<CUmemPoolHandle_st>;

fn pool_handle(value: u64) -> CUmemoryPool {
    PoolHandle::of(value)
}

/// A pool and its device.
fn pool(handle: PoolHandle) -> Answer<(&'static Device, Arc<Pool>)> {
    let device = handle::device(Kind::Pool, handle.value()).and_then(device::find);
    let device = device.ok_or(Code::INVALID_VALUE)?;
    let pool = device.pool(handle.value()).map_err(|_| Code::INVALID_VALUE)?;
    Ok((device, pool))
}

pub(crate) fn allocate(
    to: Out<CUdeviceptr>,
    bytes: usize,
    on: Handle<CUstream_st>,
) -> Answer {
    let stream = stream(on.value())?;
    let device = stream.context.device;
    let current = device.pools.current.load(Ordering::Acquire);
    let pool = device.pool(current).map_err(|_| Code::INVALID_VALUE)?;
    allocate_from(&to, bytes, &pool, &stream)
}

pub(crate) fn allocate_from_pool(
    to: Out<CUdeviceptr>,
    bytes: usize,
    from: PoolHandle,
    on: Handle<CUstream_st>,
) -> Answer {
    let stream = stream(on.value())?;
    allocate_from(&to, bytes, &pool(from)?.1, &stream)
}

/// The memory has its address, and is accounted for, when the call returns.
fn allocate_from(
    to: &Out<CUdeviceptr>,
    bytes: usize,
    pool: &Arc<Pool>,
    stream: &Stream,
) -> Answer {
    refuse_capture(stream)?;
    if bytes == 0 || to.is_null() {
        return Err(Code::INVALID_VALUE);
    }
    let bytes = bytes as u64;
    let owner = device::find(pool.device).and_then(Device::context).ok_or(Code::INVALID_CONTEXT)?;
    pool.take(bytes)?;
    let origin = Origin::Pooled { pool: Arc::clone(pool), bytes };
    let storage = Arc::new(Storage::new(bytes).ok_or(Code::OUT_OF_MEMORY)?);
    let live = Live { bytes, storage, origin, freeing: false };
    let address = owner.device.addresses.take(bytes, 512)?;
    owner.space().add(address, live);
    to.put(address)
}

/// Allocation nodes of graphs are not modelled.
fn refuse_capture(stream: &Stream) -> Answer {
    match &*stream.capturing.lock() {
        Some(capturing) => capturing.capture.refuse(Code::STREAM_CAPTURE_UNSUPPORTED),
        None => Ok(()),
    }
}

/// Frees when the stream comes to it.
pub(crate) fn free(address: CUdeviceptr, on: Handle<CUstream_st>) -> Answer {
    let stream = stream(on.value())?;
    refuse_capture(&stream)?;
    let owner = device_of(address).and_then(device::find).and_then(Device::context);
    let owner = owner.ok_or(Code::INVALID_VALUE)?;
    owner.space().freeable(address)?.freeing = true;
    let task = move |_: &Stream| {
        let live = owner.space().remove(address);
        drop(live);
        Ok(())
    };
    submit(&stream, Action::Copy(Arc::new(task)))
}

pub(crate) fn create(
    to: Out<CUmemoryPool>,
    properties: InAs<CUmemPoolProps, PoolProperties>,
) -> Answer {
    let properties = properties.get()?;
    if properties.kind != 1 || properties.location.kind != 1 {
        return Err(Code::INVALID_VALUE);
    }
    if properties.handle_types != 0 {
        return Err(Code::NOT_SUPPORTED);
    }
    let device = device(Ordinal(properties.location.id))?;
    let pool = Pool::new(&device.budget, device.ordinal)?;
    to.put(pool_handle(device.pools.table.add(pool)))
}

/// What was allocated from it stays until it is freed.
pub(crate) fn destroy(handle: PoolHandle) -> Answer {
    let (device, _) = pool(handle)?;
    let pools = &device.pools;
    if handle.value() == pools.default {
        return Err(Code::INVALID_VALUE);
    }
    let order = Ordering::AcqRel;
    let _ = pools.current.compare_exchange(handle.value(), pools.default, order, Ordering::Acquire);
    pools.table.remove(handle.value()).map(drop).map_err(|_| Code::INVALID_VALUE)
}

pub(crate) fn trim(handle: PoolHandle, keep: usize) -> Answer {
    pool(handle)?.1.trim(keep as u64);
    Ok(())
}

pub(crate) fn attribute(
    handle: PoolHandle,
    attribute: Raw<CUmemPool_attribute>,
    to: Host,
) -> Answer {
    let pool = pool(handle)?.1;
    let attribute = Attribute::numbered(attribute.0).ok_or(Code::INVALID_VALUE)?;
    let value = pool.get(attribute);
    match attribute {
        Attribute::Reuse(_) => to.put(value as u32),
        _ => to.put(value),
    }
}

pub(crate) fn set_attribute(
    handle: PoolHandle,
    attribute: Raw<CUmemPool_attribute>,
    from: Host,
) -> Answer {
    let pool = pool(handle)?.1;
    let attribute = Attribute::numbered(attribute.0).ok_or(Code::INVALID_VALUE)?;
    let value = match attribute {
        Attribute::Reuse(_) => from.get::<u32>()?.into(),
        _ => from.get::<u64>()?,
    };
    if pool.set(attribute, value) { Ok(()) } else { Err(Code::INVALID_VALUE) }
}

pub(crate) fn default_pool(to: Out<CUmemoryPool>, ordinal: Ordinal) -> Answer {
    to.put(pool_handle(device(ordinal)?.pools.default))
}

pub(crate) fn current_pool(to: Out<CUmemoryPool>, ordinal: Ordinal) -> Answer {
    to.put(pool_handle(device(ordinal)?.pools.current.load(Ordering::Acquire)))
}

pub(crate) fn set_current_pool(ordinal: Ordinal, handle: PoolHandle) -> Answer {
    let (own, device) = (pool(handle)?.0, device(ordinal)?);
    if own.ordinal != device.ordinal {
        return Err(Code::INVALID_VALUE);
    }
    device.pools.current.store(handle.value(), Ordering::Release);
    Ok(())
}

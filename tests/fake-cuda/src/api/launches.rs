//! Launches of kernels and of host functions.

use std::ffi::{c_uint, c_void};
use std::sync::Arc;

use cust_raw::{CUfunc_st, CUhostFn, CUstream_st};

use super::modules::find_function;
use super::{stream, submit};
use crate::abi::{ConstHost, Handle, Host, Out};
use crate::code::{Answer, Code};
use crate::jit::Entry;
use crate::memory::transfer::HostAddress;
use crate::module::launch::{Geometry, Prepared};
use crate::stream::Stream;
use crate::stream::capture::Action;

/// Arrays of pointers to arguments.
type Arguments = Out<*mut c_void>;

#[allow(clippy::too_many_arguments, reason = "the driver's signature")]
pub(crate) fn kernel(
    function: Handle<CUfunc_st>,
    grid_x: c_uint,
    grid_y: c_uint,
    grid_z: c_uint,
    block_x: c_uint,
    block_y: c_uint,
    block_z: c_uint,
    shared: c_uint,
    on: Handle<CUstream_st>,
    arguments: Arguments,
    extra: Arguments,
) -> Answer {
    let (grid, block) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
    launch(function, Geometry { grid, block, shared }, on, (&arguments, &extra), false)
}

/// A launch whose blocks all run at once, so that they may wait for each other.
#[allow(clippy::too_many_arguments, reason = "the driver's signature")]
pub(crate) fn cooperative_kernel(
    function: Handle<CUfunc_st>,
    grid_x: c_uint,
    grid_y: c_uint,
    grid_z: c_uint,
    block_x: c_uint,
    block_y: c_uint,
    block_z: c_uint,
    shared: c_uint,
    on: Handle<CUstream_st>,
    arguments: Arguments,
) -> Answer {
    let (grid, block) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
    let none = Out::none();
    launch(function, Geometry { grid, block, shared }, on, (&arguments, &none), true)
}

fn launch(
    function: Handle<CUfunc_st>,
    geometry: Geometry,
    on: Handle<CUstream_st>,
    arguments: (&Arguments, &Arguments),
    cooperative: bool,
) -> Answer {
    let (stream, function_) = (stream(on.value())?, find_function(function)?);
    // the function must be of the stream's context
    let own = stream.context.functions.get(function.value());
    own?;
    if cooperative {
        geometry.check(&function_)?;
        geometry.check_cooperative(&function_)?;
    }
    let parameters = parameters(&function_.entry, arguments)?;
    let prepared = Prepared::new(&stream.context, function_, geometry, parameters)?;
    submit(&stream, action(prepared, &stream))
}

/// A launch to be carried out: now, when its turn to fail is decided at the call, or as part of a
/// graph, when it is decided each time.
pub(super) fn action(prepared: Prepared, stream: &Stream) -> Action {
    let captures = stream.capturing.lock().is_some();
    let fault = if captures { None } else { prepared.fault(&stream.context) };
    Action::Kernel(Arc::new(move |stream: &Stream| {
        let fault = if captures { prepared.fault(&stream.context) } else { fault };
        prepared.run(stream, fault)
    }))
}

/// The parameters, copied before the call returns.
pub(super) fn parameters(
    entry: &Entry,
    (arguments, extra): (&Arguments, &Arguments),
) -> Answer<Vec<u8>> {
    let mut parameters = vec![0; entry.parameter_bytes as usize];
    match (arguments.is_null(), extra.is_null()) {
        (false, false) => return Err(Code::INVALID_VALUE),
        (true, false) => return packed(entry, extra),
        (true, true) if entry.parameters.is_empty() => {}
        _ => {
            for (i, slot) in entry.parameters.iter().enumerate() {
                let bytes = ConstHost(arguments.get_at(i)?).read(slot.bytes as usize)?;
                let start = slot.offset as usize;
                parameters[start..start + bytes.len()].copy_from_slice(&bytes);
            }
        }
    }
    Ok(parameters)
}

/// The keys of `extra`.
const END: usize = 0;
const BUFFER: usize = 1;
const SIZE: usize = 2;

/// All parameters in one buffer.
fn packed(entry: &Entry, extra: &Arguments) -> Answer<Vec<u8>> {
    let (mut buffer, mut size) = (None, None);
    let mut at = 0;
    loop {
        match extra.get_at(at)?.addr() {
            END => break,
            BUFFER => buffer = Some(extra.get_at(at + 1)?),
            SIZE => size = Some(Host(extra.get_at(at + 1)?).get::<usize>()?),
            _ => return Err(Code::INVALID_VALUE),
        }
        at += 2;
    }
    let (Some(buffer), Some(size)) = (buffer, size) else { return Err(Code::INVALID_VALUE) };
    let needed = entry.parameter_bytes as usize;
    if size < needed {
        return Err(Code::INVALID_VALUE);
    }
    if needed == 0 {
        return Ok(Vec::new());
    }
    ConstHost(buffer).read(needed)
}

pub(crate) fn host_function(
    on: Handle<CUstream_st>,
    function: CUhostFn,
    data: Host,
) -> Answer {
    let stream = stream(on.value())?;
    let function = function.ok_or(Code::INVALID_VALUE)?;
    let data = HostAddress(data.0.cast());
    let call = move || {
        let HostAddress(pointer) = { data };
        // SAFETY: the program passes a function for this argument.
        unsafe { function(pointer.cast()) };
    };
    submit(&stream, Action::Host(Arc::new(call)))
}

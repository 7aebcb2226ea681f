//! Modules and functions.

use std::ffi::{c_int, c_uint, c_void};
use std::sync::Arc;

use cust_raw::{
    CUdeviceptr, CUfunc_cache, CUfunc_st, CUfunction, CUfunction_attribute, CUjit_option, CUmod_st,
    CUmodule, CUoccupancyB2DSize, CUsharedconfig,
};

use super::refuse_unsafe;
use crate::abi::{ConstHost, Handle, Out, OutRaw, Raw, Text, TextOut};
use crate::code::{Answer, Code};
use crate::device::attributes::MULTIPROCESSORS;
use crate::device::current;
use crate::device::handle::Kind;
use crate::module::{Function, Module, load};

/// The buffers for messages among a module's options.
#[derive(Default)]
struct Logs {
    /// Each with its place among the options: of the buffer, and of its size.
    info: Log,
    error: Log,
}

#[derive(Default, Clone, Copy)]
struct Log {
    buffer: Option<usize>,
    size: Option<usize>,
}

type Values = Out<*mut c_void>;

impl Logs {
    /// The options that there are; those that tune a compiler have no effect here.
    fn find(count: c_uint, options: &OutRaw<CUjit_option>) -> Answer<Self> {
        let mut logs = Self::default();
        for i in 0..count as usize {
            match options.get_at(i)? {
                3 => logs.info.buffer = Some(i),
                4 => logs.info.size = Some(i),
                5 => logs.error.buffer = Some(i),
                6 => logs.error.size = Some(i),
                0..=31 => {}
                _ => return Err(Code::INVALID_VALUE),
            }
        }
        Ok(logs)
    }
}

impl Log {
    /// Fills the buffer, and replaces its size by what was written.
    fn write(self, values: &Values, text: &str) -> Answer {
        let (Some(buffer), Some(size)) = (self.buffer, self.size) else { return Ok(()) };
        // (the size is passed in the place of a pointer)
        let room = values.get_at(size)?.addr() & 0xffff_ffff;
        if room > 0 {
            TextOut::at(values.get_at(buffer)?).put(text, room)?;
        }
        let written = if room > 0 { (text.len() + 1).min(room) } else { 0 };
        values.put_at(size, std::ptr::without_provenance_mut(written))
    }
}

pub(crate) fn load_data(to: Out<CUmodule>, image: ConstHost) -> Answer {
    load_image(&to, image).map_err(|(code, _)| code)
}

pub(crate) fn load_data_ex(
    to: Out<CUmodule>,
    image: ConstHost,
    count: c_uint,
    options: OutRaw<CUjit_option>,
    values: Values,
) -> Answer {
    let logs = Logs::find(count, &options)?;
    match load_image(&to, image) {
        Ok(()) => {
            logs.info.write(&values, "")?;
            logs.error.write(&values, "")
        }
        Err((code, text)) => {
            logs.error.write(&values, &text)?;
            Err(code)
        }
    }
}

pub(crate) fn load_file(to: Out<CUmodule>, path: Text) -> Answer {
    current::in_order()?;
    let image = std::fs::read(path.get()?).map_err(|_| Code::FILE_NOT_FOUND)?;
    load_text(&to, &image).map_err(|(code, _)| code)
}

fn load_image(to: &Out<CUmodule>, image: ConstHost) -> Result<(), (Code, String)> {
    let image = image.read_text().map_err(|code| (code, String::new()))?;
    load_text(to, &image)
}

/// What else could be loaded, by its first bytes: ELF, and fat binaries.
const BINARIES: [&[u8]; 2] = [b"\x7fELF", b"\x50\xed\x55\xba"];

fn load_text(to: &Out<CUmodule>, image: &[u8]) -> Result<(), (Code, String)> {
    let silent = |code| (code, String::new());
    let context = current::in_order().map_err(silent)?;
    refuse_unsafe(&context).map_err(silent)?;
    if BINARIES.iter().any(|magic| image.starts_with(magic)) {
        return Err((Code::NO_BINARY_FOR_GPU, "only PTX can be loaded".into()));
    }
    let loaded = load::load(&context, image).map_err(|refusal| (refusal.code, refusal.log))?;
    to.put(Handle::<CUmod_st>::of(loaded)).map_err(silent)
}

fn module(handle: Handle<CUmod_st>) -> Answer<Arc<Module>> {
    let handle = handle.value();
    current::find_handle(Kind::Module, handle, |context| context.modules.get(handle))
}

pub(crate) fn unload(handle: Handle<CUmod_st>) -> Answer {
    let handle = handle.value();
    current::find_handle(Kind::Module, handle, |context| load::unload(context, handle))
}

pub(crate) fn function(to: Out<CUfunction>, of: Handle<CUmod_st>, name: Text) -> Answer {
    let (module, name) = (module(of)?, name.get()?);
    let entry = module.entries.get(name).ok_or(Code::NOT_FOUND)?;
    let handle = current::find_handle(Kind::Module, module.handle, |context| {
        let mut functions = module.functions.lock();
        if let Some(known) = functions.get(name) {
            return Ok(*known);
        }
        let program = Arc::clone(&module.program);
        let function = Function::new(module.handle, program, Arc::clone(entry));
        let handle = context.functions.add(function);
        functions.insert(name.into(), handle);
        Ok(handle)
    })?;
    to.put(Handle::<CUfunc_st>::of(handle))
}

pub(crate) fn global(
    to: Out<CUdeviceptr>,
    bytes: Out<usize>,
    of: Handle<CUmod_st>,
    name: Text,
) -> Answer {
    let module = module(of)?;
    let (address, size) = module.globals.get(name.get()?).ok_or(Code::NOT_FOUND)?;
    to.put_if_wanted(*address);
    bytes.put_if_wanted(*size as usize);
    Ok(())
}

/// The function of a handle.
pub(super) fn find_function(handle: Handle<CUfunc_st>) -> Answer<Arc<Function>> {
    let handle = handle.value();
    current::find_handle(Kind::Function, handle, |context| context.functions.get(handle))
}

pub(crate) fn module_of(to: Out<CUmodule>, function: Handle<CUfunc_st>) -> Answer {
    to.put(Handle::<CUmod_st>::of(find_function(function)?.module))
}

pub(crate) fn attribute(
    to: Out<c_int>,
    attribute: Raw<CUfunction_attribute>,
    of: Handle<CUfunc_st>,
) -> Answer {
    to.put(find_function(of)?.attribute(attribute.0)?)
}

pub(crate) fn set_attribute(
    of: Handle<CUfunc_st>,
    attribute: Raw<CUfunction_attribute>,
    value: c_int,
) -> Answer {
    find_function(of)?.set_attribute(attribute.0, value)
}

/// A wish, which changes nothing here.
pub(crate) fn set_cache_config(of: Handle<CUfunc_st>, config: Raw<CUfunc_cache>) -> Answer {
    find_function(of)?;
    if config.0 < 4 { Ok(()) } else { Err(Code::INVALID_VALUE) }
}

/// A wish too.
pub(crate) fn set_shared_config(of: Handle<CUfunc_st>, config: Raw<CUsharedconfig>) -> Answer {
    find_function(of)?;
    if config.0 < 3 { Ok(()) } else { Err(Code::INVALID_VALUE) }
}

pub(crate) fn active_blocks(
    to: Out<c_int>,
    of: Handle<CUfunc_st>,
    threads: c_int,
    dynamic_shared: usize,
) -> Answer {
    let function = find_function(of)?;
    let threads = u32::try_from(threads).ok().filter(|threads| *threads > 0);
    let threads = threads.ok_or(Code::INVALID_VALUE)?;
    to.put(function.blocks_per_multiprocessor(threads, dynamic_shared as u64) as c_int)
}

pub(crate) fn active_blocks_with_flags(
    to: Out<c_int>,
    of: Handle<CUfunc_st>,
    threads: c_int,
    dynamic_shared: usize,
    _flags: c_uint,
) -> Answer {
    active_blocks(to, of, threads, dynamic_shared)
}

/// The block size that keeps the most threads on a multiprocessor, the greatest of the best.
pub(crate) fn potential_block_size(
    grid: Out<c_int>,
    block: Out<c_int>,
    of: Handle<CUfunc_st>,
    shared_by_size: CUoccupancyB2DSize,
    dynamic_shared: usize,
    limit: c_int,
) -> Answer {
    let function = find_function(of)?;
    let limit = u32::try_from(limit).ok().filter(|limit| *limit > 0).unwrap_or(u32::MAX);
    let most = function.most_threads().min(limit);
    let (mut best, mut occupied) = ((0, 0), 0);
    for threads in (1..=most.div_ceil(32)).rev().map(|warps| (warps * 32).min(most)) {
        let shared = match shared_by_size {
            // SAFETY: the program passes a function for this purpose.
            Some(size) => unsafe { size(threads as c_int) },
            None => dynamic_shared,
        };
        let blocks = function.blocks_per_multiprocessor(threads, shared as u64);
        if blocks * threads > occupied {
            (best, occupied) = ((blocks, threads), blocks * threads);
        }
    }
    grid.put(best.0 as c_int * MULTIPROCESSORS)?;
    block.put(best.1 as c_int)
}

pub(crate) fn available_dynamic_shared(
    to: Out<usize>,
    of: Handle<CUfunc_st>,
    blocks: c_int,
    threads: c_int,
) -> Answer {
    let function = find_function(of)?;
    let blocks = usize::try_from(blocks).ok().filter(|blocks| *blocks > 0);
    let blocks = blocks.filter(|_| threads > 0).ok_or(Code::INVALID_VALUE)?;
    let each = ((164 << 10) / blocks).saturating_sub(1024 + function.entry.static_shared as usize);
    to.put(each.min(function.most_dynamic_shared() as usize))
}

//! Modules of a CUDA device: PTX, compiled by the driver.
//!
//! A module is compiled once in an epoch, shared by all who load the same text, and never unloaded: nobody says
//! whether unloading waits for launches, and a kernel that is restarted need not wait for the compiler. Modules
//! with variables in device memory are the exception: they are loaded by each for itself, and unloaded.

use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::sync::{Arc, Mutex};

use cust::sys::{self, CUjit_option};

use super::driver::{self, Raw};
use super::held::lock;
use super::hub::Hub;
use crate::device::Epoch;
use crate::error::{DeviceError, DeviceResult};
use crate::memory::MemoryKind;
use crate::ptx;

/// Bytes for the compiler's messages.
const LOG_BYTES: usize = 4096;

type RawModule = Raw<sys::CUmod_st>;

/// The modules of a device that are shared: those of one epoch, by their PTX.
#[derive(Default)]
pub(super) struct Modules(Mutex<Shared>);

#[derive(Default)]
struct Shared {
    epoch: Epoch,
    modules: HashMap<CString, RawModule>,
}

impl Modules {
    /// The module of a text, compiled by whoever comes first while others wait.
    fn get(
        &self,
        epoch: Epoch,
        image: CString,
        compile: impl FnOnce(&CString) -> DeviceResult<RawModule>,
    ) -> DeviceResult<RawModule> {
        let mut shared = lock(&self.0);
        if shared.epoch < epoch {
            // (Those of the epoch before went with their context.)
            *shared = Shared { epoch, modules: HashMap::new() };
        }
        if shared.epoch == epoch
            && let Some(module) = shared.modules.get(&image)
        {
            return Ok(*module);
        }
        let module = compile(&image)?;
        if shared.epoch == epoch {
            shared.modules.insert(image, module);
        }
        Ok(module)
    }
}

pub(crate) struct CudaModule {
    hub: Arc<Hub>,
    raw: RawModule,
    epoch: Epoch,
    shared: bool,
}

/// A kernel of a loaded module; keeps the module loaded.
#[derive(Clone)]
pub(crate) struct CudaFunction {
    module: Arc<CudaModule>,
    raw: Raw<sys::CUfunc_st>,
}

impl CudaModule {
    pub(super) fn load(hub: &Arc<Hub>, text: &str) -> DeviceResult<Self> {
        let invalid = |reason| DeviceError::InvalidModule { reason };
        ptx::entries(text).map_err(invalid)?;
        let image =
            CString::new(text).map_err(|_| invalid("its PTX contains a NUL character".into()))?;
        let (epoch, shared) = (hub.epoch(), !has_variables(text));
        let raw = match shared {
            true => hub.modules().get(epoch, image, |image| compile(hub, epoch, image))?,
            false => compile(hub, epoch, &image)?,
        };
        hub.check(epoch)?;
        Ok(Self { hub: Arc::clone(hub), raw, epoch, shared })
    }

    pub(crate) fn function(self: &Arc<Self>, entry: &str) -> DeviceResult<CudaFunction> {
        let missing = || DeviceError::InvalidModule {
            reason: format!("it has no kernel `{entry}` for {}", self.hub.id()),
        };
        self.hub.check(self.epoch)?;
        let name = CString::new(entry).map_err(|_| missing())?;
        let mut function = std::ptr::null_mut();
        // SAFETY: the module is loaded and of this epoch; `name` is a C string.
        let code = self.hub.try_call(self.epoch, || unsafe {
            sys::cuModuleGetFunction(&raw mut function, self.raw.0, name.as_ptr())
        })?;
        match code {
            0 => {
                preload(&self.hub, self.epoch, function)?;
                Ok(CudaFunction { module: Arc::clone(self), raw: Raw(function) })
            }
            500 => Err(missing()),
            code => Err(self.hub.refused((MemoryKind::Device, 0), "cuModuleGetFunction", code)),
        }
    }
}

impl Drop for CudaModule {
    fn drop(&mut self) {
        if self.shared {
            return;
        }
        // SAFETY: no function of it is left: each keeps the module.
        let unload = || unsafe { sys::cuModuleUnload(self.raw.0) };
        self.hub.call_in_drop(self.epoch, "cuModuleUnload", unload);
    }
}

impl CudaFunction {
    /// The driver's handle, if it is of the current epoch.
    pub(super) fn raw(&self) -> DeviceResult<Raw<sys::CUfunc_st>> {
        self.module.hub.check(self.module.epoch)?;
        Ok(self.raw)
    }
}

/// Whether the text may have variables in device memory, which those who share it would share.
fn has_variables(text: &str) -> bool {
    // (Instructions have it within a word: `ld.global.f32`.)
    text.split_whitespace().any(|word| word == ".global")
}

fn compile(hub: &Hub, epoch: Epoch, image: &CString) -> DeviceResult<RawModule> {
    let mut log = vec![0u8; LOG_BYTES];
    let mut module = std::ptr::null_mut();
    let mut options =
        [CUjit_option::CU_JIT_ERROR_LOG_BUFFER, CUjit_option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES];
    // The driver takes each option's value in the place of a pointer.
    let mut values: [*mut c_void; 2] =
        [log.as_mut_ptr().cast(), std::ptr::without_provenance_mut(LOG_BYTES)];
    // SAFETY: the image is a C string, and the two options have values of the kinds they ask for;
    // `log` outlives the call.
    let code = hub.try_call(epoch, || unsafe {
        let (options, values) = (options.as_mut_ptr(), values.as_mut_ptr());
        sys::cuModuleLoadDataEx(&raw mut module, image.as_ptr().cast(), 2, options, values)
    })?;
    match code {
        0 => return Ok(Raw(module)),
        driver::OUT_OF_MEMORY => return Err(hub.out_of_memory(MemoryKind::Device, 0)),
        _ => {}
    }
    let text = String::from_utf8_lossy(log.split(|byte| *byte == 0).next().unwrap_or_default());
    let reason = format!(
        "{} (CUDA error {code}){}{}",
        explain(code),
        if text.is_empty() { "" } else { ": " },
        text.trim()
    );
    Err(DeviceError::InvalidModule { reason })
}

/// What the compiler's commonest refusals mean for whoever has to act on them.
fn explain(code: u32) -> &'static str {
    match code {
        209 | 218 => "the PTX is not valid for this device",
        221 => "the driver's PTX compiler is not installed",
        222 => "the PTX is newer than the driver; update the driver",
        code => driver::name(code),
    }
}

/// Loads the kernel's code now: a lazy driver would do it at the first launch, and may have to wait
/// for the device then.
fn preload(hub: &Hub, epoch: Epoch, function: sys::CUfunction) -> DeviceResult {
    let mut registers = 0;
    let attribute = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_NUM_REGS;
    // SAFETY: `function` was just given by the driver; `registers` is valid for a write.
    hub.call(epoch, "cuFuncGetAttribute", || unsafe {
        sys::cuFuncGetAttribute(&raw mut registers, attribute, function)
    })
}

//! Loading: PTX to code, variables to device memory.

use std::sync::Arc;

use super::Module;
use crate::code::{Answer, Code};
use crate::control::{kernels, log};
use crate::device::context::Context;
use crate::jit::{Refusal, Unit};
use crate::memory::Storage;
use crate::memory::budget::Use;
use crate::memory::space::{Live, Origin};
use crate::memory::transfer::{self, Place};

/// Loads `text` into `context`; the handle of the module.
pub(crate) fn load(context: &Arc<Context>, text: &[u8]) -> Result<u64, Refusal> {
    let loaded = compiled(context, text);
    if let Err(refusal) = &loaded {
        log::verbose(format_args!("module refused ({}): {}", refusal.code.0, refusal.log));
    }
    loaded
}

fn compiled(context: &Arc<Context>, text: &[u8]) -> Result<u64, Refusal> {
    let text = std::str::from_utf8(text).map_err(|_| Refusal {
        code: Code::INVALID_PTX,
        log: "the text is not UTF-8".into(),
    })?;
    let unit = Unit::parse(text)?;
    let globals = unit.globals();
    let mut places = Vec::new();
    let result = globals
        .iter()
        .try_for_each(|global| {
            places.push(variable(context, global.bytes as u64)?);
            Ok(())
        })
        .map_err(|code: Code| Refusal { code, log: "no memory for the variables".into() })
        .and_then(|()| {
            let ordinal = context.device.ordinal;
            unit.compile(&places, |name| kernels::find(name, ordinal).is_some())
        });
    let (compiled, images) = match result {
        Ok(compiled) => compiled,
        Err(refusal) => {
            free(context, &places);
            return Err(refusal);
        }
    };
    for (place, image) in places.iter().zip(images) {
        let bytes = image.len() as u64;
        // (the variable is live: it was made above)
        let _ = transfer::copy(&Place::Known(*place), &Place::Staged(image.into()), bytes);
    }
    let named = globals.iter().zip(&places);
    let globals = named.map(|(global, place)| (global.name.clone(), (*place, global.bytes as u64)));
    let entries = compiled.entries.into_iter();
    let handle = context.modules.handle();
    let module = Module {
        handle,
        program: Arc::new(compiled.program),
        entries: entries.map(|entry| (entry.name.clone(), Arc::new(entry))).collect(),
        globals: globals.collect(),
        functions: Default::default(),
    };
    context.modules.insert(handle, Arc::new(module));
    Ok(handle)
}

/// Device memory for a variable; one without a size still has an address.
fn variable(context: &Context, bytes: u64) -> Answer<u64> {
    let device = context.device;
    let share = device.budget.take(Use::Module, bytes)?;
    let address = device.addresses.take(bytes, 256)?;
    let storage = Arc::new(Storage::new(bytes.max(1)).ok_or(Code::OUT_OF_MEMORY)?);
    let origin = Origin::Module { _share: share };
    context.space().add(address, Live { bytes, storage, origin, freeing: false });
    Ok(address)
}

fn free(context: &Context, places: &[u64]) {
    for place in places {
        let live = context.space().remove(*place);
        drop(live);
    }
}

/// Unloads a module, when the device is done with what it may be doing in it.
pub(crate) fn unload(context: &Context, handle: u64) -> Answer {
    context.modules.get(handle)?;
    context.synchronize()?;
    let module = context.modules.remove(handle)?;
    let places: Vec<u64> = module.globals.values().map(|(place, _)| *place).collect();
    free(context, &places);
    context.functions.retain(|function| function.module != handle);
    Ok(())
}

//! What the kernels' CUDA sides share: their entries, and how many blocks to launch.

use std::collections::BTreeMap;

use rustkernel_core::gpu::Function;
use rustkernel_core::prelude::*;

/// Threads of a block: what every entry of this crate is written for.
pub(crate) const BLOCK: u32 = 256;

/// Most blocks of a grid whose threads stride over the elements: enough to fill any device several
/// times over, few enough that partial results stay small.
const MOST_BLOCKS: u32 = 4096;

/// The entries of a kernel's module; empty on the host.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    functions: BTreeMap<&'static str, Function>,
}

impl Entries {
    /// Loads the module on a CUDA device and looks its entries up.
    pub(crate) fn load(
        cx: &KernelContext,
        ptx: &str,
        names: &[&'static str],
    ) -> KernelResult<Self> {
        if cx.device().kind() == DeviceKind::Host {
            return Ok(Self::default());
        }
        let module = cx.load(&ModuleSource::new().ptx(ptx))?;
        let functions = names.iter().map(|name| Ok((*name, module.function(name)?)));
        Ok(Self { functions: functions.collect::<KernelResult<_>>()? })
    }

    /// The entry of that name.
    pub(crate) fn get(&self, name: &str) -> &Function {
        self.functions
            .get(name)
            .expect("invariant: `open` has looked up every entry that is launched")
    }
}

/// How many elements, as the entries count them.
pub(crate) fn count(elements: usize) -> KernelResult<u32> {
    u32::try_from(elements).map_err(|_| {
        KernelError::InvalidRequest(format!("{elements} elements are more than 4294967295"))
    })
}

/// Blocks for one thread an element, up to a bound.
pub(crate) fn grid(elements: u32) -> u32 {
    elements.div_ceil(BLOCK).min(MOST_BLOCKS)
}

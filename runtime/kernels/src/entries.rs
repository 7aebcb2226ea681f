//! What the kernels' CUDA sides share: their entries, and how many blocks to launch.

use std::collections::BTreeMap;

use rustkernel_core::gpu::{Argument, Function};
use rustkernel_core::prelude::*;

/// Threads of a block: what every entry of this crate is written for.
pub(crate) const BLOCK: u32 = 256;

/// Threads of a warp.
const WARP: usize = 32;

/// Most blocks of a grid whose threads stride over the elements: enough to fill any device several
/// times over.
const MOST_BLOCKS: u32 = 4096;

/// Most blocks that each leave a partial result, few enough for one block to combine them.
const MOST_PARTIALS: u32 = 1024;

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

    /// Queues a launch on the instance's stream.
    pub(crate) fn launch<const N: usize>(
        &self,
        cx: &mut KernelContext,
        name: &str,
        config: LaunchConfig,
        arguments: [Argument<'_>; N],
    ) -> KernelResult {
        let function = self.functions.get(name);
        let function = function.expect("invariant: `open` has looked up every entry launched");
        Ok(cx.stream().launch(function, config, arguments)?)
    }
}

/// A block for each of `count` pieces of work.
pub(crate) fn blocks(count: usize) -> LaunchConfig {
    LaunchConfig::new(u32::try_from(count).unwrap_or(u32::MAX).min(i32::MAX as u32), BLOCK)
}

/// A thread for each of `count` elements, or several elements for each thread.
pub(crate) fn threads(count: usize) -> LaunchConfig {
    LaunchConfig::linear(count, BLOCK, MOST_BLOCKS)
}

/// A warp for each of `count` rows, or several rows for each warp.
pub(crate) fn warps(count: usize) -> LaunchConfig {
    threads(count.saturating_mul(WARP))
}

/// As [`threads`], for blocks that each leave a partial result: `grid.x` of them.
pub(crate) fn partials(count: usize) -> LaunchConfig {
    LaunchConfig::linear(count, BLOCK, MOST_PARTIALS)
}

/// As [`threads`], for blocks that each begin and end with work of their own: only as many as a
/// device runs at once.
pub(crate) fn resident(cx: &KernelContext, count: usize) -> LaunchConfig {
    const BLOCKS_PER_PROCESSOR: u32 = 2048 / BLOCK;
    LaunchConfig::linear(count, BLOCK, BLOCKS_PER_PROCESSOR * cx.device().info().processors.max(1))
}

//! Kernels by name: PTX for CUDA devices, Rust functions for the host.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::argument::{Argument, HostArguments};
use crate::device::{Device, DeviceInfo};
use crate::error::{DeviceError, DeviceResult};

/// A kernel of the host device: a Rust function over the launch's arguments.
///
/// Its error is a sentence; it reaches the next [`Completion`](crate::Completion) of its stream as
/// [`DeviceError::HostFunction`], and so does a panic.
pub type HostFunction = Arc<dyn Fn(&HostArguments) -> Result<(), String> + Send + Sync>;

/// What a module is made of, for every kind of device that it can be loaded on.
#[derive(Clone, Default)]
pub struct ModuleSource {
    pub(crate) ptx: Option<Arc<str>>,
    pub(crate) host: BTreeMap<String, HostFunction>,
}

impl ModuleSource {
    /// A module with nothing in it yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The kernels for CUDA devices, as PTX text.
    #[must_use]
    pub fn ptx(mut self, text: impl Into<Arc<str>>) -> Self {
        self.ptx = Some(text.into());
        self
    }

    /// A kernel for the host device, by the name that its PTX entry has.
    #[must_use]
    pub fn host(
        mut self,
        entry: &str,
        function: impl Fn(&HostArguments) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.host.insert(entry.into(), Arc::new(function));
        self
    }
}

impl fmt::Debug for ModuleSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModuleSource")
            .field("ptx_bytes", &self.ptx.as_ref().map(|text| text.len()))
            .field("host", &self.host.keys().collect::<Vec<_>>())
            .finish()
    }
}

#[derive(Clone)]
pub(crate) enum ModuleKind {
    Host(BTreeMap<String, HostFunction>),
    #[cfg(feature = "cuda")]
    Cuda(Arc<crate::cuda::CudaModule>),
}

/// A module loaded on a device. Clones are the same module.
#[derive(Clone)]
pub struct Module {
    device: Device,
    /// What the PTX declares; empty without PTX, and then only the function itself can check.
    declared: BTreeMap<String, Arc<[usize]>>,
    kind: ModuleKind,
}

impl Module {
    pub(crate) fn new(device: Device, source: &ModuleSource, kind: ModuleKind) -> Self {
        // A CUDA device has refused a text that cannot be read; the host does not need one.
        let entries = source
            .ptx
            .as_deref()
            .and_then(|text| crate::ptx::entries(text).ok())
            .unwrap_or_default();
        let declared =
            entries.into_iter().map(|entry| (entry.name, entry.parameters.into())).collect();
        Self { device, declared, kind }
    }

    /// The device that the module is loaded on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The kernel of that name.
    ///
    /// # Errors
    /// [`DeviceError::InvalidModule`] if the module has none for this kind of device.
    pub fn function(&self, entry: &str) -> DeviceResult<Function> {
        let kind = match &self.kind {
            ModuleKind::Host(functions) => {
                let function = functions.get(entry).ok_or_else(|| self.missing(entry))?;
                FunctionKind::Host(Arc::clone(function))
            }
            #[cfg(feature = "cuda")]
            ModuleKind::Cuda(module) => FunctionKind::Cuda(module.function(entry)?),
        };
        let parameters = self.declared.get(entry).cloned();
        Ok(Function { entry: entry.into(), parameters, device: self.device.clone(), kind })
    }

    fn missing(&self, entry: &str) -> DeviceError {
        DeviceError::InvalidModule {
            reason: format!("it has no kernel `{entry}` for {}", self.device.id()),
        }
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module").field("device", &self.device.id()).finish_non_exhaustive()
    }
}

#[derive(Clone)]
pub(crate) enum FunctionKind {
    Host(HostFunction),
    #[cfg(feature = "cuda")]
    Cuda(crate::cuda::CudaFunction),
}

/// A kernel that can be launched on the device its module was loaded on.
#[derive(Clone)]
pub struct Function {
    entry: Arc<str>,
    parameters: Option<Arc<[usize]>>,
    device: Device,
    kind: FunctionKind,
}

impl Function {
    /// The kernel's name in its module.
    pub fn entry(&self) -> &str {
        &self.entry
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    pub(crate) fn kind(&self) -> &FunctionKind {
        &self.kind
    }

    /// Checks a launch before anything is submitted: geometry, and arguments against what the PTX
    /// declares.
    pub(crate) fn check(&self, config: &LaunchConfig, arguments: &[Argument<'_>]) -> DeviceResult {
        let refuse = |reason| DeviceError::InvalidLaunch { entry: self.entry.to_string(), reason };
        config.check(self.device.info()).map_err(refuse)?;
        let Some(declared) = &self.parameters else { return Ok(()) };
        if declared.len() != arguments.len() {
            let reason =
                format!("it takes {} arguments, {} given", declared.len(), arguments.len());
            return Err(refuse(reason));
        }
        for (index, (declared, argument)) in declared.iter().zip(arguments).enumerate() {
            if *declared != argument.size() {
                let given = argument.size();
                return Err(refuse(format!(
                    "argument {index} has {declared} bytes, {given} given"
                )));
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Function")
            .field("entry", &self.entry)
            .field("device", &self.device.id())
            .finish()
    }
}

/// Three sizes, of a grid in blocks or of a block in threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dim3 {
    /// Size along x.
    pub x: u32,
    /// Size along y.
    pub y: u32,
    /// Size along z.
    pub z: u32,
}

impl From<u32> for Dim3 {
    fn from(x: u32) -> Self {
        Self { x, y: 1, z: 1 }
    }
}

impl From<(u32, u32)> for Dim3 {
    fn from((x, y): (u32, u32)) -> Self {
        Self { x, y, z: 1 }
    }
}

impl From<(u32, u32, u32)> for Dim3 {
    fn from((x, y, z): (u32, u32, u32)) -> Self {
        Self { x, y, z }
    }
}

impl Dim3 {
    fn volume(self) -> u64 {
        u64::from(self.x) * u64::from(self.y) * u64::from(self.z)
    }
}

/// The geometry of a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaunchConfig {
    /// Blocks.
    pub grid: Dim3,
    /// Threads of each block.
    pub block: Dim3,
    /// Dynamic shared memory of each block, in bytes.
    pub shared_bytes: u32,
}

impl LaunchConfig {
    /// That many blocks of that many threads.
    pub fn new(grid: impl Into<Dim3>, block: impl Into<Dim3>) -> Self {
        Self { grid: grid.into(), block: block.into(), shared_bytes: 0 }
    }

    /// One thread for each of `count` elements, in blocks of `block` threads, at most `most` blocks
    /// (for kernels that stride over the grid).
    pub fn linear(count: usize, block: u32, most: u32) -> Self {
        let blocks = count.div_ceil(block.max(1) as usize).min(most as usize);
        Self::new(u32::try_from(blocks).unwrap_or(most), block)
    }

    /// The same with dynamic shared memory.
    #[must_use]
    pub fn shared(mut self, bytes: u32) -> Self {
        self.shared_bytes = bytes;
        self
    }

    fn check(&self, device: &DeviceInfo) -> Result<(), String> {
        let (grid, block) = (self.grid, self.block);
        if grid.volume() == 0 || block.volume() == 0 {
            return Err(format!("the grid {grid:?} of blocks {block:?} has no threads"));
        }
        if block.volume() > u64::from(device.max_threads_per_block) {
            let most = device.max_threads_per_block;
            return Err(format!(
                "a block of {} threads; {} allows {most}",
                block.volume(),
                device.id
            ));
        }
        if grid.x > i32::MAX as u32 || grid.y > 65_535 || grid.z > 65_535 {
            return Err(format!(
                "the grid {grid:?} is too large; at most 2147483647 × 65535 × 65535"
            ));
        }
        if self.shared_bytes > device.max_shared_bytes_per_block {
            let (asked, most) = (self.shared_bytes, device.max_shared_bytes_per_block);
            return Err(format!("{asked} bytes of shared memory; {} allows {most}", device.id));
        }
        Ok(())
    }
}

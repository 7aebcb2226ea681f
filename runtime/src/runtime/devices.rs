//! Which devices there are.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread::available_parallelism;

use rustkernel_gpu::host::{HostOptions, ThreadBudget};
use rustkernel_gpu::{Device, DeviceError, DeviceId, DeviceInfo, host};
use slog::{Logger, info, warn};

use super::{RuntimeConfig, cgroup};
use crate::memory::MemoryConfig;

/// The devices of this machine.
#[derive(Debug)]
pub struct Devices {
    /// The host, which is always there.
    pub host: DeviceInfo,
    /// The CUDA devices, or why there are none.
    pub cuda: Result<Vec<DeviceInfo>, DeviceError>,
}

/// Looks for the devices of this machine, without using them.
pub fn devices() -> Devices {
    let host = open_host(
        &MemoryConfig { max_gpu_memory: u64::MAX, ..MemoryConfig::default() },
        &ThreadBudget::new(1),
    );
    Devices { host: host.info().clone(), cuda: cuda_devices() }
}

/// The devices of a runtime: the CUDA devices that it uses, then the host.
///
/// # Errors
/// If one that the configuration names cannot be opened. Without names, CUDA devices that cannot be
/// used are done without, and the log says why.
pub(super) fn open(
    config: &RuntimeConfig,
    memory: &MemoryConfig,
    threads: &Arc<ThreadBudget>,
    logger: &Logger,
) -> Result<Vec<Device>, DeviceError> {
    let mut found = match open_cuda(config) {
        Ok(devices) => devices,
        Err(error) if names_cuda(config) => {
            return Err(error);
        }
        Err(error @ DeviceError::NoDriver { .. }) => {
            info!(logger, "running on the host"; "reason" => %error);
            Vec::new()
        }
        Err(error) => {
            warn!(logger, "CUDA cannot be used, running on the host"; "reason" => %error);
            Vec::new()
        }
    };
    if config.uses(DeviceId::Host) {
        found.push(open_host(memory, threads));
    }
    Ok(found)
}

/// The first CUDA device or, without one, the host.
pub(crate) fn default_device(memory: &MemoryConfig) -> Device {
    let first = RuntimeConfig { devices: vec![DeviceId::Cuda(0)], ..RuntimeConfig::default() };
    let cuda = open_cuda(&first).ok().and_then(|devices| devices.into_iter().next());
    cuda.unwrap_or_else(|| {
        open_host(memory, &ThreadBudget::new(available_parallelism().map_or(1, usize::from)))
    })
}

fn open_host(memory: &MemoryConfig, threads: &Arc<ThreadBudget>) -> Device {
    host::open(HostOptions {
        name: processor_name(),
        memory_bytes: memory.max_gpu_memory.min(usable_memory()),
        staging_bytes: memory.max_staging_memory,
        threads: Arc::clone(threads),
    })
}

#[cfg(feature = "cuda")]
fn cuda_devices() -> Result<Vec<DeviceInfo>, DeviceError> {
    rustkernel_gpu::cuda::devices()
}

#[cfg(not(feature = "cuda"))]
fn cuda_devices() -> Result<Vec<DeviceInfo>, DeviceError> {
    Err(DeviceError::NoDriver { reason: "built without the feature `cuda`".into() })
}

/// Opens those that the configuration names, or all; does not look for a driver if none is wanted. One
/// that is not wanted is not asked for anything: it may be broken.
#[cfg(feature = "cuda")]
fn open_cuda(config: &RuntimeConfig) -> Result<Vec<Device>, DeviceError> {
    if !wants_cuda(config) {
        return Ok(Vec::new());
    }
    let (cuda, named) = (rustkernel_gpu::cuda::open, named_cuda(config));
    if named.is_empty() {
        (0..rustkernel_gpu::cuda::count()?).map(cuda).collect()
    } else {
        named.into_iter().map(cuda).collect()
    }
}

#[cfg(not(feature = "cuda"))]
fn open_cuda(config: &RuntimeConfig) -> Result<Vec<Device>, DeviceError> {
    if wants_cuda(config) { cuda_devices().map(|_| Vec::new()) } else { Ok(Vec::new()) }
}

fn wants_cuda(config: &RuntimeConfig) -> bool {
    config.gpu_enabled && (config.devices.is_empty() || names_cuda(config))
}

fn names_cuda(config: &RuntimeConfig) -> bool {
    !named_cuda(config).is_empty()
}

/// The ordinals of the CUDA devices that the configuration names.
fn named_cuda(config: &RuntimeConfig) -> BTreeSet<u32> {
    let ordinal = |device: &DeviceId| match device {
        DeviceId::Cuda(ordinal) => Some(*ordinal),
        DeviceId::Host => None,
    };
    config.devices.iter().filter_map(ordinal).collect()
}

/// Bytes of memory that the machine has; no limit where it cannot be asked.
pub(crate) fn physical_memory() -> u64 {
    #[cfg(target_os = "linux")]
    {
        let info = rustix::system::sysinfo();
        info.totalram.saturating_mul(u64::from(info.mem_unit))
    }
    #[cfg(not(target_os = "linux"))]
    u64::MAX
}

/// Bytes of the machine's memory that this process may have: in a container, as many as that has.
pub(crate) fn usable_memory() -> u64 {
    physical_memory().min(cgroup::memory_limit().unwrap_or(u64::MAX))
}

/// What the processor calls itself, where the system says.
fn processor_name() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("model name"));
    let name = line.and_then(|line| line.split_once(':')).map(|(_, name)| name.trim().to_owned());
    name.unwrap_or_else(|| format!("{} processor", std::env::consts::ARCH))
}

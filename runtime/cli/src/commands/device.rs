//! `rustkernel device …`: which devices there are, and what each is.
//!
//! In JSON: `devices`, an array of `id`, `kind` (`host` or `cuda`), `name`, `memory_bytes`,
//! `processors` (multiprocessors of a GPU, hardware threads of the host), `compute_capability` and
//! `driver_version` (the newest CUDA version that the driver supports; both `"9.0"` or null); and
//! `cuda`, with `available` and, if it is not, the `reason`.

use rustkernel_core::gpu::{DeviceInfo, DeviceKind};
use rustkernel_core::kernel::DeviceChoice;
use rustkernel_core::prelude::DeviceId;
use rustkernel_core::runtime::{self, Devices};
use serde::Serialize;

use crate::args::{InfoArgs, OutputFormat};
use crate::exit::{Exit, Failure};
use crate::output::{self, Table};

/// `rustkernel device list`.
pub(super) fn list(format: OutputFormat) -> Result<(), Failure> {
    let devices = runtime::devices();
    match format {
        OutputFormat::Json | OutputFormat::Yaml => {
            output::print_value(format, &DevicesJson::from(&devices))
        }
        OutputFormat::Table => output::print(table(&devices)),
    }
}

/// `rustkernel device info`.
pub(super) fn info(args: &InfoArgs) -> Result<(), Failure> {
    let devices = runtime::devices();
    let Some(info) = all(&devices).find(|info| info.id == args.device) else {
        let missing = look_for(args.device, &devices);
        return missing
            .map_err(|failure| failure.hint("`rustkernel device list` shows the devices"));
    };
    match args.format.output_format {
        OutputFormat::Json | OutputFormat::Yaml => {
            output::print_value(args.format.output_format, &InfoJson::from(info))
        }
        OutputFormat::Table => output::print(in_full(info)),
    }
}

/// Checks that a device that was asked for is there. CUDA is looked for only where it was asked for.
///
/// # Errors
/// If it is not, with the reason or those that there are.
pub(super) fn check(choice: DeviceChoice) -> Result<(), Failure> {
    match choice {
        DeviceChoice::On(wanted @ DeviceId::Cuda(_)) => look_for(wanted, &runtime::devices()),
        DeviceChoice::On(DeviceId::Host) | DeviceChoice::Auto => Ok(()),
    }
}

fn look_for(wanted: DeviceId, devices: &Devices) -> Result<(), Failure> {
    let unavailable = |reason: String, hint: &str| {
        let message = format!("device {wanted} is not available: {reason}");
        Err(Failure::new(Exit::Unavailable, message).hint(hint))
    };
    match &devices.cuda {
        Err(reason) => unavailable(reason.to_string(), "`--device host` runs on the CPU"),
        Ok(found) if found.iter().any(|device| device.id == wanted) => Ok(()),
        Ok(found) => {
            let names: Vec<String> = found.iter().map(|device| device.id.to_string()).collect();
            let reason = format!("there is {}", names.join(", "));
            unavailable(reason, "`rustkernel device list` shows the devices")
        }
    }
}

/// The host and then the GPUs.
pub(super) fn all(devices: &Devices) -> impl Iterator<Item = &DeviceInfo> {
    std::iter::once(&devices.host).chain(devices.cuda.iter().flatten())
}

fn table(devices: &Devices) -> String {
    let mut table =
        Table::new(&["device", "name", "memory", "processors", "compute capability", "driver"]);
    let dash = || "-".to_owned();
    for info in all(devices) {
        table.row([
            info.id.to_string(),
            info.name.clone(),
            format!("{:.1} GiB", info.memory_bytes as f64 / f64::from(1 << 30)),
            info.processors.to_string(),
            info.compute_capability.map_or_else(dash, version),
            info.driver_version.map_or_else(dash, |driver| format!("CUDA {}", version(driver))),
        ]);
    }
    match &devices.cuda {
        Ok(_) => table.to_string(),
        Err(reason) => format!("{table}No CUDA devices: {reason}\n"),
    }
}

fn in_full(info: &DeviceInfo) -> String {
    let dash = || "-".to_owned();
    let mut table = Table::new(&["device", &info.id.to_string()]);
    let rows = [
        ("name", info.name.clone()),
        ("memory", format!("{:.1} GiB", info.memory_bytes as f64 / f64::from(1 << 30))),
        ("processors", info.processors.to_string()),
        ("compute capability", info.compute_capability.map_or_else(dash, version)),
        ("driver", info.driver_version.map_or_else(dash, |it| format!("CUDA {}", version(it)))),
        ("threads of a block", info.max_threads_per_block.to_string()),
        ("shared memory of a block", format!("{} bytes", info.max_shared_bytes_per_block)),
    ];
    rows.into_iter().for_each(|(name, value)| table.row([name.to_owned(), value]));
    table.to_string()
}

fn version((major, minor): (u32, u32)) -> String {
    format!("{major}.{minor}")
}

#[derive(Debug, Serialize)]
struct DevicesJson<'a> {
    devices: Vec<DeviceJson<'a>>,
    cuda: CudaJson,
}

#[derive(Debug, Serialize)]
struct DeviceJson<'a> {
    id: String,
    kind: &'static str,
    name: &'a str,
    memory_bytes: u64,
    processors: u32,
    compute_capability: Option<String>,
    driver_version: Option<String>,
}

#[derive(Debug, Serialize)]
struct InfoJson<'a> {
    #[serde(flatten)]
    device: DeviceJson<'a>,
    max_threads_per_block: u32,
    max_shared_bytes_per_block: u32,
}

impl<'a> From<&'a DeviceInfo> for InfoJson<'a> {
    fn from(info: &'a DeviceInfo) -> Self {
        Self {
            device: info.into(),
            max_threads_per_block: info.max_threads_per_block,
            max_shared_bytes_per_block: info.max_shared_bytes_per_block,
        }
    }
}

/// Whether there is CUDA, and why not.
#[derive(Debug, Serialize)]
pub(super) struct CudaJson {
    available: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
}

impl From<&Devices> for CudaJson {
    fn from(devices: &Devices) -> Self {
        let reason = devices.cuda.as_ref().err().map(ToString::to_string);
        Self { available: reason.is_none(), reason }
    }
}

impl<'a> From<&'a Devices> for DevicesJson<'a> {
    fn from(devices: &'a Devices) -> Self {
        Self { devices: all(devices).map(DeviceJson::from).collect(), cuda: devices.into() }
    }
}

impl<'a> From<&'a DeviceInfo> for DeviceJson<'a> {
    fn from(info: &'a DeviceInfo) -> Self {
        Self {
            id: info.id.to_string(),
            kind: match info.id.kind() {
                DeviceKind::Host => "host",
                DeviceKind::Cuda => "cuda",
            },
            name: &info.name,
            memory_bytes: info.memory_bytes,
            processors: info.processors,
            compute_capability: info.compute_capability.map(version),
            driver_version: info.driver_version.map(version),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As on a machine with a GPU.
    fn with_gpu() -> Devices {
        let host = runtime::devices().host;
        let mut gpu = host.clone();
        gpu.id = DeviceId::Cuda(0);
        gpu.name = "NVIDIA H100 80GB HBM3".into();
        gpu.memory_bytes = 85_029_158_912;
        gpu.processors = 132;
        gpu.compute_capability = Some((9, 0));
        gpu.driver_version = Some((12, 8));
        Devices { host, cuda: Ok(vec![gpu]) }
    }

    #[test]
    fn a_gpu_is_listed_with_everything_that_is_known_of_it() {
        let text = table(&with_gpu());
        let row = text.lines().find(|line| line.starts_with("cuda:0")).unwrap();
        let words: Vec<&str> =
            row.split("  ").filter(|word| !word.is_empty()).map(str::trim).collect();
        let expected = ["cuda:0", "NVIDIA H100 80GB HBM3", "79.2 GiB", "132", "9.0", "CUDA 12.8"];
        assert_eq!(words, expected, "{text}");
        assert!(!text.contains("No CUDA devices"));

        let json = serde_json::to_value(DevicesJson::from(&with_gpu())).unwrap();
        assert_eq!(json["cuda"], serde_json::json!({ "available": true }));
        assert_eq!(json["devices"][1]["compute_capability"], "9.0");
        assert_eq!(json["devices"][0]["compute_capability"], serde_json::Value::Null);
    }

    #[test]
    fn a_device_that_is_not_there_is_refused_with_those_that_are() {
        assert_eq!(look_for(DeviceId::Cuda(0), &with_gpu()), Ok(()));
        let failure = look_for(DeviceId::Cuda(7), &with_gpu()).unwrap_err();
        assert_eq!(failure.exit, Exit::Unavailable);
        assert_eq!(failure.message, "device cuda:7 is not available: there is cuda:0");
    }
}

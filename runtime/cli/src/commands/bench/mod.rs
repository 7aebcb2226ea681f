//! `rustkernel bench`: what calls, memory and transfers cost on this machine at this moment.
//!
//! Everything goes the way that an application's requests go: on each device a runtime is started with one
//! [kernel](probe) that does what is to be measured, and told to do it until the time is over.

mod measure;
mod probe;
mod report;

use rustkernel_core::gpu::DeviceInfo;
use rustkernel_core::kernel::DeviceChoice;
use rustkernel_core::memory::MemoryConfig;
use rustkernel_core::prelude::*;
use rustkernel_core::runtime;

use self::measure::Bench;
use self::probe::Probe;
use self::report::{DeviceReport, Report};
use super::call::{failure, run::log};
use super::device;
use crate::args::{BenchArgs, OutputFormat, Talk};
use crate::exit::{Exit, Failure};
use crate::output;
use crate::progress::Progress;

/// `rustkernel bench`.
pub(super) fn run(args: &BenchArgs, talk: Talk) -> Result<(), Failure> {
    device::check(args.device.map_or(DeviceChoice::Auto, DeviceChoice::On))?;
    let devices = runtime::devices();
    let wanted = |info: &&DeviceInfo| args.device.is_none_or(|only| info.id == only);
    let wanted: Vec<&DeviceInfo> = device::all(&devices).filter(wanted).collect();
    if cfg!(debug_assertions) && !talk.quiet {
        output::warning("this program was built without optimisation; `--release` makes it faster");
    }
    let steps = wanted.len() * measure::STEPS;
    let progress = Progress::of(steps, output::is_watched() && !talk.quiet && talk.verbose == 0);
    let executor = super::executor()?;
    let measured: Result<Vec<DeviceReport>, Failure> =
        wanted.into_iter().map(|info| executor.block_on(on(info, args, talk, &progress))).collect();
    drop(progress);
    let report = Report { devices: measured?, cuda: device::CudaJson::from(&devices) };
    match args.format.output_format {
        OutputFormat::Table => output::print(report),
        format => output::print_value(format, &report),
    }
}

/// Everything that is measured on a device.
async fn on(
    info: &DeviceInfo,
    args: &BenchArgs,
    talk: Talk,
    progress: &Progress,
) -> Result<DeviceReport, Failure> {
    let runtime = build(info, talk)?;
    runtime.start().await.map_err(|error| failure::of_start(&error))?;
    let kernel = runtime.kernel::<Probe>(probe::NAME);
    let kernel = kernel.map_err(|error| Failure::new(Exit::Software, error.to_string()))?;
    let bench = Bench { kernel, time: args.time, device: info.id, progress };
    let measured = bench.all().await;
    if let Err(error) = runtime.shutdown().await {
        output::warning(error);
    }
    let (calls, memory, transfers) =
        measured.map_err(|error| Failure::new(Exit::Software, format!("{}: {error}", info.id)))?;
    Ok(DeviceReport { id: info.id.to_string(), name: info.name.clone(), calls, memory, transfers })
}

fn build(info: &DeviceInfo, talk: Talk) -> Result<Runtime, Failure> {
    // (What the device has is limit enough for a process that holds one buffer at a time.)
    let memory = MemoryConfig { max_gpu_memory: u64::MAX, ..MemoryConfig::default() };
    let spec = KernelSpec::new(probe::NAME, Probe::default).device(DeviceChoice::On(info.id));
    let builder = RuntimeBuilder::new().with_gpu_enabled(info.id != DeviceId::Host);
    let builder = builder.with_memory(memory).with_log(log(talk)).with_kernel(spec);
    builder.build().map_err(|error| failure::of_build(&error))
}

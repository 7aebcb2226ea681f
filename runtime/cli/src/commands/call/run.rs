//! The call itself: a runtime with one kernel, started, called, shut down.

use std::time::Duration;

use rustkernel_core::gpu::{DeviceError, DeviceId, DeviceInfo, DeviceKind};
use rustkernel_core::kernel::{AnySpec, DeviceChoice, Instant, LearnedMemory};
use rustkernel_core::memory::{MemoryConfig, RecordConfig, RecordFormat, Recorded, Recording};
use rustkernel_core::message::{Fields, Signature};
use rustkernel_core::observability::{LogConfig, LogFormat, LogLevel};
use rustkernel_core::runtime::{BuildError, DeviceStats, Runtime, RuntimeBuilder, devices};

use super::failure;
use crate::args::{CallArgs, RecordRows, Talk};
use crate::exit::{Exit, Failure};
use crate::output;

/// How long a shutdown waits for a kernel that has not noticed that its time is over.
const PATIENCE: Duration = Duration::from_secs(1);

/// How a kernel is to be called.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller<'a> {
    pub(super) signature: &'a Signature,
    pub(super) args: &'a CallArgs,
    pub(super) talk: Talk,
}

/// What came out of a call.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) fields: Fields,
    /// Where it ran.
    pub(super) device: DeviceInfo,
    /// How long the call took, without starting the runtime.
    pub(super) took: Duration,
    /// What it declared and held.
    pub(super) memory: LearnedMemory,
}

impl Caller<'_> {
    /// Runs the kernel once.
    ///
    /// # Errors
    /// If it cannot be started, refuses the request, or fails.
    pub(super) fn run(self, spec: Box<dyn AnySpec>, request: Fields) -> Result<Outcome, Failure> {
        let executor = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let executor = executor.map_err(|error| {
            Failure::new(Exit::TryAgain, format!("no timer could be started: {error}"))
        })?;
        executor.block_on(async {
            let runtime = self.build(spec).map_err(|error| failure::of_build(&error))?;
            runtime.start().await.map_err(|error| failure::of_start(&error))?;
            let outcome = self.call(&runtime, request).await;
            if let Err(error) = runtime.shutdown().await {
                output::warning(error);
            }
            let outcome = outcome?;
            tell_of_recordings(&runtime.recordings(), self.talk)?;
            Ok(outcome)
        })
    }

    fn build(self, mut spec: Box<dyn AnySpec>) -> Result<Runtime, BuildError> {
        spec.set_device(self.args.device);
        spec.set_deadline(Some(self.args.deadline));
        // What the device has is limit enough for a process that makes one call.
        let memory = MemoryConfig { max_gpu_memory: u64::MAX, ..MemoryConfig::default() };
        let mut builder = RuntimeBuilder::new();
        if let Some(path) = &self.args.record_memory {
            let format = match self.args.record_format {
                RecordRows::Trace => RecordFormat::Trace,
                RecordRows::Rmm => RecordFormat::Rmm,
            };
            builder = builder.with_memory_recording(RecordConfig { path: path.clone(), format });
        }
        builder
            .with_gpu_enabled(self.args.device != DeviceChoice::On(DeviceId::Host))
            .with_memory(memory)
            .with_shutdown_timeout(PATIENCE)
            .with_log(log(self.talk))
            .with_any_kernel(spec)
            .build()
    }

    async fn call(self, runtime: &Runtime, request: Fields) -> Result<Outcome, Failure> {
        let device = device(runtime);
        if self.args.device == DeviceChoice::Auto && self.talk == Talk::default() {
            warn_of_unused_gpu(runtime);
        }
        let name = &self.signature.name;
        let call = runtime.call_by_name(name, request);
        let call = call.map_err(|error| Failure::new(Exit::Software, error.to_string()))?;
        let start = Instant::now();
        let answer = call.await;
        let took = start.elapsed();
        match answer {
            Ok(fields) => Ok(Outcome { fields, device, took, memory: memory(runtime) }),
            Err(error) => Err(failure::of_call(&error, self.signature)),
        }
    }
}

/// Where memory was recorded, and whether all of it was.
///
/// # Errors
/// If a file could not be written to its end.
fn tell_of_recordings(recordings: &[Recording], talk: Talk) -> Result<(), Failure> {
    for Recording { device, path, end, .. } in recordings {
        let path = path.display();
        match end {
            Some(Ok(Recorded { lost: 0, allocations, .. })) if !talk.quiet => {
                output::note(format_args!(
                    "memory of {device}: {allocations} allocations → {path}"
                ));
            }
            Some(Ok(Recorded { lost: 0, .. })) => {}
            Some(Ok(Recorded { lost, .. })) => output::warning(format_args!(
                "{path} lacks {lost} allocations and frees of {device}: they came too fast"
            )),
            Some(Err(error)) => return Err(failure::of_recording(error)),
            None => output::warning(format_args!("{path} is not written to its end")),
        }
    }
    Ok(())
}

/// The device that the kernel was given.
fn device(runtime: &Runtime) -> DeviceInfo {
    let stats = runtime.stats();
    let given = stats.kernels.iter().find_map(|kernel| kernel.devices.first().copied());
    let mut infos = stats.devices.into_iter().map(|device| device.info);
    infos
        .find(|info| Some(info.id) == given)
        .expect("invariant: a kernel that has started has a device")
}

/// What the one kernel's one request declared and held.
fn memory(runtime: &Runtime) -> LearnedMemory {
    runtime.stats().kernels.first().map(|kernel| kernel.memory).unwrap_or_default()
}

/// Says so if there is a GPU that the runtime could not use. A machine without one is as it should
/// be; and whoever reads the log, or wants to hear nothing, is not told.
fn warn_of_unused_gpu(runtime: &Runtime) {
    let is_gpu = |device: &DeviceStats| device.info.id.kind() == DeviceKind::Cuda;
    if runtime.stats().devices.iter().any(is_gpu) {
        return;
    }
    match devices().cuda {
        Err(DeviceError::NoDriver { .. }) => {}
        Err(error) => output::warning(format!("the GPU cannot be used: {error}")),
        Ok(_) => output::warning("the GPU cannot be used; `-v` shows why"),
    }
}

/// What the runtime logs: nothing unasked, because what matters is told as a failure or a warning.
pub(in crate::commands) fn log(talk: Talk) -> LogConfig {
    let level = match talk.verbose {
        0 => LogLevel::Off,
        1 => LogLevel::Info,
        _ => LogLevel::Debug,
    };
    LogConfig { level, format: LogFormat::Text }
}

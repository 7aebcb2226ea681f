//! A GPU that breaks in the middle of work, and comes back; then one that does not.
//!
//! ```text
//! cargo run --release -p rustkernel-examples --example 08_device_loss
//! ```
//!
//! What to see: the requests that were on the GPU when it broke fail at once and say that trying again
//! may help; those that waited are served when it is back; nothing of the old context reaches the driver.
//! When the GPU does not come back, the kernel moves to the host. It runs on a CUDA driver in host memory
//! that breaks when it is told to, so that it needs no GPU and breaks none.

use std::error::Error;

use fake_cuda::{Config, Fault, inject};
use rustkernel_core::kernel::{Devices, Instant};
use rustkernel_core::observability::{LogConfig, LogFormat, LogLevel};
use rustkernel_core::prelude::*;

/// Doubles numbers, by way of the device that it runs on.
struct Double;

impl Kernel for Double {
    type Request = Vec<f32>;
    type Response = (DeviceId, Vec<f32>);

    const DEVICES: Devices = Devices::Any;

    async fn execute(
        &mut self,
        numbers: Vec<f32>,
        cx: &mut KernelContext,
    ) -> KernelResult<Self::Response> {
        let on_device = cx.upload(&numbers).await?;
        let back = cx.download(&on_device).await?;
        Ok((cx.device().id(), back.into_iter().map(|number| 2.0 * number).collect()))
    }
}

/// Ten calls at once: how many were answered and where, and what the others were told.
async fn ten_calls(double: &KernelRef<Double>) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let calls = (0..10).map(|_| {
        let double = double.clone();
        tokio::spawn(async move { double.call(vec![1.0, 2.0, 3.0]).await })
    });
    let (mut answered, mut failed) = (Vec::new(), Vec::new());
    for call in calls.collect::<Vec<_>>() {
        match call.await? {
            Ok((device, numbers)) => {
                assert_eq!(numbers, [2.0, 4.0, 6.0]);
                answered.push(device);
            }
            Err(error) => failed.push(error),
        }
    }
    println!("  {} of 10 answered after {:.1?}", answered.len(), start.elapsed());
    if let Some(device) = answered.last() {
        println!("  the last of them on {device}");
    }
    for error in failed {
        println!("  one failed: {error}");
        println!("  may it be tried again? {}", error.is_retryable());
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    fake_cuda::configure(&Config::default());
    rustkernel_driver::install("a driver in host memory", fake_cuda::lookup);

    let runtime = RuntimeBuilder::new()
        .with_devices([DeviceId::Cuda(0), DeviceId::Host])
        .with_log(LogConfig { level: LogLevel::Off, format: LogFormat::Auto })
        .with_kernel(KernelSpec::new("double", || Double))
        .build()?;
    runtime.start().await?;
    let mut events = runtime.events();
    let double = runtime.kernel::<Double>("double")?;

    println!("all is well:");
    ten_calls(&double).await?;

    println!("\nCUDA error 700, an illegal address, breaks the context:");
    inject(Fault::call("cuEventQuery", 700).sticky());
    ten_calls(&double).await?;

    println!("\nagain, and this time the device cannot be reset (it is tried three times):");
    inject(Fault::call("cuDevicePrimaryCtxReset_v2", 999).from_then_on());
    inject(Fault::call("cuEventQuery", 700).sticky());
    ten_calls(&double).await?;

    println!("\nwhat the supervisor told:");
    while let Some(Heard::Event(event)) = events.try_next() {
        println!("  {event:?}");
    }
    let stale = fake_cuda::ledger(0).stale;
    println!("\nhandles of a broken context that reached the driver: {}", stale.len());
    assert!(stale.is_empty());
    let report = runtime.shutdown().await?;
    println!("{:?}", report.ledger);
    assert!(report.ledger.is_balanced());
    Ok(())
}

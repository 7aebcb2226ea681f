//! The four levels of memory pressure, on memory that is really allocated.
//!
//! ```text
//! cargo run --release -p rustkernel-examples --example 04_memory_pressure
//! ```
//!
//! What to see: as memory fills, the level rises at 70, 85 and above 95 % of the limit; under
//! `critical` pressure new kernels and requests that declare memory are refused; as memory comes back
//! the level falls, and both are taken again.

use std::error::Error;
use std::time::Duration;

use rustkernel_core::prelude::*;

const MIB: usize = 1 << 20;
const LIMIT: usize = 256 * MIB;

/// Needs a little memory for each request.
struct Modest;

impl Kernel for Modest {
    type Request = ();
    type Response = ();

    async fn execute(&mut self, (): (), cx: &mut KernelContext) -> KernelResult {
        let mut buffer = cx.alloc::<u8>(MIB).await?;
        Ok(cx.stream().fill(&mut buffer, 1)?)
    }
}

fn modest(name: &str) -> KernelSpec<Modest> {
    KernelSpec::new(name, || Modest).memory(|_| MIB as u64)
}

/// What a request and a new kernel are told at present.
async fn try_both(runtime: &Runtime, step: usize) -> Result<(), Box<dyn Error>> {
    // (The supervisor hears of the change at once, but not before we go on.)
    tokio::time::sleep(Duration::from_millis(50)).await;
    let stats = &runtime.stats().devices[0];
    let percent = 100.0 * stats.device.commitment();
    let request = runtime.kernel::<Modest>("modest")?.call(()).await;
    let request =
        request.map_or_else(|error| format!("refused: {error}"), |()| "served".to_owned());
    let kernel = runtime.add_kernel(modest(&format!("another {step}"))).await;
    let kernel = kernel.map_or_else(|_| "refused", |()| "started");
    println!(
        "{percent:>4.0} %  {:<9}  a new kernel is {kernel}, a request {request}",
        stats.pressure.name()
    );
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let memory = MemoryConfig { max_gpu_memory: LIMIT as u64, ..MemoryConfig::default() };
    let runtime =
        RuntimeBuilder::new().with_memory(memory).with_kernel(modest("modest")).build()?;
    let mut events = runtime.events();
    runtime.start().await?;
    let manager = runtime.memory()?;
    println!("{} MiB of {}", LIMIT / MIB, manager.device());

    let mut held = Vec::new();
    for (step, mebibytes) in [160, 32, 40, 16].into_iter().enumerate() {
        try_both(&runtime, step).await?;
        held.push(manager.allocate(mebibytes * MIB)?);
    }
    try_both(&runtime, 4).await?;
    while let Some(buffer) = held.pop() {
        manager.deallocate(buffer);
    }
    try_both(&runtime, 5).await?;

    println!("\nwhat the supervisor told:");
    while let Some(heard) = events.try_next() {
        if let Heard::Event(RuntimeEvent::PressureChanged { from, to, committed, .. }) = heard {
            println!("  {from} → {to} at {} MiB", committed / MIB as u64);
        }
    }
    let report = runtime.shutdown().await?;
    println!("\nheld at the end: {} bytes", report.leaked_bytes);
    Ok(())
}

//! The four levels of memory pressure and what each does, on memory that is really allocated.
//!
//! ```text
//! cargo run --release -p rustkernel-examples --example 04_memory_pressure
//! ```
//!
//! What to see: the level rises at 70, 85 and above 95 % of the limit. From `warning` on, requests of low
//! priority wait; under `critical` new kernels and requests that declare memory are refused, and the pools
//! give back what is idle: what is held, and the process with it, becomes smaller. Under `emergency`
//! low-priority requests that wait are cancelled, and the application's hook spares memory until the level
//! falls. As memory comes back everything is taken again, and who has waited is served.

use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustkernel_core::memory::{MemoryBuffer, MemoryStats, SpillRequest};
use rustkernel_core::observability::{LogConfig, LogLevel};
use rustkernel_core::prelude::*;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

const MIB: usize = 1 << 20;
const LIMIT: usize = 256 * MIB;

/// Is promised memory, and keeps the promise for as long as it is told.
struct Promised {
    end: Arc<Notify>,
}

#[derive(Clone, Copy)]
struct Promise {
    mebibytes: usize,
    stays: bool,
}

impl Kernel for Promised {
    type Request = Promise;
    type Response = ();
    const DEVICES: Devices = Devices::Any;

    async fn execute(&mut self, promise: Promise, cx: &mut KernelContext) -> KernelResult {
        let mut buffer = cx.alloc::<u8>(MIB).await?;
        cx.stream().fill(&mut buffer, 1)?;
        if promise.stays {
            self.end.notified().await;
        }
        Ok(())
    }
}

type Answer = Result<(), CallError<Promise>>;

/// A runtime under pressure.
struct Stage {
    runtime: Runtime,
    end: Arc<Notify>,
    steps: usize,
}

impl Stage {
    fn kernel(&self, priority: Priority) -> Result<KernelRef<Promised>, Box<dyn Error>> {
        Ok(self.runtime.kernel::<Promised>("promised")?.with_priority(priority))
    }

    /// Calls the kernel in the background.
    fn start(
        &self,
        promise: Promise,
        priority: Priority,
    ) -> Result<JoinHandle<Answer>, Box<dyn Error>> {
        let kernel = self.kernel(priority)?;
        Ok(tokio::spawn(async move { kernel.call(promise).await }))
    }

    /// A buffer that is really there.
    fn hold(&self, mebibytes: usize) -> Result<MemoryBuffer, Box<dyn Error>> {
        let mut buffer = self.runtime.memory()?.allocate(mebibytes * MIB)?;
        if let Some(bytes) = buffer.as_mut_slice() {
            bytes.fill(1);
        }
        Ok(buffer)
    }

    fn memory(&self) -> MemoryStats {
        self.runtime.stats().devices[0].device.clone()
    }

    /// Prints a row: what was done, how full it is, and what is taken at present.
    async fn show(&mut self, what: &str) -> Result<(), Box<dyn Error>> {
        // (Levels rise at once and fall one in 50 ms.)
        tokio::time::sleep(Duration::from_millis(250)).await;
        let (memory, level) = (self.memory(), self.runtime.stats().devices[0].pressure);
        let request = Promise { mebibytes: 1, stays: false };
        let soon = Duration::from_millis(100);
        let normal = self.kernel(Priority::Normal)?.call_within(request, soon).await;
        let low = self.kernel(Priority::Low)?.call_within(request, soon).await;
        self.steps += 1;
        let spec = promised(&format!("another {}", self.steps), &self.end).instances(1);
        let kernel = self.runtime.add_kernel(spec).await;
        println!(
            "{what:<34} {:>4.0} %  {:<9} {:>5} {:>5}  {:<8} {:<8} {}",
            100.0 * memory.commitment(),
            level.name(),
            memory.mapped >> 20,
            resident().map_or("-".to_owned(), |bytes| (bytes >> 20).to_string()),
            if kernel.is_ok() { "started" } else { "refused" },
            taken(&normal),
            taken(&low),
        );
        Ok(())
    }
}

fn promised(name: &str, end: &Arc<Notify>) -> KernelSpec<Promised> {
    let end = Arc::clone(end);
    KernelSpec::new(name, move || Promised { end: Arc::clone(&end) })
        .instances(5)
        .memory(|promise| (promise.mebibytes * MIB) as u64)
}

fn taken(answer: &Answer) -> &'static str {
    match answer {
        Ok(()) => "served",
        Err(CallError::Rejected { rejection: Rejection::UnderPressure { level, .. }, .. })
            if *level >= PressureLevel::Critical =>
        {
            "refused"
        }
        Err(_) => "waits",
    }
}

/// Bytes of this process that are in memory, where the system says.
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes << 10)
}

fn end(answer: Answer) -> String {
    answer.map_or_else(|error| error.to_string(), |()| "served".to_owned())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // What the application can do without, and gives up piece by piece when it is asked to.
    let cache = Arc::new(Mutex::new(Vec::<MemoryBuffer>::new()));
    let spared = Arc::clone(&cache);
    let spare = move |_: SpillRequest| {
        let piece = spared.lock().map_or(None, |mut cache| cache.pop());
        piece.map_or(0, |piece| piece.len() as u64)
    };
    let end_of_promises = Arc::new(Notify::new());
    let memory = MemoryConfig { max_gpu_memory: LIMIT as u64, ..MemoryConfig::default() };
    let runtime = RuntimeBuilder::new()
        .with_memory(memory)
        .with_spill_hook(spare)
        // (The log says each change too, between the lines of the table.)
        .with_log(LogConfig { level: LogLevel::Off, ..LogConfig::default() })
        .with_kernel(promised("promised", &end_of_promises))
        .build()?;
    let mut events = runtime.events();
    runtime.start().await?;
    println!("{} MiB of {}; sizes in MiB\n", LIMIT / MIB, runtime.memory()?.device());
    println!(
        "{:<34} {:>6}  {:<9} {:>5} {:>5}  {:<8} {:<8} low priority",
        "", "full", "level", "held", "proc.", "kernel", "request"
    );
    let mut stage = Stage { runtime, end: end_of_promises, steps: 0 };

    for _ in 0..3 {
        let piece = stage.hold(8)?;
        cache.lock().map_err(|error| error.to_string())?.push(piece);
    }
    let work = stage.hold(136)?;
    stage.show("160 are in use, 24 of them a cache").await?;
    drop(stage.hold(48)?);
    stage.show("48 come and go, and stay idle").await?;
    let first = stage.start(Promise { mebibytes: 32, stays: true }, Priority::Normal)?;
    stage.show("a request is promised 32").await?;
    let cancelled = stage.start(Promise { mebibytes: 1, stays: false }, Priority::Low)?;
    let second = stage.start(Promise { mebibytes: 30, stays: true }, Priority::Normal)?;
    stage.show("another is promised 30: flushed").await?;
    let more = stage.hold(24)?;
    stage.show("24 more: the cache is spared").await?;
    drop((more, cache));
    stage.end.notify_one();
    stage.show("24 come back, a request ends").await?;
    let patient = stage.start(Promise { mebibytes: 1, stays: false }, Priority::Low)?;
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(work);
    stage.end.notify_one();
    let patient = patient.await?;
    stage.show("everything comes back").await?;

    for promise in [first, second] {
        promise.await??;
    }
    println!("\nlow priority that waited into the emergency: {}", end(cancelled.await?));
    println!("low priority that waited for the level to fall: {}", end(patient));
    let allocator = stage.runtime.stats().devices[0].allocator;
    let (asked, spared) = (allocator.spills, allocator.spilled_bytes >> 20);
    println!("the hook was asked {asked} times and spared {spared} MiB");
    println!("\nwhat the supervisor told:");
    while let Some(heard) = events.try_next() {
        if let Heard::Event(RuntimeEvent::PressureChanged { from, to, committed, .. }) = heard {
            println!("  {from} → {to} at {} MiB", committed >> 20);
        }
    }
    let report = stage.runtime.shutdown().await?;
    let process = resident().map_or("-".to_owned(), |bytes| (bytes >> 20).to_string());
    println!("\nheld at the end: {} bytes; the process has {process} MiB", report.leaked_bytes);
    Ok(())
}

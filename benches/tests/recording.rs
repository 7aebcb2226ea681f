//! What a runtime records, its readers read: a trace has what the pool's books say happened.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use rustkernel_benches::trace::{Op, Trace};
use rustkernel_core::memory::{MemoryStats, RecordConfig, RecordFormat, Recorded};
use rustkernel_core::observability::{LogConfig, LogFormat, LogLevel};
use rustkernel_core::prelude::*;
use tempfile::TempDir;

/// Holds as many blocks at once as it is told, each larger than the one before.
struct Hold;

impl Kernel for Hold {
    type Request = usize;
    type Response = ();

    async fn execute(&mut self, blocks: usize, cx: &mut KernelContext) -> KernelResult {
        let mut held = Vec::new();
        for block in 0..blocks {
            let mut buffer = cx.alloc::<u8>(1000 << block).await?;
            cx.stream().fill(&mut buffer, 1)?;
            held.push(buffer);
        }
        Ok(())
    }
}

/// A hundred calls of two kernels, one at a time, and memory outside of them, recorded.
fn record(path: &Path, format: RecordFormat) -> (MemoryStats, Recorded) {
    let runtime = RuntimeBuilder::new()
        .with_gpu_enabled(false)
        .with_log(LogConfig { level: LogLevel::Off, format: LogFormat::Json })
        .with_kernel(KernelSpec::new("first", || Hold))
        .with_kernel(KernelSpec::new("second", || Hold))
        .with_memory_recording(RecordConfig { path: path.into(), format })
        .build()
        .unwrap();
    let executor = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    executor.block_on(async {
        runtime.start().await.unwrap();
        let kernels = ["first", "second"].map(|name| runtime.kernel::<Hold>(name).unwrap());
        let outside = runtime.memory().unwrap().allocate(3 << 20).unwrap();
        for call in 0..100 {
            kernels[call % 2].call(call % 12).await.unwrap();
        }
        drop(outside);
        assert_eq!(runtime.recordings()[0].end, None);
        assert!(runtime.shutdown().await.unwrap().is_clean());
    });
    let [recording] = runtime.recordings().try_into().unwrap();
    assert_eq!((recording.device, recording.path.as_path()), (DeviceId::Host, path));
    (runtime.stats().devices[0].device.clone(), recording.end.unwrap().unwrap())
}

#[test]
fn a_trace_agrees_with_the_books_of_the_pool() {
    let folder = TempDir::new().unwrap();
    for name in ["trace.csv", "trace.csv.gz"] {
        let path = folder.path().join(name);
        let (stats, recorded) = record(&path, RecordFormat::Trace);
        let trace = Trace::read(&path).unwrap();
        let count = |op| trace.steps.iter().filter(|step| step.op == op).count() as u64;
        assert_eq!((count(Op::Allocate), count(Op::Free)), (stats.leases, stats.leases));
        assert_eq!((recorded.allocations, recorded.frees), (stats.leases, stats.leases));
        assert_eq!(recorded.lost, 0);
        // (The pool's peak has the blocks in it that streams kept at hand.)
        assert!((1..=stats.peak_live).contains(&trace.peak_live));
        assert_eq!(trace.streams, 3, "one of each kernel, and none");
        assert!(stats.leases > 500);

        let replay = Command::new(env!("CARGO_BIN_EXE_replay")).arg("--json").arg(path).output();
        let report: serde_json::Value = serde_json::from_slice(&replay.unwrap().stdout).unwrap();
        assert_eq!(
            (&report["allocs"], &report["peak_live"]),
            (&stats.leases.into(), &trace.peak_live.into())
        );
        assert!(report["min_capacity_ratio"].as_f64().unwrap() >= 1.0);
    }
}

#[test]
fn rmm_finds_its_columns_and_each_free_its_allocation() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("rmm.csv");
    let (stats, _) = record(&path, RecordFormat::Rmm);
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("Thread,Time,Action,Pointer,Size,Stream"));
    let (mut live, mut allocations) = (HashMap::new(), 0);
    for line in lines {
        let [thread, _, action, pointer, size, stream] =
            line.split(',').collect::<Vec<_>>().try_into().unwrap();
        let numbers = [thread, size, stream].map(|text| text.parse::<u64>().unwrap());
        let pointer = u64::from_str_radix(pointer.strip_prefix("0x").unwrap(), 16).unwrap();
        let (before, expected) = match action {
            "allocate" => {
                allocations += 1;
                (live.insert(pointer, numbers[1]), None)
            }
            "free" => (live.remove(&pointer), Some(numbers[1])),
            other => panic!("{other}"),
        };
        assert_eq!(before, expected, "{line}");
    }
    assert_eq!((allocations, live.len()), (stats.leases, 0));
}

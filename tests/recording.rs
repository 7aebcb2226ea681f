//! Recording: every lease of a runtime's device memory and its end are in the file when the runtime has
//! ended, however it ended; and without a file nothing starts.

use std::path::Path;

use rustkernel_core::memory::{RecordConfig, RecordError, RecordFormat, Recorded};
use rustkernel_core::prelude::*;
use rustkernel_core::runtime::BuildError;
use rustkernel_tests::{builder, within_a_minute};
use tempfile::TempDir;

const MIB: usize = 1 << 20;

fn recorded(path: &Path) -> RuntimeBuilder {
    builder().with_memory_recording(RecordConfig { path: path.into(), format: RecordFormat::Trace })
}

/// The rows without their times.
fn rows(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("t_us,op,id,bytes,stream"));
    lines.map(|line| line.split_once(',').unwrap().1.to_owned()).collect()
}

/// Allocates before the first request.
struct Early;

impl Kernel for Early {
    type Request = ();
    type Response = ();

    async fn open(&mut self, cx: &mut KernelContext) -> KernelResult {
        drop(cx.alloc::<u8>(MIB).await?);
        Ok(())
    }

    async fn execute(&mut self, (): (), _: &mut KernelContext) -> KernelResult {
        Ok(())
    }
}

#[tokio::test]
async fn what_a_start_allocates_is_recorded_too() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("trace.csv");
    let runtime = recorded(&path).with_kernel(KernelSpec::new("early", || Early)).build().unwrap();
    runtime.start().await.unwrap();
    within_a_minute(runtime.shutdown()).await.unwrap();
    assert_eq!(rows(&path), ["a,0,1048576,1", "f,0,1048576,1"]);
}

#[tokio::test]
async fn what_is_held_beyond_the_end_stays_live_in_the_trace() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("trace.csv");
    let runtime = recorded(&path).build().unwrap();
    runtime.start().await.unwrap();
    let held = runtime.memory().unwrap().allocate(MIB).unwrap();
    within_a_minute(runtime.shutdown()).await.unwrap();
    drop(held);
    assert_eq!(rows(&path), ["a,0,1048576,0"]);
    let [recording] = runtime.recordings().try_into().unwrap();
    let Some(Ok(Recorded { allocations, frees, lost, .. })) = recording.end else {
        panic!("{recording:?}")
    };
    assert_eq!((allocations, frees, lost), (1, 0, 0));
}

#[test]
fn a_runtime_that_is_dropped_has_written_its_recording() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("trace.csv");
    let executor = rustkernel_tests::running::executor();
    executor.block_on(async {
        let runtime = recorded(&path).build().unwrap();
        runtime.start().await.unwrap();
        drop(runtime.memory().unwrap().allocate(MIB).unwrap());
        drop(runtime);
        let written = || std::fs::read_to_string(&path).unwrap().lines().count() == 3;
        rustkernel_tests::eventually("the recording is written", written).await;
    });
}

#[test]
fn several_devices_have_a_file_each() {
    let folder = TempDir::new().unwrap();
    let ordinal = rustkernel_tests::fake::claim();
    let cuda = DeviceId::Cuda(ordinal);
    let executor = rustkernel_tests::running::executor();
    let runtime = recorded(&folder.path().join("trace.csv"))
        .with_gpu_enabled(true)
        .with_devices([cuda, DeviceId::Host])
        .build()
        .unwrap();
    executor.block_on(async {
        runtime.start().await.unwrap();
        for device in [cuda, DeviceId::Host] {
            drop(runtime.memory_of(device).unwrap().allocate(MIB).unwrap());
        }
        within_a_minute(runtime.shutdown()).await.unwrap();
    });
    for (recording, device) in
        runtime.recordings().iter().zip([format!("cuda{ordinal}"), "host".into()])
    {
        assert_eq!(recording.path, folder.path().join(format!("trace.{device}.csv")));
        assert_eq!(rows(&recording.path), ["a,0,1048576,0", "f,0,1048576,0"]);
    }
}

#[test]
fn a_file_that_cannot_be_written_is_told_before_anything_starts() {
    let folder = TempDir::new().unwrap();
    for (name, unwritable) in [("no/such/trace.csv", true), ("trace.json", false)] {
        let error = recorded(&folder.path().join(name)).build().unwrap_err();
        let BuildError::Recording(error) = error else { panic!("{error}") };
        assert_eq!(matches!(error, RecordError::Unwritable { .. }), unwritable, "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

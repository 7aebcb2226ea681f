//! The replay program as it is started.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;

const TRACE: &str = "t_us,op,id,bytes,stream\n\
    0.0,a,0,3145728,0\n\
    1.0,f,0,3145728,0\n\
    2.0,a,1,1024,0\n";

fn replay(arguments: &[&str], files: &[&PathBuf]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_replay")).args(arguments).args(files).output().unwrap()
}

fn file(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_refused_file_is_told_and_the_others_are_replayed() {
    let folder = TempDir::new().unwrap();
    let good = file(&folder, "good.csv", TRACE);
    let bad = file(&folder, "bad.csv", &format!("{TRACE}3.0,f,1,1025,0\n"));
    let output = replay(&["--json"], &[&good, &bad, &good]);
    assert_eq!(output.status.code(), Some(1));
    let reason = "id 1 was allocated with 1024 bytes and is freed with 1025";
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(told, format!("error: {}:5: {reason}\n", bad.display()));
    let lines = String::from_utf8(output.stdout).unwrap();
    assert_eq!(lines.lines().count(), 2);
    for line in lines.lines() {
        let report: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(report["trace"], good.display().to_string());
        assert_eq!((&report["allocs"], &report["peak_live"]), (&2.into(), &3_145_728.into()));
        assert_eq!(report["min_capacity"], 4 << 20);
    }
}

#[test]
fn people_get_a_table_and_a_plot() {
    let folder = TempDir::new().unwrap();
    let good = file(&folder, "good.csv", TRACE);
    let plot = folder.path().join("out.svg");
    let output = replay(&["--policy", "size-classes", "--plot", plot.to_str().unwrap()], &[&good]);
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "no progress where there is no terminal: {output:?}");
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("| good.csv") && table.contains("geometric mean 1.333"), "{table}");
    assert!(fs::read_to_string(plot).unwrap().starts_with("<svg"));
}

#[test]
fn what_cannot_be_done_is_refused() {
    let folder = TempDir::new().unwrap();
    let good = file(&folder, "good.csv", TRACE);
    for (arguments, code) in [
        (&["--plot", "x.svg"][..], 2),
        (&["--plot", "x.svg", "--made", "1"], 2),
        (&["--backend", "tpu"], 2),
        (&["--policy", "best-fit", "--backend", "cuda:0"], 1),
    ] {
        let output = replay(arguments, &[&good, &good]);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(output.stdout.is_empty());
        assert!(String::from_utf8(output.stderr).unwrap().starts_with("error: "));
    }
}

/// A MiB at a time on two streams, with a hole that only remapping or waiting makes use of.
const STREAMS: &str = "t_us,op,id,bytes,stream\n\
    0.0,a,0,1048576,0\n\
    1.0,a,1,1048576,1\n\
    2.0,f,0,1048576,0\n\
    3.0,a,2,2097152,1\n\
    4.0,f,1,1048576,1\n\
    5.0,a,3,1000,0\n\
    6.0,f,2,2097152,0\n\
    7.0,f,3,1000,0\n";

/// The report of the trace on memory, on a machine with one CUDA device: the fake driver's.
fn on_memory(backend: &str, trace: &str) -> Output {
    let folder = TempDir::new().unwrap();
    let driver = std::env::current_exe().unwrap();
    let driver = driver.with_file_name(format!("{DLL_PREFIX}fake_cuda{DLL_SUFFIX}"));
    assert!(driver.exists(), "{} is a dependency of this test", driver.display());
    Command::new(env!("CARGO_BIN_EXE_replay"))
        .args(["--json", "--backend", backend])
        .arg(file(&folder, "streams.csv", trace))
        .env("CUDA_DRIVER_LIBRARY", driver)
        .env("FAKE_CUDA_DEVICES", "1")
        .env("FAKE_CUDA_MEMORY", (64_u64 << 20).to_string())
        .output()
        .unwrap()
}

#[test]
fn the_pool_is_replayed_to_on_the_host_and_on_cuda() {
    for backend in ["host", "cuda:0"] {
        let output = on_memory(backend, STREAMS);
        assert!(output.status.success() && output.stderr.is_empty(), "{backend}: {output:?}");
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&report["allocs"], &report["peak_live"]), (&4.into(), &3_145_728.into()));
        let number = |key: &str| report[key].as_u64().unwrap();
        assert!((3 << 20..=5 << 20).contains(&number("peak_mapped")), "{backend}: {report}");
        assert_eq!(number("min_capacity"), 4 << 20, "{backend}: the next page above the peak");
        assert!(number("driver_calls") >= 2, "{backend}: {report}");
        assert_eq!(number("stream_waits"), 0);
        assert!(report["ns_per_pair_1t"].as_f64().unwrap() > 0.0);
        assert!(report["ns_per_pair_2t"].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn a_device_that_is_too_small_or_not_there_is_told() {
    let large = "t_us,op,id,bytes,stream\n0.0,a,0,68719476736,0\n";
    for (backend, reason) in [
        ("cuda:0", "holds 68719476736 bytes at once, and cuda:0 has 67108864; --backend offsets"),
        ("cuda:7", "cuda:7"),
    ] {
        let output = on_memory(backend, large);
        assert_eq!(output.status.code(), Some(1));
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.starts_with("error: ") && told.contains(reason), "{told}");
    }
    assert!(on_memory("host", large).status.success(), "pages that nobody touches cost nothing");
}

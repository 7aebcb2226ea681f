//! `rustkernel` with CUDA devices: those of the fake driver, which fails where it is told to.
#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::PathBuf;
use std::process::Command;

use support::{Ended, Folder, end};

/// The fake driver's file, which cargo puts beside this test.
fn driver() -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let file = here.with_file_name(format!("{DLL_PREFIX}fake_cuda{DLL_SUFFIX}"));
    assert!(file.exists(), "{} is a dependency of this test", file.display());
    file
}

/// The program on a machine with as many devices, and with faults to come.
fn with_devices(folder: &Folder, count: u32, faults: &str, arguments: &[&str]) -> Command {
    let mut command = folder.rustkernel(arguments);
    command
        .env("CUDA_DRIVER_LIBRARY", driver())
        .env("FAKE_CUDA_DEVICES", count.to_string())
        .env("FAKE_CUDA_FAULTS", faults);
    command
}

/// `2 x + y` there, with further arguments.
fn saxpy(count: u32, faults: &str, arguments: &[&str]) -> Ended {
    let folder = Folder::with_vectors();
    let fixed = ["call", "saxpy", "-i", "x=x.npy", "-i", "y=y.npy", "-p", "a=2"];
    end(&mut with_devices(&folder, count, faults, &[&fixed, arguments].concat()))
}

#[track_caller]
fn fails(ended: &Ended, code: i32, message: &str) {
    assert_eq!(ended.code, code, "{}", ended.stderr);
    assert!(ended.stderr.starts_with(&format!("error: {message}")), "{}", ended.stderr);
    assert_eq!(ended.stderr.matches("error:").count(), 1, "{}", ended.stderr);
}

#[test]
fn devices_are_listed() {
    let folder = Folder::new();
    let list = |count, format: &str| {
        let arguments = ["device", "list", "--output-format", format];
        end(&mut with_devices(&folder, count, "", &arguments)).stdout
    };
    let table = list(2, "table");
    assert!(table.contains("\ncuda:0  ") && table.contains("\ncuda:1  "), "{table}");
    assert!(!table.contains("No CUDA devices"));
    let json: serde_json::Value = serde_json::from_str(&list(2, "json")).unwrap();
    assert_eq!(json["cuda"], serde_json::json!({ "available": true }));
    let ids: Vec<&str> = json["devices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|device| device["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["host", "cuda:0", "cuda:1"]);
    let none = list(0, "table");
    assert!(none.contains("No CUDA devices: the CUDA driver"), "{none}");
    assert!(none.contains("finds no device"), "{none}");
}

#[test]
fn a_gpu_is_used_if_there_is_one_and_the_host_if_asked_for() {
    for (device, place) in [
        ("auto", "saxpy on cuda:0 ("),
        ("cuda:0", "saxpy on cuda:0 ("),
        ("cuda:1", "saxpy on cuda:1 ("),
        ("host", "saxpy on host ("),
    ] {
        let ended = saxpy(2, "", &["--device", device]);
        assert_eq!(
            ended.stdout, "output, FP32 [4] = [10.0, 22.0, 34.0, 46.0]\n",
            "{}",
            ended.stderr
        );
        assert!(ended.stderr.starts_with(place), "{}", ended.stderr);
    }
}

#[test]
fn what_a_call_declared_and_held_is_told() {
    // Three vectors of four numbers; staging memory is taken as it is needed.
    let told = saxpy(1, "", &[]).stderr;
    assert!(told.contains("\n  device memory: declared 48 B, peak "), "{told}");
    assert!(told.contains("\n  staging memory: nothing declared, peak "), "{told}");
    let told = saxpy(1, "", &["--output-format", "json"]).stdout;
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let device = &told["memory"]["device"];
    assert_eq!(device["declared"], 48);
    assert!(device["peak"].as_u64().unwrap() >= 48, "{told}");
}

#[test]
fn a_device_that_is_not_there_is_refused_with_those_that_are() {
    let ended = saxpy(2, "", &["--device", "cuda:7"]);
    fails(&ended, 69, "device cuda:7 is not available: there is cuda:0, cuda:1\nhint: ");
    let ended = saxpy(0, "", &["--device", "cuda:0"]);
    fails(&ended, 69, "device cuda:0 is not available: the CUDA driver ");
}

#[test]
fn a_kernel_that_fails_on_its_device_is_70() {
    let lost =
        "kernel `saxpy`: cuda:0 was lost in epoch 0: CUDA_ERROR_ILLEGAL_ADDRESS (CUDA error 700)";
    fails(&saxpy(1, "launch saxpy=700", &[]), 70, lost);
    let refused = "kernel `saxpy`: cannot launch saxpy: CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES";
    fails(&saxpy(1, "cuLaunchKernel=701", &[]), 70, refused);
    fails(&saxpy(1, "cuModuleLoadDataEx=218", &[]), 70, "kernel `saxpy` did not start: ");
}

#[test]
fn memory_that_is_short_is_75_and_memory_that_is_not_there_69() {
    fails(&saxpy(1, "cuMemCreate@1+=2", &[]), 75, "kernel `saxpy`: cuda:0 is out of device memory");
    let folder = Folder::new();
    folder.write("x.npy", &support::f32s(&[1.0; 1 << 20]));
    let arguments = ["call", "saxpy", "-i", "x=x.npy", "-i", "y=x.npy", "-p", "a=2"];
    let mut command = with_devices(&folder, 1, "", &arguments);
    let ended = end(command.env("FAKE_CUDA_MEMORY", (4 << 20).to_string()));
    fails(&ended, 69, "kernel `saxpy`: the request needs ");
    assert!(ended.stderr.contains("the limit of cuda:0 is 4194304\nhint: `--device host`"));
}

#[test]
fn a_gpu_that_cannot_be_used_is_told_and_done_without() {
    let ended = saxpy(1, "cuDevicePrimaryCtxRetain=2", &[]);
    assert_eq!((ended.code, ended.stdout.lines().count()), (0, 1));
    let mut lines = ended.stderr.lines();
    assert_eq!(lines.next(), Some("warning: the GPU cannot be used; `-v` shows why"));
    assert!(lines.next().unwrap().starts_with("saxpy on host ("), "{}", ended.stderr);
    assert!(
        saxpy(1, "cuDevicePrimaryCtxRetain=2", &["-v"]).stderr.contains("CUDA_ERROR_OUT_OF_MEMORY")
    );
    assert_eq!(saxpy(1, "cuDevicePrimaryCtxRetain=2", &["-q"]).stderr, "");
}

#[test]
fn memory_of_each_device_is_recorded_in_a_file_of_its_own() {
    let folder = Folder::with_vectors();
    let call = ["call", "saxpy", "-i", "x=x.npy", "-i", "y=y.npy", "-p", "a=2"];
    let record = ["--record-memory", "trace.csv"];
    let ended = end(&mut with_devices(&folder, 1, "", &[&call[..], &record].concat()));
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(folder.names(), ["trace.cuda0.csv", "trace.host.csv", "x.npy", "y.npy"]);
    let rows = |name: &str| String::from_utf8(folder.read(name)).unwrap().lines().count() - 1;
    let blocks = rows("trace.cuda0.csv") / 2;
    assert!(blocks > 0 && rows("trace.cuda0.csv") % 2 == 0 && rows("trace.host.csv") == 0);
    let told = format!("memory of cuda:0: {blocks} allocations → trace.cuda0.csv\n");
    assert!(ended.stderr.contains(&told), "{}", ended.stderr);
}

#[test]
fn a_bench_measures_every_device() {
    let folder = Folder::new();
    let arguments = ["bench", "--time", "1ms", "--output-format", "json"];
    let ended = end(&mut with_devices(&folder, 1, "", &arguments));
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let report: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(report["cuda"]["available"], true);
    let devices = report["devices"].as_array().unwrap();
    assert_eq!(devices.iter().map(|it| &it["id"]).collect::<Vec<_>>(), ["host", "cuda:0"]);
    for device in devices {
        let figures = |of: &str, key: &str| -> Vec<f64> {
            let rows = device[of].as_array().unwrap().iter();
            rows.map(|row| row[key].as_f64().unwrap()).collect()
        };
        let calls = &device["calls"];
        assert!(calls["p99_ns"].as_f64() >= calls["median_ns"].as_f64(), "{calls}");
        let mut all = vec![calls["per_second"].as_f64(), calls["per_second_at_once"].as_f64()];
        for (of, key) in [
            ("memory", "lease_ns"),
            ("memory", "malloc_ns"),
            ("transfers", "to_device_bytes_per_second"),
            ("transfers", "from_device_bytes_per_second"),
        ] {
            let figures = figures(of, key);
            assert_eq!(figures.len(), 3, "{of} {key}");
            all.extend(figures.into_iter().map(Some));
        }
        assert!(all.iter().all(|figure| figure.is_some_and(|it| it > 0.0)), "{device}");
    }
}

#[test]
fn a_bench_tells_of_a_device_that_breaks() {
    let folder = Folder::new();
    let arguments = ["bench", "--time", "1ms", "--device", "cuda:0"];
    let ended = end(&mut with_devices(&folder, 1, "cuMemcpyHtoDAsync_v2=700", &arguments));
    assert_eq!(ended.code, 70, "{}", ended.stderr);
    assert!(ended.stderr.contains("error: cuda:0: "), "{}", ended.stderr);
    assert_eq!(ended.stdout, "", "no figures of a device that broke");
}

//! The part of the pool bench that needs a CUDA device, on the fake driver.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::ffi::OsStr;
use std::process::Command;

use rustkernel_benches::pool::cuda::Measured;
use tempfile::TempDir;

fn measured(driver: impl AsRef<OsStr>, ledger: impl AsRef<OsStr>) -> Measured {
    let program = Command::new(env!("CARGO_BIN_EXE_pool_cuda"))
        .env("CUDA_DRIVER_LIBRARY", driver)
        .env("FAKE_CUDA_LEDGER", ledger)
        .output()
        .unwrap();
    assert!(program.status.success(), "{program:?}");
    serde_json::from_slice(&program.stdout).unwrap()
}

#[test]
fn every_row_has_figures_and_every_block_goes_back() {
    let driver = std::env::current_exe().unwrap();
    let driver = driver.with_file_name(format!("{DLL_PREFIX}fake_cuda{DLL_SUFFIX}"));
    let folder = TempDir::new().unwrap();
    let ledger = folder.path().join("ledger.json");
    let rows = measured(driver, &ledger).unwrap();
    assert!(rows.as_flattened().iter().all(|nanos| *nanos > 0.0), "{rows:?}");

    let books: serde_json::Value = serde_json::from_slice(&std::fs::read(ledger).unwrap()).unwrap();
    let calls = |name| books[0]["calls"][name].as_u64().unwrap();
    for (taken, given) in [("cuMemAlloc_v2", "cuMemFree_v2"), ("cuMemAllocAsync", "cuMemFreeAsync")]
    {
        assert_eq!(calls(taken), calls(given), "{taken}: {books}");
    }
}

#[test]
fn without_a_driver_the_reason_is_told() {
    let reason = measured("no-such-driver.so", "").unwrap_err();
    assert!(reason.contains("no-such-driver.so"), "{reason}");
}

//! The replay program as it is started.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

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
        (&["--backend", "tpu"], 2),
        (&["--policy", "best-fit", "--backend", "cuda:0"], 1),
    ] {
        let output = replay(arguments, &[&good, &good]);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(output.stdout.is_empty());
        assert!(String::from_utf8(output.stderr).unwrap().starts_with("error: "));
    }
}

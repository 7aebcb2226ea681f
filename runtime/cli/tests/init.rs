//! The project that `runtime init --example` writes runs, by its own manifest.
#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use std::path::Path;
use std::process::Command;

use support::{Folder, end};

#[test]
fn the_project_runs_as_it_is_written() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let folder = Folder::new();
    assert_eq!(folder.run(&["runtime", "init", "--example", "service"]).code, 0);
    let project = folder.path("service");
    // The versions that are tested here, without asking the registry for newer ones.
    std::fs::copy(workspace.join("Cargo.lock"), project.join("Cargo.lock")).unwrap();
    // The crate of this tree in place of the registry's.
    let core = workspace.join("runtime");
    let patch = format!("patch.crates-io.rustkernel-core.path={core:?}");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["run", "--offline", "--quiet", "--config", &patch]).current_dir(&project);
    cargo.env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("init"));
    cargo.env("CARGO_PROFILE_DEV_DEBUG", "0");
    let ended = end(&mut cargo);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(ended.stdout, "[2.0, 4.0, 6.0]\n");
    assert!(!ended.stderr.contains("warning"), "{}", ended.stderr);
}

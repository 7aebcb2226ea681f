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
    // Also inside of somebody's workspace.
    folder.write("Cargo.toml", b"[workspace]\n");
    assert_eq!(folder.run(&["runtime", "init", "--example", "service"]).code, 0);
    let project = folder.path("service");
    // The versions that are tested here, without asking the registry for newer ones.
    std::fs::copy(workspace.join("Cargo.lock"), project.join("Cargo.lock")).unwrap();
    let ended = end(users_cargo().args(["run", "--offline", "--quiet"]).current_dir(&project));
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(ended.stdout, "[2.0, 4.0, 6.0]\n");
    assert!(!ended.stderr.contains("warning"), "{}", ended.stderr);
}

#[test]
fn without_the_librarys_sources_nothing_is_written() {
    let folder = Folder::new();
    let ended = folder.run(&["runtime", "init", "--example", "--library", ".", "service"]);
    assert_eq!((ended.code, folder.names()), (66, vec![]), "{}", ended.stderr);
}

/// Cargo as a user has it, who has none of what this workspace's `.cargo` says.
fn users_cargo() -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.env_clear();
    for name in ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"] {
        cargo.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    cargo.env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("init"));
    cargo.env("CARGO_PROFILE_DEV_DEBUG", "0");
    cargo
}

//! What the specification prints of the command line, of variables and of the file works as it is printed.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails is to say where")]

mod support;

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;
use support::{Folder, end};

/// "CLI Commands".
const COMMANDS: &str = "
# Show runtime status
rustkernel runtime status

# Show current configuration
rustkernel runtime show

# Initialize with preset
rustkernel runtime init --preset production

# Generate config template
rustkernel config generate --preset production --output config.toml

# Validate config file
rustkernel config validate config.toml

# Show environment variables
rustkernel config env
";

/// "TOML Configuration".
const FILE: &str = include_str!("../../../tests/config/production.toml");

/// A folder of its own for everything, and no endpoint but there.
fn shell(folder: &Folder, script: &str) -> support::Ended {
    let alone = "unset RUSTKERNEL_ENDPOINT; set -e
                 export XDG_RUNTIME_DIR=$PWD PATH=$(dirname $RUSTKERNEL):$PATH";
    folder.shell(&format!("{alone}\n{script}"))
}

#[test]
fn every_command_works_as_it_is_printed() {
    let folder = Folder::new();
    let mut service = folder.rustkernel(&["serve", "--listen", "off"]);
    service.env("XDG_RUNTIME_DIR", folder.path("")).env_remove("RUSTKERNEL_ENDPOINT");
    let mut process = service.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("serving")), "it serves");
    let ended = shell(&folder, COMMANDS);
    process.kill().unwrap();
    process.wait().unwrap();
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    for part in
        ["running", "runtime.max_kernel_instances", "config.toml is valid", "RUSTKERNEL_ENV"]
    {
        assert!(ended.stdout.contains(part), "{part}: {}", ended.stdout);
    }
    assert!(folder.names().contains(&"rustkernel.toml".to_owned()), "what `runtime init` writes");
}

/// The value that is in effect under variables.
fn effective(folder: &Folder, variables: &str, key: &str) -> (Value, String) {
    let script = format!("{variables} rustkernel config show --output-format json");
    let ended = shell(folder, &script);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let rows: Vec<Value> = serde_json::from_str(&ended.stdout).unwrap();
    let row = rows.into_iter().find(|row| row["key"] == key).unwrap();
    (row["value"].clone(), row["origin"].as_str().unwrap().to_owned())
}

/// "Environment Variables".
#[test]
fn every_variable_works_as_it_is_listed() {
    let folder = Folder::new();
    for (name, value, key, expected) in [
        ("RUSTKERNEL_ENV", "development", "environment", Value::from("development")),
        ("RUSTKERNEL_ENV", "production", "environment", "production".into()),
        ("RUSTKERNEL_ENV", "hp", "environment", "high_performance".into()),
        ("RUSTKERNEL_SERVICE_NAME", "mine", "service_name", "mine".into()),
        ("RUSTKERNEL_GPU_ENABLED", "true", "runtime.gpu_enabled", true.into()),
        ("RUSTKERNEL_GPU_ENABLED", "false", "runtime.gpu_enabled", false.into()),
        ("RUSTKERNEL_MAX_INSTANCES", "7", "runtime.max_kernel_instances", 7.into()),
        ("RUSTKERNEL_MAX_GPU_MEMORY_GB", "3", "memory.max_gpu_memory", "3GiB".into()),
    ] {
        let found = effective(&folder, &format!("{name}={value}"), key);
        assert_eq!(found, (expected, name.to_owned()));
    }
}

/// "Configuration Fields".
#[test]
fn every_field_has_its_default() {
    let folder = Folder::new();
    let cpus = std::thread::available_parallelism().unwrap().get();
    for (key, expected) in [
        ("runtime.gpu_enabled", Value::from(true)),
        ("runtime.max_kernel_instances", 1000.into()),
        ("runtime.worker_threads", cpus.into()),
        ("runtime.blocking_threads", 512.into()),
        ("runtime.shutdown_timeout", "30s".into()),
    ] {
        assert_eq!(effective(&folder, "", key), (expected, "default".to_owned()));
    }
}

#[test]
fn the_file_works_as_it_is_printed() {
    let folder = Folder::new();
    folder.write("production.toml", FILE.as_bytes());
    let valid = end(&mut folder.rustkernel(&["config", "validate", "production.toml"]));
    assert_eq!((valid.code, &*valid.stderr), (0, ""));
    let set = FILE.lines().filter(|line| line.contains(" = ")).count();
    let shown = folder.run(&["config", "show", "--config", "production.toml"]).stdout;
    let of_file = shown.lines().filter(|line| line.contains(" production.toml:")).count();
    assert_eq!(of_file, set, "{shown}");
}

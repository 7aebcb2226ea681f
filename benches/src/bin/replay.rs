//! Replays recorded allocation traces: what memory a policy needs for them, and how long it takes.
//!
//! `cargo run --release -p rustkernel-benches --bin replay -- [--json] FILE…`
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use rustkernel_benches::replay::{Options, program};

fn main() -> ExitCode {
    program(&Options::parse())
}

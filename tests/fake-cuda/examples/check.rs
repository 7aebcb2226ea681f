//! Says of PTX files whether the interpreter takes them, and if not, why.
//!
//! `cargo run -p fake-cuda --example check -- kernels.ptx …`
#![allow(clippy::print_stdout, reason = "it prints")]

use std::error::Error;
use std::process::ExitCode;

use cust::module::{Module, ModuleJitOption};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    // the reason for a refusal is told on standard error
    fake_cuda::configure(&fake_cuda::Config { verbose: true, ..Default::default() });
    rustkernel_driver::install("fake", fake_cuda::lookup);
    let _context = cust::quick_init()?;
    let mut refused = false;
    for file in std::env::args().skip(1) {
        let loaded = Module::from_ptx(std::fs::read_to_string(&file)?, &[] as &[ModuleJitOption]);
        println!("{file}: {}", if loaded.is_ok() { "taken" } else { "refused" });
        refused |= loaded.is_err();
    }
    Ok(ExitCode::from(u8::from(refused)))
}

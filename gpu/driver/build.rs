//! Puts an inert `libcuda.so` (a linker script) on the search path, so that the `-lcuda` which the
//! build scripts of `cust` and `cust_raw` ask for is satisfied also in a workspace that has no
//! `.cargo/config.toml` of its own and sets only `CUDA_LIBRARY_PATH=/`.

use std::path::PathBuf;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    let out = env::var_os("OUT_DIR")
        .map(PathBuf::from)
        .ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?;
    fs::write(out.join("libcuda.so"), "/* no library: the driver is found at run time */\n")?;
    println!("cargo::rustc-link-search=native={}", out.display());
    Ok(())
}

//! What people see, word for word: help, lists, descriptions, complaints.
//!
//! `TRYCMD=overwrite cargo test -p rustkernel-cli --test golden` writes down what the program says now.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::path::Path;

#[test]
fn the_program_says_what_it_is_expected_to_say() {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    trycmd::TestCases::new()
        .insert_var("[CHECKOUT]", checkout.into_os_string().into_string().unwrap())
        .unwrap()
        .default_bin_path(trycmd::cargo::cargo_bin!("rustkernel"))
        .env("CUDA_DRIVER_LIBRARY", "no-such-driver.so")
        .env("XDG_RUNTIME_DIR", "/nonexistent")
        .case("tests/golden/*.md")
        .case("README.md")
        .case("../../docs/guide/*.md");
}

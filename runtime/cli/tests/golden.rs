//! What people see, word for word: help, lists, descriptions, complaints.
//!
//! `TRYCMD=overwrite cargo test -p rustkernel-cli --test golden` writes down what the program says now.

#[test]
fn the_program_says_what_it_is_expected_to_say() {
    trycmd::TestCases::new()
        .default_bin_path(trycmd::cargo::cargo_bin!("rustkernel"))
        .env("CUDA_DRIVER_LIBRARY", "no-such-driver.so")
        .env("XDG_RUNTIME_DIR", "/nonexistent")
        .case("tests/golden/*.md")
        .case("README.md")
        .case("../../docs/guide/*.md");
}

//! Configuration files of TOML, as whatever bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    rustkernel_fuzz::file(text, rustkernel_core::config::Format::Toml);
});

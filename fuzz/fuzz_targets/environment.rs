//! Variables of the environment, as whatever text.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| rustkernel_fuzz::environment(text));

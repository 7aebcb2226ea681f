//! Bodies of inference requests: two bytes of a header's value, then whatever.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rustkernel_fuzz::infer(bytes));

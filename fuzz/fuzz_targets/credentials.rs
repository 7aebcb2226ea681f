//! What callers say of who they are: headers as they come, and tokens that the right key has signed.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rustkernel_fuzz::credentials(bytes));

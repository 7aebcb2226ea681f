//! The examples are beside this folder: `cargo run --release -p rustkernel-examples --example 01_start_stop`.
//!
//! The guide's Rust code is tested here: `cargo test -p rustkernel-examples --doc`.

#[cfg(doctest)]
mod guide {
    #[doc = include_str!("../../docs/guide/kernels.md")]
    mod kernels {}
    #[doc = include_str!("../../docs/guide/memory.md")]
    mod memory {}
    #[doc = include_str!("../../docs/guide/devices.md")]
    mod devices {}
    #[doc = include_str!("../../docs/guide/testing.md")]
    mod testing {}
    #[doc = include_str!("../../docs/guide/supervision.md")]
    mod supervision {}
    #[doc = include_str!("../../docs/guide/configuration.md")]
    mod configuration {}
}

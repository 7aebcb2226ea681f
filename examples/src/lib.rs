//! The examples are beside this folder: `cargo run --release -p rustkernel-examples --example 01_start_stop`.

//! The pool bench's mixes on the system's allocator, which the bench starts (`benches/pool.rs`).
#![forbid(unsafe_code)]

use std::alloc::System;

use rustkernel_benches::pool::print_global;

#[global_allocator]
static ALLOCATOR: System = System;

fn main() {
    print_global();
}

//! The pool bench's mixes on mimalloc, which the bench starts (`benches/pool.rs`).
#![forbid(unsafe_code)]

use mimalloc::MiMalloc;
use rustkernel_benches::pool::print_global;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() {
    print_global();
}

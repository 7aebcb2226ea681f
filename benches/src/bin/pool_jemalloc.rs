//! The pool bench's mixes on jemalloc, which the bench starts (`benches/pool.rs`).
#![forbid(unsafe_code)]

use rustkernel_benches::pool::print_global;
use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() {
    print_global();
}

//! The pool bench's mixes on memory of a CUDA device, which the bench starts (`benches/pool.rs`).
#![forbid(unsafe_code)]

fn main() {
    rustkernel_benches::pool::cuda::print();
}

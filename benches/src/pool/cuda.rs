//! The mixes on memory of a CUDA device: ours, and what the driver has.
//!
//! A call of the driver takes microseconds or more, so that its rows are measured with fewer pairs.

use rustkernel_gpu::cuda;
use rustkernel_gpu::cuda::ordered::{OrderedBlock, StreamOrdered};

use super::{Hand, Leases, Peer, measure, measure_few};

/// The rows, in the order of [`measured`]'s figures.
pub const PEERS: [&str; 3] = [
    "our lease, cuda:0",
    "cuMemAlloc/cuMemFree + our books, cuda:0",
    "cuMemAllocAsync/cuMemFreeAsync, cuda:0",
];

/// Nanoseconds a pair for each of [`PEERS`], or why there are none.
pub type Measured = Result<[[f64; 3]; 3], String>;

/// The driver's stream-ordered memory of the first device, a stream for each thread.
struct Ordered;

impl Peer for Ordered {
    type Hand = StreamOrdered;

    fn hand(&self) -> StreamOrdered {
        StreamOrdered::open(0).expect("a stream on a device that was opened")
    }
}

impl Hand for StreamOrdered {
    type Block = OrderedBlock;

    fn allocate(&mut self, bytes: usize) -> OrderedBlock {
        StreamOrdered::allocate(self, bytes).expect("memory of the device")
    }

    fn free(&mut self, block: OrderedBlock) {
        StreamOrdered::free(self, block).expect("a block of this stream");
    }
}

/// The figures of the first CUDA device. Without pooling our pool calls `cuMemAlloc` and `cuMemFree`
/// each time, and keeps its books beside.
pub fn measured() -> Measured {
    let device = cuda::open(0).map_err(|error| error.to_string())?;
    let [pooled, unpooled] = [true, false].map(|pooling| Leases::on(device.clone(), pooling));
    Ok([measure(&pooled), measure_few(&unpooled), measure_few(&Ordered)])
}

/// What the program `pool_cuda` does: prints its figures, or why there are none, for the bench that
/// started it.
///
/// # Panics
/// If figures cannot be written as JSON.
pub fn print() {
    println!("{}", serde_json::to_string(&measured()).expect("invariant: numbers and a text"));
}

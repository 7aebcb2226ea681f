//! A kernel declares what it leases: what it holds at most is what it has declared, rounded up to
//! the pool's blocks, and not less.

use rustkernel_core::kernel::{CallError, Rejection};
use rustkernel_core::memory::MemoryConfig;
use rustkernel_gpu::memory::magazine::LARGEST;
use rustkernel_gpu::memory::{BlockSizes, MemoryKind};
use rustkernel_gpu::{DeviceId, DeviceKind};
use rustkernel_tests::builtin::{Builtin, Request};
use rustkernel_tests::reference::{
    black_scholes, conv2d, dot, gaussian_blur, gemm, histogram, image, pagerank, reduce, saxpy,
    scan, sobel, softmax, vector_add,
};
use rustkernel_tests::running::Running;

/// The limit under which a declaration is refused, and so shown.
const NARROW: u64 = 1 << 20;

/// Runs a case that declares more than a mebibyte of memory of that kind.
fn declares_what_it_leases<C: Builtin>(device: DeviceId, kind: MemoryKind, case: &C) {
    let request = C::request(&case.inputs());
    let declared = declared::<C>(device, kind, request.clone());

    let running = Running::<C>::start(device);
    running.call(request).unwrap_or_else(|error| panic!("{case:?}: {error}"));
    let peak = match kind {
        MemoryKind::Device => {
            let learned = running.stats().memory.device;
            assert_eq!(learned.declared, declared, "{case:?}");
            learned.max
        }
        MemoryKind::Staging => {
            running.runtime().memory_of(device).unwrap().stats().staging.peak_live
        }
    };
    // A block is at most an eighth larger than what it was leased for, or a page of the host.
    let most = declared + declared / 8 + 16 * 4096;
    assert!((declared..=most).contains(&peak), "{case:?} declares {declared} and leases {peak}");
    running.stop();
}

/// What a request declares: a runtime that has less says what it would have to commit, which is more
/// by what rounding to blocks may cost.
fn declared<C: Builtin>(device: DeviceId, wanted: MemoryKind, request: Request<C>) -> u64 {
    let narrow = MemoryConfig {
        max_gpu_memory: NARROW,
        max_staging_memory: NARROW,
        ..MemoryConfig::default()
    };
    let running = Running::<C>::start_within(device, narrow);
    let refused = running.call(request).map(drop).unwrap_err();
    let CallError::Rejected { rejection: Rejection::NeverFits { kind, asked, .. }, .. } = refused
    else {
        panic!("not refused for its declaration: {refused}")
    };
    assert_eq!(kind, wanted);
    running.stop();
    let sizes = match device.kind() {
        DeviceKind::Host => BlockSizes { grain: 4096, classes_to: LARGEST, step: 4096 },
        DeviceKind::Cuda => BlockSizes::classes(512),
    };
    let (mut low, mut high) = (0, asked);
    while low < high {
        let middle = low.midpoint(high);
        if sizes.reservation_bytes(middle) < asked { low = middle + 1 } else { high = middle }
    }
    assert_eq!(sizes.reservation_bytes(low), asked);
    low
}

#[test]
fn host() {
    let on_host = DeviceId::Host;
    let staging = MemoryKind::Staging;
    let convolution = conv2d::Conv2d {
        batch: 1,
        c_in: 128,
        height: 16,
        width: 16,
        c_out: 4,
        kernel_height: 7,
        kernel_width: 7,
        stride: 1,
        padding: 0,
    };
    declares_what_it_leases(on_host, staging, &convolution);
    let shape = image::ImageShape { height: 600, width: 500, channels: 3 };
    let blur = gaussian_blur::GaussianBlur { shape, sigma: 1.0, seed: 1 };
    declares_what_it_leases(on_host, staging, &blur);
    declares_what_it_leases(on_host, staging, &large_graph());
    let counts = histogram::Histogram { n: 1_000, bins: 300_000, low: -1.0, high: 1.0, seed: 1 };
    declares_what_it_leases(on_host, MemoryKind::Device, &counts);
}

/// Every kernel on a CUDA device.
pub(crate) fn hold(device: DeviceId) {
    let memory = MemoryKind::Device;
    let seed = 1;
    let n = 300_001;
    declares_what_it_leases(device, memory, &vector_add::VectorAdd { n, seed });
    declares_what_it_leases(device, memory, &saxpy::Saxpy { n, seed });
    declares_what_it_leases(device, memory, &dot::Dot { n, seed });
    for op in [reduce::Op::Sum, reduce::Op::Max] {
        let case = reduce::Reduce { n, op, nan: false, seed };
        declares_what_it_leases(device, memory, &case);
    }
    declares_what_it_leases(device, memory, &scan::Scan { n, infinite: false, seed });
    for bins in [100, 65_537] {
        let case = histogram::Histogram { n, bins, low: -1.0, high: 1.0, seed };
        declares_what_it_leases(device, memory, &case);
    }
    declares_what_it_leases(device, memory, &gemm::Gemm { m: 513, n: 5, k: 600, seed });
    let case = softmax::Softmax { rows: 601, columns: 300, scale: 1.0, special: false, seed };
    declares_what_it_leases(device, memory, &case);
    let case = conv2d::Conv2d {
        batch: 1,
        c_in: 1,
        height: 600,
        width: 500,
        c_out: 1,
        kernel_height: 1,
        kernel_width: 1,
        stride: 4,
        padding: 0,
    };
    declares_what_it_leases(device, memory, &case);
    let shape = image::ImageShape { height: 600, width: 700, channels: 3 };
    declares_what_it_leases(device, memory, &sobel::Sobel { shape, seed });
    let shape = image::ImageShape { height: 300, width: 250, channels: 3 };
    let case = gaussian_blur::GaussianBlur { shape, sigma: 1.0, seed };
    declares_what_it_leases(device, memory, &case);
    let case = black_scholes::BlackScholes {
        n: 20_000,
        rate: 0.0,
        volatility: 0.2,
        paths: 4,
        seed,
        unit: 1.0,
    };
    declares_what_it_leases(device, memory, &case);
    declares_what_it_leases(device, memory, &large_graph());
}

fn large_graph() -> pagerank::PageRank {
    pagerank::PageRank {
        vertices: 40_000,
        edges: 150_000,
        star: false,
        damping: 0.85,
        tolerance: 0.0,
        iterations: 1,
        seed: 1,
    }
}

//! What a request is on a CUDA device: uploads, the launches that its `kernel.cu` asks for, and
//! downloads of the results. Nothing waits for the device but those.

use fake_cuda::{Ledger, ledger};
use rustkernel_gpu::DeviceId;
use rustkernel_tests::builtin::Builtin;
use rustkernel_tests::reference::{
    Case, black_scholes, conv2d, dot, gaussian_blur, gemm, histogram, image, pagerank, reduce,
    saxpy, scan, sobel, softmax, vector_add,
};
use rustkernel_tests::running::Running;

/// Runs a case on the fake's first device, and compares the launches of each entry and the number
/// of downloads.
fn takes<C: Builtin>(case: &C, downloads: u64, launches: &[(&str, u64)]) {
    let running = Running::<C>::start(DeviceId::Cuda(0));
    let before = ledger(0);
    running.call(C::request(&case.inputs())).unwrap();
    let after = ledger(0);
    let launched = |ledger: &Ledger, entry: &str| ledger.launches.get(entry).copied().unwrap_or(0);
    let launched: Vec<(&str, u64)> = (after.launches.keys())
        .map(|entry| (entry.as_str(), launched(&after, entry) - launched(&before, entry)))
        .filter(|(_, count)| *count > 0)
        .collect();
    assert_eq!(launched, launches, "{case:?}");
    let called = |name: &str| after.calls_of(name) - before.calls_of(name);
    assert_eq!(called("cuMemcpyDtoHAsync_v2"), downloads, "{case:?}");
    for name in after.calls.keys().filter(|name| name.contains("Synchronize")) {
        assert_eq!(called(name), 0, "{case:?}: {name}");
    }
    running.stop();
}

/// Every kernel.
pub(crate) fn is_kept(_: DeviceId) {
    let (n, seed) = (1009, 1);
    takes(&vector_add::VectorAdd { n, seed }, 1, &[("vector_add", 1)]);
    takes(&saxpy::Saxpy { n, seed }, 1, &[("saxpy", 1)]);
    takes(&dot::Dot { n, seed }, 1, &[("dot_final", 1), ("dot_partial", 1)]);
    let sum = [("reduce_sum_final", 1), ("reduce_sum_partial", 1)];
    let (min, max) = ([("reduce_min", 2)], [("reduce_max", 2)]);
    for (op, launches) in [
        (reduce::Op::Sum, &sum[..]),
        (reduce::Op::Mean, &sum),
        (reduce::Op::Min, &min),
        (reduce::Op::Max, &max),
    ] {
        takes(&reduce::Reduce { n, op, nan: false, seed }, 1, launches);
    }
    let launches = [("scan_offsets", 1), ("scan_tile_sums", 1), ("scan_tiles", 1)];
    takes(&scan::Scan { n, infinite: false, seed }, 1, &launches);
    for (bins, entry) in [(8192, "histogram_shared"), (8193, "histogram_global")] {
        let case = histogram::Histogram { n, bins, low: -1.0, high: 1.0, seed };
        takes(&case, 1, &[("histogram_edges", 1), (entry, 1)]);
    }
    takes(&gemm::Gemm { m: 65, n: 63, k: 17, seed }, 1, &[("gemm", 1)]);
    for (columns, entry) in [(1024, "softmax_warp"), (1025, "softmax_block")] {
        let case = softmax::Softmax { rows: 3, columns, scale: 1.0, special: false, seed };
        takes(&case, 1, &[(entry, 1)]);
    }
    takes(&conv2d::Conv2d::awkward()[1], 1, &[("conv2d", 1)]);
    let shape = image::ImageShape { height: 11, width: 13, channels: 3 };
    takes(&sobel::Sobel { shape, seed }, 1, &[("sobel", 1)]);
    let launches = [("gaussian_blur_columns", 1), ("gaussian_blur_rows", 1)];
    takes(&gaussian_blur::GaussianBlur { shape, sigma: 1.0, seed }, 1, &launches);
    let case =
        black_scholes::BlackScholes { n: 3, rate: 0.0, volatility: 0.2, paths: 9, seed, unit: 1.0 };
    takes(&case, 4, &[("black_scholes_paths", 1), ("black_scholes_prices", 1)]);
    for (iterations, batches) in [(0, 0), (8, 1), (20, 3)] {
        let case = pagerank::PageRank { iterations, ..graph(0.0) };
        takes(&case, batches + 1, &pagerank_launches(iterations.into()));
    }
    // Converges in the second batch: what was queued there beyond that changes nothing.
    takes(&graph(1e-4), 2 + 1, &pagerank_launches(16));
}

fn graph(tolerance: f32) -> pagerank::PageRank {
    let (vertices, edges, star, damping) = (100, 300, false, 0.85);
    pagerank::PageRank { vertices, edges, star, damping, tolerance, iterations: 100, seed: 1 }
}

/// The state is downloaded after each batch of 8 iterations, the ranks at the end.
fn pagerank_launches(iterations: u64) -> Vec<(&'static str, u64)> {
    let launches = [
        ("pagerank_check", iterations),
        ("pagerank_finish", 1),
        ("pagerank_gather", iterations),
        ("pagerank_spread", iterations),
        ("pagerank_start", 1),
    ];
    launches.into_iter().filter(|(_, count)| *count > 0).collect()
}

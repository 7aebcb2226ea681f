//! Requests that no kernel can answer are refused, in the same words on every device.

use rustkernel_core::kernel::{CallError, KernelError, Rejection, Tensor};
use rustkernel_core::memory::MemoryConfig;
use rustkernel_core::message::Fields;
use rustkernel_gpu::{DeviceId, DeviceKind, Element};
use rustkernel_tests::running::{builder_for, executor, shut_down};

fn empty() -> Fields {
    Fields::new()
}

fn vector<T: Element + rustkernel_core::kernel::AnyElement>(name: &str, values: &[T]) -> Fields {
    empty().with_tensor(name, Tensor::from(values.to_vec()))
}

fn zeros<T, const N: usize>(fields: Fields, name: &str, shape: [usize; N]) -> Fields
where
    T: rustkernel_core::kernel::AnyElement,
{
    fields.with_tensor(name, Tensor::<T>::zeros(shape))
}

fn graph(offsets: &[i32], targets: &[i32]) -> Fields {
    vector("offsets", offsets).with_tensor("targets", Tensor::from(targets.to_vec()))
}

fn options(spot: f32, maturity: f32) -> Fields {
    vector("spot", &[100.0, spot])
        .with_tensor("strike", Tensor::from(vec![100.0f32; 2]))
        .with_tensor("maturity", Tensor::from(vec![1.0, maturity]))
}

fn convolution(kernel: [usize; 2]) -> Fields {
    let [height, width] = kernel;
    let fields = zeros::<f32, 4>(empty(), "input", [1, 2, 5, 4]);
    zeros::<f32, 4>(fields, "weight", [3, 2, height, width])
}

/// A kernel, a request, and what it is told.
type Refusal = (&'static str, Fields, &'static str);

/// Requests that do not fit the signature.
fn misfits() -> Vec<Refusal> {
    let pair = |a: usize, b: usize| zeros::<f32, 1>(zeros::<f32, 1>(empty(), "a", [a]), "b", [b]);
    let gemm = zeros::<f32, 2>(zeros::<f32, 2>(empty(), "a", [2, 3]), "b", [4, 5]);
    let weight = zeros::<f32, 4>(empty(), "weight", [1, 4, 1, 1]);
    let conv2d = zeros::<f32, 4>(weight, "input", [1, 2, 3, 3]);
    vec![
        ("vector_add", pair(3, 2), "`b` has the shape [2]; it has to be [n], and n is 3 by `a`"),
        ("vector_add", vector::<f32>("a", &[]), "`b` is missing; it is a FP32 tensor [n]"),
        ("gemm", gemm, "`b` has the shape [4, 5]; it has to be [k, n], and k is 3 by `a`"),
        (
            "conv2d",
            conv2d,
            "`weight` has the shape [1, 4, 1, 1]; it has to be [out_channels, in_channels, \
             kernel_height, kernel_width], and in_channels is 2 by `input`",
        ),
        (
            "sobel",
            zeros::<u8, 2>(empty(), "image", [4, 4]),
            "`image` has the shape [4, 4]; it has to be [height, width, channels]",
        ),
        (
            "histogram",
            vector("input", &[1.0f32]).with_parameter("bin", 3u32),
            "there is no parameter `bin`; did you mean `bins`?",
        ),
    ]
}

/// Requests that the algorithms refuse.
fn refusals() -> Vec<Refusal> {
    let image = |channels| zeros::<u8, 3>(empty(), "image", [3, 4, channels]);
    let histogram = |bins: u32, low: f32, high: f32| {
        vector("input", &[1.0f32])
            .with_parameter("bins", bins)
            .with_parameter("low", low)
            .with_parameter("high", high)
    };
    let reduce =
        |values: &[f32], op: &str| vector("input", values).with_parameter("op", op.to_owned());
    let nan = f32::NAN;
    vec![
        (
            "reduce",
            reduce(&[1.0], "average"),
            "there is no reduction `average`, only sum, min, max and mean",
        ),
        ("reduce", reduce(&[], "min"), "Min is not defined for an empty input"),
        ("reduce", reduce(&[], "max"), "Max is not defined for an empty input"),
        ("reduce", reduce(&[], "mean"), "Mean is not defined for an empty input"),
        ("histogram", histogram(0, 0.0, 1.0), "a histogram has at least one bin"),
        (
            "histogram",
            histogram(4, 2.0, 1.0),
            "the bounds must be finite and low < high, not 2 and 1",
        ),
        (
            "histogram",
            histogram(4, 0.0, nan),
            "the bounds must be finite and low < high, not 0 and NaN",
        ),
        (
            "histogram",
            histogram(u32::MAX, 0.0, 1.0),
            "a histogram has at most 16777216 bins, not 4294967295",
        ),
        (
            "histogram",
            histogram(20_000, 1.0, 1.001),
            "20000 bins between 1 and 1.001 are narrower than float32 can tell apart",
        ),
        ("gaussian_blur", image(2), "an image has 1, 3 or 4 channels, not 2"),
        (
            "gaussian_blur",
            image(3).with_parameter("sigma", -1.0f32),
            "sigma must be between 0 and 64, not -1",
        ),
        (
            "gaussian_blur",
            zeros::<u8, 3>(empty(), "image", [0, 4, 3]).with_parameter("sigma", 65.0f32),
            "sigma must be between 0 and 64, not 65",
        ),
        ("sobel", image(0), "an image has 1, 3 or 4 channels, not 0"),
        ("sobel", image(5), "an image has 1, 3 or 4 channels, not 5"),
        ("conv2d", convolution([1, 1]).with_parameter("stride", 0u32), "the stride is at least 1"),
        ("conv2d", convolution([0, 2]), "a kernel of 0 x 2 covers nothing"),
        (
            "conv2d",
            convolution([2, 7]).with_parameter("padding", 1u32),
            "a kernel of 7 columns does not fit into an input of 6, padding included",
        ),
        (
            "black_scholes",
            options(100.0, 1.0).with_parameter("paths", 0u32),
            "a simulation has at least one path",
        ),
        (
            "black_scholes",
            options(100.0, 1.0).with_parameter("rate", f32::INFINITY),
            "the rate must be finite, not inf",
        ),
        (
            "black_scholes",
            options(100.0, 1.0).with_parameter("volatility", -0.2f32),
            "the volatility must be finite and not negative, not -0.2",
        ),
        ("black_scholes", options(-1.0, 1.0), "spot[1] must be finite and not negative, not -1"),
        (
            "black_scholes",
            options(1.0, nan),
            "maturity[1] must be finite and not negative, not NaN",
        ),
        (
            "black_scholes",
            options(100.0, 1.0).with_parameter("rate", 100.0f32),
            "the prices of option 0 are beyond float32, at its maturity or today; take a rate \
             nearer to 0, a shorter maturity, less volatility or a larger unit of prices",
        ),
        (
            "black_scholes",
            options(1.0, 90.0).with_parameter("rate", 1.0f32),
            "the prices of option 1 are beyond float32, at its maturity or today; take a rate \
             nearer to 0, a shorter maturity, less volatility or a larger unit of prices",
        ),
        (
            "black_scholes",
            options(1.0, 90.0).with_parameter("rate", -1.0f32),
            "the prices of option 1 are beyond float32, at its maturity or today; take a rate \
             nearer to 0, a shorter maturity, less volatility or a larger unit of prices",
        ),
        ("pagerank", graph(&[], &[]), "offsets need at least one element"),
        ("pagerank", graph(&[1, 1], &[0]), "offsets start at 0, not at 1"),
        ("pagerank", graph(&[0, 2, 1], &[0]), "offsets[2] is less than the offset before"),
        ("pagerank", graph(&[0, 2], &[0]), "offsets end at 2, but there are 1 targets"),
        ("pagerank", graph(&[0, 1, 2], &[1, 2]), "targets[1] is 2, but the graph has 2 vertices"),
        (
            "pagerank",
            graph(&[0, 1], &[0]).with_parameter("damping", 1.5f32),
            "damping must be between 0 and 1, not 1.5",
        ),
        (
            "pagerank",
            graph(&[0, 1], &[0]).with_parameter("tolerance", -1.0f32),
            "tolerance must not be negative or NaN, but is -1",
        ),
    ]
}

/// Requests whose output is larger than the memory of the host, of 1 MiB here, and how large it is.
fn too_large_for_the_host() -> Vec<(&'static str, Fields, u64)> {
    let gemm = zeros::<f32, 2>(zeros::<f32, 2>(empty(), "a", [1000, 1]), "b", [1, 1000]);
    let nothing = zeros::<f32, 2>(empty(), "a", [1 << 40, 0]);
    vec![
        ("gemm", gemm, 4_000_000),
        ("gemm", zeros::<f32, 2>(nothing, "b", [0, 1 << 40]), u64::MAX),
        ("conv2d", convolution([1, 1]).with_parameter("padding", u32::MAX), u64::MAX),
    ]
}

/// Requests with sizes beyond what the entries take.
fn too_large_for_cuda() -> Vec<Refusal> {
    let gemm =
        |a: [usize; 2], b: [usize; 2]| zeros::<f32, 2>(zeros::<f32, 2>(empty(), "a", a), "b", b);
    vec![
        (
            "gemm",
            gemm([1 << 32, 0], [0, 1]),
            "the number of rows is 4294967296; on a CUDA device it is at most 4294967295",
        ),
        (
            "gemm",
            gemm([1, 0], [0, 1 << 32]),
            "the number of columns is 4294967296; on a CUDA device it is at most 4294967295",
        ),
        (
            "conv2d",
            convolution([1, 1]).with_parameter("padding", 1 << 30),
            "the padded height is 2147483653; on a CUDA device it is at most 2147483647",
        ),
        (
            "conv2d",
            convolution([1, 1]).with_parameter("padding", 1 << 20),
            "the number of output pixels is 4398065385492; on a CUDA device it is at most \
             2147483647",
        ),
    ]
}

/// Makes the requests of all kernels on `device`, and compares what they are told.
pub(crate) fn are_refused(device: DeviceId) {
    let memory = MemoryConfig { max_gpu_memory: 1 << 20, ..MemoryConfig::default() };
    let (too_large, never_fit) = match device.kind() {
        DeviceKind::Host => (Vec::new(), too_large_for_the_host()),
        DeviceKind::Cuda => (too_large_for_cuda(), Vec::new()),
    };
    let mut builder = builder_for(device).with_memory(memory);
    for spec in rustkernel_kernels::all() {
        builder = builder.with_any_kernel(spec);
    }
    let (runtime, executor) = (builder.build().unwrap(), executor());
    executor.block_on(runtime.start()).unwrap();
    let error = |name: &str, fields: Fields| {
        let call = runtime.call_by_name(name, fields).unwrap();
        executor.block_on(call).unwrap_err()
    };
    for (name, fields, expected) in misfits() {
        match error(name, fields.clone()) {
            CallError::Rejected { rejection: Rejection::Invalid(error), request } => {
                assert_eq!(error.to_string(), expected, "{name}");
                assert_eq!(request.tensors, fields.tensors, "{name}: the request comes back");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    for (name, fields, expected) in refusals().into_iter().chain(too_large) {
        match error(name, fields) {
            CallError::Failed(KernelError::InvalidRequest(reason)) => {
                assert_eq!(reason, expected, "{name}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    for (name, fields, bytes) in never_fit {
        match error(name, fields) {
            CallError::Rejected {
                rejection: Rejection::NeverFits { asked, limit, .. }, ..
            } => {
                assert!(asked >= bytes && limit == 1 << 20, "{name}: {asked}, {limit}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    for kernel in runtime.stats().kernels {
        assert_eq!((kernel.restarts, kernel.devices), (0, vec![device]), "{}", kernel.name);
    }
    shut_down(&executor, &runtime);
}

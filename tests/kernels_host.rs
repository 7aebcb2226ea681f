//! The kernels' host implementations against the `f64` references, their errors, and that neither
//! the number of threads nor the amount of scratch memory shows in a result.

use rayon::ThreadPoolBuilder;
use rustkernel_kernels::black_scholes::host::{self as black_scholes, BlackScholesError};
use rustkernel_kernels::conv2d::host::{self as conv2d, Conv2dError};
use rustkernel_kernels::dot::host::dot;
use rustkernel_kernels::gaussian_blur::host::{self as gaussian_blur, BlurError};
use rustkernel_kernels::gemm::host::{self as gemm, gemm};
use rustkernel_kernels::histogram::host::{self as histogram, Bins, BinsError, histogram};
use rustkernel_kernels::pagerank::host::{self as pagerank, Graph, GraphError, PageRankError};
use rustkernel_kernels::reduce::host::{self as reduce, reduce};
use rustkernel_kernels::saxpy::host::saxpy;
use rustkernel_kernels::scan::host::scan;
use rustkernel_kernels::sobel::host::sobel;
use rustkernel_kernels::softmax::host::{self as softmax, softmax};
use rustkernel_kernels::vector_add::host::vector_add;
use rustkernel_kernels::{ChannelsError, ImageShape, LengthError, until};
use rustkernel_tests::reference::{self, Case, Effort, conform};

/// The kernels behind the references' inputs and outputs.
mod run {
    use super::*;

    pub(super) fn vector_add(inputs: &reference::vector_add::Inputs) -> Vec<f32> {
        let mut c = vec![f32::NAN; inputs.a.len()];
        super::vector_add(&inputs.a, &inputs.b, &mut c).expect("lengths match");
        c
    }

    pub(super) fn saxpy(inputs: &reference::saxpy::Inputs) -> Vec<f32> {
        let mut output = vec![f32::NAN; inputs.x.len()];
        super::saxpy(inputs.a, &inputs.x, &inputs.y, &mut output).expect("lengths match");
        output
    }

    pub(super) fn dot(inputs: &reference::dot::Inputs) -> f32 {
        super::dot(&inputs.x, &inputs.y).expect("lengths match")
    }

    pub(super) fn reduce(inputs: &reference::reduce::Inputs) -> f32 {
        let op = match inputs.op {
            reference::reduce::Op::Sum => reduce::Op::Sum,
            reference::reduce::Op::Min => reduce::Op::Min,
            reference::reduce::Op::Max => reduce::Op::Max,
            reference::reduce::Op::Mean => reduce::Op::Mean,
        };
        super::reduce(&inputs.input, op).expect("not empty")
    }

    pub(super) fn scan(inputs: &reference::scan::Inputs) -> Vec<f32> {
        let mut output = vec![f32::NAN; inputs.input.len()];
        super::scan(&inputs.input, &mut output).expect("lengths match");
        output
    }

    pub(super) fn histogram(inputs: &reference::histogram::Inputs) -> Vec<u64> {
        let bins = Bins::new(inputs.bins, inputs.low, inputs.high).expect("bins are wide enough");
        let mut counts = vec![u64::MAX; bins.count()];
        let scratch = histogram::scratch_bytes(inputs.input.len(), bins.count());
        let mut scratch = vec![u64::MAX; scratch / size_of::<u64>()];
        super::histogram(&bins, &inputs.input, &mut counts, &mut scratch).expect("lengths match");
        counts
    }

    pub(super) fn gemm(inputs: &reference::gemm::Inputs) -> Vec<f32> {
        let &reference::gemm::Inputs { m, n, k, .. } = inputs;
        let mut c = vec![f32::NAN; m * n];
        super::gemm(gemm::Shape { m, n, k }, &inputs.a, &inputs.b, &mut c).expect("lengths match");
        c
    }

    pub(super) fn softmax(inputs: &reference::softmax::Inputs) -> Vec<f32> {
        let shape = softmax::Shape { rows: inputs.rows, columns: inputs.columns };
        let mut output = vec![f32::INFINITY; inputs.input.len()];
        super::softmax(shape, &inputs.input, &mut output).expect("lengths match");
        output
    }

    pub(super) fn conv2d_shape(shape: &reference::conv2d::Conv2d) -> conv2d::Shape {
        conv2d::Shape {
            batch: shape.batch,
            c_in: shape.c_in,
            height: shape.height,
            width: shape.width,
            c_out: shape.c_out,
            kernel_height: shape.kernel_height,
            kernel_width: shape.kernel_width,
            stride: shape.stride,
            padding: shape.padding,
        }
    }

    pub(super) fn conv2d(inputs: &reference::conv2d::Inputs) -> Vec<f32> {
        let shape = conv2d_shape(&inputs.shape);
        let mut output = vec![f32::NAN; shape.output_len().expect("valid shape")];
        let mut scratch = vec![f32::NAN; conv2d::scratch_bytes(&shape).expect("valid shape") / 4];
        conv2d::conv2d(&shape, &inputs.input, &inputs.weight, &mut output, &mut scratch)
            .expect("lengths match");
        output
    }

    pub(super) fn image_shape(shape: &reference::image::ImageShape) -> ImageShape {
        ImageShape::new(shape.height, shape.width, shape.channels).expect("1, 3 or 4 channels")
    }

    pub(super) fn gaussian_blur(inputs: &reference::gaussian_blur::Inputs) -> Vec<u8> {
        let shape = image_shape(&inputs.shape);
        let mut output = vec![0; shape.len()];
        let mut scratch = vec![f32::NAN; gaussian_blur::scratch_bytes(&shape) / 4];
        let image = &inputs.image;
        gaussian_blur::gaussian_blur(&shape, inputs.sigma, image, &mut output, &mut scratch)
            .expect("lengths match");
        output
    }

    pub(super) fn sobel(inputs: &reference::sobel::Inputs) -> Vec<u8> {
        let mut output = vec![7; inputs.shape.height * inputs.shape.width];
        super::sobel(&image_shape(&inputs.shape), &inputs.image, &mut output)
            .expect("lengths match");
        output
    }

    pub(super) fn black_scholes(
        inputs: &reference::black_scholes::Inputs,
    ) -> reference::black_scholes::Output {
        let empty = vec![f32::INFINITY; inputs.spot.len()];
        let [mut call, mut put, mut call_error, mut put_error] = [const { Vec::new() }; 4];
        for output in [&mut call, &mut put, &mut call_error, &mut put_error] {
            *output = empty.clone();
        }
        let options = black_scholes::Options {
            spot: &inputs.spot,
            strike: &inputs.strike,
            maturity: &inputs.maturity,
        };
        let model = black_scholes::Model {
            rate: inputs.rate,
            volatility: inputs.volatility,
            paths: inputs.paths,
            seed: inputs.seed,
        };
        let prices = black_scholes::Prices {
            call: &mut call,
            put: &mut put,
            call_error: &mut call_error,
            put_error: &mut put_error,
        };
        black_scholes::black_scholes(options, &model, prices).expect("valid options");
        reference::black_scholes::Output { call, put, call_error, put_error }
    }

    pub(super) fn pagerank(inputs: &reference::pagerank::Inputs) -> reference::pagerank::Output {
        let graph = Graph::new(&inputs.offsets, &inputs.targets).expect("valid graph");
        let settings = pagerank::Settings {
            damping: inputs.damping,
            tolerance: inputs.tolerance,
            iterations: inputs.iterations,
        };
        let mut ranks = vec![f32::NAN; graph.vertices()];
        let mut scratch =
            vec![f64::NAN; pagerank::scratch_bytes(graph.vertices(), graph.edges()) / 8];
        let iterations =
            pagerank::pagerank(&graph, &settings, &mut ranks, &mut scratch).expect("lengths match");
        reference::pagerank::Output { ranks, iterations }
    }
}

/// Has a macro make something for each kernel.
macro_rules! every_kernel {
    ($make:ident) => {
        $make! {
            vector_add: VectorAdd,
            saxpy: Saxpy,
            dot: Dot,
            reduce: Reduce,
            scan: Scan,
            histogram: Histogram,
            gemm: Gemm,
            softmax: Softmax,
            conv2d: Conv2d,
            gaussian_blur: GaussianBlur,
            sobel: Sobel,
            black_scholes: BlackScholes,
            pagerank: PageRank,
        }
    };
}

macro_rules! conforms {
    ($($kernel:ident: $case:ident,)*) => {$(
        #[test]
        fn $kernel() {
            conform::<reference::$kernel::$case>(Effort::FULL, run::$kernel);
        }
    )*};
}

/// One test per kernel: all its cases.
mod conforms_to_the_reference {
    use super::*;

    every_kernel!(conforms);
}

macro_rules! given_up {
    ($($kernel:ident: $case:ident,)*) => {$(
        #[test]
        fn $kernel() {
            for case in reference::$kernel::$case::large() {
                let inputs = case.inputs();
                let output = until(|| true, || run::$kernel(&inputs));
                assert!(reference::$kernel::$case::check(&inputs, &output).is_err(), "{case:?}");
            }
        }
    )*};
}

/// One test per kernel: of what nobody waits for nothing is computed.
mod does_nothing_once_given_up {
    use super::*;

    every_kernel!(given_up);
}

/// The result of a kernel's large cases on a pool of one thread and on one of three.
fn same_on_any_number_of_threads<C: Case>(run: impl Fn(&C::Inputs) -> C::Output + Sync)
where
    C::Inputs: Sync,
    C::Output: PartialEq + Send,
{
    let on = |threads: usize, inputs: &C::Inputs| {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().expect("threads start");
        pool.install(|| run(inputs))
    };
    for case in C::large() {
        let inputs = case.inputs();
        assert!(on(1, &inputs) == on(3, &inputs), "{case:?}");
    }
}

#[test]
fn the_number_of_threads_does_not_show() {
    same_on_any_number_of_threads::<reference::dot::Dot>(run::dot);
    same_on_any_number_of_threads::<reference::reduce::Reduce>(run::reduce);
    same_on_any_number_of_threads::<reference::scan::Scan>(run::scan);
    same_on_any_number_of_threads::<reference::gemm::Gemm>(run::gemm);
    same_on_any_number_of_threads::<reference::conv2d::Conv2d>(run::conv2d);
    same_on_any_number_of_threads::<reference::black_scholes::BlackScholes>(run::black_scholes);
    same_on_any_number_of_threads::<reference::pagerank::PageRank>(run::pagerank);
    // Rows that hold NaN are not equal to themselves.
    same_on_any_number_of_threads::<reference::softmax::Softmax>(|inputs| {
        run::softmax(inputs).into_iter().map(f32::to_bits).map(|bits| bits as f32).collect()
    });
}

#[test]
fn a_scan_is_the_same_in_one_pass_and_in_two() {
    // Past a quarter of a million values threads share the work, in two passes.
    let inputs = reference::scan::Scan { n: 300_007, infinite: false, seed: 3 }.inputs();
    let whole = run::scan(&inputs);
    let part = run::scan(&reference::scan::Inputs { input: inputs.input[..200_003].to_vec() });
    assert!(whole[..200_003] == part);
}

#[test]
fn the_amount_of_scratch_memory_does_not_show() {
    for case in reference::conv2d::Conv2d::large() {
        let inputs = case.inputs();
        let shape = run::conv2d_shape(&case);
        let expected = run::conv2d(&inputs);
        let mut output = vec![f32::NAN; expected.len()];
        let mut convolve = |scratch: &mut [f32]| {
            conv2d::conv2d(&shape, &inputs.input, &inputs.weight, &mut output, scratch)
        };
        let Err(Conv2dError::Length(least)) = convolve(&mut []) else { panic!("no scratch") };
        assert_eq!((least.buffer, least.actual), ("scratch", 0));
        convolve(&mut vec![f32::NAN; least.expected]).expect("one core's share is enough");
        assert!(output == expected, "{case:?}");
    }
}

#[test]
fn lengths_are_checked_before_anything_is_written() {
    let error = |buffer, actual, expected| Err(LengthError { buffer, actual, expected });
    let (long, mut output) = ([1.0; 3], [7.0; 3]);
    assert_eq!(vector_add(&long, &long[1..], &mut output), error("b", 2, 3));
    assert_eq!(vector_add(&long, &long, &mut output[1..]), error("c", 2, 3));
    assert_eq!(saxpy(1.0, &long, &long[1..], &mut output), error("y", 2, 3));
    assert_eq!(saxpy(1.0, &long, &long, &mut output[1..]), error("output", 2, 3));
    assert_eq!(dot(&long, &long[1..]), Err(LengthError { buffer: "y", actual: 2, expected: 3 }));
    assert_eq!(scan(&long, &mut output[1..]), error("output", 2, 3));
    let shape = gemm::Shape { m: 1, n: 3, k: 2 };
    assert_eq!(gemm(shape, &long, &long, &mut output), error("a", 3, 2));
    assert_eq!(gemm(shape, &long[1..], &long, &mut output), error("b", 3, 6));
    let huge = gemm::Shape { m: usize::MAX, n: 2, k: 2 };
    assert_eq!(gemm(huge, &long, &long, &mut output), error("a", 3, usize::MAX));
    let shape = softmax::Shape { rows: 2, columns: 2 };
    assert_eq!(softmax(shape, &long, &mut output), error("input", 3, 4));
    assert_eq!(softmax(shape, &[0.0; 4], &mut output), error("output", 3, 4));
    let bins = Bins::new(2, 0.0, 1.0).expect("bins are wide enough");
    assert_eq!(histogram(&bins, &long, &mut [0; 3], &mut []), error("counts", 3, 2));
    let shape = ImageShape::new(1, 2, 3).expect("3 channels");
    assert_eq!(sobel(&shape, &[0; 5], &mut [0; 2]), error("image", 5, 6));
    assert_eq!(sobel(&shape, &[0; 6], &mut [0; 6]), error("output", 6, 2));
    assert_eq!(output, [7.0; 3]);
}

#[test]
fn only_the_sum_of_nothing_is_defined() {
    assert_eq!(reduce(&[], reduce::Op::Sum), Ok(0.0));
    for op in [reduce::Op::Min, reduce::Op::Max, reduce::Op::Mean] {
        assert_eq!(reduce(&[], op), Err(reduce::EmptyError { op }));
    }
}

#[test]
fn a_long_sum_of_products_keeps_its_digits() {
    // Added up in `f32` alone, these give 20009.56.
    let (shape, values) = (gemm::Shape { m: 1, n: 1, k: 2_000_000 }, vec![0.1; 2_000_000]);
    let mut c = [f32::NAN];
    gemm(shape, &values, &values, &mut c).expect("lengths match");
    let exact = 2e6 * f64::from(0.1_f32).powi(2);
    assert!((f64::from(c[0]) - exact).abs() < 1e-6 * exact, "{} for {exact}", c[0]);
}

#[test]
fn bins_are_checked() {
    assert_eq!(Bins::new(0, 0.0, 1.0), Err(BinsError::None));
    for (low, high) in [(1.0, 1.0), (2.0, 1.0), (0.0, f32::INFINITY)] {
        assert_eq!(Bins::new(3, low, high), Err(BinsError::Range { low, high }));
    }
    assert!(matches!(Bins::new(3, f32::NAN, 1.0), Err(BinsError::Range { .. })));
    for bins in [histogram::MOST_BINS + 1, u32::MAX] {
        assert_eq!(Bins::new(bins, 0.0, 1.0), Err(BinsError::TooMany(bins)));
    }
    let most = Bins::new(histogram::MOST_BINS, 0.0, 1.0).expect("bins as wide as float32 can tell");
    assert_eq!(most.bin_of(1.0), Some((1 << 24) - 1));
    for (bins, low, high) in [(100, 1.0, 1.000_001), (1 << 24, 1.0, 2.0), (1 << 24, 0.0, 1.5)] {
        assert_eq!(Bins::new(bins, low, high), Err(BinsError::TooNarrow { bins, low, high }));
    }
}

#[test]
fn shapes_of_convolutions_are_checked() {
    let shape = reference::conv2d::Conv2d::awkward()[1];
    let valid = run::conv2d_shape(&shape);
    let inputs = shape.inputs();
    let convolve = |shape: &conv2d::Shape| {
        let (mut output, mut scratch) = (vec![0.0; 8 * 9 * 8], vec![0.0; 9_999]);
        conv2d::conv2d(shape, &inputs.input, &inputs.weight, &mut output, &mut scratch)
    };
    assert_eq!(convolve(&valid), Ok(()));
    assert_eq!(convolve(&conv2d::Shape { stride: 0, ..valid }), Err(Conv2dError::Stride));
    assert_eq!(
        convolve(&conv2d::Shape { kernel_width: 0, ..valid }),
        Err(Conv2dError::EmptyKernel { height: 3, width: 0 })
    );
    assert_eq!(
        convolve(&conv2d::Shape { kernel_height: 11, ..valid }),
        Err(Conv2dError::KernelTooLarge { axis: "rows", kernel: 11, padded: 10 })
    );
    assert_eq!(
        convolve(&conv2d::Shape { c_out: 5, ..valid }),
        Err(LengthError { buffer: "weight", actual: 108, expected: 135 }.into())
    );
}

#[test]
fn images_and_blurs_are_checked() {
    for channels in [0, 2, 5] {
        assert_eq!(ImageShape::new(1, 1, channels), Err(ChannelsError(channels)));
    }
    let shape = ImageShape::new(1, 1, 1).expect("1 channel");
    let blur = |sigma| gaussian_blur::gaussian_blur(&shape, sigma, &[9], &mut [0], &mut [0.0]);
    assert_eq!(blur(gaussian_blur::MAX_SIGMA), Ok(()));
    for sigma in [-1.0, gaussian_blur::MAX_SIGMA.next_up(), f32::INFINITY] {
        assert_eq!(blur(sigma), Err(BlurError::Sigma(sigma)));
    }
    assert!(matches!(blur(f32::NAN), Err(BlurError::Sigma(_))));
}

#[test]
fn options_are_checked() {
    let model = black_scholes::Model { rate: 0.0, volatility: 0.1, paths: 1, seed: 0 };
    let check = |spot: f32, model: black_scholes::Model| {
        let options =
            black_scholes::Options { spot: &[1.0, spot], strike: &[1.0; 2], maturity: &[1.0; 2] };
        options.check(&model)
    };
    assert_eq!(check(1.0, model), Ok(()));
    for value in [-1.0, f32::INFINITY] {
        let wrong = BlackScholesError::Option { field: "spot", index: 1, value };
        assert_eq!(check(value, model), Err(wrong));
    }
    let with = |change: fn(&mut black_scholes::Model)| {
        let mut model = model;
        change(&mut model);
        check(1.0, model)
    };
    assert_eq!(with(|model| model.paths = 0), Err(BlackScholesError::NoPaths));
    assert_eq!(
        with(|model| model.rate = f32::INFINITY),
        Err(BlackScholesError::Rate(f32::INFINITY))
    );
    assert_eq!(with(|model| model.volatility = -0.1), Err(BlackScholesError::Volatility(-0.1)));
}

#[test]
fn graphs_and_settings_are_checked() {
    let outside = |index, target| GraphError::Target { index, target, vertices: 2 };
    assert_eq!(Graph::new(&[], &[]), Err(GraphError::NoOffsets));
    assert_eq!(Graph::new(&[1, 1], &[0]), Err(GraphError::Start(1)));
    assert_eq!(Graph::new(&[-1, 1], &[0]), Err(GraphError::Start(-1)));
    assert_eq!(Graph::new(&[0, 2, 1], &[0]), Err(GraphError::Decreasing { index: 2 }));
    assert_eq!(Graph::new(&[0, 1, 1], &[0, 1]), Err(GraphError::End { end: 1, targets: 2 }));
    assert_eq!(Graph::new(&[0, 1, 2], &[0, 2]), Err(outside(1, 2)));
    assert_eq!(Graph::new(&[0, 1, 2], &[-1, 0]), Err(outside(0, -1)));

    let graph = Graph::new(&[0, 1], &[0]).expect("valid graph");
    let valid = pagerank::Settings { damping: 0.85, tolerance: 0.0, iterations: 3 };
    let rank = |settings: &pagerank::Settings| {
        pagerank::pagerank(&graph, settings, &mut [0.0], &mut [0.0; 4])
    };
    // The only vertex keeps its rank, so the first step already changes nothing.
    assert_eq!(rank(&valid), Ok(1));
    for damping in [-0.1, 1.1] {
        let settings = pagerank::Settings { damping, ..valid };
        assert_eq!(rank(&settings), Err(PageRankError::Damping(damping)));
    }
    let settings = pagerank::Settings { tolerance: -1.0, ..valid };
    assert_eq!(rank(&settings), Err(PageRankError::Tolerance(-1.0)));
}

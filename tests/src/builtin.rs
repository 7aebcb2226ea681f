//! The built-in kernels behind their references: inputs become requests, responses outputs.

use rustkernel_core::kernel::{Kernel, KernelSpec, Tensor};
use rustkernel_core::message::KernelMessage;
use rustkernel_kernels as kernels;

use crate::reference::image::ImageShape;
use crate::reference::{
    Case, black_scholes, conv2d, dot, gaussian_blur, gemm, histogram, pagerank, reduce, saxpy,
    scan, sobel, softmax, vector_add,
};

/// What a case's kernel takes.
pub type Request<C> = <<C as Builtin>::Kernel as Kernel>::Request;
/// What it gives.
pub type Response<C> = <<C as Builtin>::Kernel as Kernel>::Response;

/// A built-in kernel, by the cases of its reference.
pub trait Builtin: Case {
    /// The kernel.
    type Kernel: Kernel<Request: KernelMessage + Clone, Response: KernelMessage>;

    /// How the kernel is run.
    fn spec() -> KernelSpec<Self::Kernel>;

    /// A case's arguments as a request.
    fn request(inputs: &Self::Inputs) -> Request<Self>;

    /// A response as the reference's result.
    fn output(response: Response<Self>) -> Self::Output;
}

fn tensor<T, const N: usize>(shape: [usize; N], values: &[T]) -> Tensor<T>
where
    T: rustkernel_gpu::Element,
{
    Tensor::new(shape, values.to_vec()).expect("the case's values have the case's shape")
}

fn vector<T: rustkernel_gpu::Element>(values: &[T]) -> Tensor<T> {
    values.to_vec().into()
}

fn picture(shape: &ImageShape, values: &[u8]) -> Tensor<u8> {
    tensor([shape.height, shape.width, shape.channels], values)
}

impl Builtin for vector_add::VectorAdd {
    type Kernel = kernels::vector_add::VectorAdd;

    fn spec() -> KernelSpec<Self::Kernel> {
        kernels::vector_add::spec()
    }

    fn request(inputs: &Self::Inputs) -> Request<Self> {
        Request::<Self> { a: vector(&inputs.a), b: vector(&inputs.b) }
    }

    fn output(response: Response<Self>) -> Self::Output {
        response.c.into_vec()
    }
}

impl Builtin for saxpy::Saxpy {
    type Kernel = kernels::saxpy::Saxpy;

    fn spec() -> KernelSpec<Self::Kernel> {
        kernels::saxpy::spec()
    }

    fn request(inputs: &Self::Inputs) -> Request<Self> {
        Request::<Self> { a: inputs.a, x: vector(&inputs.x), y: vector(&inputs.y) }
    }

    fn output(response: Response<Self>) -> Self::Output {
        response.output.into_vec()
    }
}

impl Builtin for dot::Dot {
    type Kernel = kernels::dot::Dot;

    fn spec() -> KernelSpec<Self::Kernel> {
        kernels::dot::spec()
    }

    fn request(inputs: &Self::Inputs) -> Request<Self> {
        Request::<Self> { x: vector(&inputs.x), y: vector(&inputs.y) }
    }

    fn output(response: Response<Self>) -> Self::Output {
        response.output.as_slice()[0]
    }
}

impl Builtin for reduce::Reduce {
    type Kernel = kernels::reduce::Reduce;

    fn spec() -> KernelSpec<Self::Kernel> {
        kernels::reduce::spec()
    }

    fn request(inputs: &Self::Inputs) -> Request<Self> {
        let op = match inputs.op {
            reduce::Op::Sum => "sum",
            reduce::Op::Min => "min",
            reduce::Op::Max => "max",
            reduce::Op::Mean => "mean",
        };
        Request::<Self> { input: vector(&inputs.input), op: op.into() }
    }

    fn output(response: Response<Self>) -> Self::Output {
        response.output.as_slice()[0]
    }
}

impl Builtin for scan::Scan {
    type Kernel = kernels::scan::Scan;

    fn spec() -> KernelSpec<Self::Kernel> {
        kernels::scan::spec()
    }

    fn request(inputs: &Self::Inputs) -> Request<Self> {
        Request::<Self> { input: vector(&inputs.input) }
    }

    fn output(response: Response<Self>) -> Self::Output {
        response.output.into_vec()
    }
}

impl Builtin for histogram::Histogram {
    type Kernel = kernels::histogram::Histogram;

    fn spec() -> KernelSpec<Self::Kernel> {
        kernels::histogram::spec()
    }

    fn request(inputs: &Self::Inputs) -> Request<Self> {
        let &Self::Inputs { bins, low, high, .. } = inputs;
        Request::<Self> { input: vector(&inputs.input), bins, low, high }
    }

    fn output(response: Response<Self>) -> Self::Output {
        response.counts.into_vec()
    }
}

impl Builtin for gemm::Gemm {
    type Kernel = kernels::gemm::Gemm;

    fn spec() -> KernelSpec<Self::Kernel> {
        kernels::gemm::spec()
    }

    fn request(inputs: &Self::Inputs) -> Request<Self> {
        let &Self::Inputs { m, n, k, .. } = inputs;
        Request::<Self> { a: tensor([m, k], &inputs.a), b: tensor([k, n], &inputs.b) }
    }

    fn output(response: Response<Self>) -> Self::Output {
        response.c.into_vec()
    }
}

impl Builtin for softmax::Softmax {
    type Kernel = kernels::softmax::Softmax;

    fn spec() -> KernelSpec<Self::Kernel> {
        kernels::softmax::spec()
    }

    fn request(inputs: &Self::Inputs) -> Request<Self> {
        Request::<Self> { input: tensor([inputs.rows, inputs.columns], &inputs.input) }
    }

    fn output(response: Response<Self>) -> Self::Output {
        response.output.into_vec()
    }
}

impl Builtin for conv2d::Conv2d {
    type Kernel = kernels::conv2d::Conv2d;

    fn spec() -> KernelSpec<Self::Kernel> {
        kernels::conv2d::spec()
    }

    fn request(inputs: &Self::Inputs) -> Request<Self> {
        let Self { batch, c_in, height, width, c_out, kernel_height, kernel_width, .. } =
            inputs.shape;
        Request::<Self> {
            input: tensor([batch, c_in, height, width], &inputs.input),
            weight: tensor([c_out, c_in, kernel_height, kernel_width], &inputs.weight),
            stride: inputs.shape.stride as u32,
            padding: inputs.shape.padding as u32,
        }
    }

    fn output(response: Response<Self>) -> Self::Output {
        response.output.into_vec()
    }
}

impl Builtin for gaussian_blur::GaussianBlur {
    type Kernel = kernels::gaussian_blur::GaussianBlur;

    fn spec() -> KernelSpec<Self::Kernel> {
        kernels::gaussian_blur::spec()
    }

    fn request(inputs: &Self::Inputs) -> Request<Self> {
        Request::<Self> { image: picture(&inputs.shape, &inputs.image), sigma: inputs.sigma }
    }

    fn output(response: Response<Self>) -> Self::Output {
        response.output.into_vec()
    }
}

impl Builtin for sobel::Sobel {
    type Kernel = kernels::sobel::Sobel;

    fn spec() -> KernelSpec<Self::Kernel> {
        kernels::sobel::spec()
    }

    fn request(inputs: &Self::Inputs) -> Request<Self> {
        Request::<Self> { image: picture(&inputs.shape, &inputs.image) }
    }

    fn output(response: Response<Self>) -> Self::Output {
        response.output.into_vec()
    }
}

impl Builtin for black_scholes::BlackScholes {
    type Kernel = kernels::black_scholes::BlackScholes;

    fn spec() -> KernelSpec<Self::Kernel> {
        kernels::black_scholes::spec()
    }

    fn request(inputs: &Self::Inputs) -> Request<Self> {
        let &Self::Inputs { rate, volatility, paths, seed, .. } = inputs;
        Request::<Self> {
            spot: vector(&inputs.spot),
            strike: vector(&inputs.strike),
            maturity: vector(&inputs.maturity),
            rate,
            volatility,
            paths,
            seed,
        }
    }

    fn output(response: Response<Self>) -> Self::Output {
        black_scholes::Output {
            call: response.call.into_vec(),
            put: response.put.into_vec(),
            call_error: response.call_error.into_vec(),
            put_error: response.put_error.into_vec(),
        }
    }
}

impl Builtin for pagerank::PageRank {
    type Kernel = kernels::pagerank::PageRank;

    fn spec() -> KernelSpec<Self::Kernel> {
        kernels::pagerank::spec()
    }

    fn request(inputs: &Self::Inputs) -> Request<Self> {
        let &Self::Inputs { damping, tolerance, iterations, .. } = inputs;
        let (offsets, targets) = (vector(&inputs.offsets), vector(&inputs.targets));
        Request::<Self> { offsets, targets, damping, tolerance, iterations }
    }

    fn output(response: Response<Self>) -> Self::Output {
        pagerank::Output {
            ranks: response.ranks.into_vec(),
            iterations: response.iterations.as_slice()[0],
        }
    }
}

//! A small request can ask for a long computation. It ends soon after its caller has given it up:
//! the instance is free for the next one.

use std::time::Duration;

use rustkernel_core::kernel::{CallError, Cancellation, Tensor};
use rustkernel_gpu::DeviceId;
use rustkernel_kernels::conv2d::Conv2dRequest;
use rustkernel_tests::builtin::{Builtin, Request};
use rustkernel_tests::reference::{black_scholes, conv2d, pagerank};
use rustkernel_tests::running::Running;

/// Makes a request that takes long, gives it up, and makes one that takes no time.
fn frees_the_instance<C: Builtin>(device: DeviceId, long: Request<C>, short: Request<C>) {
    let running = Running::<C>::start(device);
    let error = running.call_within(long, Duration::from_millis(50)).map(drop).unwrap_err();
    assert!(
        matches!(error, CallError::Cancelled(Cancellation::DeadlineExceeded { .. })),
        "the long request takes too long: {error}"
    );
    running.call_within(short, Duration::from_secs(3)).expect("the instance is free");
    running.stop();
}

/// Two vertices that link to a third and it to them: without damping rank goes back and forth.
fn swings(iterations: u32) -> Request<pagerank::PageRank> {
    pagerank::PageRank::request(&pagerank::Inputs {
        offsets: vec![0, 2, 3, 4],
        targets: vec![1, 2, 0, 0],
        damping: 1.0,
        tolerance: 0.0,
        iterations,
    })
}

/// The iteration looks between its steps.
pub(crate) fn ends_pagerank(device: DeviceId) {
    frees_the_instance::<pagerank::PageRank>(device, swings(u32::MAX), swings(1));
}

/// A convolution with kernels of 128 x 128 and an output of 129 x 129.
fn convolution(channels: usize) -> Request<conv2d::Conv2d> {
    Conv2dRequest {
        input: Tensor::zeros([1, 2, 256, 256]),
        weight: Tensor::zeros([channels, 2, 128, 128]),
        stride: 1,
        padding: 0,
    }
}

/// The pieces of all kernels look before they are begun; those of a convolution are many.
#[test]
fn host_pieces() {
    frees_the_instance::<conv2d::Conv2d>(DeviceId::Host, convolution(400), convolution(0));
}

#[test]
fn host() {
    ends_pagerank(DeviceId::Host);
    let options = |paths| {
        black_scholes::BlackScholes::request(&black_scholes::Inputs {
            spot: vec![100.0; 20],
            strike: vec![100.0; 20],
            maturity: vec![1.0; 20],
            rate: 0.0,
            volatility: 0.2,
            paths,
            seed: 1,
        })
    };
    let (long, short) = (options(u32::MAX), options(1));
    frees_the_instance::<black_scholes::BlackScholes>(DeviceId::Host, long, short);
}

//! A parameter that is left out has the value that the signature says.

use rustkernel_core::message::{FieldKind, Fields, KernelMessage};
use rustkernel_gpu::DeviceId;
use rustkernel_tests::builtin::{Builtin, Request};
use rustkernel_tests::reference::{
    black_scholes, conv2d, gaussian_blur, histogram, pagerank, reduce,
};
use rustkernel_tests::running::Running;

/// Calls a kernel with a case's tensors, without its parameters and with their defaults.
fn are_those_of_the_signature<C: Builtin>(case: &C) {
    let left_out =
        Fields { parameters: Default::default(), ..C::request(&case.inputs()).into_fields() };
    let mut given = left_out.clone();
    for field in Request::<C>::fields() {
        if let FieldKind::Parameter { default, .. } = field.kind {
            given.parameters.insert(field.name, default.expect("each has a default"));
        }
    }
    assert!(!given.parameters.is_empty(), "{case:?}");
    let running = Running::<C>::start(DeviceId::Host);
    let response = running.call_by_name(left_out).unwrap();
    assert_eq!(response, running.call_by_name(given).unwrap(), "{case:?}");
    running.stop();
}

fn fourth<C: Builtin>() {
    are_those_of_the_signature(&C::awkward()[3]);
}

#[test]
fn parameters_left_out_have_their_defaults() {
    fourth::<black_scholes::BlackScholes>();
    fourth::<conv2d::Conv2d>();
    fourth::<gaussian_blur::GaussianBlur>();
    fourth::<histogram::Histogram>();
    fourth::<pagerank::PageRank>();
    fourth::<reduce::Reduce>();
}

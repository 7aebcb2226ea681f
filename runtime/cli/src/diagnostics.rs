//! Kernels for trying out a deployment: what comes in goes out, after a while.

use std::time::Duration;

use rustkernel_core::kernel::AnySpec;
use rustkernel_core::prelude::*;

/// Delays that may run side by side.
const DELAYS: usize = 8;

/// Gives back what it is given.
struct Identity;

#[derive(KernelMessage)]
struct IdentityRequest {
    /// Any numbers.
    #[kernel(shape = "n")]
    input: Tensor<f32>,
}

#[derive(KernelMessage)]
struct IdentityResponse {
    /// The same.
    #[kernel(shape = "n")]
    output: Tensor<f32>,
}

impl Kernel for Identity {
    type Request = IdentityRequest;
    type Response = IdentityResponse;

    async fn execute(
        &mut self,
        IdentityRequest { input }: IdentityRequest,
        _: &mut KernelContext,
    ) -> KernelResult<IdentityResponse> {
        Ok(IdentityResponse { output: input })
    }
}

/// Takes its time, on nobody's thread.
struct Delay;

#[derive(KernelMessage)]
struct DelayRequest {
    /// How long to wait.
    #[kernel(shape = "1")]
    milliseconds: Tensor<u32>,
}

#[derive(KernelMessage)]
struct DelayResponse {
    /// How long it was, in milliseconds.
    #[kernel(shape = "1")]
    slept: Tensor<u32>,
}

impl Kernel for Delay {
    type Request = DelayRequest;
    type Response = DelayResponse;

    async fn execute(
        &mut self,
        DelayRequest { milliseconds }: DelayRequest,
        _: &mut KernelContext,
    ) -> KernelResult<DelayResponse> {
        let asked = milliseconds.as_slice().iter().copied().map(u64::from).sum();
        tokio::time::sleep(Duration::from_millis(asked)).await;
        Ok(DelayResponse { slept: milliseconds })
    }
}

/// `identity` and `delay`.
pub(crate) fn all() -> [Box<dyn AnySpec>; 2] {
    let identity = KernelSpec::new("identity", || Identity).describe("What it is given.").publish();
    let delay = KernelSpec::new("delay", || Delay)
        .describe("An answer after a while.")
        .instances(DELAYS)
        .placement(rustkernel_core::kernel::Placement::Shared)
        .publish();
    [Box::new(identity), Box::new(delay)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustkernel_core::message::Fields;

    #[tokio::test]
    async fn they_give_back_what_they_are_given() {
        let mut builder = RuntimeBuilder::new().with_gpu_enabled(false);
        for spec in all() {
            builder = builder.with_any_kernel(spec);
        }
        let runtime = builder.build().unwrap();
        runtime.start().await.unwrap();
        let call = |name, fields: Fields| runtime.call_by_name(name, fields).unwrap();
        let numbers = IdentityRequest { input: vec![1.0, 2.0].into() };
        let answer = call("identity", numbers.into_fields()).await.unwrap();
        let answer = IdentityResponse::from_fields(answer).unwrap();
        assert_eq!(answer.output.as_slice(), [1.0, 2.0]);
        let delay = DelayRequest { milliseconds: vec![3].into() };
        let start = rustkernel_core::kernel::Instant::now();
        let answer = call("delay", delay.into_fields()).await.unwrap();
        assert!(start.elapsed() >= Duration::from_millis(3));
        assert_eq!(DelayResponse::from_fields(answer).unwrap().slept.as_slice(), [3]);
        runtime.shutdown().await.unwrap();
    }
}

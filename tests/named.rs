//! Kernels called by name with what a caller says of the call: how long it may take, whether it waits for room,
//! and when it was run.

use std::sync::Arc;
use std::time::Duration;

use rustkernel_core::kernel::{
    CallOptions, Cancellation, Condition, DeviceChoice, NamedKernel, Timing,
};
use rustkernel_core::message::Fields;
use rustkernel_core::prelude::*;
use rustkernel_core::runtime::{LookupError, Runtime};
use rustkernel_gpu::DeviceId;
use rustkernel_tests::running::builder_for;
use rustkernel_tests::{builder, eventually};
use tokio::sync::Semaphore;

/// Gives back what it is given, once there is a permit.
struct Gated(Arc<Semaphore>);

impl Kernel for Gated {
    type Request = Tensor<f32>;
    type Response = Tensor<f32>;

    async fn execute(
        &mut self,
        x: Tensor<f32>,
        cx: &mut KernelContext,
    ) -> KernelResult<Tensor<f32>> {
        self.0.acquire().await.map_err(KernelError::failed)?.forget();
        cx.compute(move || x).await
    }
}

async fn running(permits: usize) -> (Runtime, NamedKernel, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(permits));
    let own = Arc::clone(&gate);
    let spec = KernelSpec::new("gated", move || Gated(Arc::clone(&own))).queue(1).publish();
    let runtime = builder().with_kernel(spec).build().unwrap();
    runtime.start().await.unwrap();
    let kernel = runtime.named_kernel("gated").unwrap();
    (runtime, kernel, gate)
}

fn request() -> Fields {
    Fields::new().with_tensor("output", Tensor::from(vec![1.0f32]))
}

#[tokio::test]
async fn a_call_notes_when_it_was_run() {
    let (runtime, kernel, gate) = running(0).await;
    let timing = Arc::new(Timing::default());
    let options = CallOptions { timing: Some(Arc::clone(&timing)), ..CallOptions::default() };
    let call = tokio::spawn(async move { kernel.call(request(), options).await });
    eventually("it has begun", || timing.began().is_some()).await;
    assert_eq!(timing.ended(), None);
    gate.add_permits(1);
    assert_eq!(call.await.unwrap().unwrap(), request());
    assert!(timing.ended().unwrap() >= timing.began().unwrap());
    assert_eq!((timing.taken(), timing.submitted()), (None, None), "nobody asked for the steps");
    runtime.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_call_notes_its_steps_where_they_are_asked_for() {
    let (runtime, kernel, gate) = running(0).await;
    let timing = Arc::new(Timing::with_phases());
    let options = CallOptions { timing: Some(Arc::clone(&timing)), ..CallOptions::default() };
    let asked = kernel.clone();
    let call = tokio::spawn(async move { asked.call(request(), options).await });
    eventually("it has begun", || timing.began().is_some()).await;
    assert_eq!(timing.submitted(), None, "it waits at the gate");
    gate.add_permits(2);
    call.await.unwrap().unwrap();
    let (first, last) = timing.submitted().unwrap();
    let steps = [timing.taken(), timing.began(), Some(first), Some(last), timing.ended()];
    assert!(steps.is_sorted(), "{steps:?}");
    // What the instance does for others is not noted.
    kernel.call(request(), CallOptions::default()).await.unwrap();
    assert_eq!(timing.submitted(), Some((first, last)));
    runtime.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_launch_on_a_gpu_is_a_step_of_its_own() {
    rustkernel_tests::fake::install();
    let device = DeviceId::Cuda(0);
    let spec = rustkernel_kernels::saxpy::spec().device(DeviceChoice::On(device));
    let runtime = builder_for(device).with_kernel(spec).build().unwrap();
    runtime.start().await.unwrap();
    let timing = Arc::new(Timing::with_phases());
    let options = CallOptions { timing: Some(Arc::clone(&timing)), ..CallOptions::default() };
    let fields = Fields::new()
        .with_parameter("a", 2.0f32)
        .with_tensor("x", Tensor::from(vec![1.0f32]))
        .with_tensor("y", Tensor::from(vec![1.0f32]));
    runtime.named_kernel("saxpy").unwrap().call(fields, options).await.unwrap();
    let (first, last) = timing.submitted().expect("it was launched");
    let steps = [timing.taken(), timing.began(), Some(first), Some(last), timing.ended()];
    assert!(steps.is_sorted(), "{steps:?}");
    assert!(timing.began() < Some(first) && Some(last) < timing.ended(), "copies take time");
    runtime.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_call_that_does_not_wait_is_refused_and_one_that_may_take_so_long_is_cancelled() {
    let (runtime, kernel, gate) = running(0).await;
    let options = CallOptions { no_waiting: true, ..CallOptions::default() };
    let (first, own) = (kernel.clone(), options.clone());
    let first = tokio::spawn(async move { first.call(request(), own).await });
    eventually("it is open", || kernel.stats().open == 1).await;
    let refused = kernel.call(request(), options.clone()).await.unwrap_err();
    assert_eq!(refused.to_string(), "1 requests are open at `gated`, its limit; try again later");
    gate.add_permits(1);
    first.await.unwrap().unwrap();
    let short = CallOptions { timeout: Some(Duration::from_millis(5)), ..options };
    let late = kernel.call(request(), short).await.unwrap_err();
    let exceeded = Cancellation::DeadlineExceeded { started: true };
    assert!(matches!(late, CallError::Cancelled(why) if why == exceeded));
    assert!(runtime.shutdown().await.unwrap().ledger.is_balanced());
}

#[tokio::test]
async fn calls_that_are_gathered_are_answered_also_where_others_go_away() {
    const CALLS: usize = 500;
    let spec = KernelSpec::new("gated", || Gated(Arc::new(Semaphore::new(CALLS)))).queue(CALLS);
    let runtime = builder().with_kernel(spec.publish()).build().unwrap();
    runtime.start().await.unwrap();
    let kernel = runtime.named_kernel("gated").unwrap();
    let options = CallOptions { gather: true, ..CallOptions::default() };
    let calls: Vec<_> = (0..CALLS)
        .map(|_| {
            let (kernel, options) = (kernel.clone(), options.clone());
            tokio::spawn(async move { kernel.call(request(), options).await })
        })
        .collect();
    // (Each has been brought, also those that go away now.)
    tokio::task::yield_now().await;
    for (number, call) in calls.into_iter().enumerate() {
        if number % 3 == 0 {
            call.abort();
        } else {
            assert_eq!(call.await.unwrap().unwrap(), request());
        }
    }
    assert!(runtime.shutdown().await.unwrap().ledger.is_balanced());
}

#[tokio::test]
async fn what_does_not_fit_is_refused_and_counted() {
    let (runtime, kernel, _gate) = running(1).await;
    assert_eq!(
        (kernel.signature().name.as_str(), kernel.condition()),
        ("gated", Condition::Serving)
    );
    let wrong = Fields::new().with_tensor("output", Tensor::from(vec![1u8]));
    let error = kernel.call(wrong, CallOptions::default()).await.unwrap_err();
    assert!(error.to_string().contains("`output` is a UINT8 tensor [1]"), "{error}");
    assert_eq!(kernel.stats().ledger.rejected, 1);
    assert!(matches!(runtime.named_kernel("gate"), Err(LookupError::Unknown { .. })));
    runtime.shutdown().await.unwrap();
}

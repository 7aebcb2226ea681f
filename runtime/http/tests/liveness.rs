//! Liveness, while everything else is busy.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails is to say where")]

mod support;

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use rustkernel_core::kernel::Instant;
use rustkernel_core::prelude::*;
use serde_json::json;
use support::tcp::{Serving, config};
use support::within_a_minute;

/// How soon a probe is to be answered.
const SOON: Duration = Duration::from_millis(100);
const PROBES: usize = 50;
const INSTANCES: usize = 4;
const QUEUE: usize = 8;

/// Until it is set, kernels hold their threads.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

struct Stuck(Arc<Gate>);

#[derive(KernelMessage)]
struct Number {
    #[kernel(shape = "1")]
    number: Tensor<f32>,
}

impl Kernel for Stuck {
    type Request = Number;
    type Response = Number;

    async fn execute(&mut self, number: Number, _: &mut KernelContext) -> KernelResult<Number> {
        let closed = self.0.open.lock().unwrap();
        drop(self.0.opened.wait_while(closed, |open| !*open).unwrap());
        Ok(number)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn liveness_is_answered_while_every_instance_holds_its_thread() {
    let serving = Serving::start(config()).await;
    let gate = Arc::<Gate>::default();
    let own = Arc::clone(&gate);
    let stuck = KernelSpec::new("stuck", move || Stuck(Arc::clone(&own)));
    let stuck = stuck.instances(INSTANCES).queue(QUEUE).publish();
    serving.runtime.add_kernel(stuck).await.unwrap();
    let body =
        json!({ "inputs": [{ "name": "number", "datatype": "FP32", "shape": [1], "data": [1] }] });
    let serving = Arc::new(serving);
    let calls: Vec<_> = (0..QUEUE)
        .map(|_| {
            let (serving, body) = (Arc::clone(&serving), body.clone());
            tokio::spawn(async move { serving.infer("stuck", &body).await.status })
        })
        .collect();
    let full = async {
        while serving.infer("stuck", &body).await.status != 429 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let open = || {
        let kernels = serving.runtime.stats().kernels;
        kernels.iter().find(|kernel| kernel.name == "stuck").map_or(0, |kernel| kernel.open)
    };
    within_a_minute(async {
        while open() < QUEUE as u64 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    within_a_minute(full).await;

    let mut times = Vec::new();
    for _ in 0..PROBES {
        let asked = Instant::now();
        assert_eq!(within_a_minute(serving.get("/livez")).await.status, 200);
        times.push(asked.elapsed());
    }
    // (Half of them: the machine that tests run on may be busy with others.)
    times.sort();
    assert!(times[PROBES / 2] < SOON, "{times:?}");
    println!(
        "liveness was told within {:?}, at the latest {:?}",
        times[PROBES / 2],
        times[PROBES - 1]
    );

    *gate.open.lock().unwrap() = true;
    gate.opened.notify_all();
    for call in calls {
        assert_eq!(within_a_minute(call).await.unwrap(), 200);
    }
    serving.control.drain().await.unwrap();
    assert!(Arc::into_inner(serving).unwrap().end().await.is_clean());
}

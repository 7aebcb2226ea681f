//! Each field of the configuration does what it says.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::ThreadId;
use std::time::Duration;

use futures_util::future::join_all;
use rustkernel_core::prelude::*;
use rustkernel_core::runtime::{BuildError, StartError};
use rustkernel_tests::{builder, eventually, within_a_minute};

/// Tells on which thread it runs, or counts how many of it compute at once.
#[derive(Default)]
struct Probe {
    computing: Arc<AtomicUsize>,
}

enum Ask {
    Thread,
    Compute,
}

enum Told {
    Thread(ThreadId),
    Most(usize),
}

impl Kernel for Probe {
    type Request = Ask;
    type Response = Told;

    #[allow(clippy::disallowed_methods, reason = "a computation that takes a while")]
    async fn execute(&mut self, ask: Ask, cx: &mut KernelContext) -> KernelResult<Told> {
        match ask {
            Ask::Thread => Ok(Told::Thread(std::thread::current().id())),
            Ask::Compute => {
                let computing = Arc::clone(&self.computing);
                let most = cx.compute(move || {
                    let most = computing.fetch_add(1, Ordering::SeqCst) + 1;
                    std::thread::sleep(Duration::from_millis(30));
                    computing.fetch_sub(1, Ordering::SeqCst);
                    most
                });
                Ok(Told::Most(most.await?))
            }
        }
    }
}

fn spec(name: String, instances: usize) -> KernelSpec<Probe> {
    KernelSpec::new(name, Probe::default).instances(instances)
}

#[tokio::test]
async fn max_kernel_instances_refuses_the_one_too_many() {
    let two = || {
        builder()
            .with_max_instances(5)
            .with_kernel(spec("a".into(), 2))
            .with_kernel(spec("b".into(), 3))
    };
    let runtime = two().build().unwrap();
    runtime.start().await.unwrap();
    let error = runtime.add_kernel(spec("c".into(), 1)).await.unwrap_err();
    assert!(
        matches!(&error, StartError::TooManyInstances { kernel, asked: 1, used: 5, limit: 5 } if kernel == "c"),
        "{error}"
    );
    runtime.shutdown().await.unwrap();

    let error = two().with_kernel(spec("c".into(), 1)).build().unwrap_err();
    assert!(matches!(error, BuildError::Kernel(StartError::TooManyInstances { .. })), "{error}");
}

#[tokio::test]
async fn worker_threads_is_how_many_threads_shared_instances_live_on() {
    for workers in [1, 3] {
        let mut runtime = builder().with_worker_threads(workers);
        for kernel in 0..6 {
            runtime =
                runtime.with_kernel(spec(format!("k{kernel}"), 1).placement(Placement::Shared));
        }
        let runtime = runtime.build().unwrap();
        runtime.start().await.unwrap();
        let mut threads = BTreeSet::new();
        for kernel in 0..6 {
            let kernel = runtime.kernel::<Probe>(&format!("k{kernel}")).unwrap();
            let Told::Thread(thread) = kernel.call(Ask::Thread).await.unwrap() else {
                panic!("not a thread")
            };
            threads.insert(format!("{thread:?}"));
        }
        assert_eq!(threads.len(), workers);
        runtime.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn blocking_threads_bounds_the_threads_of_instances() {
    let error =
        builder().with_blocking_threads(3).with_kernel(spec("a".into(), 3)).build().unwrap_err();
    let expected = |error: &BuildError| {
        matches!(
            error,
            BuildError::Kernel(StartError::TooManyThreads { asked: 3, used: 0, limit: 3, .. })
        )
    };
    assert!(expected(&error), "{error}");
    let shared = spec("a".into(), 3).placement(Placement::Shared);
    builder().with_blocking_threads(3).with_kernel(shared).build().unwrap();
}

#[tokio::test]
async fn blocking_threads_bounds_the_threads_of_host_streams() {
    for limit in [1, 2] {
        let computing = Arc::new(AtomicUsize::new(0));
        let shared = Arc::clone(&computing);
        let kernel = KernelSpec::new("k", move || Probe { computing: Arc::clone(&shared) })
            .instances(4)
            .placement(Placement::Shared);
        let runtime = builder().with_blocking_threads(limit).with_kernel(kernel).build().unwrap();
        runtime.start().await.unwrap();
        let kernel = runtime.kernel::<Probe>("k").unwrap();
        let answers = within_a_minute(join_all((0..8).map(|_| kernel.call(Ask::Compute)))).await;
        let most = answers.into_iter().map(|answer| match answer.unwrap() {
            Told::Most(most) => most,
            Told::Thread(_) => panic!("not a count"),
        });
        assert_eq!(most.max(), Some(limit), "so many computed at once");
        runtime.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn health_check_interval_is_how_often_devices_and_instances_are_looked_at() {
    let runtime = builder()
        .with_health_check_interval(Duration::from_millis(20))
        .with_kernel(spec("k".into(), 1))
        .build()
        .unwrap();
    runtime.start().await.unwrap();
    eventually("it is looked at", || runtime.stats().health_checks >= 5).await;
    let is_back = || runtime.stats().kernels[0].unresponsive == 0;
    eventually("an idle instance is there", is_back).await;
    // An instance that computes does not come back to its thread meanwhile, and is seen.
    let kernel = runtime.kernel::<Probe>("k").unwrap();
    let busy =
        tokio::spawn(async move { join_all((0..6).map(|_| kernel.call(Ask::Compute))).await });
    eventually("it is seen to be busy", || runtime.stats().kernels[0].unresponsive == 1).await;
    busy.await.unwrap();
    eventually("it is seen to be back", is_back).await;
    runtime.shutdown().await.unwrap();

    let rarely = builder().with_health_check_interval(Duration::from_secs(3600)).build().unwrap();
    rarely.start().await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(rarely.stats().health_checks, 0);
    rarely.shutdown().await.unwrap();
}

#[tokio::test]
async fn gpu_enabled_false_leaves_only_the_host() {
    let runtime = builder().with_gpu_enabled(false).build().unwrap();
    runtime.start().await.unwrap();
    let devices: Vec<_> = runtime.stats().devices.iter().map(|device| device.info.id).collect();
    assert_eq!(devices, [DeviceId::Host]);
    runtime.shutdown().await.unwrap();
}

#[test]
fn devices_that_are_named_have_to_be_there() {
    let error = builder().with_devices([DeviceId::Cuda(0)]).build().unwrap_err();
    assert_eq!(error.to_string(), "runtime.devices: it names cuda:0, and gpu_enabled is false");
    builder().with_devices([DeviceId::Host]).build().unwrap();
}

#[tokio::test]
async fn values_that_make_no_sense_are_refused_by_name() {
    let error = builder().with_worker_threads(0).build().unwrap_err();
    assert_eq!(error.to_string(), "runtime.worker_threads: it is 0; it has to be at least 1");
    let memory = MemoryConfig { pressure_threshold: 0.9, ..MemoryConfig::default() };
    let error = builder().with_memory(memory).build().unwrap_err();
    assert!(error.to_string().contains("0.9, 0.85, 0.95"), "{error}");
    for (spec, part) in [
        (spec("".into(), 1), "its name is empty"),
        (spec("k".into(), 0), "no instances"),
        (spec("k".into(), 1).queue(0), "between 1 and"),
        (
            spec("k".into(), 1).device(DeviceChoice::On(DeviceId::Cuda(0))),
            "no code for cuda:0, only for the host",
        ),
    ] {
        let error = builder().with_kernel(spec).build().unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
    let twice = builder().with_kernel(spec("k".into(), 1)).with_kernel(spec("k".into(), 1));
    assert!(twice.build().unwrap_err().to_string().contains("there is a kernel `k` already"));
}

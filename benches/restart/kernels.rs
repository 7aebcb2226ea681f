//! Kernels on the host.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix::Arbiter;
use rustkernel_core::observability::{LogConfig, LogFormat, LogLevel};
use rustkernel_core::prelude::*;

use crate::measure::{Ask, Failed, Limits, Peer, Place, QUEUE, World};

struct Worker;

impl Kernel for Worker {
    type Request = Ask;
    type Response = ();

    async fn execute(&mut self, ask: Ask, _: &mut KernelContext) -> KernelResult {
        match ask {
            Ask::Work => Ok(()),
            Ask::Crash => panic!("as asked"),
        }
    }
}

/// What is asked, and what it belongs to.
#[derive(Clone)]
pub(crate) struct Kernels {
    kernel: KernelRef<Worker>,
    _runtime: Arc<Runtime>,
}

/// A runtime on the host that says nothing.
pub(crate) fn builder() -> RuntimeBuilder {
    RuntimeBuilder::new()
        .with_gpu_enabled(false)
        .with_log(LogConfig { level: LogLevel::Off, format: LogFormat::Json })
}

impl Peer for Kernels {
    async fn up(place: Place, limits: Limits, _: &tokio::runtime::Runtime) -> World<Self> {
        let starts = Arc::new(AtomicU64::new(0));
        let spec = |name| {
            let starts = Arc::clone(&starts);
            let make = move || {
                starts.fetch_add(u64::from(name == "worker"), Ordering::AcqRel);
                Worker
            };
            let spec = KernelSpec::new(name, make).queue(QUEUE).deadline(Duration::from_secs(60));
            let spec = match place {
                Place::Same => spec.placement(Placement::On(Arbiter::current())),
                Place::Across => spec.placement(Placement::Dedicated),
            };
            match limits {
                Limits::None => {
                    spec.restart(RestartPolicy::permanent().unlimited().backoff(Backoff::none()))
                }
                Limits::Default => spec,
            }
        };
        let runtime =
            builder().with_kernel(spec("worker")).with_kernel(spec("neighbour")).build().unwrap();
        runtime.start().await.unwrap();
        let runtime = Arc::new(runtime);
        let of =
            |name| Self { kernel: runtime.kernel(name).unwrap(), _runtime: Arc::clone(&runtime) };
        World { worker: of("worker"), neighbour: of("neighbour"), starts }
    }

    async fn ask(&self, ask: Ask) -> Result<(), Failed> {
        self.kernel.call(ask).await.map_err(|error| match error.into_request() {
            Some(_) => Failed::HandedBack,
            None => Failed::Gone,
        })
    }
}

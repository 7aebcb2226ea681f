//! What is soaked.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustkernel_core::config::{HttpConfig, Listen};
use rustkernel_core::observability::{LogConfig, LogFormat, LogLevel};
use rustkernel_core::prelude::*;
use rustkernel_http::{Endpoint, Notice, ServeError, Service};
use serde_json::json;

use crate::tireless;

/// What a request of `faulty` makes it do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Do {
    /// Takes memory of its device for a moment.
    Allocate = 0,
    /// Waits for 20 ms.
    Wait = 1,
    /// Panics, with memory in hand.
    Panic = 2,
    /// Fails, and says that its state is lost.
    Fail = 3,
}

#[derive(KernelMessage)]
struct FaultyRequest {
    /// One of the numbers of [`Do`].
    #[kernel(shape = "1")]
    what: Tensor<u32>,
}

#[derive(KernelMessage)]
struct FaultyResponse {
    /// The same.
    #[kernel(shape = "1")]
    done: Tensor<u32>,
}

struct Faulty;

impl Kernel for Faulty {
    type Request = FaultyRequest;
    type Response = FaultyResponse;

    async fn execute(
        &mut self,
        FaultyRequest { what }: FaultyRequest,
        cx: &mut KernelContext,
    ) -> KernelResult<FaultyResponse> {
        let held = cx.alloc::<u8>(64 << 10).await?;
        match what.as_slice()[0] {
            1 => tokio::time::sleep(Duration::from_millis(20)).await,
            2 => panic!("as asked"),
            3 => return Err(KernelError::fatal("as asked")),
            _ => {}
        }
        drop(held);
        Ok(FaultyResponse { done: what })
    }
}

/// Serves until it is told to end by a signal. Says where it listens, and at the end what it has done.
///
/// # Errors
/// If it does not start.
pub async fn serve(folder: &Path) -> Result<(), ServeError> {
    let faulty = KernelSpec::new("faulty", || Faulty).instances(4).restart(tireless()).publish();
    let mut runtime = RuntimeBuilder::new()
        .with_gpu_enabled(false)
        .with_log(LogConfig { level: LogLevel::Off, format: LogFormat::Json })
        .with_kernel(faulty);
    for kernel in rustkernel_kernels::all() {
        runtime = runtime.with_any_kernel(kernel);
    }
    let runtime = Arc::new(runtime.build().expect("the kernels make sense"));
    let listen = Listen::On(SocketAddr::from(([127, 0, 0, 1], 0)));
    let report = Service::new(runtime)
        .name("soak")
        .endpoint(Endpoint::from(folder.join("soak.sock")))
        .http(HttpConfig { listen, ..HttpConfig::default() })
        .metrics(true)
        .notices(|notice| {
            if let Notice::Listening(address) = notice {
                println!("{address}");
            }
        })
        .serve()
        .await?;
    let ledger = report.ledger;
    let report = json!({
        "submitted": ledger.submitted,
        "completed": ledger.completed,
        "failed": ledger.failed,
        "rejected": ledger.rejected,
        "cancelled": ledger.cancelled,
        "abandoned_threads": report.abandoned_threads,
        "leaked_bytes": report.leaked_bytes,
    });
    println!("{report}");
    Ok(())
}

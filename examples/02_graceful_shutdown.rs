//! Ctrl-C while requests are in flight: new ones are refused, those taken are answered.
//!
//! ```text
//! cargo run --release -p rustkernel-examples --example 02_graceful_shutdown
//! ```
//!
//! What to see: press Ctrl-C while it works. Every request that was taken is answered, the ones after
//! it are told that the runtime is draining, and the books balance.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustkernel_core::prelude::*;
use tokio::signal;

/// Takes a while for each request.
struct Slow;

impl Kernel for Slow {
    type Request = u64;
    type Response = u64;

    async fn execute(&mut self, request: u64, _: &mut KernelContext) -> KernelResult<u64> {
        tokio::time::sleep(Duration::from_millis(40)).await;
        Ok(request)
    }
}

/// The application's own server: a client asks 200 times a second.
struct Server {
    slow: KernelRef<Slow>,
    refused: Arc<AtomicU64>,
}

impl Server {
    async fn run(&self) {
        for request in 0.. {
            let (slow, refused) = (self.slow.clone(), Arc::clone(&self.refused));
            tokio::spawn(async move {
                if let Err(CallError::Rejected { rejection: Rejection::Draining, .. }) =
                    slow.call(request).await
                {
                    refused.fetch_add(1, Ordering::Relaxed);
                }
            });
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let runtime = RuntimeBuilder::new()
        .with_shutdown_timeout(Duration::from_secs(10))
        .with_kernel(KernelSpec::new("slow", || Slow).instances(8))
        .build()?;
    runtime.start().await?;
    let refused = Arc::new(AtomicU64::new(0));
    let server = Server { slow: runtime.kernel("slow")?, refused: Arc::clone(&refused) };
    println!("Working. Press Ctrl-C.");

    // Wait for shutdown signal
    let ctrl_c = async {
        signal::ctrl_c().await.expect("failed to listen for ctrl+c");
    };

    tokio::select! {
        _ = ctrl_c => {
            println!("Shutdown signal received");
            let late = tokio::spawn(async move { server.run().await });
            let report = runtime.shutdown().await?;
            late.abort();
            println!("{} requests taken, {} answered", report.ledger.submitted - report.ledger.rejected, report.ledger.completed);
            println!("{} refused while draining, {} cancelled", refused.load(Ordering::Relaxed), report.cancelled);
        }
        _ = server.run() => {}
    }
    Ok(())
}

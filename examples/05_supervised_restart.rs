//! A kernel that panics: its request fails, it is restarted, and nobody else notices.
//!
//! ```text
//! cargo run --release -p rustkernel-examples --example 05_supervised_restart
//! ```
//!
//! What to see: of a hundred requests in the queue the three that panic fail, each with what the panic
//! said and where; the others are answered, by fresh state after each restart.

use std::error::Error;
use std::time::Duration;

use rustkernel_core::observability::{LogConfig, LogFormat, LogLevel};
use rustkernel_core::prelude::*;

/// Divides, and counts since when it has been alive.
#[derive(Default)]
struct Divider {
    served: u64,
}

impl Kernel for Divider {
    type Request = (i64, i64);
    type Response = (i64, u64);

    async fn execute(
        &mut self,
        (left, right): (i64, i64),
        _: &mut KernelContext,
    ) -> KernelResult<(i64, u64)> {
        self.served += 1;
        Ok((left / right, self.served))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let runtime = RuntimeBuilder::new()
        .with_log(LogConfig { level: LogLevel::Off, format: LogFormat::Auto })
        .with_kernel(KernelSpec::new("divider", Divider::default))
        .build()?;
    runtime.start().await?;
    let mut events = runtime.events();
    let divider = runtime.kernel::<Divider>("divider")?;

    // All hundred are queued at once; three of them divide by zero.
    let calls = (1..=100i64).map(|n| {
        let divider = divider.clone();
        tokio::spawn(async move { (n, divider.call((1000, n % 30 - 15)).await) })
    });
    let mut answered = 0;
    for call in calls.collect::<Vec<_>>() {
        match call.await? {
            (_, Ok(_)) => answered += 1,
            (n, Err(error)) => println!("request {n:>3} failed: {error}"),
        }
    }
    println!("{answered} requests answered");
    let (_, served) = divider.call((1, 1)).await?;
    println!("the state that answers now has served {served} requests");

    tokio::time::sleep(Duration::from_millis(50)).await;
    println!("\nwhat the supervisor told:");
    while let Some(Heard::Event(event)) = events.try_next() {
        println!("  {event:?}");
    }
    let stats = divider.stats();
    println!("\n{} panics, {} restarts, {:?}", stats.panics, stats.restarts, stats.ledger);
    runtime.shutdown().await?;
    Ok(())
}

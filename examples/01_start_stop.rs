//! A runtime from its start to its end, with one kernel and one call.
//!
//! ```text
//! cargo run --release -p rustkernel-examples --example 01_start_stop
//! ```
//!
//! What to see: the runtime before its start, while it runs and when it is shut down (`shutdown` returns when the drain is
//! over), the answer, and books that balance.

use std::error::Error;

use rustkernel_core::prelude::*;

/// Sums its input.
struct Sum;

impl Kernel for Sum {
    type Request = Vec<f64>;
    type Response = f64;

    async fn execute(&mut self, numbers: Vec<f64>, _: &mut KernelContext) -> KernelResult<f64> {
        Ok(numbers.iter().sum())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let runtime = RuntimeBuilder::new().with_kernel(KernelSpec::new("sum", || Sum)).build()?;
    println!("built:      {}", runtime.state());

    runtime.start().await?;
    println!("started:    {}", runtime.state());
    for device in runtime.stats().devices {
        println!("device:     {} ({})", device.info.id, device.info.name);
    }

    let sum = runtime.kernel::<Sum>("sum")?;
    let answer = sum.call((1..=100).map(f64::from).collect()).await?;
    println!("1 + … + 100 = {answer}");

    let report = runtime.shutdown().await?;
    println!("shut down:  {}", runtime.state());
    let Ledger { submitted, completed, failed, rejected, cancelled } = report.ledger;
    println!("books:      {submitted} = {completed} + {failed} + {rejected} + {cancelled}");
    Ok(())
}

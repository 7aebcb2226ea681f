//! An application made of actors: one feeds kernels, one combines what they say.
//!
//! ```text
//! cargo run --release -p rustkernel-examples --example 07_actor_application
//! ```
//!
//! What to see: a sensor sends readings; an analyst asks two kernels about each by message, at once; a
//! journal, which the runtime supervises beside its kernels, keeps count. One reading in ten makes a kernel panic: its analysis fails, the application
//! goes on.

use std::error::Error;

use actix::prelude::{
    Actor, ActorFutureExt, Addr, Context, Handler, Message, ResponseActFuture, WrapFuture,
};
use rustkernel_core::observability::{LogConfig, LogFormat, LogLevel};
use rustkernel_core::prelude::{
    ActorSpec, Call, Kernel, KernelContext, KernelProxy, KernelResult, KernelSpec, RuntimeBuilder,
};
use rustkernel_kernels::reduce::{self, Reduce, ReduceRequest};

/// A kernel of the application's own: the longest run of growing values.
struct LongestRise;

impl Kernel for LongestRise {
    type Request = Vec<f32>;
    type Response = usize;

    async fn execute(&mut self, values: Vec<f32>, _: &mut KernelContext) -> KernelResult<usize> {
        assert!(values.iter().all(|value| value.is_finite()), "a reading is not a number");
        let (mut longest, mut run) = (1, 1);
        for pair in values.windows(2) {
            run = if pair[1] > pair[0] { run + 1 } else { 1 };
            longest = longest.max(run);
        }
        Ok(longest)
    }
}

/// Readings of a sensor.
#[derive(Message)]
#[rtype(result = "Result<(f32, usize), String>")]
struct Reading(Vec<f32>);

/// Asks both kernels about each reading.
struct Analyst {
    mean: Addr<KernelProxy<Reduce>>,
    rise: Addr<KernelProxy<LongestRise>>,
    journal: Addr<Journal>,
}

impl Actor for Analyst {
    type Context = Context<Self>;
}

impl Handler<Reading> for Analyst {
    type Result = ResponseActFuture<Self, Result<(f32, usize), String>>;

    fn handle(&mut self, Reading(values): Reading, _: &mut Self::Context) -> Self::Result {
        let mean =
            self.mean.send(Call(ReduceRequest { input: values.clone().into(), op: "mean".into() }));
        let rise = self.rise.send(Call(values));
        let both = async move {
            // Two messages in flight at once, to kernels on threads of their own.
            let (mean, rise) = tokio::join!(mean, rise);
            let mean =
                mean.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
            let rise =
                rise.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
            Ok((mean.output.as_slice()[0], rise))
        };
        Box::pin(both.into_actor(self).map(|outcome, analyst, _| {
            analyst.journal.try_send(Entry(outcome.clone())).ok();
            outcome
        }))
    }
}

/// Keeps count.
#[derive(Default)]
struct Journal {
    analysed: usize,
    failed: usize,
}

#[derive(Message)]
#[rtype(result = "()")]
struct Entry(Result<(f32, usize), String>);

/// How many were analysed, and how many failed.
#[derive(Message)]
#[rtype(result = "(usize, usize)")]
struct Count;

impl Actor for Journal {
    type Context = Context<Self>;
}

impl Handler<Entry> for Journal {
    type Result = ();

    fn handle(&mut self, Entry(outcome): Entry, _: &mut Self::Context) {
        match outcome {
            Ok(_) => self.analysed += 1,
            Err(_) => self.failed += 1,
        }
    }
}

impl Handler<Count> for Journal {
    type Result = actix::MessageResult<Count>;

    fn handle(&mut self, _: Count, _: &mut Self::Context) -> Self::Result {
        actix::MessageResult((self.analysed, self.failed))
    }
}

/// What a sensor says: a wave, and now and then nonsense.
fn reading(number: usize) -> Reading {
    let value = |sample: usize| match (number % 10, sample) {
        (9, 50) => f32::NAN,
        _ => ((number + sample) as f32 / 7.0).sin(),
    };
    Reading((0..100).map(value).collect())
}

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let runtime = RuntimeBuilder::new()
        .with_log(LogConfig { level: LogLevel::Off, format: LogFormat::Auto })
        .with_actor(ActorSpec::new("journal", Journal::default))
        .with_kernel(reduce::spec())
        .with_kernel(KernelSpec::new("longest_rise", || LongestRise))
        .build()?;
    runtime.start().await?;

    let journal = runtime.actor::<Journal>("journal")?;
    let analyst = Analyst {
        mean: runtime.kernel::<Reduce>("reduce")?.start_actor(),
        rise: runtime.kernel::<LongestRise>("longest_rise")?.start_actor(),
        journal: journal.clone(),
    }
    .start();

    for number in 0..100 {
        match analyst.send(reading(number)).await? {
            Ok((mean, rise)) if number % 20 == 0 => {
                println!("reading {number:>2}: mean {mean:+.3}, longest rise {rise}")
            }
            Err(error) if number % 30 == 29 => println!("reading {number:>2}: {error}"),
            _ => {}
        }
    }
    let (analysed, failed) = journal.send(Count).await?;
    println!("{analysed} analysed, {failed} failed");

    let report = runtime.shutdown().await?;
    println!("books: {:?}", report.ledger);
    Ok(())
}

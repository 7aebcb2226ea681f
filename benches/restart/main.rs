//! What a crash costs: a worker under a supervisor that panics, beside named peers.
//!
//! `cargo bench -p rustkernel-benches --bench restart [-- --rounds 9 --json]`
//!
//! | peer | a worker is | its restart |
//! |---|---|---|
//! | kernel | a kernel on the host | by the runtime, as its policy says |
//! | actix, after a panic | an actor under `actix::Supervisor` | none: it does not restart what panicked |
//! | actix, after ctx.stop() | the same, stopping itself instead | by the supervisor, with the state that it had |
//! | kameo | a supervised actor | by its supervisor, as its policy says |
//! | ractor | a linked actor | by the application: the supervisor is told, and the ten lines that spawn it again under its name are ours |
//! | Erlang/OTP | a `gen_server` under a `supervisor` | by the supervisor, as its specification says |
//!
//! **Restart**: a caller sends a request that panics; has its error; asks, giving up the processor between
//! two tries, until the first good answer. The time from the first sending to that answer, of workers that
//! may restart without limit or backoff. `same` is on the caller's thread (one scheduler), `across` on another;
//! an empty cell means that there was no good answer within half a second.
//!
//! **Losses**: a thousand requests are queued, the 51st panics. How many have a good answer; an error that
//! hands the request back, so that it can be sent again; another error; and nothing within two seconds.
//!
//! **Crash loop**: for a second, a thousand times a second, a client has a worker panic whose supervision
//! is as by default. Another asks its neighbour under the same supervisor, as fast as it is answered; a
//! control run does the same with requests that do not panic. How often the worker was restarted, whether it
//! still serves in the end, how many of the neighbour's requests failed, and its p99 over the control's: the
//! median of all rounds over the median of all, because a p99 beside other load is another each second. A kernel
//! is measured without a limit, too: as by default there are five restarts, and then refusals.
//!
//! **Reach** is of kernels alone: how late callers of a kernel that hangs are answered, how soon a neighbour on the
//! same thread answers while a kernel is flooded, and what a drain takes beyond its timeout while every kernel hangs.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark reads the real clock, prints its tables, and may fail"
)]

mod actix_supervisor;
mod erlang;
mod kameo_supervisor;
mod kernels;
mod measure;
mod ractor_supervisor;
mod reach;
mod tables;

use clap::Parser;
use rustkernel_benches::{Figures, Options};

use measure::{Limits, Loss, Peer, Place, Quantiles, Storm};
use tables::{LossRow, StormRow};

/// What is measured of one peer.
struct Subject {
    name: &'static str,
    /// `None` if it does not serve again.
    restart: fn(Place) -> Option<Quantiles>,
    losses: Option<fn() -> Loss>,
    storm: Option<fn() -> Storm>,
}

/// A peer that is measured by this process.
fn subject<P: Peer>(name: &'static str) -> Subject {
    Subject {
        name,
        restart: measure::restart::<P>,
        losses: Some(measure::losses::<P>),
        storm: Some(|| measure::storm::<P>(Limits::Default)),
    }
}

fn main() {
    let options = Options::parse();
    // Panics are what is measured: nobody wants to read thousands of them.
    std::panic::set_hook(Box::new(|_| {}));
    let subjects = [
        subject::<kernels::Kernels>("kernel"),
        subject::<actix_supervisor::Panicking>("actix, after a panic"),
        // (To stop is no fault: there is no limit that a loop of it could meet.)
        Subject { storm: None, ..subject::<actix_supervisor::Stopping>("actix, after ctx.stop()") },
        subject::<kameo_supervisor::Kameo>("kameo"),
        subject::<ractor_supervisor::Ractor>("ractor"),
        erlang::subject(),
    ];
    restarts(&options, &subjects);
    tables::print(&options, &losses(&subjects));
    tables::print(&options, &storms(&options, &subjects));
    tables::print(&options, &reach::rows());
}

fn restarts(options: &Options, subjects: &[Subject]) {
    let mut figures = Figures::new();
    for _ in 0..options.rounds {
        for subject in subjects {
            figures.name(subject.name);
            for (place, columns) in [
                (Place::Same, ["same, median", "same, p99"]),
                (Place::Across, ["across, median", "across, p99"]),
            ] {
                let Some(measured) = (subject.restart)(place) else { continue };
                figures.add(subject.name, columns[0], measured.median);
                figures.add(subject.name, columns[1], measured.p99);
            }
        }
    }
    figures.print(options);
}

fn losses(subjects: &[Subject]) -> Vec<LossRow> {
    let measured = |subject: &Subject| Some(LossRow::new(subject.name, &(subject.losses?)()));
    subjects.iter().filter_map(measured).collect()
}

fn storms(options: &Options, subjects: &[Subject]) -> Vec<StormRow> {
    let no_limit: fn() -> Storm = || measure::storm::<kernels::Kernels>(Limits::None);
    let by_default = subjects.iter().filter_map(|subject| Some((subject.name, subject.storm?)));
    let measured: Vec<_> = by_default.chain([("kernel, without a limit", no_limit)]).collect();
    let mut storms = vec![Vec::new(); measured.len()];
    for _ in 0..options.rounds {
        for ((_, storm), storms) in measured.iter().zip(&mut storms) {
            storms.push(storm());
        }
    }
    measured.iter().zip(&storms).map(|((name, _), storms)| StormRow::new(name, storms)).collect()
}

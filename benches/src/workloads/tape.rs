//! What streams do, each by a clock of its own, until it is put in the order of time.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::trace::{Op, Step, Trace};

/// What an operation takes, in microseconds, and how many bytes it touches in one.
const OPERATION_US: f64 = 5.0;
const BYTES_PER_US: f64 = 2e6;

/// Steps of streams that do not wait for each other.
pub(super) struct Tape {
    random: ChaCha8Rng,
    clocks: Vec<f64>,
    steps: Vec<Step>,
    ids: u32,
}

/// A block that lives.
#[must_use = "a block that is dropped lives to the end of the trace"]
pub(super) struct Held(Step);

impl Held {
    pub(super) fn bytes(&self) -> u64 {
        self.0.bytes
    }
}

impl Tape {
    pub(super) fn new(seed: u64, streams: u32) -> Self {
        let random = ChaCha8Rng::seed_from_u64(seed);
        Self { random, clocks: vec![0.0; streams as usize], steps: Vec::new(), ids: 0 }
    }

    pub(super) fn streams(&self) -> u32 {
        self.clocks.len() as u32
    }

    /// The stream whose clock is the furthest behind.
    pub(super) fn next_stream(&self) -> u32 {
        let clocks = self.clocks.iter().enumerate();
        clocks.min_by(|one, other| one.1.total_cmp(other.1)).map_or(0, |(stream, _)| stream as u32)
    }

    /// A number from `least` to `most`.
    pub(super) fn number(&mut self, least: u64, most: u64) -> u64 {
        self.random.random_range(least..=most)
    }

    /// A stream has nothing to do, for about so many microseconds.
    pub(super) fn idle(&mut self, stream: u32, about_us: f64) {
        let part: f64 = self.random.random();
        self.clocks[stream as usize] -= about_us * (1.0 - part).ln();
    }

    /// Nobody begins before everybody is done.
    pub(super) fn meet(&mut self) {
        let latest = self.clocks.iter().copied().fold(0.0, f64::max);
        self.clocks.fill(latest);
    }

    /// An operation of a stream whose result takes so many bytes.
    pub(super) fn take(&mut self, stream: u32, bytes: u64) -> Held {
        let clock = &mut self.clocks[stream as usize];
        let step = Step { t_us: *clock, bytes, id: self.ids, stream, op: Op::Allocate };
        *clock += OPERATION_US + bytes as f64 / BYTES_PER_US;
        self.ids += 1;
        self.steps.push(step);
        Held(step)
    }

    /// A block is given back by the stream that took it.
    pub(super) fn give(&mut self, held: Held) {
        let Held(taken) = held;
        let t_us = self.clocks[taken.stream as usize];
        self.steps.push(Step { t_us, op: Op::Free, ..taken });
    }

    pub(super) fn give_all(&mut self, held: impl IntoIterator<Item = Held>) {
        held.into_iter().for_each(|held| self.give(held));
    }

    /// A network's weights, which stay.
    pub(super) fn weights(&mut self, sizes: &[u64]) {
        for bytes in sizes {
            let Held(_) = self.take(0, *bytes);
        }
        self.meet();
    }

    pub(super) fn into_trace(mut self, name: String) -> Trace {
        self.steps.sort_by(|one, other| one.t_us.total_cmp(&other.t_us));
        Trace::of(&name, self.steps).expect("invariant: a tape gives back only what it took")
    }
}

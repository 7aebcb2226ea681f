//! Traces made from a seed, to be replayed beside recorded ones: what is tuned on recordings has to hold
//! on these as well.
//!
//! | workload | streams | what it is like |
//! |---|---|---|
//! | `requests` | 1, 4, 8 | a network in half precision that answers bursts of requests, in batches of 1 to 8 of three resolutions |
//! | `training` | 1 | steps of training, each with sequences of another length |
//! | `cache` | 1, 4 | text generation: key-value caches that grow with each token, sessions interleaved |
//!
//! Sizes, lives and times are drawn at random; the same seed makes the same traces on every machine.

mod cache;
mod requests;
mod tape;
mod training;

use crate::trace::Trace;
use tape::Tape;

/// The workloads of a seed.
pub fn workloads(seed: u64) -> Vec<Trace> {
    let requests = [1, 4, 8].map(|streams| ("requests", streams, requests::play as Play));
    let training = [("training", 1, training::play as Play)];
    let cache = [1, 4].map(|streams| ("cache", streams, cache::play as Play));
    let all = requests.into_iter().chain(training).chain(cache);
    let trace = |(name, streams, play): (&str, u32, Play)| {
        let mut tape = Tape::new(seed, streams);
        play(&mut tape);
        tape.into_trace(format!("{name}, {streams} streams, seed {seed}"))
    };
    all.map(trace).collect()
}

/// Writes a workload onto a tape.
type Play = fn(&mut Tape);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_the_same_traces_and_another_makes_others() {
        let (one, again, other) = (workloads(1), workloads(1), workloads(2));
        assert_eq!(one, again);
        for (one, other) in one.iter().zip(&other) {
            assert_ne!(one.steps, other.steps, "{}", one.name);
        }
    }

    #[test]
    fn traces_are_as_long_and_as_large_as_recorded_ones() {
        for trace in workloads(3) {
            let (name, mib) = (&trace.name, trace.peak_live >> 20);
            assert!((5_000..200_000).contains(&trace.ids), "{name}: {}", trace.ids);
            assert!((100..4_000).contains(&mib), "{name}: {mib} MiB");
        }
    }
}

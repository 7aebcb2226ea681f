//! A network that answers bursts of requests, a batch at a time on each stream.

use super::tape::{Held, Tape};

const LAYERS: u64 = 48;
const BATCHES: u64 = 240;
/// The results of so many layers before are needed again.
const SKIPS: usize = 3;
/// What a batch waits for at most of the others, in microseconds.
const GAP_US: f64 = 800.0;

pub(super) fn play(tape: &mut Tape) {
    let layers: Vec<u64> = (0..LAYERS).map(|layer| bytes_of(tape, layer)).collect();
    let weights: Vec<u64> =
        (0..LAYERS).map(|layer| tape.number(1, 8 * (layer + 1)) << 15).collect();
    tape.weights(&weights);
    for batch in 0..BATCHES {
        let stream = tape.next_stream();
        // Bursts of eight, then a pause.
        tape.idle(stream, if batch % 8 == 0 { 8.0 * GAP_US } else { GAP_US / 8.0 });
        answer(tape, stream, &layers);
    }
}

/// What a layer gives for one picture of the lowest resolution: less and less.
fn bytes_of(tape: &mut Tape, layer: u64) -> u64 {
    let halvings = layer / 12;
    (tape.number(200, 800) << 10) >> halvings
}

fn answer(tape: &mut Tape, stream: u32, layers: &[u64]) {
    let pictures = tape.number(1, 8);
    // Resolutions of 1, 1.5 and 2 times the side.
    let pixels = [4, 9, 16][tape.number(0, 2) as usize];
    let mut recent: Vec<Held> = vec![tape.take(stream, pictures * pixels * 37_632)];
    for bytes in layers {
        let bytes = pictures * pixels * bytes / 4;
        let statistics = [(); 3].map(|()| tape.take(stream, 256));
        let scratch = (tape.number(0, 3) == 0).then(|| tape.take(stream, bytes / 3 * 2));
        recent.push(tape.take(stream, bytes));
        tape.give_all(statistics.into_iter().chain(scratch));
        if recent.len() > SKIPS {
            let oldest = recent.remove(0);
            tape.give(oldest);
        }
    }
    tape.give_all(recent);
}

//! Steps of training: activations pile up on the way forward and go on the way back.

use super::tape::{Held, Tape};

const LAYERS: u64 = 24;
const STEPS: u64 = 40;
/// Of one token of a batch.
const TOKEN_BYTES: u64 = 4 * 512;

pub(super) fn play(tape: &mut Tape) {
    let weights: Vec<u64> = (0..4 * LAYERS).map(|_| tape.number(64, 1024) << 10).collect();
    tape.weights(&weights);
    // The optimiser's two moments of each.
    tape.weights(&weights);
    tape.weights(&weights);
    for _ in 0..STEPS {
        let tokens = 8 * tape.number(64, 512);
        let activations = forward(tape, tokens);
        let gradients = backward(tape, &weights, activations);
        optimise(tape, gradients, &weights);
        tape.idle(0, 2000.0);
    }
}

/// Each layer keeps what its way back needs, by layers.
fn forward(tape: &mut Tape, tokens: u64) -> Vec<Vec<Held>> {
    let layer = |_| {
        let scores = tape.take(0, tokens * tokens / 8);
        let parts = [3, 1, 4, 4, 1];
        let mut kept: Vec<Held> =
            parts.into_iter().map(|part| tape.take(0, part * tokens * TOKEN_BYTES)).collect();
        kept.extend([tape.take(0, tokens * 4), tape.take(0, tokens * 4)]);
        tape.give(scores);
        kept
    };
    (0..LAYERS).map(layer).collect()
}

/// The gradients of all weights.
fn backward(tape: &mut Tape, weights: &[u64], activations: Vec<Vec<Held>>) -> Vec<Held> {
    let mut gradients = Vec::new();
    let mut weights = weights.iter().rev();
    for kept in activations.into_iter().rev() {
        let mut flowing: Option<Held> = None;
        for held in kept.into_iter().rev() {
            let next = tape.take(0, held.bytes());
            gradients.extend(
                weights.next().filter(|_| held.bytes() > 1 << 20).map(|it| tape.take(0, *it)),
            );
            tape.give_all(flowing.replace(next).into_iter().chain([held]));
        }
        tape.give_all(flowing);
    }
    gradients
}

fn optimise(tape: &mut Tape, gradients: Vec<Held>, weights: &[u64]) {
    for bytes in weights {
        let scratch = [tape.take(0, *bytes), tape.take(0, *bytes)];
        tape.give_all(scratch);
    }
    tape.give_all(gradients);
}

//! Text generation: each token makes every cache a little longer, in a new place.

use super::tape::{Held, Tape};

const LAYERS: usize = 12;
const SESSIONS: u64 = 24;
/// Sessions that are in progress on a stream.
const AT_ONCE: usize = 5;
const TOKEN_BYTES: u64 = 3072;

struct Session {
    stream: u32,
    tokens: u64,
    left: u64,
    caches: Vec<Held>,
}

pub(super) fn play(tape: &mut Tape) {
    let weights: Vec<u64> = [9, 27, 36, 36].repeat(LAYERS).iter().map(|part| part << 18).collect();
    tape.weights(&weights);
    let mut sessions: Vec<Session> = Vec::new();
    let mut begun = 0;
    while begun < SESSIONS || !sessions.is_empty() {
        let stream = tape.next_stream();
        let own: Vec<usize> =
            (0..sessions.len()).filter(|index| sessions[*index].stream == stream).collect();
        if begun < SESSIONS && own.len() < AT_ONCE.div_ceil(tape.streams() as usize) {
            sessions.push(begin(tape, stream));
            begun += 1;
        } else if own.is_empty() {
            tape.idle(stream, 1000.0);
        } else {
            let index = own[tape.number(0, own.len() as u64 - 1) as usize];
            step(tape, &mut sessions, index);
        }
    }
}

/// A prompt is taken in at once.
fn begin(tape: &mut Tape, stream: u32) -> Session {
    let (tokens, left) = (tape.number(16, 800), tape.number(8, 100));
    let caches = (0..2 * LAYERS).map(|_| tape.take(stream, tokens * TOKEN_BYTES)).collect();
    Session { stream, tokens, left, caches }
}

/// One more token; or the end.
fn step(tape: &mut Tape, sessions: &mut Vec<Session>, index: usize) {
    let session = &mut sessions[index];
    session.tokens += 1;
    for cache in &mut session.caches {
        let small = [1, 3, 4].map(|part| tape.take(session.stream, part * TOKEN_BYTES));
        let scores = tape.take(session.stream, session.tokens * 48);
        let longer = tape.take(session.stream, session.tokens * TOKEN_BYTES);
        tape.give(std::mem::replace(cache, longer));
        tape.give_all(small.into_iter().chain([scores]));
    }
    session.left -= 1;
    if session.left == 0 {
        tape.give_all(sessions.swap_remove(index).caches);
    }
}

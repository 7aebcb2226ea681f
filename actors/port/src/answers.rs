//! Answers that are ready together wake their callers together.

use std::mem;
use std::task::Waker;

/// Most wakers held back.
const MOST: usize = 32;

/// The wakers of callers whose answers are in place already.
///
/// An instance that answers many short requests in a row holds them back a little, so that a caller
/// with several answers is woken once. They are woken when it runs out of requests, waits, or holds
/// `MOST` of them; also when this is dropped.
#[derive(Debug, Default)]
pub struct Answers {
    wakers: Vec<Waker>,
}

impl Answers {
    pub(crate) fn hold(&mut self, waker: Waker) {
        if self.wakers.iter().rev().take(4).any(|held| held.will_wake(&waker)) {
            return;
        }
        self.wakers.push(waker);
        if self.wakers.len() >= MOST {
            self.wake();
        }
    }

    /// Wakes whoever has an answer.
    pub fn wake(&mut self) {
        for waker in self.wakers.drain(..) {
            waker.wake();
        }
    }

    /// Whether nobody is held back.
    pub fn is_empty(&self) -> bool {
        self.wakers.is_empty()
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        mem::take(&mut self.wakers).into_iter().for_each(Waker::wake);
    }
}

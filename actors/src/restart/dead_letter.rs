//! Requests that are not tried again.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use super::Cause;

/// Those that are kept of a runtime; older ones are counted by their kernels.
const KEPT: usize = 256;

/// A request that ended its kernel each time that it was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The kernel.
    pub kernel: String,
    /// The request's number there, from 1, as in the kernel's log lines.
    pub request: u64,
    /// How often it was tried.
    pub tries: u32,
    /// Why the kernel ended the last time.
    pub cause: Cause,
    /// When that was, by the wall clock.
    pub at: SystemTime,
}

/// The last of a runtime.
#[derive(Debug, Default)]
pub(crate) struct DeadLetters {
    letters: Mutex<VecDeque<DeadLetter>>,
}

impl DeadLetters {
    pub(crate) fn push(&self, letter: DeadLetter) {
        let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        if letters.len() == KEPT {
            letters.pop_front();
        }
        letters.push_back(letter);
    }

    /// The oldest first.
    pub(crate) fn read(&self) -> Vec<DeadLetter> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

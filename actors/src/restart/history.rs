//! What happened to a kernel lately.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use crate::clock;

/// Entries that are kept of each kernel.
const KEPT: usize = 32;

/// Something that happened to a kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// How many came before it, those forgotten since included.
    pub number: u64,
    /// When, by the wall clock.
    pub at: SystemTime,
    /// Which instance, if it was one.
    pub instance: Option<usize>,
    /// What, in a sentence.
    pub what: String,
}

/// The last entries of one kernel. Written where things happen, read by whoever asks.
#[derive(Debug, Default)]
pub(crate) struct History {
    entries: Mutex<(u64, VecDeque<HistoryEntry>)>,
}

impl History {
    pub(crate) fn note(&self, instance: Option<usize>, what: String) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let number = entries.0;
        entries.0 += 1;
        if entries.1.len() == KEPT {
            entries.1.pop_front();
        }
        entries.1.push_back(HistoryEntry { number, at: clock::wall(), instance, what });
    }

    /// The oldest first.
    pub(crate) fn read(&self) -> Vec<HistoryEntry> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.1.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_are_kept_and_numbered() {
        let history = History::default();
        (0..40).for_each(|n| history.note(None, n.to_string()));
        let kept = history.read();
        assert_eq!(kept.len(), KEPT);
        assert!(
            kept.iter().zip(8..).all(|(entry, n)| entry.number == n && entry.what == n.to_string())
        );
    }
}

//! The books: every submitted request in exactly one column.

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

use crate::outcome::Ending;

/// The counters of one port. Callers and answerers write lines of their own.
#[derive(Debug, Default)]
pub struct Books {
    callers: CachePadded<Lines>,
    answerers: CachePadded<Lines>,
    submitted: CachePadded<AtomicU64>,
}

#[derive(Debug, Default)]
struct Lines {
    completed: AtomicU64,
    failed: AtomicU64,
    rejected: AtomicU64,
    cancelled: AtomicU64,
}

impl Lines {
    fn line(&self, ending: Ending) -> &AtomicU64 {
        match ending {
            Ending::Completed => &self.completed,
            Ending::Failed => &self.failed,
            Ending::Rejected => &self.rejected,
            Ending::Cancelled => &self.cancelled,
        }
    }
}

/// A reading of the books. At every quiet moment, and at exit,
/// `submitted = completed + failed + rejected + cancelled`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ledger {
    /// Requests that callers have brought.
    pub submitted: u64,
    /// Answered by their kernel.
    pub completed: u64,
    /// Run, and failed.
    pub failed: u64,
    /// Refused before they ran.
    pub rejected: u64,
    /// Given up: by their callers, by their deadlines, or while stopping.
    pub cancelled: u64,
}

impl Ledger {
    /// How many have ended.
    pub fn ended(&self) -> u64 {
        self.completed + self.failed + self.rejected + self.cancelled
    }

    /// How many have not.
    pub fn open(&self) -> u64 {
        self.submitted.saturating_sub(self.ended())
    }

    /// Whether every submitted request has ended, each in one way.
    pub fn is_balanced(&self) -> bool {
        self.submitted == self.ended()
    }
}

impl std::iter::Sum for Ledger {
    fn sum<I: Iterator<Item = Self>>(ledgers: I) -> Self {
        ledgers.fold(Self::default(), |sum, one| Self {
            submitted: sum.submitted + one.submitted,
            completed: sum.completed + one.completed,
            failed: sum.failed + one.failed,
            rejected: sum.rejected + one.rejected,
            cancelled: sum.cancelled + one.cancelled,
        })
    }
}

impl Books {
    /// A request was taken; its number, from 1.
    pub(crate) fn submit(&self) -> u64 {
        self.submitted.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A request came and was refused.
    pub fn refuse(&self) {
        self.submit();
        self.callers.rejected.fetch_add(1, Ordering::Release);
    }

    /// A request was ended by its caller.
    pub(crate) fn abandon(&self) {
        self.callers.cancelled.fetch_add(1, Ordering::Release);
    }

    /// A request was ended by an answer.
    pub(crate) fn end(&self, ending: Ending) {
        self.answerers.line(ending).fetch_add(1, Ordering::Release);
    }

    /// Reads the books. The ends are read before the submissions, so that a reading never shows more
    /// requests ended than submitted.
    pub fn read(&self) -> Ledger {
        let sum = |ending| {
            let lines = [&self.callers, &self.answerers];
            lines.iter().map(|lines| lines.line(ending).load(Ordering::Acquire)).sum()
        };
        Ledger {
            completed: sum(Ending::Completed),
            failed: sum(Ending::Failed),
            rejected: sum(Ending::Rejected),
            cancelled: sum(Ending::Cancelled),
            submitted: self.submitted.load(Ordering::Acquire),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_is_a_column_and_the_books_balance() {
        let books = Books::default();
        assert_eq!((books.submit(), books.submit()), (1, 2));
        books.end(Ending::Completed);
        books.abandon();
        books.refuse();
        let ledger = books.read();
        let expected = Ledger { submitted: 3, completed: 1, rejected: 1, cancelled: 1, failed: 0 };
        assert_eq!((ledger, ledger.is_balanced(), ledger.open()), (expected, true, 0));
        books.submit();
        assert_eq!((books.read().open(), books.read().is_balanced()), (1, false));
        let sum: Ledger = [ledger, books.read()].into_iter().sum();
        assert_eq!((sum.submitted, sum.ended()), (7, 6));
    }
}

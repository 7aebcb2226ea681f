//! The callers' own book: what became of each request, kept without asking the runtime.

use rustkernel_actors::Ledger;
use rustkernel_actors::supervisor::LifecycleState;

/// How a request ended, as its caller or its kernel saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Completed,
    Failed,
    Rejected,
    Cancelled,
}

/// How far the kernel got with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Run {
    No,
    Started,
    /// At that millisecond.
    Finished(Ended, u64),
}

/// A request in the book.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) kernel: usize,
    /// In milliseconds from the run's begin.
    pub(crate) called_at: u64,
    /// What the runtime's state was known to be when the call was made.
    pub(crate) called_in: LifecycleState,
    /// When an answer is due, in milliseconds from the run's begin, and how late that may be known.
    pub(crate) due: Option<(u64, u64)>,
    pub(crate) run: Run,
    pub(crate) is_low: bool,
    /// How often it was started.
    pub(crate) tries: u32,
    /// Copies of the request that there are.
    pub(crate) copies: u32,
    pub(crate) is_over: bool,
    /// It runs now, on the device that can be lost.
    pub(crate) on_device: bool,
    /// The device was lost under it: then it has its answer by that millisecond.
    pub(crate) lost_by: Option<u64>,
}

/// The requests of a run, by number.
#[derive(Debug, Default)]
pub(crate) struct Book {
    entries: Vec<Entry>,
    /// By kernel.
    pub(crate) ledgers: Vec<Ledger>,
    /// Calls that do not wait for room and have no answer yet, by kernel.
    pub(crate) pending: Vec<usize>,
    /// Requests that failed with the last end of their kernel's that they may cause, by kernel.
    pub(crate) dead: Vec<u64>,
}

impl Book {
    pub(crate) fn new(kernels: usize) -> Self {
        Self {
            entries: Vec::new(),
            ledgers: vec![Ledger::default(); kernels],
            pending: vec![0; kernels],
            dead: vec![0; kernels],
        }
    }

    /// A call is made; its number.
    pub(crate) fn open(&mut self, entry: Entry) -> u32 {
        self.entries.push(entry);
        u32::try_from(self.entries.len() - 1).expect("invariant: a run has fewer requests")
    }

    pub(crate) fn entry(&mut self, number: u32) -> &mut Entry {
        &mut self.entries[number as usize]
    }

    /// Those that run on the device and have no end.
    pub(crate) fn on_device(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.entries.iter_mut().filter(|entry| entry.on_device && !entry.is_over)
    }

    /// How many calls were made.
    pub(crate) fn calls(&self) -> usize {
        self.entries.len()
    }

    /// How often requests of a kernel were started once more.
    pub(crate) fn tries_again(&self, kernel: usize) -> u64 {
        let own = self.entries.iter().filter(|entry| entry.kernel == kernel);
        own.map(|entry| u64::from(entry.tries.saturating_sub(1))).sum()
    }

    /// How many have no end.
    pub(crate) fn open_calls(&self) -> usize {
        self.entries.iter().filter(|entry| !entry.is_over).count()
    }

    /// The caller has an answer, or has gone away from a request that was taken.
    pub(crate) fn count(&mut self, kernel: usize, ended: Ended) {
        let ledger = &mut self.ledgers[kernel];
        ledger.submitted += 1;
        let column = match ended {
            Ended::Completed => &mut ledger.completed,
            Ended::Failed => &mut ledger.failed,
            Ended::Rejected => &mut ledger.rejected,
            Ended::Cancelled => &mut ledger.cancelled,
        };
        *column += 1;
    }
}

//! Requests that came back: an instance took them and did not begin them.
//!
//! They are taken again before those in the queue, in the order in which they came, so that with one instance
//! none is overtaken by what came after it. The list is empty nearly always; that costs one load to see.

use crossbeam_utils::CachePadded;

use crate::port::Envelope;
use crate::sync::{AtomicUsize, Mutex, MutexGuard, Ordering};

pub(crate) struct Returned<Q> {
    count: CachePadded<AtomicUsize>,
    /// The one that came first is the last.
    list: Mutex<Vec<Envelope<Q>>>,
}

impl<Q> Returned<Q> {
    pub(crate) fn new() -> Self {
        Self { count: CachePadded::new(AtomicUsize::new(0)), list: Mutex::new(Vec::new()) }
    }

    fn list(&self) -> MutexGuard<'_, Vec<Envelope<Q>>> {
        self.list.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::SeqCst) == 0
    }

    /// Adds one. (An instance has one in its hands at most, and takes these first: so they are never more
    /// than there are instances.)
    pub(crate) fn add(&self, envelope: Envelope<Q>) {
        let mut list = self.list();
        let place = list.partition_point(|other| other.id > envelope.id);
        list.insert(place, envelope);
        self.count.store(list.len(), Ordering::SeqCst);
    }

    /// The one that came first.
    pub(crate) fn take(&self) -> Option<Envelope<Q>> {
        if self.is_empty() {
            return None;
        }
        let mut list = self.list();
        let first = list.pop();
        self.count.store(list.len(), Ordering::SeqCst);
        first
    }
}

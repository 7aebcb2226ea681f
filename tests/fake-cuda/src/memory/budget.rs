//! A device's capacity, and what of it is taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::code::{Answer, Code};

/// What memory is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// `cuMemAlloc` and its kin.
    Allocation,
    /// Held by memory pools, in use or not.
    Pool,
    /// `cuMemCreate`.
    Physical,
    /// Variables of modules.
    Module,
}

/// The bytes taken, by their use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) allocations: u64,
    pub(crate) pools: u64,
    pub(crate) physical: u64,
    pub(crate) modules: u64,
    pub(crate) peak: u64,
}

impl Taken {
    pub(crate) fn total(&self) -> u64 {
        self.allocations + self.pools + self.physical + self.modules
    }

    fn of(&mut self, what: Use) -> &mut u64 {
        match what {
            Use::Allocation => &mut self.allocations,
            Use::Pool => &mut self.pools,
            Use::Physical => &mut self.physical,
            Use::Module => &mut self.modules,
        }
    }
}

/// One device's account.
#[derive(Debug)]
pub(crate) struct Budget {
    capacity: u64,
    taken: Mutex<Taken>,
    /// Bytes that another process holds.
    occupied: AtomicU64,
}

impl Budget {
    pub(crate) fn new(capacity: u64) -> Arc<Self> {
        Arc::new(Self { capacity, taken: Mutex::default(), occupied: AtomicU64::new(0) })
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.capacity
    }

    pub(crate) fn taken(&self) -> Taken {
        *self.taken.lock()
    }

    /// Another process holds that many bytes from now on.
    pub(crate) fn occupy(&self, bytes: u64) {
        self.occupied.store(bytes, Ordering::Relaxed);
    }

    /// Bytes that nobody has taken.
    pub(crate) fn free(&self) -> u64 {
        self.free_beside(&self.taken())
    }

    fn free_beside(&self, taken: &Taken) -> u64 {
        let occupied = self.occupied.load(Ordering::Relaxed);
        self.capacity.saturating_sub(taken.total()).saturating_sub(occupied)
    }

    /// Takes `bytes` until the share is dropped.
    pub(crate) fn take(self: &Arc<Self>, what: Use, bytes: u64) -> Answer<Share> {
        let mut taken = self.taken.lock();
        if bytes > self.free_beside(&taken) {
            return Err(Code::OUT_OF_MEMORY);
        }
        *taken.of(what) += bytes;
        taken.peak = taken.peak.max(taken.total());
        Ok(Share { budget: Arc::clone(self), what, bytes })
    }

    /// Forgets the peak, for a test that begins.
    pub(crate) fn reset_peak(&self) {
        let mut taken = self.taken.lock();
        taken.peak = taken.total();
    }
}

/// Bytes taken from a budget; dropping gives them back.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    what: Use,
    bytes: u64,
}

impl Share {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes more, or gives some back.
    pub(crate) fn resize(&mut self, bytes: u64) -> Answer {
        if bytes > self.bytes {
            let mut more = self.budget.take(self.what, bytes - self.bytes)?;
            more.bytes = 0;
        } else {
            *self.budget.taken.lock().of(self.what) -= self.bytes - bytes;
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        *self.budget.taken.lock().of(self.what) -= self.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_bounded_and_come_back() {
        let budget = Budget::new(100);
        let mut share = budget.take(Use::Allocation, 60).unwrap();
        assert_eq!(budget.take(Use::Pool, 41).unwrap_err(), Code::OUT_OF_MEMORY);
        assert_eq!(budget.take(Use::Pool, u64::MAX).unwrap_err(), Code::OUT_OF_MEMORY);
        assert_eq!(share.resize(101), Err(Code::OUT_OF_MEMORY));
        share.resize(90).unwrap();
        share.resize(10).unwrap();
        assert_eq!((budget.taken().total(), budget.taken().peak), (10, 90));
        drop(share);
        budget.reset_peak();
        assert_eq!(budget.taken(), Taken::default());
    }

    #[test]
    fn what_another_process_holds_is_not_free() {
        let budget = Budget::new(100);
        let share = budget.take(Use::Physical, 30).unwrap();
        budget.occupy(60);
        assert_eq!((budget.free(), budget.taken().total()), (10, 30));
        assert_eq!(budget.take(Use::Physical, 11).unwrap_err(), Code::OUT_OF_MEMORY);
        // It may hold what was promised to nobody.
        budget.occupy(90);
        assert_eq!(budget.free(), 0);
        budget.occupy(0);
        drop(share);
        assert_eq!(budget.free(), 100);
    }
}

//! Memory pools: what `cuMemAllocAsync` allocates from.
//!
//! A pool holds memory of the device beyond what is in use, up to its release threshold, and gives
//! the rest back when a stream, an event or the context is synchronised. Fragmentation within a
//! pool is not modelled.

use std::sync::Arc;

use parking_lot::Mutex;

use super::budget::{Budget, Share, Use};
use crate::code::Answer;

/// A pool of one device.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) device: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    reserved: Share,
    used: u64,
    reserved_high: u64,
    used_high: u64,
    threshold: u64,
    /// The three reuse policies, which have no effect here: addresses are never used again.
    reuse: [bool; 3],
}

/// The attributes with their numbers in the driver's interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attribute {
    Reuse(usize),
    Threshold,
    Reserved,
    ReservedHigh,
    Used,
    UsedHigh,
}

impl Attribute {
    pub(crate) fn numbered(number: u32) -> Option<Self> {
        Some(match number {
            1..=3 => Self::Reuse(number as usize - 1),
            4 => Self::Threshold,
            5 => Self::Reserved,
            6 => Self::ReservedHigh,
            7 => Self::Used,
            8 => Self::UsedHigh,
            _ => return None,
        })
    }
}

impl Pool {
    pub(crate) fn new(budget: &Arc<Budget>, device: usize) -> Answer<Self> {
        let state = State {
            reserved: budget.take(Use::Pool, 0)?,
            used: 0,
            reserved_high: 0,
            used_high: 0,
            threshold: 0,
            reuse: [true; 3],
        };
        Ok(Self { device, state: Mutex::new(state) })
    }

    /// Takes `bytes`: of what the pool holds, and more from the device if that is not enough.
    pub(crate) fn take(&self, bytes: u64) -> Answer {
        let mut state = self.state.lock();
        let used = state.used.saturating_add(bytes);
        if used > state.reserved.bytes() {
            state.reserved.resize(used)?;
        }
        state.used = used;
        state.used_high = state.used_high.max(used);
        state.reserved_high = state.reserved_high.max(state.reserved.bytes());
        Ok(())
    }

    pub(super) fn put(&self, bytes: u64) {
        let mut state = self.state.lock();
        state.used = state.used.saturating_sub(bytes);
    }

    /// Gives back what is not in use, but for `keep` bytes.
    pub(crate) fn trim(&self, keep: u64) {
        let mut state = self.state.lock();
        let keep = keep.max(state.used);
        if state.reserved.bytes() > keep {
            // (giving back cannot fail)
            let _ = state.reserved.resize(keep);
        }
    }

    /// What a synchronisation does.
    pub(crate) fn trim_to_threshold(&self) {
        let threshold = self.state.lock().threshold;
        self.trim(threshold);
    }

    pub(crate) fn get(&self, attribute: Attribute) -> u64 {
        let state = self.state.lock();
        match attribute {
            Attribute::Reuse(which) => state.reuse[which].into(),
            Attribute::Threshold => state.threshold,
            Attribute::Reserved => state.reserved.bytes(),
            Attribute::ReservedHigh => state.reserved_high,
            Attribute::Used => state.used,
            Attribute::UsedHigh => state.used_high,
        }
    }

    /// Sets an attribute; a high-water mark can only be set to zero, which restarts it. Says whether
    /// it could be set.
    pub(crate) fn set(&self, attribute: Attribute, value: u64) -> bool {
        let mut state = self.state.lock();
        match attribute {
            Attribute::Reuse(which) => state.reuse[which] = value != 0,
            Attribute::Threshold => state.threshold = value,
            Attribute::ReservedHigh if value == 0 => state.reserved_high = state.reserved.bytes(),
            Attribute::UsedHigh if value == 0 => state.used_high = state.used,
            _ => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_keeps_up_to_its_threshold() {
        let budget = Budget::new(1000);
        let pool = Pool::new(&budget, 0).unwrap();
        pool.take(600).unwrap();
        assert!(pool.take(500).is_err());
        pool.put(600);
        assert_eq!((pool.get(Attribute::Reserved), budget.taken().pools), (600, 600));
        pool.take(200).unwrap();
        assert!(pool.set(Attribute::Threshold, 300));
        pool.trim_to_threshold();
        assert_eq!(budget.taken().pools, 300);
        pool.trim(0);
        assert_eq!(budget.taken().pools, 200);
        assert_eq!((pool.get(Attribute::UsedHigh), pool.get(Attribute::ReservedHigh)), (600, 600));
        assert!(pool.set(Attribute::UsedHigh, 0) && !pool.set(Attribute::Used, 0));
        assert_eq!(pool.get(Attribute::UsedHigh), 200);
    }
}

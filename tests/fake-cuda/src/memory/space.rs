//! The addresses of one context: what is live, what is reserved, what is mapped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::budget::Share;
use super::physical::Physical;
use super::pool::Pool;
use super::{DEVICE_SPAN, PAGE, Storage, first_address, something_is_gone};
use crate::code::{Answer, Code};
use crate::sim::Segment;

/// Gives out the addresses of one device, each only once.
#[derive(Debug)]
pub(crate) struct Addresses {
    next: AtomicU64,
    end: u64,
}

/// Between two allocations: an access that runs past one is not in the next.
const GAP: u64 = 64 << 10;

impl Addresses {
    pub(crate) fn of(ordinal: usize) -> Self {
        let first = first_address(ordinal);
        Self { next: AtomicU64::new(first + PAGE), end: first + DEVICE_SPAN }
    }

    /// No address before this one will be given out again.
    pub(crate) fn next(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// An address for `bytes` bytes; none when the device's addresses are used up.
    pub(crate) fn take(&self, bytes: u64, align: u64) -> Answer<u64> {
        let place = |next: u64| Some((next.checked_next_multiple_of(align)?, bytes, GAP));
        let after = |next: u64| {
            let (at, bytes, gap) = place(next)?;
            let after = at.checked_add(bytes)?.checked_add(gap)?;
            (after <= self.end).then_some(after)
        };
        let order = Ordering::Relaxed;
        let before = self.next.fetch_update(order, order, after);
        before.ok().and_then(place).map(|(at, ..)| at).ok_or(Code::OUT_OF_MEMORY)
    }
}

/// Where a live range came from, and what it holds as long as it lives.
#[derive(Debug)]
pub(crate) enum Origin {
    Allocated { _share: Share },
    Module { _share: Share },
    Pooled { pool: Arc<Pool>, bytes: u64 },
    Mapped { _physical: Arc<Physical>, accessible: bool },
}

/// A live range of addresses.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) bytes: u64,
    pub(crate) storage: Arc<Storage>,
    pub(crate) origin: Origin,
    /// A free of it waits in a stream.
    pub(crate) freeing: bool,
}

impl Live {
    fn accessible(&self) -> bool {
        !matches!(self.origin, Origin::Mapped { accessible: false, .. })
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Origin::Pooled { pool, bytes } = &self.origin {
            pool.put(*bytes);
        }
    }
}

/// All of a context's addresses.
#[derive(Debug, Default)]
pub(crate) struct Space {
    live: BTreeMap<u64, Live>,
    /// Reserved ranges, with their sizes.
    reserved: BTreeMap<u64, u64>,
}

impl Space {
    /// The live range that `address` is in, if it may be used.
    pub(crate) fn find(&self, address: u64) -> Option<(u64, &Live)> {
        let (start, live) = self.live.range(..=address).next_back()?;
        (address - start < live.bytes && live.accessible()).then_some((*start, live))
    }

    pub(crate) fn segment(&self, address: u64) -> Option<Segment> {
        let (start, live) = self.find(address)?;
        let owner = Arc::clone(&live.storage);
        Some(Segment { start, bytes: live.bytes, host: live.storage.start(), _owner: Some(owner) })
    }

    pub(crate) fn add(&mut self, address: u64, live: Live) {
        self.live.insert(address, live);
    }

    /// The range that begins at `address`, as what `cuMemFree` may be given.
    pub(crate) fn freeable(&mut self, address: u64) -> Answer<&mut Live> {
        let live = self.live.get_mut(&address).filter(|live| !live.freeing);
        live.filter(|live| matches!(live.origin, Origin::Allocated { .. } | Origin::Pooled { .. }))
            .ok_or(Code::INVALID_VALUE)
    }

    pub(crate) fn remove(&mut self, address: u64) -> Option<Live> {
        let live = self.live.remove(&address);
        something_is_gone();
        live
    }
}

/// Virtual memory management.
impl Space {
    /// What outlives the context: what is reserved, and what is mapped there.
    pub(crate) fn without_context(mut self) -> Self {
        self.live.retain(|_, live| matches!(live.origin, Origin::Mapped { .. }));
        something_is_gone();
        self
    }

    pub(crate) fn reserve(&mut self, address: u64, bytes: u64) {
        self.reserved.insert(address, bytes);
    }

    /// Gives a reservation back, all of it, with nothing mapped there.
    pub(crate) fn unreserve(&mut self, address: u64, bytes: u64) -> Answer {
        let whole = self.reserved.get(&address) == Some(&bytes);
        if !whole || self.live.range(address..address + bytes).next().is_some() {
            return Err(Code::INVALID_VALUE);
        }
        self.reserved.remove(&address);
        Ok(())
    }

    /// Maps the start of `physical` to a reserved range that is free.
    pub(crate) fn map(&mut self, address: u64, bytes: u64, physical: Arc<Physical>) -> Answer {
        let end = address.checked_add(bytes).ok_or(Code::INVALID_VALUE)?;
        let aligned =
            bytes > 0 && (address | bytes).is_multiple_of(PAGE) && bytes <= physical.bytes();
        let reserved = self.reserved.range(..=address).next_back();
        let inside = reserved.is_some_and(|(start, length)| end <= start + length);
        if !aligned || !inside || self.live.range(address..end).next().is_some() {
            return Err(Code::INVALID_VALUE);
        }
        let before = self.live.range(..address).next_back();
        if before.is_some_and(|(start, live)| start + live.bytes > address) {
            return Err(Code::INVALID_VALUE);
        }
        let storage = Arc::clone(&physical.storage);
        let origin = Origin::Mapped { _physical: physical, accessible: false };
        self.live.insert(address, Live { bytes, storage, origin, freeing: false });
        Ok(())
    }

    /// The mappings that make up a range exactly, without holes.
    fn mapped(&self, address: u64, bytes: u64) -> Answer<Vec<u64>> {
        let end = address.checked_add(bytes).ok_or(Code::INVALID_VALUE)?;
        let (mut next, mut starts) = (address, Vec::new());
        while next < end {
            let live = self.live.get(&next);
            let live = live.filter(|live| matches!(live.origin, Origin::Mapped { .. }));
            starts.push(next);
            next += live.ok_or(Code::INVALID_VALUE)?.bytes;
        }
        if next == end && bytes > 0 { Ok(starts) } else { Err(Code::INVALID_VALUE) }
    }

    pub(crate) fn set_access(&mut self, address: u64, bytes: u64, open: bool) -> Answer {
        for start in self.mapped(address, bytes)? {
            if let Some(Live { origin: Origin::Mapped { accessible, .. }, .. }) =
                self.live.get_mut(&start)
            {
                *accessible = open;
            }
        }
        something_is_gone();
        Ok(())
    }

    /// Unmaps whole mappings, which together are the range.
    pub(crate) fn unmap(&mut self, address: u64, bytes: u64) -> Answer {
        for start in self.mapped(address, bytes)? {
            self.live.remove(&start);
        }
        something_is_gone();
        Ok(())
    }

    /// The mapping at `address`, accessible or not.
    pub(crate) fn mapping(&self, address: u64) -> Option<&Live> {
        let (start, live) = self.live.range(..=address).next_back()?;
        (address - start < live.bytes).then_some(live)
    }

    /// The reserved range that `address` is in.
    pub(crate) fn reservation(&self, address: u64) -> Option<(u64, u64)> {
        let (start, bytes) = self.reserved.range(..=address).next_back()?;
        (address - start < *bytes).then_some((*start, *bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::super::budget::{Budget, Use};
    use super::*;

    fn allocated(budget: &Arc<Budget>, bytes: u64) -> Live {
        let share = budget.take(Use::Allocation, bytes).unwrap();
        let storage = Arc::new(Storage::new(bytes).unwrap());
        Live { bytes, storage, origin: Origin::Allocated { _share: share }, freeing: false }
    }

    #[test]
    fn addresses_are_given_out_once_with_gaps() {
        let addresses = Addresses::of(3);
        let first = addresses.take(100, 512).unwrap();
        let second = addresses.take(100, PAGE).unwrap();
        assert_eq!(super::super::device_of(first), Some(3));
        assert!(second >= first + 100 + GAP && second.is_multiple_of(PAGE));
        assert!(addresses.take(DEVICE_SPAN, 512).is_err());
        assert!(addresses.take(u64::MAX, 512).is_err());
    }

    #[test]
    fn ranges_end_where_they_end() {
        let budget = Budget::new(1000);
        let mut space = Space::default();
        space.add(4096, allocated(&budget, 10));
        assert_eq!(space.find(4105).map(|(start, _)| start), Some(4096));
        assert!(space.find(4095).is_none() && space.find(4106).is_none());
        assert!(space.freeable(4097).is_err() && space.freeable(4096).is_ok());
        let before = super::super::generation();
        drop(space.remove(4096));
        assert!(super::super::generation() > before);
        assert_eq!(budget.taken().total(), 0);
    }

    #[test]
    fn physical_memory_outlives_its_handle_while_it_is_mapped() {
        let budget = Budget::new(4 * PAGE);
        let mut space = Space::default();
        space.reserve(PAGE, 4 * PAGE);
        let physical = Arc::new(Physical::new(&budget, PAGE).unwrap());
        space.map(PAGE, PAGE, Arc::clone(&physical)).unwrap();
        space.map(3 * PAGE, PAGE, Arc::clone(&physical)).unwrap();
        assert_eq!(space.map(PAGE, PAGE, Arc::clone(&physical)), Err(Code::INVALID_VALUE));
        assert_eq!(space.map(5 * PAGE, PAGE, Arc::clone(&physical)), Err(Code::INVALID_VALUE));
        assert!(space.find(PAGE).is_none(), "no access yet");
        assert_eq!(space.set_access(PAGE, 2 * PAGE, true), Err(Code::INVALID_VALUE), "a hole");
        space.set_access(PAGE, PAGE, true).unwrap();
        assert!(space.find(PAGE).is_some());
        drop(physical);
        assert_eq!(space.unreserve(PAGE, 4 * PAGE), Err(Code::INVALID_VALUE));
        space.unmap(PAGE, PAGE).unwrap();
        assert_eq!(budget.taken().physical, PAGE);
        space.unmap(3 * PAGE, PAGE).unwrap();
        assert_eq!(budget.taken().physical, 0);
        space.unreserve(PAGE, 4 * PAGE).unwrap();
    }
}

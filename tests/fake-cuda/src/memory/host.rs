//! Host memory that devices can reach: pinned, registered and managed. One address serves both
//! sides, and every device.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;

use super::budget::Share;
use super::{Storage, something_is_gone};
use crate::code::{Answer, Code};
use crate::sim::Segment;

/// How a range of host memory came to be known.
#[derive(Debug)]
pub(crate) enum Kind {
    /// `cuMemHostAlloc`, `cuMemAllocHost`.
    Pinned(Arc<Storage>),
    /// `cuMemHostRegister`: the program's own memory.
    Registered,
    /// `cuMemAllocManaged`; it counts as the device's.
    Managed(Arc<Storage>, #[expect(dead_code, reason = "held for its drop")] Share),
}

#[derive(Debug)]
pub(crate) struct Range {
    pub(crate) bytes: u64,
    pub(crate) flags: u32,
    pub(crate) kind: Kind,
    /// The context that it goes with, and its device.
    pub(crate) context: u64,
    pub(crate) device: usize,
}

impl Range {
    pub(crate) fn is_managed(&self) -> bool {
        matches!(self.kind, Kind::Managed(..))
    }
}

/// What a look-up tells.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    pub(crate) start: u64,
    pub(crate) bytes: u64,
    pub(crate) flags: u32,
    pub(crate) device: usize,
    pub(crate) managed: bool,
}

static RANGES: RwLock<BTreeMap<u64, Range>> = RwLock::new(BTreeMap::new());

/// Memory is pinned by the page: what shares a page with a registered range is reachable too.
const HOST_PAGE: u64 = 4096;

/// Adds a range; none of it may be known yet.
pub(crate) fn add(start: u64, range: Range) -> Answer {
    let mut ranges = RANGES.write();
    let end = start.checked_add(range.bytes).ok_or(Code::INVALID_VALUE)?;
    let before = ranges.range(..end).next_back();
    if before.is_some_and(|(other, known)| other + known.bytes > start) {
        return Err(Code::HOST_MEMORY_ALREADY_REGISTERED);
    }
    ranges.insert(start, range);
    Ok(())
}

/// Removes the range that begins at `start`, if `wanted` holds for it.
pub(crate) fn remove(start: u64, wanted: impl Fn(&Range) -> bool) -> Option<Range> {
    let mut ranges = RANGES.write();
    if !ranges.get(&start).is_some_and(wanted) {
        return None;
    }
    something_is_gone();
    ranges.remove(&start)
}

/// Forgets what belongs to a context that is destroyed.
pub(crate) fn forget(context: u64) {
    RANGES.write().retain(|_, range| range.context != context);
    something_is_gone();
}

/// The range that `address` is in.
pub(crate) fn find(address: u64) -> Option<Found> {
    let ranges = RANGES.read();
    let (start, range) = ranges.range(..=address).next_back()?;
    (address - start < range.bytes).then_some(Found {
        start: *start,
        bytes: range.bytes,
        flags: range.flags,
        device: range.device,
        managed: range.is_managed(),
    })
}

/// The range that `address` is in, as memory to access.
pub(crate) fn segment(address: u64) -> Option<Segment> {
    let ranges = RANGES.read();
    let page = address & !(HOST_PAGE - 1);
    let (start, range) = ranges.range(..page + HOST_PAGE).next_back()?;
    let (first, last) = (start & !(HOST_PAGE - 1), (start + range.bytes).next_multiple_of(HOST_PAGE));
    let owner: Option<Arc<dyn std::any::Any + Send + Sync>> = match &range.kind {
        Kind::Pinned(storage) | Kind::Managed(storage, _) => Some(Arc::clone(storage) as _),
        Kind::Registered => None,
    };
    let (start, bytes) =
        if owner.is_some() { (*start, range.bytes) } else { (first, last - first) };
    let host = std::ptr::with_exposed_provenance_mut(start as usize);
    (address.wrapping_sub(start) < bytes).then_some(Segment { start, bytes, host, _owner: owner })
}

/// The pinned and the registered bytes of a device's context.
pub(crate) fn pinned(device: usize) -> (u64, u64) {
    let ranges = RANGES.read();
    let own = ranges.values().filter(|range| range.device == device);
    own.fold((0, 0), |(pinned, registered), range| match range.kind {
        Kind::Pinned(_) => (pinned + range.bytes, registered),
        Kind::Registered => (pinned, registered + range.bytes),
        Kind::Managed(..) => (pinned, registered),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registered(bytes: u64) -> Range {
        Range { bytes, flags: 0, kind: Kind::Registered, context: 77, device: 999 }
    }

    #[test]
    fn ranges_do_not_overlap_and_go_with_their_context() {
        let base = 0x10_0000;
        add(base + 100, registered(100)).unwrap();
        for (start, bytes) in [(base + 199, 10), (base + 50, 51), (base, 1000), (base + 120, 1)] {
            let refused = add(start, registered(bytes));
            assert_eq!(refused, Err(Code::HOST_MEMORY_ALREADY_REGISTERED), "{start} {bytes}");
        }
        add(base + 200, registered(10)).unwrap();
        assert_eq!(find(base + 199).unwrap().start, base + 100);
        assert!(find(base + 99).is_none());
        assert_eq!(pinned(999), (0, 110));
        assert_eq!(segment(base + 99).unwrap().start, base, "memory is pinned by the page");
        assert!(remove(base + 100, Range::is_managed).is_none());
        forget(77);
        assert!(find(base + 150).is_none() && segment(base + 150).is_none());
    }
}

//! Device memory as one launch sees it.

use std::any::Any;
use std::sync::Arc;

use super::cell::Cell;
use super::fault::{Fault, Laned};
use super::registers::{ALL, LANES, Mask, all_within, each, each_lane, lanes};

/// Where addresses lead. (The driver's model of a device is one; a test may bring its own.)
pub(crate) trait AddressSpace: Send + Sync {
    /// The live range of memory that `address` is in.
    fn find(&self, address: u64) -> Option<Segment>;

    /// A number that changes whenever a range that was found may be gone.
    fn generation(&self) -> u64;
}

/// A live range of device addresses, and the host memory behind it.
#[derive(Clone)]
pub(crate) struct Segment {
    pub(crate) start: u64,
    pub(crate) bytes: u64,
    /// Aligned as `start` is, to 16 bytes at least where `start` is.
    pub(crate) host: *mut u8,
    /// Keeps the host memory while the segment is used.
    pub(crate) _owner: Option<Arc<dyn Any + Send + Sync>>,
}

// SAFETY: a segment is an address and its owner; who uses the address takes care of races.
unsafe impl Send for Segment {}
// SAFETY: as above.
unsafe impl Sync for Segment {}

impl Segment {
    /// The host address of `bytes` bytes at `address`, if they are all inside.
    #[inline(always)]
    pub(crate) fn at(&self, address: u64, bytes: u64) -> Option<*mut u8> {
        let offset = address.wrapping_sub(self.start);
        let inside = self.bytes.checked_sub(bytes).is_some_and(|last| offset <= last);
        // (`wrapping_add`, which needs no promise; it is in bounds)
        inside.then(|| self.host.wrapping_add(offset as usize))
    }
}

/// How many segments are kept at hand: enough for a kernel's buffers, few enough to search.
const AT_HAND: usize = 32;

/// The segments that a launch has touched: found once, then at hand.
pub(crate) struct Global<'a> {
    space: &'a dyn AddressSpace,
    segments: Vec<Segment>,
    latest: usize,
    generation: u64,
}

impl<'a> Global<'a> {
    pub(crate) fn new(space: &'a dyn AddressSpace) -> Self {
        Self { space, segments: Vec::new(), latest: 0, generation: space.generation() }
    }

    /// The segment that `address` is in.
    #[inline(always)]
    fn segment(&mut self, address: u64) -> Option<&Segment> {
        let fresh = self.space.generation() == self.generation;
        let latest = self.segments.get(self.latest);
        if !fresh || latest.is_none_or(|segment| segment.at(address, 1).is_none()) {
            self.latest = self.look_up(address, fresh)?;
        }
        self.segments.get(self.latest)
    }

    #[cold]
    fn look_up(&mut self, address: u64, fresh: bool) -> Option<usize> {
        if !fresh {
            self.generation = self.space.generation();
            self.segments.clear();
        }
        let known = self.segments.iter().position(|segment| segment.at(address, 1).is_some());
        if known.is_some() {
            return known;
        }
        let found = self.space.find(address)?;
        if self.segments.len() == AT_HAND {
            self.segments.clear();
        }
        self.segments.push(found);
        Some(self.segments.len() - 1)
    }

    /// The host address of one lane's access.
    #[inline(always)]
    pub(super) fn locate(&mut self, address: u64, bytes: u64) -> Result<*mut u8, Fault> {
        if address & (bytes - 1) != 0 {
            return Err(Fault::Misaligned(address));
        }
        let segment = self.segment(address);
        segment
            .and_then(|segment| segment.at(address, bytes))
            .ok_or(Fault::IllegalAddress(address))
    }

    /// How all lanes of `mask` can be reached at once, if they can.
    #[inline(always)]
    fn reach(&mut self, mask: Mask, addresses: &[u64; LANES], bytes: u64) -> Option<Reach> {
        let first = addresses[mask.trailing_zeros() as usize & (LANES - 1)];
        let segment = self.segment(first)?;
        let last = segment.bytes.checked_sub(bytes)?;
        let (start, host) = (segment.start, segment.host);
        let offsets = each(addresses, |address| address.wrapping_sub(start));
        // (a segment begins at a multiple of any access's size, so offsets tell of alignment too)
        if !all_within(mask, &offsets, last, bytes) {
            return None;
        }
        let step = each_lane(|lane| lane as u64 * bytes);
        let apart = (0..LANES).fold(0, |apart, lane| apart | offsets[lane].wrapping_sub(step[lane]) ^ offsets[0]);
        let row = mask == ALL && apart == 0;
        Some(Reach { host, start, row: row.then(|| host.wrapping_add((first - start) as usize)) })
    }

    #[inline(always)]
    pub(super) fn load<T: Cell>(
        &mut self,
        mask: Mask,
        addresses: &[u64; LANES],
        values: &mut [T; LANES],
        concurrent: bool,
    ) -> Laned<()> {
        let Some(reach) = self.reach(mask, addresses, T::BYTES).filter(|_| !concurrent) else {
            return self.load_by_lane(mask, addresses, values, concurrent);
        };
        if let Some(row) = reach.row {
            // SAFETY: a row of live memory begins here; `values` is no part of it.
            unsafe { row.cast::<T>().copy_to_nonoverlapping(values.as_mut_ptr(), LANES) };
            return Ok(());
        }
        for lane in 0..LANES {
            if mask >> lane & 1 != 0 {
                let at = reach.host.wrapping_add((addresses[lane] - reach.start) as usize);
                // SAFETY: `reach` has checked that the access is aligned, and inside live memory.
                values[lane] = unsafe { T::read(at) };
            }
        }
        Ok(())
    }

    #[cold]
    fn load_by_lane<T: Cell>(
        &mut self,
        mask: Mask,
        addresses: &[u64; LANES],
        values: &mut [T; LANES],
        concurrent: bool,
    ) -> Laned<()> {
        for lane in lanes(mask) {
            let at = self.locate(addresses[lane], T::BYTES).map_err(|fault| (lane, fault))?;
            // SAFETY: `locate` has checked that the access is aligned, and inside live memory.
            values[lane] = unsafe { if concurrent { T::read_atomic(at) } else { T::read(at) } };
        }
        Ok(())
    }

    #[inline(always)]
    pub(super) fn store<T: Cell>(
        &mut self,
        mask: Mask,
        addresses: &[u64; LANES],
        values: &[T; LANES],
        concurrent: bool,
    ) -> Laned<()> {
        let Some(reach) = self.reach(mask, addresses, T::BYTES).filter(|_| !concurrent) else {
            return self.store_by_lane(mask, addresses, values, concurrent);
        };
        if let Some(row) = reach.row {
            // SAFETY: a row of live memory begins here; `values` is no part of it.
            unsafe { row.cast::<T>().copy_from_nonoverlapping(values.as_ptr(), LANES) };
            return Ok(());
        }
        for lane in 0..LANES {
            if mask >> lane & 1 != 0 {
                let at = reach.host.wrapping_add((addresses[lane] - reach.start) as usize);
                // SAFETY: `reach` has checked that the access is aligned, and inside live memory.
                unsafe { values[lane].write(at) };
            }
        }
        Ok(())
    }

    #[cold]
    fn store_by_lane<T: Cell>(
        &mut self,
        mask: Mask,
        addresses: &[u64; LANES],
        values: &[T; LANES],
        concurrent: bool,
    ) -> Laned<()> {
        for lane in lanes(mask) {
            let at = self.locate(addresses[lane], T::BYTES).map_err(|fault| (lane, fault))?;
            // SAFETY: `locate` has checked that the access is aligned, and inside live memory.
            unsafe {
                if concurrent { values[lane].write_atomic(at) } else { values[lane].write(at) }
            };
        }
        Ok(())
    }
}

/// One segment that all lanes are in.
struct Reach {
    host: *mut u8,
    start: u64,
    /// The first lane's place, where the lanes are side by side.
    row: Option<*mut u8>,
}

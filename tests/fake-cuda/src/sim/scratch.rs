//! Memory that lives and dies with a block: shared memory, and each thread's own.

use super::cell::Cell;
use super::fault::{Fault, Laned};
use super::registers::{LANES, Mask, lanes};

/// The shared memory of a block. Its addresses begin at zero.
#[derive(Debug, Default)]
pub(super) struct Shared {
    bytes: Vec<u8>,
}

/// What uninitialised memory holds, so that nobody takes it for zeros.
const FRESH: u8 = 0xa5;

impl Shared {
    /// For the next block: of that size, and uninitialised again.
    pub(super) fn renew(&mut self, bytes: usize) {
        self.bytes.clear();
        self.bytes.resize(bytes, FRESH);
    }

    /// The place of one access.
    #[inline(always)]
    pub(super) fn cell(&mut self, address: u64, bytes: u64) -> Result<&mut [u8], Fault> {
        if address & (bytes - 1) != 0 {
            return Err(Fault::Misaligned(address));
        }
        let start = usize::try_from(address).unwrap_or(usize::MAX);
        let end = start.checked_add(bytes as usize);
        end.and_then(|end| self.bytes.get_mut(start..end)).ok_or(Fault::IllegalAddress(address))
    }

    /// Whether every lane of `mask` has a proper address.
    #[inline(always)]
    fn all_inside(&self, mask: Mask, addresses: &[u64; LANES], bytes: u64) -> bool {
        let Some(last) = (self.bytes.len() as u64).checked_sub(bytes) else { return false };
        let mut wrong = 0;
        for (lane, address) in addresses.iter().enumerate() {
            let active = u64::from(mask >> lane & 1);
            wrong |= (u64::from(*address > last) | address & (bytes - 1)) * active;
        }
        wrong == 0
    }

    #[inline(always)]
    pub(super) fn load<T: Cell>(
        &mut self,
        mask: Mask,
        addresses: &[u64; LANES],
    ) -> Laned<[T; LANES]> {
        let mut values = [T::default(); LANES];
        if self.all_inside(mask, addresses, T::BYTES) {
            for lane in 0..LANES {
                if mask >> lane & 1 != 0 {
                    let at = addresses[lane] as usize;
                    values[lane] = T::from_bytes(&self.bytes[at..at + size_of::<T>()]);
                }
            }
            return Ok(values);
        }
        for lane in lanes(mask) {
            let cell = self.cell(addresses[lane], T::BYTES).map_err(|fault| (lane, fault))?;
            values[lane] = T::from_bytes(cell);
        }
        Ok(values)
    }

    #[inline(always)]
    pub(super) fn store<T: Cell>(
        &mut self,
        mask: Mask,
        addresses: &[u64; LANES],
        values: &[T; LANES],
    ) -> Laned<()> {
        for lane in lanes(mask) {
            let cell = self.cell(addresses[lane], T::BYTES).map_err(|fault| (lane, fault))?;
            values[lane].to_bytes(cell);
        }
        Ok(())
    }
}

/// The local memory of a warp's threads. All have the same addresses, from zero on; it grows with
/// the depth of calls.
#[derive(Debug, Default)]
pub(super) struct Local {
    /// Sixteen bytes of each lane, then the next sixteen of each: growing moves nothing.
    bytes: Vec<u8>,
    /// How much each lane has.
    each: u64,
}

const GRAIN: u64 = 16;

impl Local {
    /// Gives each lane at least `each` bytes.
    pub(super) fn grow(&mut self, each: u64) {
        if each > self.each {
            self.each = each.next_multiple_of(GRAIN);
            self.bytes.resize(self.each as usize * LANES, FRESH);
        }
    }

    /// The place of one lane's access, which an aligned address keeps within a grain.
    #[inline(always)]
    pub(super) fn cell(
        &mut self,
        lane: usize,
        address: u64,
        bytes: u64,
    ) -> Result<&mut [u8], Fault> {
        if address & (bytes - 1) != 0 {
            return Err(Fault::Misaligned(address));
        }
        if address >= self.each {
            return Err(Fault::IllegalAddress(address));
        }
        let start = (address / GRAIN * GRAIN * LANES as u64 + address % GRAIN) as usize;
        let start = start + lane * GRAIN as usize;
        Ok(&mut self.bytes[start..start + bytes as usize])
    }

    #[inline(always)]
    pub(super) fn load<T: Cell>(
        &mut self,
        mask: Mask,
        addresses: &[u64; LANES],
    ) -> Laned<[T; LANES]> {
        let mut values = [T::default(); LANES];
        for lane in lanes(mask) {
            let cell = self.cell(lane, addresses[lane], T::BYTES).map_err(|fault| (lane, fault))?;
            values[lane] = T::from_bytes(cell);
        }
        Ok(values)
    }

    #[inline(always)]
    pub(super) fn store<T: Cell>(
        &mut self,
        mask: Mask,
        addresses: &[u64; LANES],
        values: &[T; LANES],
    ) -> Laned<()> {
        for lane in lanes(mask) {
            let cell = self.cell(lane, addresses[lane], T::BYTES).map_err(|fault| (lane, fault))?;
            values[lane].to_bytes(cell);
        }
        Ok(())
    }

    /// Copies bytes of the lanes in `mask` from one place of their memory to another.
    pub(super) fn copy(&mut self, mask: Mask, from: u64, to: u64, bytes: u64) {
        for lane in lanes(mask) {
            for i in 0..bytes {
                let byte = self.cell(lane, from + i, 1).map_or(0, |cell| cell[0]);
                if let Ok(cell) = self.cell(lane, to + i, 1) {
                    cell[0] = byte;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(step: u64) -> [u64; LANES] {
        std::array::from_fn(|lane| lane as u64 * step)
    }

    #[test]
    fn shared_memory_is_one_and_bounded() {
        let mut shared = Shared::default();
        shared.renew(128);
        assert_eq!(shared.load::<u32>(1, &[0; LANES]).unwrap()[0], 0xa5a5_a5a5);
        shared.store(!0, &spread(4), &std::array::from_fn(|lane| lane as u32)).unwrap();
        assert_eq!(shared.load::<u32>(!0, &spread(4)).unwrap()[31], 31);
        let outside = shared.load::<u64>(!0, &spread(8)).unwrap_err();
        assert_eq!(outside, (16, Fault::IllegalAddress(128)));
        assert_eq!(shared.load::<u64>(0b11, &spread(4)).unwrap_err(), (1, Fault::Misaligned(4)));
    }

    #[test]
    fn local_memory_is_each_lanes_own_and_grows_in_place() {
        let mut local = Local::default();
        local.grow(20);
        let values: [u64; LANES] = std::array::from_fn(|lane| lane as u64 * 3);
        local.store(!0, &[24; LANES], &values).unwrap();
        local.grow(1000);
        assert_eq!(local.load::<u64>(!0, &[24; LANES]).unwrap(), values);
        local.copy(0b100, 24, 48, 8);
        assert_eq!(local.load::<u64>(0b110, &[48; LANES]).unwrap()[1..3], [0xa5a5_a5a5_a5a5_a5a5, 6]);
        assert!(local.load::<u8>(1, &[5000; LANES]).is_err());
    }
}

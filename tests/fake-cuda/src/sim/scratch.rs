//! Memory that lives and dies with a block: shared memory, and each thread's own.

use super::cell::Cell;
use super::fault::{Fault, Laned};
use super::registers::{ALL, LANES, Mask, all_within, lanes};

/// What uninitialised memory holds, so that nobody takes it for zeros.
const FRESH: u8 = 0xa5;

/// The shared memory of a block. Its addresses begin at zero.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Whole words of 16 bytes, for their alignment, of which `bytes` are in use.
    words: Vec<u128>,
    bytes: usize,
}

impl Shared {
    /// For the next block: of that size, and uninitialised again.
    pub(super) fn renew(&mut self, bytes: usize) {
        self.words.clear();
        self.words.resize(bytes.div_ceil(16), u128::from_ne_bytes([FRESH; 16]));
        self.bytes = bytes;
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the words are initialised, and every byte of one is a byte; there are at least so
        // many of them.
        unsafe { std::slice::from_raw_parts_mut(self.words.as_mut_ptr().cast(), self.bytes) }
    }

    /// The place of one access.
    #[inline(always)]
    pub(super) fn cell(&mut self, address: u64, bytes: u64) -> Result<&mut [u8], Fault> {
        if address & (bytes - 1) != 0 {
            return Err(Fault::Misaligned(address));
        }
        let start = usize::try_from(address).unwrap_or(usize::MAX);
        let end = start.checked_add(bytes as usize);
        end.and_then(|end| self.bytes().get_mut(start..end)).ok_or(Fault::IllegalAddress(address))
    }

    #[inline(always)]
    pub(super) fn load<T: Cell>(
        &mut self,
        mask: Mask,
        addresses: &[u64; LANES],
        values: &mut [T; LANES],
    ) -> Laned<()> {
        let last = (self.bytes as u64).checked_sub(T::BYTES);
        if mask == ALL && last.is_some_and(|last| all_within(ALL, addresses, last, T::BYTES)) {
            let start = self.words.as_ptr().cast::<u8>();
            for lane in 0..LANES {
                // SAFETY: the address has just been found to be inside, and a multiple of the size
                // (which the start of the memory is too).
                values[lane] = unsafe { T::read(start.add(addresses[lane] as usize)) };
            }
            return Ok(());
        }
        for lane in lanes(mask) {
            let cell = self.cell(addresses[lane], T::BYTES).map_err(|fault| (lane, fault))?;
            values[lane] = T::from_bytes(cell);
        }
        Ok(())
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
        values: &mut [T; LANES],
    ) -> Laned<()> {
        for lane in lanes(mask) {
            let cell = self.cell(lane, addresses[lane], T::BYTES).map_err(|fault| (lane, fault))?;
            values[lane] = T::from_bytes(cell);
        }
        Ok(())
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

    fn load<T: Cell>(shared: &mut Shared, mask: Mask, at: [u64; LANES]) -> Laned<[T; LANES]> {
        let mut values = [T::default(); LANES];
        shared.load(mask, &at, &mut values).map(|()| values)
    }

    fn spread(step: u64) -> [u64; LANES] {
        std::array::from_fn(|lane| lane as u64 * step)
    }

    #[test]
    fn shared_memory_is_one_and_bounded() {
        let mut shared = Shared::default();
        shared.renew(128);
        assert_eq!(load::<u32>(&mut shared, 1, [0; LANES]).unwrap()[0], 0xa5a5_a5a5);
        shared.store(!0, &spread(4), &std::array::from_fn(|lane| lane as u32)).unwrap();
        assert_eq!(load::<u32>(&mut shared, !0, spread(4)).unwrap()[31], 31);
        let outside = load::<u64>(&mut shared, !0, spread(8)).unwrap_err();
        assert_eq!(outside, (16, Fault::IllegalAddress(128)));
        assert_eq!(load::<u64>(&mut shared, 0b11, spread(4)).unwrap_err(), (1, Fault::Misaligned(4)));
    }

    #[test]
    fn local_memory_is_each_lanes_own_and_grows_in_place() {
        let mut local = Local::default();
        local.grow(20);
        let values: [u64; LANES] = std::array::from_fn(|lane| lane as u64 * 3);
        local.store(!0, &[24; LANES], &values).unwrap();
        local.grow(1000);
        let mut back = [0u64; LANES];
        local.load(!0, &[24; LANES], &mut back).unwrap();
        assert_eq!(back, values);
        local.copy(0b100, 24, 48, 8);
        local.load(0b110, &[48; LANES], &mut back).unwrap();
        assert_eq!(back[..4], [0, 0xa5a5_a5a5_a5a5_a5a5, 6, 9]);
        assert!(local.load(1, &[5000; LANES], &mut back).is_err());
    }
}

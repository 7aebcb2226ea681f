//! Loads and stores, and the address conversions around them.

use multiversion::multiversion;

use super::block::Surroundings;
use super::cell::Cell;
use super::compare::Size;
use super::convert::{self, Scalar};
use super::fault::{Fault, Laned};
use super::frame::Frame;
use super::program::{Address, Space, Transfer};
use super::registers::{LANES, Lane, Mask, Registers, Row, each, lanes};
use super::scratch::Local;
use super::window;

/// Where a group's accesses can go, and how.
struct Access<'a, 'b> {
    active: Mask,
    space: Space,
    concurrent: bool,
    local: &'a mut Local,
    around: &'a mut Surroundings<'b>,
}

/// `ld`: one to four elements, side by side in memory.
#[multiversion(targets("x86_64+avx2+bmi1+bmi2+fma+lzcnt+popcnt"))]
pub(super) fn load(
    frame: &mut Frame,
    active: Mask,
    (transfer, address): (&Transfer, Address),
    local: &mut Local,
    around: &mut Surroundings<'_>,
) -> Laned<()> {
    let mut addresses = [0; LANES];
    let space = resolve(frame, active, address, &mut addresses);
    aligned(active, &addresses, transfer)?;
    let concurrent = transfer.concurrent;
    let mut from = Access { active, space, concurrent, local, around };
    let registers = &mut frame.registers;
    let bits = transfer.scalar.bits();
    for element in 0..usize::from(transfer.count) {
        let (size, row) = (transfer.size, transfer.rows[element]);
        if element > 0 {
            addresses = each(&addresses, |address| address.wrapping_add((bits / 8).into()));
        }
        match (bits, size) {
            (32, Size::Word) => {
                let mut values = [0u32; LANES];
                from.load(&addresses, &mut values)?;
                registers.set(active, row, &values);
            }
            (64, _) => {
                let mut values = [0u64; LANES];
                from.load(&addresses, &mut values)?;
                registers.set(active, row, &values);
            }
            _ => {
                let values = from.load_narrow(&addresses, transfer.scalar)?;
                convert::write(registers, active, (size, row), &values);
            }
        }
    }
    Ok(())
}

/// `st`.
#[multiversion(targets("x86_64+avx2+bmi1+bmi2+fma+lzcnt+popcnt"))]
pub(super) fn store(
    frame: &mut Frame,
    active: Mask,
    (transfer, address): (&Transfer, Address),
    local: &mut Local,
    around: &mut Surroundings<'_>,
) -> Laned<()> {
    let mut addresses = [0; LANES];
    let space = resolve(frame, active, address, &mut addresses);
    aligned(active, &addresses, transfer)?;
    let concurrent = transfer.concurrent;
    let mut to = Access { active, space, concurrent, local, around };
    let bits = transfer.scalar.bits();
    for element in 0..usize::from(transfer.count) {
        if element > 0 {
            addresses = each(&addresses, |address| address.wrapping_add((bits / 8).into()));
        }
        let (registers, row) = (&frame.registers, transfer.rows[element]);
        match (bits, transfer.size) {
            (32, Size::Word) => to.store(&addresses, registers.word(row))?,
            (64, _) => to.store(&addresses, registers.long(row))?,
            (_, Size::Half) => to.cut(&addresses, bits, &registers.values::<u16>(row))?,
            (_, Size::Word) => to.cut(&addresses, bits, &registers.values::<u32>(row))?,
            (_, Size::Long) => to.cut(&addresses, bits, &registers.values::<u64>(row))?,
        }
    }
    Ok(())
}

/// A vector access must be aligned to all of it. (Each element's own alignment is seen later.)
#[inline(always)]
fn aligned(active: Mask, addresses: &[u64; LANES], transfer: &Transfer) -> Laned<()> {
    if transfer.count == 1 {
        return Ok(());
    }
    let bytes = u64::from(transfer.scalar.bits() / 8) * u64::from(transfer.count);
    let wrong = lanes(active).find(|lane| addresses[*lane] & (bytes - 1) != 0);
    wrong.map_or(Ok(()), |lane| Err((lane, Fault::Misaligned(addresses[lane]))))
}

/// The addresses of all lanes, and the space that they are in. Generic addresses of one window are
/// taken out of it; where lanes differ, they stay generic.
#[inline(always)]
pub(super) fn resolve(
    frame: &Frame,
    active: Mask,
    address: Address,
    addresses: &mut [u64; LANES],
) -> Space {
    let base = if address.space == Space::Frame { frame.base } else { 0 };
    let offset = i64::from(address.offset).cast_unsigned().wrapping_add(base);
    *addresses = each(frame.registers.long(address.row), |at| at.wrapping_add(offset));
    match address.space {
        Space::Frame => Space::Local,
        Space::Generic => {
            let (space, _) = window::resolve(addresses[active.trailing_zeros() as usize & 31]);
            if !lanes(active).all(|lane| window::resolve(addresses[lane]).0 == space) {
                return Space::Generic;
            }
            let start = window::start(space);
            *addresses = each(addresses, |at| at.wrapping_sub(start));
            space
        }
        space => space,
    }
}

impl Access<'_, '_> {
    #[inline(always)]
    fn load<T: Cell>(
        &mut self,
        addresses: &[u64; LANES],
        values: &mut [T; LANES],
    ) -> Laned<()> {
        let active = self.active;
        match self.space {
            Space::Global => self.around.global.load(active, addresses, values, self.concurrent),
            Space::Shared => self.around.shared.load(active, addresses, values),
            Space::Parameter => {
                parameters(&self.around.launch.parameters, active, addresses, values)
            }
            Space::Local | Space::Frame => self.local.load(active, addresses, values),
            Space::Generic => {
                for lane in lanes(active) {
                    let (space, at) = window::resolve(addresses[lane]);
                    self.load_apart((lane, space), at, values)?;
                }
                Ok(())
            }
        }
    }

    /// One lane of generic addresses that differ in space.
    #[cold]
    fn load_apart<T: Cell>(
        &mut self,
        (lane, space): (usize, Space),
        address: u64,
        values: &mut [T; LANES],
    ) -> Laned<()> {
        let (active, at) = (1 << lane, &[address; LANES]);
        match space {
            Space::Shared => self.around.shared.load(active, at, values),
            Space::Parameter => parameters(&self.around.launch.parameters, active, at, values),
            Space::Local => self.local.load(active, at, values),
            _ => self.around.global.load(active, at, values, self.concurrent),
        }
    }

    /// Values of less than their register, extended to 64 bits.
    fn load_narrow(
        &mut self,
        addresses: &[u64; LANES],
        scalar: Scalar,
    ) -> Laned<[u64; LANES]> {
        let widened = match scalar.bits() {
            8 => {
                let mut values = [0u8; LANES];
                self.load(addresses, &mut values)?;
                each(&values, u64::from)
            }
            16 => {
                let mut values = [0u16; LANES];
                self.load(addresses, &mut values)?;
                each(&values, u64::from)
            }
            _ => {
                let mut values = [0u32; LANES];
                self.load(addresses, &mut values)?;
                each(&values, u64::from)
            }
        };
        Ok(each(&widened, |value| convert::extended(scalar, value)))
    }

    /// Stores the low bits of `values`.
    fn cut<T: Lane + Into<u64>>(
        &mut self,
        addresses: &[u64; LANES],
        bits: u32,
        values: &[T; LANES],
    ) -> Laned<()> {
        match bits {
            8 => self.store(addresses, &each(values, |x| u8::narrowed(x.into()))),
            16 => self.store(addresses, &each(values, |x| u16::narrowed(x.into()))),
            _ => self.store(addresses, &each(values, |x| u32::narrowed(x.into()))),
        }
    }

    #[inline(always)]
    fn store<T: Cell>(&mut self, addresses: &[u64; LANES], values: &[T; LANES]) -> Laned<()> {
        let active = self.active;
        match self.space {
            Space::Global => self.around.global.store(active, addresses, values, self.concurrent),
            Space::Shared => self.around.shared.store(active, addresses, values),
            Space::Local | Space::Frame => self.local.store(active, addresses, values),
            Space::Parameter => {
                let lane = active.trailing_zeros() as usize & 31;
                Err((lane, Fault::WrongSpace(addresses[lane])))
            }
            Space::Generic => {
                for lane in lanes(active) {
                    let (space, at) = window::resolve(addresses[lane]);
                    self.store_apart((lane, space), at, values)?;
                }
                Ok(())
            }
        }
    }

    #[cold]
    fn store_apart<T: Cell>(
        &mut self,
        (lane, space): (usize, Space),
        address: u64,
        values: &[T; LANES],
    ) -> Laned<()> {
        let (active, at) = (1 << lane, &[address; LANES]);
        match space {
            Space::Shared => self.around.shared.store(active, at, values),
            Space::Parameter => Err((lane, Fault::WrongSpace(address))),
            Space::Local => self.local.store(active, at, values),
            _ => self.around.global.store(active, at, values, self.concurrent),
        }
    }
}

/// The launch's parameters, which all lanes mostly read at the same place.
fn parameters<T: Cell>(
    bytes: &[u8],
    active: Mask,
    addresses: &[u64; LANES],
    values: &mut [T; LANES],
) -> Laned<()> {
    let read = |lane: usize| {
        let start = usize::try_from(addresses[lane]).unwrap_or(usize::MAX);
        let cell = bytes.get(start..start.saturating_add(size_of::<T>()));
        cell.map(T::from_bytes).ok_or((lane, Fault::IllegalAddress(addresses[lane])))
    };
    let first = active.trailing_zeros() as usize & 31;
    if *addresses == [addresses[first]; LANES] {
        *values = [read(first)?; LANES];
        return Ok(());
    }
    for lane in lanes(active) {
        values[lane] = read(lane)?;
    }
    Ok(())
}

/// `cvta`.
pub(super) fn window(
    registers: &mut Registers,
    active: Mask,
    (space, to): (Space, bool),
    [d, a]: [Row; 2],
) {
    let start = window::start(space);
    let by = if to { start.wrapping_neg() } else { start };
    let values = each(registers.long(a), |address| address.wrapping_add(by));
    registers.set(active, d, &values);
}

/// `isspacep`.
pub(super) fn in_space(registers: &mut Registers, active: Mask, space: Space, [d, a]: [Row; 2]) {
    let addresses = registers.long(a);
    let inside = (0..LANES).fold(0, |mask, lane| {
        mask | Mask::from(window::resolve(addresses[lane]).0 == space) << lane
    });
    registers.set_predicate(active, d, inside);
}

/// `cp.async`: from global to shared memory. Here it is done at once, which is one of the times that
/// PTX allows.
pub(super) fn copy_bytes(
    registers: &Registers,
    active: Mask,
    (bytes, [to, from], offsets): (u8, [Row; 2], [i32; 2]),
    around: &mut Surroundings<'_>,
) -> Laned<()> {
    for lane in lanes(active) {
        let place = |row, offset: i32| {
            registers.get::<u64>(row, lane).wrapping_add(i64::from(offset).cast_unsigned())
        };
        let (to, from) = (place(to, offsets[0]), place(from, offsets[1]));
        for word in 0..u64::from(bytes) / 4 {
            let mut values = [0u32; LANES];
            around.global.load(1 << lane, &[from + 4 * word; LANES], &mut values, false)?;
            let cell = around.shared.cell(to + 4 * word, 4).map_err(|fault| (lane, fault))?;
            values[lane].to_bytes(cell);
        }
    }
    Ok(())
}

//! Loads and stores, and the address conversions around them.

use super::block::Surroundings;
use super::cell::Cell;
use super::compare::Size;
use super::convert::{self, Scalar};
use super::fault::{Fault, Laned};
use super::frame::Frame;
use super::program::{Address, Space, Transfer};
use super::registers::{LANES, Lane, Mask, Registers, Row, lanes};
use super::scratch::Local;
use super::window;

/// Where a group's accesses can go.
struct Memories<'a, 'b> {
    local: &'a mut Local,
    around: &'a mut Surroundings<'b>,
}

/// `ld`: one to four elements, side by side in memory.
#[inline(always)]
pub(super) fn load(
    frame: &mut Frame,
    active: Mask,
    (transfer, address): (Transfer, Address),
    local: &mut Local,
    around: &mut Surroundings<'_>,
) -> Laned<()> {
    let (space, addresses) = resolved(frame, active, address);
    aligned(active, &addresses, transfer)?;
    let mut from = Memories { local, around };
    for element in 0..usize::from(transfer.count) {
        let (size, row) = (transfer.size, transfer.rows[element]);
        let registers = &mut frame.registers;
        let at = (space, moved(&addresses, transfer.scalar, element));
        match (transfer.scalar.bits(), size) {
            (32, Size::Word) => {
                let values = from.load::<u32>(active, &at, transfer.concurrent)?;
                registers.set(active, row, &values);
            }
            (64, _) => {
                let values = from.load::<u64>(active, &at, transfer.concurrent)?;
                registers.set(active, row, &values);
            }
            (bits, _) => {
                let values = match bits {
                    8 => from.load::<u8>(active, &at, transfer.concurrent)?.map(u64::from),
                    16 => from.load::<u16>(active, &at, transfer.concurrent)?.map(u64::from),
                    _ => from.load::<u32>(active, &at, transfer.concurrent)?.map(u64::from),
                };
                let values = values.map(|value| convert::extended(transfer.scalar, value));
                convert::write(registers, active, (size, row), &values);
            }
        }
    }
    Ok(())
}

/// `st`.
#[inline(always)]
pub(super) fn store(
    frame: &mut Frame,
    active: Mask,
    (transfer, address): (Transfer, Address),
    local: &mut Local,
    around: &mut Surroundings<'_>,
) -> Laned<()> {
    let (space, addresses) = resolved(frame, active, address);
    aligned(active, &addresses, transfer)?;
    let mut to = Memories { local, around };
    for element in 0..usize::from(transfer.count) {
        let at = (space, moved(&addresses, transfer.scalar, element));
        let (registers, row) = (&frame.registers, transfer.rows[element]);
        match transfer.size {
            Size::Half => to.cut(active, &at, transfer, &registers.values::<u16>(row))?,
            Size::Word => to.cut(active, &at, transfer, &registers.values::<u32>(row))?,
            Size::Long => to.cut(active, &at, transfer, &registers.values::<u64>(row))?,
        }
    }
    Ok(())
}

/// The addresses of one of the elements that lie side by side.
#[inline(always)]
fn moved(addresses: &[u64; LANES], scalar: Scalar, element: usize) -> [u64; LANES] {
    let by = element as u64 * u64::from(scalar.bits() / 8);
    addresses.map(|address| address.wrapping_add(by))
}

/// A vector access must be aligned to all of it. (Each element's own alignment is seen later.)
fn aligned(active: Mask, addresses: &[u64; LANES], transfer: Transfer) -> Laned<()> {
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
pub(super) fn resolved(
    frame: &Frame,
    active: Mask,
    address: Address,
) -> (Space, [u64; LANES]) {
    let offset = i64::from(address.offset).cast_unsigned();
    let base = if address.space == Space::Frame { frame.base } else { 0 };
    let offset = offset.wrapping_add(base);
    let addresses = frame.registers.long(address.row).map(|at| at.wrapping_add(offset));
    match address.space {
        Space::Frame => (Space::Local, addresses),
        Space::Generic => {
            let (space, _) = window::resolve(addresses[active.trailing_zeros() as usize & 31]);
            let same = lanes(active).all(|lane| window::resolve(addresses[lane]).0 == space);
            let start = window::start(space);
            if same {
                (space, addresses.map(|at| at.wrapping_sub(start)))
            } else {
                (Space::Generic, addresses)
            }
        }
        space => (space, addresses),
    }
}

impl Memories<'_, '_> {
    #[inline(always)]
    fn load<T: Cell>(
        &mut self,
        active: Mask,
        (space, addresses): &(Space, [u64; LANES]),
        concurrent: bool,
    ) -> Laned<[T; LANES]> {
        match space {
            Space::Global => self.around.global.load(active, addresses, concurrent),
            Space::Shared => self.around.shared.load(active, addresses),
            Space::Parameter => parameters(&self.around.launch.parameters, active, addresses),
            Space::Local | Space::Frame => self.local.load(active, addresses),
            Space::Generic => {
                let mut values = [T::default(); LANES];
                for lane in lanes(active) {
                    let (space, at) = window::resolve(addresses[lane]);
                    let one = self.load::<T>(1 << lane, &(space, [at; LANES]), concurrent)?;
                    values[lane] = one[lane];
                }
                Ok(values)
            }
        }
    }

    /// Stores the low bits of `values`, as many as the transfer's type has.
    #[inline(always)]
    fn cut<T: Lane + Into<u64>>(
        &mut self,
        active: Mask,
        at: &(Space, [u64; LANES]),
        transfer: Transfer,
        values: &[T; LANES],
    ) -> Laned<()> {
        let concurrent = transfer.concurrent;
        match transfer.scalar.bits() {
            8 => self.store(active, at, &values.map(|x| u8::narrowed(x.into())), concurrent),
            16 => self.store(active, at, &values.map(|x| u16::narrowed(x.into())), concurrent),
            32 => self.store(active, at, &values.map(|x| u32::narrowed(x.into())), concurrent),
            _ => self.store(active, at, &values.map(Into::into), concurrent),
        }
    }

    #[inline(always)]
    fn store<T: Cell>(
        &mut self,
        active: Mask,
        (space, addresses): &(Space, [u64; LANES]),
        values: &[T; LANES],
        concurrent: bool,
    ) -> Laned<()> {
        match space {
            Space::Global => self.around.global.store(active, addresses, values, concurrent),
            Space::Shared => self.around.shared.store(active, addresses, values),
            Space::Local | Space::Frame => self.local.store(active, addresses, values),
            Space::Parameter => {
                let lane = active.trailing_zeros() as usize;
                Err((lane, Fault::WrongSpace(addresses[lane])))
            }
            Space::Generic => {
                for lane in lanes(active) {
                    let (space, at) = window::resolve(addresses[lane]);
                    self.store(1 << lane, &(space, [at; LANES]), values, concurrent)?;
                }
                Ok(())
            }
        }
    }
}

/// The launch's parameters, which all lanes mostly read at the same place.
fn parameters<T: Cell>(
    bytes: &[u8],
    active: Mask,
    addresses: &[u64; LANES],
) -> Laned<[T; LANES]> {
    let read = |lane: usize| {
        let start = usize::try_from(addresses[lane]).unwrap_or(usize::MAX);
        let cell = bytes.get(start..start.saturating_add(size_of::<T>()));
        cell.map(T::from_bytes).ok_or((lane, Fault::IllegalAddress(addresses[lane])))
    };
    let first = active.trailing_zeros() as usize;
    if *addresses == [addresses[first]; LANES] {
        return Ok([read(first)?; LANES]);
    }
    let mut values = [T::default(); LANES];
    for lane in lanes(active) {
        values[lane] = read(lane)?;
    }
    Ok(values)
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
    let values = registers.long(a).map(|address| address.wrapping_add(by));
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
        let words: u64 = u64::from(bytes) / 4;
        for word in 0..words {
            let value =
                around.global.load::<u32>(1 << lane, &[from + 4 * word; LANES], false)?[lane];
            let cell = around.shared.cell(to + 4 * word, 4).map_err(|fault| (lane, fault))?;
            value.to_bytes(cell);
        }
    }
    Ok(())
}

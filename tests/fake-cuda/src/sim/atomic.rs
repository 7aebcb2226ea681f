//! `atom` and `red`. On device memory they are the host's atomics: kernels of other streams, copies
//! and the host itself may be at the same place.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::block::Surroundings;
use super::cell::Cell;
use super::convert::Scalar;
use super::fault::{Fault, Laned};
use super::float::Float;
use super::frame::Frame;
use super::memory::resolve;
use super::program::{Address, Atomic, AtomicOperation, Space};
use super::registers::{LANES, Lane, Mask, lanes};
use super::scratch::Local;
use super::window;

/// Carries out the operation lane by lane, from the lowest.
pub(super) fn execute(
    frame: &mut Frame,
    active: Mask,
    (what, address): (Atomic, Address),
    local: &mut Local,
    around: &mut Surroundings<'_>,
) -> Laned<()> {
    let mut addresses = [0; LANES];
    let space = resolve(frame, active, address, &mut addresses);
    for lane in lanes(active) {
        let at = match space {
            Space::Generic => window::resolve(addresses[lane]),
            space => (space, addresses[lane]),
        };
        let done = if what.scalar.bits() == 64 {
            one::<u64>(frame, lane, (what, at), local, around)
        } else {
            one::<u32>(frame, lane, (what, at), local, around)
        };
        done.map_err(|fault| (lane, fault))?;
    }
    Ok(())
}

fn one<T: Word>(
    frame: &mut Frame,
    lane: usize,
    (what, (space, address)): (Atomic, (Space, u64)),
    local: &mut Local,
    around: &mut Surroundings<'_>,
) -> Result<(), Fault> {
    let registers = &mut frame.registers;
    let (b, c) = (registers.get::<T>(what.b, lane), registers.get::<T>(what.c, lane));
    let change = |old: T| T::narrowed(changed(what, old.widened(), [b.widened(), c.widened()]));
    let old = match space {
        Space::Global => {
            let at = around.global.locate(address, T::BYTES)?;
            // SAFETY: `locate` has checked that the place is aligned and live.
            unsafe { T::update(at, change) }
        }
        Space::Shared => replace(around.shared.cell(address, T::BYTES)?, change),
        Space::Local | Space::Frame => replace(local.cell(lane, address, T::BYTES)?, change),
        Space::Parameter | Space::Generic => return Err(Fault::WrongSpace(address)),
    };
    if let Some(result) = what.result {
        registers.put(result, lane, old);
    }
    Ok(())
}

/// Memory that no other thread of the host can see.
fn replace<T: Word>(cell: &mut [u8], change: impl Fn(T) -> T) -> T {
    let old = T::from_bytes(cell);
    change(old).to_bytes(cell);
    old
}

/// A word that the host has atomics for.
trait Word: Cell + Lane {
    /// Replaces what is at `at` by `change` of it; returns what was there.
    ///
    /// # Safety
    /// `at` must be aligned, and valid for reads and writes.
    unsafe fn update(at: *mut u8, change: impl Fn(Self) -> Self) -> Self;
}

macro_rules! word {
    ($($ty:ident, $atomic:ident;)*) => { $(
        impl Word for $ty {
            unsafe fn update(at: *mut u8, change: impl Fn(Self) -> Self) -> Self {
                // SAFETY: by the caller.
                let word = unsafe { $atomic::from_ptr(at.cast()) };
                let order = Ordering::SeqCst;
                word.fetch_update(order, order, |old| Some(change(old))).unwrap_or_else(|old| old)
            }
        }
    )* };
}

word! {
    u32, AtomicU32;
    u64, AtomicU64;
}

/// The new value of a word (or a long, by the type), as the low bits.
fn changed(what: Atomic, old: u64, [b, c]: [u64; 2]) -> u64 {
    match what.operation {
        AtomicOperation::Exchange => b,
        AtomicOperation::CompareAndSwap => {
            if old == b {
                c
            } else {
                old
            }
        }
        operation => combined(operation, what.scalar, old, b),
    }
}

/// `a` and `b` combined as numbers of type `scalar`.
pub(super) fn combined(operation: AtomicOperation, scalar: Scalar, a: u64, b: u64) -> u64 {
    use AtomicOperation as Op;
    let signed = |x: u64| {
        if scalar == Scalar::S32 { i64::from((x as u32).cast_signed()) } else { x.cast_signed() }
    };
    match (operation, scalar) {
        (Op::Add, Scalar::F32) => u64::from((single(a) + single(b)).canonical().to_bits()),
        (Op::Add, Scalar::F64) => (f64::from_bits(a) + f64::from_bits(b)).to_bits(),
        (Op::Add, _) => a.wrapping_add(b),
        (Op::Min, Scalar::S32 | Scalar::S64) => signed(a).min(signed(b)).cast_unsigned(),
        (Op::Max, Scalar::S32 | Scalar::S64) => signed(a).max(signed(b)).cast_unsigned(),
        (Op::Min, _) => a.min(b),
        (Op::Max, _) => a.max(b),
        (Op::And, _) => a & b,
        (Op::Or, _) => a | b,
        (Op::Xor, _) => a ^ b,
        (Op::Increment, _) if a >= b => 0,
        (Op::Increment, _) => a + 1,
        (Op::Decrement, _) if a == 0 || a > b => b,
        (Op::Decrement, _) => a - 1,
        (Op::Exchange | Op::CompareAndSwap, _) => b,
    }
}

fn single(bits: u64) -> f32 {
    f32::from_bits(bits as u32)
}

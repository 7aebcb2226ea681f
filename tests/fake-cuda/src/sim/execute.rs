//! Instructions that change nothing but values: each in all active lanes of one group.

use super::block::Surroundings;
use super::fault::Laned;
use super::frame::Frame;
use super::program::{CARRY, LongSpecial, Op, Special};
use super::registers::{LANES, Mask, Registers, Row, each_lane};
use super::scratch::Local;
use super::{atomic, bits, compare, convert, exchange, float, integer, memory};

/// The warp's number in its block, and the coordinates of its threads.
pub(super) type Place<'a> = (u32, &'a [[u32; LANES]; 3]);

/// Carries out `op`; jumps and barriers are the warp's own business.
#[inline(always)]
pub(super) fn execute(
    op: &Op,
    active: Mask,
    frame: &mut Frame,
    (local, place): (&mut Local, Place<'_>),
    around: &mut Surroundings<'_>,
) -> Laned<()> {
    let registers = &mut frame.registers;
    match *op {
        Op::Integer(what, rows) => integer::execute(registers, active, what, rows),
        Op::Float(what, rows) => float::execute(registers, active, what, rows),
        Op::Load(ref transfer, address) => {
            return memory::load(frame, active, (transfer, address), local, around);
        }
        Op::Store(ref transfer, address) => {
            return memory::store(frame, active, (transfer, address), local, around);
        }
        Op::Compare { what, combine, rows: [d, other, a, b, c] } => {
            let holds = compare::compare(registers, what, [a, b]);
            let with = registers.predicate(c);
            registers.set_predicate(active, other, combine.apply(!holds, with));
            registers.set_predicate(active, d, combine.apply(holds, with));
        }
        Op::Copy(size, rows) => compare::copy(registers, active, size, rows),
        Op::MultiplyWide(wide, rows) => bits::multiply_wide(registers, active, wide, rows),
        Op::MultiplyAddWide(wide, rows) => bits::multiply_add_wide(registers, active, wide, rows),
        Op::Convert(conversion, rows) => convert::convert(registers, active, conversion, rows),
        Op::Select { size, d, a, b, predicate } => {
            let chosen = registers.predicate(predicate);
            compare::select(registers, active, (size, chosen), [d, a, b]);
        }
        Op::Logic(combine, [d, a, b]) => {
            let value = combine.apply(registers.predicate(a), registers.predicate(b));
            registers.set_predicate(active, d, value);
        }
        Op::Not { d, a } => registers.set_predicate(active, d, !registers.predicate(a)),
        Op::Window { space, to, d, a } => memory::window(registers, active, (space, to), [d, a]),
        _ => return execute_rare(op, active, frame, (local, place), around),
    }
    Ok(())
}

/// What kernels do less often; apart, so that the common ones stay close together.
fn execute_rare(
    op: &Op,
    active: Mask,
    frame: &mut Frame,
    (local, place): (&mut Local, Place<'_>),
    around: &mut Surroundings<'_>,
) -> Laned<()> {
    let registers = &mut frame.registers;
    match *op {
        Op::Words(operation, rows) => bits::words(registers, active, operation, rows),
        Op::Count(what, rows) => bits::count(registers, active, what, rows),
        Op::InsertField { long, rows } => bits::insert_field(registers, active, long, rows),
        Op::Carry(what, [d, a, b]) => bits::carry(registers, active, what, [d, a, b, CARRY]),
        Op::Pack(pack, rows) => bits::pack(registers, active, pack, rows),
        Op::Special(which, d) => special(registers, active, (which, d), place, around),
        Op::LongSpecial(which, d) => long_special(frame, active, (which, d), around),
        Op::Set { float, d, a } => {
            compare::set(registers, active, (registers.predicate(a), float), d);
        }
        Op::SelectBySign { size, float, d, a, b, c } => {
            let chosen = compare::not_negative(registers, c, float);
            compare::select(registers, active, (size, chosen), [d, a, b]);
        }
        Op::Classify { what, d, a } => {
            registers.set_predicate(active, d, compare::classify(registers, what, a));
        }
        Op::Atomic(what, address) => {
            return atomic::execute(frame, active, (what, address), local, around);
        }
        Op::CopyBytes { bytes, to, from, offsets } => {
            return memory::copy_bytes(registers, active, (bytes, [to, from], offsets), around);
        }
        Op::InSpace { space, d, a } => memory::in_space(registers, active, space, [d, a]),
        Op::Fence => std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst),
        Op::Shuffle { mode, d, valid, rows, .. } => {
            exchange::shuffle(registers, active, mode, (d, valid, rows));
        }
        Op::Vote { vote, d, a, .. } => exchange::vote(registers, active, vote, [d, a]),
        Op::Ballot { d, a, .. } => {
            let ballot = registers.predicate(a) & active;
            registers.set(active, d, &[ballot; LANES]);
        }
        Op::MatchAny { size, d, a, .. } => exchange::match_any(registers, active, size, [d, a]),
        Op::MatchAll { size, d, all, a, .. } => {
            exchange::match_all(registers, active, size, (d, all, a));
        }
        Op::ReduceLanes { what, d, a, .. } => exchange::reduce(registers, active, what, [d, a]),
        Op::ActiveMask { d } => registers.set(active, d, &[active; LANES]),
        _ => {}
    }
    Ok(())
}

fn special(
    registers: &mut Registers,
    active: Mask,
    (which, d): (Special, Row),
    (warp, threads): Place<'_>,
    around: &Surroundings<'_>,
) {
    let launch = around.launch;
    let warps = launch.block.iter().product::<u32>().div_ceil(LANES as u32);
    let by_lane = |f: &dyn Fn(u32) -> u32| each_lane(|lane| f(lane as u32));
    let values: [u32; LANES] = match which {
        Special::Thread(axis) => threads[usize::from(axis)],
        Special::Lane => by_lane(&|lane| lane),
        Special::LaneMask(which) => by_lane(&|lane| lane_mask(which, lane)),
        uniform => [match uniform {
            Special::BlockSize(axis) => launch.block[usize::from(axis)],
            Special::Block(axis) => around.block[usize::from(axis)],
            Special::GridSize(axis) => launch.grid[usize::from(axis)],
            Special::Warp => warp,
            Special::WarpCount => warps,
            Special::DynamicSharedBytes => launch.dynamic_shared,
            Special::TotalSharedBytes => launch.shared_bytes() as u32,
            Special::Clock => around.clock as u32,
            Special::ClockHigh => (around.clock >> 32) as u32,
            Special::GridNumber => launch.number,
            _ => 0,
        }; LANES],
    };
    registers.set(active, d, &values);
}

/// The lanes below `lane`, above it, and so on.
fn lane_mask(which: compare::Comparison, lane: u32) -> Mask {
    use compare::Comparison as Is;
    let own = 1u32 << lane;
    match which {
        Is::Equal => own,
        Is::Less => own - 1,
        Is::LessEqual => own | (own - 1),
        Is::Greater => !(own | (own - 1)),
        _ => !(own - 1),
    }
}

fn long_special(
    frame: &mut Frame,
    active: Mask,
    (which, d): (LongSpecial, Row),
    around: &Surroundings<'_>,
) {
    let value = match which {
        LongSpecial::Clock => around.clock,
        LongSpecial::Nanoseconds => crate::clock::nanoseconds(),
        LongSpecial::FrameAddress(offset) => frame.base + u64::from(offset),
        LongSpecial::DynamicShared => around.launch.dynamic_start(),
    };
    frame.registers.set(active, d, &[value; LANES]);
}

//! What the lanes of a warp tell each other: shuffles, votes, matches and reductions.

use super::atomic::combined;
use super::compare::Size;
use super::convert::Scalar;
use super::integer;
use super::program::{AtomicOperation, Shuffle, Vote};
use super::registers::{ALL, LANES, Mask, Registers, Row, lanes};

/// `shfl`: the rows are the value, the lane or distance, and the clamp with the segment mask.
pub(super) fn shuffle(
    registers: &mut Registers,
    active: Mask,
    mode: Shuffle,
    (d, valid, [a, b, c]): (Row, Option<Row>, [Row; 3]),
) {
    let values = *registers.word(a);
    let mut out = values;
    let mut in_range = 0;
    for lane in lanes(active) {
        let by = registers.get::<u32>(b, lane) & 31;
        let (from, inside) = source(mode, lane as u32, by, registers.get(c, lane));
        in_range |= Mask::from(inside) << lane;
        out[lane] = values[if inside { from as usize & 31 } else { lane }];
    }
    registers.set(active, d, &out);
    if let Some(valid) = valid {
        registers.set_predicate(active, valid, in_range);
    }
}

/// The lane that `lane` reads, and whether that is inside its segment.
fn source(mode: Shuffle, lane: u32, by: u32, c: u32) -> (u32, bool) {
    let (clamp, segment) = (c & 31, c >> 8 & 31);
    let last = lane & segment | clamp & !segment;
    let first = lane & segment;
    match mode {
        Shuffle::Up => (lane.wrapping_sub(by), lane.checked_sub(by).is_some_and(|j| j >= last)),
        Shuffle::Down => (lane + by, lane + by <= last),
        Shuffle::Butterfly => (lane ^ by, lane ^ by <= last),
        Shuffle::Index => {
            let from = first | by & !segment;
            (from, from <= last)
        }
    }
}

pub(super) fn vote(registers: &mut Registers, active: Mask, vote: Vote, [d, a]: [Row; 2]) {
    let ballot = registers.predicate(a) & active;
    let holds = match vote {
        Vote::All => ballot == active,
        Vote::Any => ballot != 0,
        Vote::Uniform => ballot == 0 || ballot == active,
    };
    registers.set_predicate(active, d, if holds { ALL } else { 0 });
}

fn widened(registers: &Registers, size: Size, row: Row) -> [u64; LANES] {
    match size {
        Size::Long => *registers.long(row),
        _ => registers.word(row).map(u64::from),
    }
}

/// For each lane, the lanes that have the same value.
pub(super) fn match_any(registers: &mut Registers, active: Mask, size: Size, [d, a]: [Row; 2]) {
    let values = widened(registers, size, a);
    let same = |value: u64| {
        lanes(active).filter(|lane| values[*lane] == value).fold(0, |mask, lane| mask | 1 << lane)
    };
    let out: [Mask; LANES] = values.map(same);
    registers.set(active, d, &out);
}

/// All lanes, if all have the same value; none if not.
pub(super) fn match_all(
    registers: &mut Registers,
    active: Mask,
    size: Size,
    (d, all, a): (Row, Option<Row>, Row),
) {
    let values = widened(registers, size, a);
    let first = values[active.trailing_zeros() as usize & 31];
    let agree = lanes(active).all(|lane| values[lane] == first);
    registers.set(active, d, &[if agree { active } else { 0 }; LANES]);
    if let Some(all) = all {
        registers.set_predicate(active, all, if agree { ALL } else { 0 });
    }
}

/// `redux.sync`.
pub(super) fn reduce(
    registers: &mut Registers,
    active: Mask,
    (operation, kind): (AtomicOperation, integer::Kind),
    [d, a]: [Row; 2],
) {
    let scalar = if kind == integer::Kind::S32 { Scalar::S32 } else { Scalar::U32 };
    let values = *registers.word(a);
    let values = lanes(active).map(|lane| u64::from(values[lane]));
    let all = values.reduce(|a, b| combined(operation, scalar, a, b) & 0xffff_ffff);
    registers.set(active, d, &[all.unwrap_or(0) as u32; LANES]);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The `c` operand that CUDA's `__shfl_*_sync` pass for a width.
    fn c(mode: Shuffle, width: u32) -> u32 {
        (32 - width) << 8 | if mode == Shuffle::Up { 0 } else { 31 }
    }

    #[test]
    fn sources_stay_in_their_segment() {
        assert_eq!(source(Shuffle::Down, 5, 3, c(Shuffle::Down, 8)), (8, false));
        assert_eq!(source(Shuffle::Down, 4, 3, c(Shuffle::Down, 8)), (7, true));
        assert_eq!(source(Shuffle::Up, 9, 2, c(Shuffle::Up, 8)), (7, false));
        assert_eq!(source(Shuffle::Up, 10, 2, c(Shuffle::Up, 8)), (8, true));
        assert!(!source(Shuffle::Up, 1, 2, c(Shuffle::Up, 32)).1);
        assert_eq!(source(Shuffle::Index, 13, 1, c(Shuffle::Index, 4)), (13, true));
        assert_eq!(source(Shuffle::Index, 3, 29, c(Shuffle::Index, 32)), (29, true));
        assert_eq!(source(Shuffle::Butterfly, 3, 16, c(Shuffle::Butterfly, 32)), (19, true));
    }
}

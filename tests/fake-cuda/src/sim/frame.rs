//! The frames of one warp: the registers of each function that some of its lanes are in.

use super::fault::Fault;
use super::program::{CARRY, Function, TRUE};
use super::registers::{ALL, LANES, Mask, Registers};

/// A function that some lanes are in.
#[derive(Debug)]
pub(super) struct Frame {
    /// Its number in the program.
    pub(super) function: usize,
    pub(super) registers: Registers,
    /// Where its part of the local memory begins.
    pub(super) base: u64,
    /// How many calls deep it is.
    pub(super) depth: u32,
    pub(super) caller: Option<Caller>,
}

/// Who called: all the lanes of a call go on together, when the last of them has returned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller {
    pub(super) frame: usize,
    /// The call, in the caller's function.
    pub(super) call: u32,
    pub(super) return_to: u32,
    pub(super) lanes: Mask,
    pub(super) returned: Mask,
}

/// The frames in use, by number, and registers to use again.
#[derive(Debug, Default)]
pub(super) struct Frames {
    frames: Vec<Option<Frame>>,
    spare: Vec<(usize, Registers)>,
}

/// The most local memory that a thread's calls may take.
const STACK_BYTES: u64 = 256 << 10;
const MOST_CALLS: u32 = 4096;

impl Frames {
    pub(super) fn get(&mut self, frame: usize) -> &mut Frame {
        self.frames[frame].as_mut().expect("invariant: a group's frame lives as long as the group")
    }

    pub(super) fn enter(
        &mut self,
        function: (usize, &Function),
        base: u64,
        caller: Option<Caller>,
    ) -> Result<usize, Fault> {
        let depth = caller.map_or(0, |caller| self.get(caller.frame).depth + 1);
        if depth > MOST_CALLS || base + u64::from(function.1.frame_bytes) > STACK_BYTES {
            return Err(Fault::StackOverflow);
        }
        let registers = self.registers(function);
        let frame = Frame { function: function.0, registers, base, depth, caller };
        let free = self.frames.iter().position(Option::is_none);
        let number = free.unwrap_or(self.frames.len());
        if free.is_none() {
            self.frames.push(None);
        }
        self.frames[number] = Some(frame);
        Ok(number)
    }

    /// Ends a frame; its registers wait for the next call.
    pub(super) fn leave(&mut self, frame: usize) -> Option<Caller> {
        let frame = self.frames[frame].take()?;
        self.spare.push((frame.function, frame.registers));
        frame.caller
    }

    /// Ends them all.
    pub(super) fn clear(&mut self) {
        for frame in 0..self.frames.len() {
            self.leave(frame);
        }
    }

    /// Registers with the function's constants in place. What the others hold is left over from an
    /// earlier use: PTX promises nothing of a register before its first write.
    fn registers(&mut self, (number, function): (usize, &Function)) -> Registers {
        let used = self.spare.iter().position(|(of, _)| *of == number);
        used.map_or_else(|| fresh(function), |at| self.spare.swap_remove(at).1)
    }
}

fn fresh(function: &Function) -> Registers {
    let rows = function.rows;
    let mut registers = Registers {
        predicates: vec![0; rows.predicates.into()],
        halves: vec![[0xa5a5; LANES]; rows.halves.into()],
        words: vec![[0xa5a5_a5a5; LANES]; rows.words.into()],
        longs: vec![[0xa5a5_a5a5_a5a5_a5a5; LANES]; rows.longs.into()],
    };
    registers.set_predicate(ALL, TRUE, ALL);
    registers.set_predicate(ALL, CARRY, 0);
    let constants = &function.constants;
    for (row, value) in &constants.predicates {
        registers.set_predicate(ALL, *row, *value);
    }
    for (row, value) in &constants.halves {
        registers.set(ALL, *row, &[*value; LANES]);
    }
    for (row, value) in &constants.words {
        registers.set(ALL, *row, &[*value; LANES]);
    }
    for (row, value) in &constants.longs {
        registers.set(ALL, *row, &[*value; LANES]);
    }
    registers
}

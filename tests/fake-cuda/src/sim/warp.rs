//! A warp: 32 lanes that run one instruction at a time, together where they can.
//!
//! Lanes that are at the same instruction of the same call form a *group*. A branch that lanes
//! take differently splits a group; groups at the same instruction merge. The group that runs is
//! the one furthest behind (deepest call first, then lowest instruction), so lanes meet again
//! where their paths do. That alone would starve a lane which others wait for in a loop; so every
//! group has its turn when a slice of instructions is over.
//!
//! A group waits at a barrier until the block releases it, and at an instruction that exchanges
//! values between named lanes (`shfl.sync`) until those lanes are there.

use super::block::Surroundings;
use super::execute::execute;
use super::fault::{Fault, Laned};
use super::frame::{Caller, Frames};
use super::program::{Barrier, Callee, Instruction, Op, Program};
use super::registers::{LANES, Mask, Row, lanes};
use super::scratch::Local;
use super::{builtin, window};

/// The instructions that a warp runs before others have their turn.
const SLICE: u32 = 4096;

pub(super) struct Warp {
    /// Its number in the block.
    pub(super) number: u32,
    /// The coordinates in the block of each lane's thread.
    pub(super) threads: [[u32; LANES]; 3],
    /// The lanes that have not ended.
    pub(super) live: Mask,
    pub(super) frames: Frames,
    pub(super) local: Local,
    groups: Vec<Group>,
    /// Lanes that go first in this slice.
    favoured: Mask,
    /// What `live` was when groups that wait for lanes were last looked at.
    live_when_waiting: Mask,
}

#[derive(Debug, Clone, Copy)]
struct Group {
    frame: usize,
    at: u32,
    lanes: Mask,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Ready,
    /// At a barrier of the block.
    AtBarrier(u32, Barrier),
    /// At an exchange, for lanes that are elsewhere.
    ForLanes,
}

/// A fault, with its lane and instruction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stop {
    pub(super) fault: Fault,
    pub(super) lane: usize,
    pub(super) function: usize,
    pub(super) at: u32,
}

/// What a group does after an instruction.
enum Next {
    /// The instruction that follows, or the one that a branch went to.
    Goto(u32),
    /// The group is gone, or has been split, or waits.
    Choose,
}

impl Warp {
    pub(super) fn new() -> Self {
        Self {
            number: 0,
            threads: [[0; LANES]; 3],
            live: 0,
            frames: Frames::default(),
            local: Local::default(),
            groups: Vec::new(),
            favoured: 0,
            live_when_waiting: 0,
        }
    }

    /// Puts the lanes of `live` at the start of a kernel.
    pub(super) fn start(&mut self, program: &Program, entry: usize, live: Mask) -> Result<(), Fault> {
        self.frames.clear();
        let function = &program.functions[entry];
        let frame = self.frames.enter((entry, function), 0, None)?;
        self.local.grow(function.frame_bytes.into());
        self.groups.clear();
        self.groups.push(Group { frame, at: 0, lanes: live, state: State::Ready });
        (self.live, self.favoured, self.live_when_waiting) = (live, 0, live);
        Ok(())
    }

    /// Runs until the slice is over or nothing can run.
    pub(super) fn run(&mut self, around: &mut Surroundings<'_>) -> Result<(), Stop> {
        let mut fuel = SLICE;
        while fuel > 0
            && let Some(group) = self.choose()
        {
            self.run_group(group, &mut fuel, around)?;
        }
        around.clock += u64::from(SLICE - fuel);
        Ok(())
    }

    fn run_group(
        &mut self,
        mut group: Group,
        fuel: &mut u32,
        around: &mut Surroundings<'_>,
    ) -> Result<(), Stop> {
        let function = self.frames.get(group.frame).function;
        let instructions = &around.launch.program.functions[function].instructions;
        let limit = self.next_group(group);
        loop {
            if *fuel == 0 {
                self.give_way(group);
                return Ok(());
            }
            *fuel -= 1;
            let instruction = &instructions[group.at as usize];
            let next = self.step(&mut group, instruction, around);
            match next.map_err(|(lane, fault)| Stop { fault, lane, function, at: group.at })? {
                Next::Goto(at) if at < limit && (at == group.at + 1 || self.groups.is_empty()) => {
                    group.at = at;
                }
                Next::Goto(at) => {
                    self.join(Group { at, ..group });
                    return Ok(());
                }
                Next::Choose => return Ok(()),
            }
        }
    }

    /// One instruction of one group.
    #[inline(always)]
    fn step(
        &mut self,
        group: &mut Group,
        instruction: &Instruction,
        around: &mut Surroundings<'_>,
    ) -> Laned<Next> {
        let frame = self.frames.get(group.frame);
        let guard = frame.registers.predicate(instruction.guard);
        let active = group.lanes & if instruction.negated { !guard } else { guard };
        let next = Next::Goto(group.at + 1);
        if active == 0 {
            return Ok(next);
        }
        match instruction.op {
            Op::Branch(target) => Ok(self.branch(*group, active, target)),
            Op::BranchTable { table, index } => {
                let targets =
                    &around.launch.program.functions[frame.function].branch_tables[table as usize];
                let index = *frame.registers.word(index);
                Ok(self.branch_by(*group, active, |lane| targets.get(index[lane] as usize).copied()))
            }
            Op::Call(call) => self.call(*group, active, call, around),
            Op::Return => Ok(self.give_back(*group, active, around)),
            Op::Exit => Ok(self.exit(*group, active, around)),
            Op::Trap => Err((active.trailing_zeros() as usize, Fault::Trap)),
            Op::Barrier { barrier, number, threads } => {
                Ok(self.arrive(*group, active, (barrier, number, threads), around))
            }
            ref op => {
                let active = match op.members() {
                    None => active,
                    Some(members) if self.gather(group, active, members) => {
                        group.lanes & if instruction.negated { !guard } else { guard }
                    }
                    Some(_) => return Ok(Next::Choose),
                };
                let frame = self.frames.get(group.frame);
                let place = (self.number, &self.threads);
                execute(op, active, frame, (&mut self.local, place), around)?;
                Ok(next)
            }
        }
    }
}

/// Which group runs.
impl Warp {
    fn choose(&mut self) -> Option<Group> {
        let best = self.best().or_else(|| {
            // lanes that others wait for may have ended since
            let changed = std::mem::replace(&mut self.live_when_waiting, self.live) != self.live;
            if changed {
                for group in self.groups.iter_mut().filter(|group| group.state == State::ForLanes) {
                    group.state = State::Ready;
                }
            }
            self.best()
        })?;
        Some(self.groups.swap_remove(best))
    }

    fn best(&mut self) -> Option<usize> {
        if let [group] = self.groups[..] {
            return (group.state == State::Ready).then_some(0);
        }
        let ready = (0..self.groups.len()).filter(|i| self.groups[*i].state == State::Ready);
        let ready: Vec<usize> = ready.collect();
        ready.into_iter().min_by_key(|i| {
            let group = self.groups[*i];
            let depth = self.frames.get(group.frame).depth;
            (group.lanes & self.favoured == 0, u32::MAX - depth, group.at)
        })
    }

    /// The nearest instruction ahead of `group` where another group is.
    fn next_group(&self, group: Group) -> u32 {
        let ahead = |other: &&Group| {
            other.frame == group.frame && other.state == State::Ready && other.at > group.at
        };
        self.groups.iter().filter(ahead).map(|other| other.at).min().unwrap_or(u32::MAX)
    }

    /// Puts a group back, into another one if that is at the same place.
    fn join(&mut self, group: Group) {
        let same = |other: &&mut Group| {
            (other.frame, other.at, other.state) == (group.frame, group.at, group.state)
                && group.state == State::Ready
        };
        match self.groups.iter_mut().find(same) {
            Some(other) => other.lanes |= group.lanes,
            None => self.groups.push(group),
        }
    }

    /// The slice is over: of several groups, the next one by its lowest lane goes first from now on.
    fn give_way(&mut self, group: Group) {
        let order = |other: &Group| {
            let lane = other.lanes.trailing_zeros();
            (lane < group.lanes.trailing_zeros(), lane)
        };
        let others = self.groups.iter().filter(|other| other.state == State::Ready);
        self.favoured = others.min_by_key(|other| order(other)).map_or(0, |other| other.lanes);
        self.join(group);
    }
}

/// Control flow.
impl Warp {
    fn branch(&mut self, group: Group, taken: Mask, target: u32) -> Next {
        if taken == group.lanes {
            return Next::Goto(target);
        }
        self.join(Group { at: target, lanes: taken, ..group });
        self.join(Group { at: group.at + 1, lanes: group.lanes & !taken, ..group });
        Next::Choose
    }

    /// Each lane to a target of its own, or on if it has none.
    fn branch_by(
        &mut self,
        group: Group,
        active: Mask,
        target: impl Fn(usize) -> Option<u32>,
    ) -> Next {
        for lane in lanes(group.lanes) {
            let goes = if active >> lane & 1 != 0 { target(lane) } else { None };
            let at = goes.unwrap_or(group.at + 1);
            self.join(Group { at, lanes: 1 << lane, ..group });
        }
        Next::Choose
    }

    fn call(
        &mut self,
        group: Group,
        active: Mask,
        call: u32,
        around: &mut Surroundings<'_>,
    ) -> Laned<Next> {
        let program = &around.launch.program;
        let frame = self.frames.get(group.frame);
        let site = &program.functions[frame.function].calls[call as usize];
        match site.callee {
            Callee::Function(callee) => self.enter(group, active, (call, callee), around)?,
            Callee::Builtin(function) => {
                let place = (self.number, &self.threads);
                builtin::run(function, active, site, (frame.base, &mut self.local, place), around)?;
                return Ok(Next::Goto(group.at + 1));
            }
            Callee::Address(row) => {
                let addresses = *frame.registers.long(row);
                let mut rest = active;
                while rest != 0 {
                    let first = rest.trailing_zeros() as usize;
                    let same = lanes(rest).filter(|lane| addresses[*lane] == addresses[first]);
                    let together = same.fold(0, |mask, lane| mask | 1 << lane);
                    let callee = window::function(addresses[first], program.functions.len());
                    let callee = callee.ok_or((first, Fault::NoFunction(addresses[first])))?;
                    self.enter(group, together, (call, callee), around)?;
                    rest &= !together;
                }
            }
        }
        if active != group.lanes {
            self.join(Group { at: group.at + 1, lanes: group.lanes & !active, ..group });
        }
        Ok(Next::Choose)
    }

    /// A frame and a group for the lanes that enter `callee`, with its parameters.
    fn enter(
        &mut self,
        group: Group,
        lanes: Mask,
        (call, callee): (u32, usize),
        around: &Surroundings<'_>,
    ) -> Laned<()> {
        let program = &around.launch.program;
        let function = &program.functions[callee];
        let first = lanes.trailing_zeros() as usize;
        let caller = self.frames.get(group.frame);
        let site = &program.functions[caller.function].calls[call as usize];
        let above = program.functions[caller.function].frame_bytes;
        let (from, base) = (caller.base, caller.base + u64::from(above).next_multiple_of(16));
        if !site.fits(function) {
            return Err((first, Fault::NoFunction(window::function_address(callee))));
        }
        let return_to = group.at + 1;
        let caller = Caller { frame: group.frame, call, return_to, lanes, returned: 0 };
        let frame = self.frames.enter((callee, function), base, Some(caller));
        let frame = frame.map_err(|fault| (first, fault))?;
        self.local.grow(base + u64::from(function.frame_bytes));
        for (actual, formal) in site.parameters.iter().zip(&function.parameters) {
            let (from, to) = (from + u64::from(actual.offset), base + u64::from(formal.offset));
            self.local.copy(lanes, from, to, formal.bytes.into());
        }
        self.groups.push(Group { frame, at: 0, lanes, state: State::Ready });
        Ok(())
    }

    /// `ret`: from a kernel it ends the thread.
    fn give_back(&mut self, group: Group, active: Mask, around: &Surroundings<'_>) -> Next {
        let frame = self.frames.get(group.frame);
        let Some(caller) = &mut frame.caller else { return self.exit(group, active, around) };
        caller.returned |= active;
        let rest = group.lanes & !active;
        self.finish_call(group.frame, around);
        if rest == 0 {
            return Next::Choose;
        }
        self.join(Group { at: group.at + 1, lanes: rest, ..group });
        Next::Choose
    }

    /// When all lanes of a call have returned, or ended, those that returned go on after it.
    fn finish_call(&mut self, number: usize, around: &Surroundings<'_>) {
        let frame = self.frames.get(number);
        let (base, function) = (frame.base, frame.function);
        if frame.caller.is_none_or(|caller| caller.returned != caller.lanes) {
            return;
        }
        let Some(caller) = self.frames.leave(number) else { return };
        if caller.lanes == 0 {
            return;
        }
        let program = &around.launch.program;
        let parent = self.frames.get(caller.frame);
        let to = parent.base;
        let site = &program.functions[parent.function].calls[caller.call as usize];
        for (actual, formal) in site.returns.iter().zip(&program.functions[function].returns) {
            let (from, to) = (base + u64::from(formal.offset), to + u64::from(actual.offset));
            self.local.copy(caller.lanes, from, to, formal.bytes.into());
        }
        let state = State::Ready;
        self.join(Group { frame: caller.frame, at: caller.return_to, lanes: caller.lanes, state });
    }

    fn exit(&mut self, group: Group, active: Mask, around: &Surroundings<'_>) -> Next {
        self.live &= !active;
        let rest = group.lanes & !active;
        if rest != 0 {
            self.join(Group { at: group.at + 1, lanes: rest, ..group });
        }
        let mut inner = Some(group.frame);
        while let Some(number) = inner {
            let Some(caller) = &mut self.frames.get(number).caller else { break };
            caller.lanes &= !active;
            caller.returned &= !active;
            inner = Some(caller.frame);
            self.finish_call(number, around);
        }
        Next::Choose
    }
}

/// Waiting.
impl Warp {
    /// Whether all live lanes that the exchange names are in the group. If not, it waits for them;
    /// those who wait at the same place already are taken in.
    fn gather(&mut self, group: &mut Group, active: Mask, members: Row) -> bool {
        let waits = |other: &Group| {
            (other.frame, other.at, other.state) == (group.frame, group.at, State::ForLanes)
        };
        let joined = self.groups.iter().filter(|other| waits(other));
        let joined = joined.fold(0, |lanes, other| lanes | other.lanes);
        if joined != 0 {
            self.groups.retain(|other| !waits(other));
            group.lanes |= joined;
        }
        let named = self.frames.get(group.frame).registers.word(members);
        let named = lanes(active | joined).fold(0, |all, lane| all | named[lane]);
        let complete = named & self.live & !group.lanes == 0;
        if !complete {
            self.groups.push(Group { state: State::ForLanes, ..*group });
        }
        complete
    }

    fn arrive(
        &mut self,
        group: Group,
        active: Mask,
        (barrier, number, threads): (Barrier, Row, Option<Row>),
        around: &mut Surroundings<'_>,
    ) -> Next {
        let registers = &self.frames.get(group.frame).registers;
        let first = active.trailing_zeros() as usize;
        let number = registers.get::<u32>(number, first);
        let threads = threads.map(|row| registers.get::<u32>(row, first));
        let holds = barrier.predicate().map_or(0, |row| registers.predicate(row)) & active;
        let whole_warp = active == self.live;
        around.barriers.arrive(number, (active, holds), threads, whole_warp);
        if barrier == Barrier::Arrive {
            return Next::Goto(group.at + 1);
        }
        self.groups.push(Group {
            lanes: active,
            state: State::AtBarrier(number, barrier),
            ..group
        });
        if active != group.lanes {
            self.join(Group { at: group.at + 1, lanes: group.lanes & !active, ..group });
        }
        Next::Choose
    }

    /// Lets the groups at barrier `number` go on, with the barrier's result.
    pub(super) fn release(&mut self, number: u32, (count, threads): (u32, u32)) {
        let waits = |group: &Group| matches!(group.state, State::AtBarrier(at, _) if at == number);
        let (released, rest) = self.groups.iter().partition(|group| waits(group));
        self.groups = rest;
        let released: Vec<Group> = released;
        for group in released {
            let registers = &mut self.frames.get(group.frame).registers;
            match group.state {
                State::AtBarrier(_, Barrier::Count { result, .. }) => {
                    registers.set(group.lanes, result, &[count; LANES]);
                }
                State::AtBarrier(_, Barrier::Reduce { result, any, .. }) => {
                    let holds = if any { count > 0 } else { count == threads };
                    registers.set_predicate(group.lanes, result, if holds { !0 } else { 0 });
                }
                _ => {}
            }
            self.join(Group { at: group.at + 1, state: State::Ready, ..group });
        }
    }

    /// A lane that waits, for the report of a deadlock.
    pub(super) fn stuck(&mut self) -> Option<Stop> {
        let group = *self.groups.first()?;
        let function = self.frames.get(group.frame).function;
        let lane = group.lanes.trailing_zeros() as usize;
        Some(Stop { fault: Fault::Deadlock, lane, function, at: group.at })
    }
}

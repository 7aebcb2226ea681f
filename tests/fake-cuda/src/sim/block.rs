//! A block: its warps, its shared memory and its barriers.

use super::fault::Fault;
use super::global::Global;
use super::grid::Launch;
use super::registers::{ALL, LANES, Mask};
use super::scratch::Shared;
use super::warp::{Stop, Warp};

/// What the warps of a block have around them.
pub(super) struct Surroundings<'a> {
    pub(super) launch: &'a Launch,
    pub(super) global: Global<'a>,
    pub(super) shared: Shared,
    pub(super) barriers: Barriers,
    pub(super) block: [u32; 3],
    /// The instructions run so far, for `%clock`.
    pub(super) clock: u64,
}

pub(super) struct Block<'a> {
    pub(super) around: Surroundings<'a>,
    warps: Vec<Warp>,
    next: usize,
}

/// What a block did with its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Ended,
    /// There is more to do.
    Over,
}

impl<'a> Block<'a> {
    pub(super) fn new(launch: &'a Launch, global: Global<'a>) -> Self {
        let barriers = Barriers::default();
        let shared = Shared::default();
        let around = Surroundings { launch, global, shared, barriers, block: [0; 3], clock: 0 };
        let threads: u32 = launch.block.iter().product();
        let warps = (0..threads.div_ceil(LANES as u32)).map(|number| warp(launch, number));
        Self { around, warps: warps.collect(), next: 0 }
    }

    /// Puts all threads at the start of the kernel, as block `number`.
    pub(super) fn start(&mut self, number: [u32; 3]) -> Result<(), Stop> {
        let launch = self.around.launch;
        self.around.block = number;
        self.around.shared.renew(launch.shared_bytes());
        self.around.barriers = Barriers::default();
        let mut threads: u32 = launch.block.iter().product();
        for warp in &mut self.warps {
            let live = if threads < 32 { (1 << threads) - 1 } else { ALL };
            let started = warp.start(&launch.program, launch.entry, live);
            started.map_err(|fault| Stop { fault, lane: 0, function: launch.entry, at: 0 })?;
            threads = threads.saturating_sub(32);
        }
        Ok(())
    }

    /// Gives each warp in turn a slice, for about so many instructions in all.
    pub(super) fn run(&mut self, instructions: u64) -> Result<Turn, (usize, Stop)> {
        let (end, mut idle) = (self.around.clock + instructions, 0);
        while self.around.clock < end {
            let number = self.next;
            self.next = (number + 1) % self.warps.len();
            let warp = &mut self.warps[number];
            let before = self.around.clock;
            warp.run(&mut self.around).map_err(|stop| (number, stop))?;
            let ran = self.around.clock != before;
            idle = if ran { 0 } else { idle + 1 };
            if ran {
                self.release();
            }
            if idle >= self.warps.len() {
                return self.at_rest();
            }
        }
        Ok(Turn::Over)
    }

    /// No warp can run: the block has ended, or it is stuck.
    fn at_rest(&mut self) -> Result<Turn, (usize, Stop)> {
        let stuck = self.warps.iter_mut().enumerate().find(|(_, warp)| warp.live != 0);
        let Some((number, warp)) = stuck else { return Ok(Turn::Ended) };
        let nowhere = Stop { fault: Fault::Deadlock, lane: 0, function: 0, at: 0 };
        Err((number, warp.stuck().unwrap_or(nowhere)))
    }

    /// Opens the barriers that all have reached.
    fn release(&mut self) {
        if self.around.barriers.used.is_empty() {
            return;
        }
        let live = self.warps.iter().map(|warp| warp.live.count_ones()).sum();
        for (number, result) in self.around.barriers.take_complete(live) {
            for warp in &mut self.warps {
                warp.release(number, result);
            }
        }
    }

    /// The coordinates of a lane's thread.
    pub(super) fn thread(&self, warp: usize, lane: usize) -> [u32; 3] {
        self.warps[warp].threads.map(|row| row[lane])
    }
}

fn warp(launch: &Launch, number: u32) -> Warp {
    let [width, height, _] = launch.block;
    let mut warp = Warp::new();
    warp.number = number;
    for lane in 0..LANES {
        let thread = number * LANES as u32 + lane as u32;
        let place = [thread % width, thread / width % height, thread / width / height];
        for (axis, at) in place.into_iter().enumerate() {
            warp.threads[axis][lane] = at;
        }
    }
    warp
}

/// The sixteen barriers of a block.
#[derive(Debug, Default)]
pub(super) struct Barriers {
    used: Vec<(u32, Gathering)>,
}

#[derive(Debug, Clone, Copy)]
struct Gathering {
    threads: u32,
    /// Of those, for how many the predicate held.
    held: u32,
    /// How many it waits for, if not for all that live.
    expected: Option<u32>,
}

impl Barriers {
    /// Counts the lanes of `arrived` in. Where the barrier waits for a number of threads, that
    /// number counts whole warps, and so does the last warp of a block, full or not.
    pub(super) fn arrive(
        &mut self,
        number: u32,
        (arrived, holds): (Mask, Mask),
        expected: Option<u32>,
        whole_warp: bool,
    ) {
        let count = if expected.is_some() && whole_warp { 32 } else { arrived.count_ones() };
        let held = holds.count_ones();
        match self.used.iter_mut().find(|(known, _)| *known == number) {
            Some((_, gathering)) => {
                gathering.threads += count;
                gathering.held += held;
                gathering.expected = gathering.expected.or(expected);
            }
            None => self.used.push((number, Gathering { threads: count, held, expected })),
        }
    }

    /// The barriers that nobody is missing at: for how many threads the predicate held, of how many.
    fn take_complete(&mut self, live: u32) -> Vec<(u32, (u32, u32))> {
        let complete =
            |gathering: &Gathering| gathering.threads >= gathering.expected.unwrap_or(live);
        let done = self.used.iter().filter(|(_, gathering)| complete(gathering));
        let done = done.map(|(number, at)| (*number, (at.held, at.threads))).collect();
        self.used.retain(|(_, gathering)| !complete(gathering));
        done
    }
}

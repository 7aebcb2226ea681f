//! A launch: the blocks of a grid, one after another, and beside each other where they wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::block::{Block, Turn};
use super::fault::{Crash, Fault};
use super::global::{AddressSpace, Global};
use super::program::Program;
use super::warp::Stop;

/// Everything about one launch of a kernel.
pub(crate) struct Launch {
    pub(crate) program: Arc<Program>,
    /// The kernel's number in the program.
    pub(crate) entry: usize,
    pub(crate) grid: [u32; 3],
    pub(crate) block: [u32; 3],
    /// The parameters, laid out as the kernel declares them.
    pub(crate) parameters: Vec<u8>,
    pub(crate) static_shared: u32,
    pub(crate) dynamic_shared: u32,
    /// The launch's number on its device.
    pub(crate) number: u32,
}

impl Launch {
    /// Where the dynamic shared memory begins.
    pub(super) fn dynamic_start(&self) -> u64 {
        u64::from(self.static_shared).next_multiple_of(16)
    }

    pub(super) fn shared_bytes(&self) -> usize {
        self.dynamic_start() as usize + self.dynamic_shared as usize
    }
}

/// What can end a launch before its time.
pub(crate) struct Limits<'a> {
    /// Set when the kernel's context is destroyed.
    pub(crate) stop: &'a AtomicBool,
    /// The most instructions of warps, if there is a limit.
    pub(crate) instructions: Option<u64>,
}

/// The instructions after which a block that has not ended leaves the turn to another one, which it
/// may be waiting for.
const TURN: u64 = 1 << 18;

/// The blocks that may be under way at once: what a device of 108 multiprocessors holds of small ones.
pub(crate) const RESIDENT: usize = 1728;

/// Runs the launch to its end, or to its first fault; says how many instructions warps ran.
pub(crate) fn run(
    launch: &Launch,
    space: &dyn AddressSpace,
    limits: &Limits<'_>,
) -> Result<u64, Box<Crash>> {
    let mut blocks = numbers(launch.grid);
    let mut under_way: Vec<Block<'_>> = Vec::new();
    let mut spare: Vec<Block<'_>> = Vec::new();
    let (mut turn, mut instructions, mut all_started) = (0, 0, false);
    loop {
        // every block under way has had its turn: one more joins them, while there are more
        if !all_started && turn == under_way.len() && under_way.len() < RESIDENT {
            match blocks.next() {
                Some(number) => {
                    let block = spare.pop();
                    let mut block =
                        block.unwrap_or_else(|| Block::new(launch, Global::new(space)));
                    let started = block.start(number);
                    started.map_err(|stop| crash(launch, &block, 0, stop))?;
                    under_way.push(block);
                }
                None => all_started = true,
            }
        }
        if under_way.is_empty() {
            return Ok(instructions);
        }
        turn %= under_way.len();
        let block = &mut under_way[turn];
        let before = block.around.clock;
        let result = block.run(TURN);
        instructions += block.around.clock - before;
        match result {
            Ok(Turn::Ended) => spare.push(under_way.remove(turn)),
            Ok(Turn::Over) => turn += 1,
            Err((warp, stop)) => return Err(crash(launch, block, warp, stop)),
        }
        check(launch, limits, instructions)?;
    }
}

/// The coordinates of all blocks, in the order of their numbers.
fn numbers([width, height, depth]: [u32; 3]) -> impl Iterator<Item = [u32; 3]> {
    (0..depth).flat_map(move |z| (0..height).flat_map(move |y| (0..width).map(move |x| [x, y, z])))
}

fn check(launch: &Launch, limits: &Limits<'_>, instructions: u64) -> Result<(), Box<Crash>> {
    let fault = if limits.stop.load(Ordering::Acquire) {
        Fault::Stopped
    } else if limits.instructions.is_some_and(|limit| instructions > limit) {
        Fault::TooLong
    } else {
        return Ok(());
    };
    let entry = launch.program.functions[launch.entry].name.clone();
    let function = entry.clone();
    Err(Box::new(Crash { fault, entry, function, line: 0, block: [0; 3], thread: [0; 3] }))
}

fn crash(launch: &Launch, block: &Block<'_>, warp: usize, stop: Stop) -> Box<Crash> {
    let functions = &launch.program.functions;
    let function = &functions[stop.function];
    Box::new(Crash {
        fault: stop.fault,
        entry: functions[launch.entry].name.clone(),
        function: function.name.clone(),
        line: function.lines.get(stop.at as usize).copied().unwrap_or(0),
        block: block.around.block,
        thread: block.thread(warp, stop.lane),
    })
}


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

/// About so many instructions a block has in its turn.
const TURN: u64 = 1 << 15;

/// The blocks that may be under way at once, however small: 16 on each of 108 multiprocessors.
pub(crate) const RESIDENT: usize = 1728;
/// The threads that may be under way at once: 2048 on each of 108 multiprocessors.
const RESIDENT_THREADS: u32 = 108 * 2048;

/// Runs the launch to its end, or to its first fault; says how many instructions warps ran.
pub(crate) fn run(
    launch: &Launch,
    space: &dyn AddressSpace,
    limits: &Limits<'_>,
) -> Result<u64, Box<Crash>> {
    let mut grid = Grid::new(launch, space);
    let mut instructions = 0;
    while grid.has_block()? {
        instructions += grid.turn()?;
        check(launch, limits, instructions)?;
    }
    Ok(instructions)
}

/// The blocks of a launch.
///
/// They run one after another. A block whose turn is over has another one, unless it has looked at
/// memory that others may write (by a volatile or an atomic access) or has run very long: it may be
/// waiting for another block. Then every block under way has its turn, and one more joins them each time, as far
/// as a device could hold them.
struct Grid<'a> {
    launch: &'a Launch,
    space: &'a dyn AddressSpace,
    to_come: Box<dyn Iterator<Item = [u32; 3]>>,
    under_way: Vec<Block<'a>>,
    spare: Vec<Block<'a>>,
    /// Whose turn it is. Past the end, a new block begins.
    next: usize,
    most: usize,
}

impl<'a> Grid<'a> {
    fn new(launch: &'a Launch, space: &'a dyn AddressSpace) -> Self {
        let threads = launch.block.iter().product::<u32>().next_multiple_of(32);
        Self {
            launch,
            space,
            to_come: Box::new(numbers(launch.grid)),
            under_way: Vec::new(),
            spare: Vec::new(),
            next: 0,
            most: RESIDENT.min((RESIDENT_THREADS / threads) as usize),
        }
    }

    /// Makes sure that there is a block to run, and that all that run have had their turn before a
    /// new one begins.
    fn has_block(&mut self) -> Result<bool, Box<Crash>> {
        if self.next < self.under_way.len() {
            return Ok(true);
        }
        if self.under_way.len() < self.most
            && let Some(number) = self.to_come.next()
        {
            let new = || Block::new(self.launch, Global::new(self.space));
            let mut block = self.spare.pop().unwrap_or_else(new);
            block.start(number).map_err(|stop| crash(self.launch, &block, 0, stop))?;
            self.under_way.push(block);
        } else {
            self.next = 0;
        }
        Ok(!self.under_way.is_empty())
    }

    /// Gives the next block its turn; says how many instructions it ran.
    fn turn(&mut self) -> Result<u64, Box<Crash>> {
        let block = &mut self.under_way[self.next];
        let before = block.around.clock;
        let turn = block.run(TURN);
        let ran = block.around.clock - before;
        match turn {
            Ok(Turn::Ended) => self.spare.push(self.under_way.remove(self.next)),
            Ok(Turn::Over { may_wait }) => self.next += usize::from(may_wait),
            Err((warp, stop)) => return Err(crash(self.launch, block, warp, stop)),
        }
        Ok(ran)
    }
}

/// The coordinates of all blocks, in the order of their numbers.
fn numbers([width, height, depth]: [u32; 3]) -> impl Iterator<Item = [u32; 3]> + 'static {
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

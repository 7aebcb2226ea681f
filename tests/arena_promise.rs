//! What was promised is there: requests declare bytes, come in while there are as many to promise, and take
//! blocks of any sizes out of what they declared, in any order and while others come and go. None is refused
//! one.
//!
//! `PROMISE_SEEDS=100 cargo test -p rustkernel-tests --test arena_promise` for more runs.

use std::sync::Arc;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rustkernel_gpu::memory::arena::{Arena, Block, Geometry, Manner, NoRoom, Provision, Terms};
use rustkernel_tests::simulated::{Clock, Use};

const PAGE: u64 = 2 << 20;
const GEOMETRY: Geometry = Geometry { page: PAGE, grain: 512, span: 1 << 34 };
const LIMIT: u64 = 128 * PAGE;
const STREAMS: u32 = 3;
const STEPS: u64 = 100_000;

/// A request that is in, and what it has not taken of what it declared.
struct Request {
    stream: u32,
    left: u64,
    held: Vec<Block>,
    /// The largest block that it takes.
    largest: u64,
}

struct Device {
    arena: Arena<Use>,
    clock: Arc<Clock>,
    promised: u64,
    requests: Vec<Request>,
    /// Whether requests take what they gave back.
    again: bool,
    turned_away: u64,
    /// Bytes of pages that moved.
    moved: u64,
}

impl Device {
    fn new(again: bool) -> Self {
        let (arena, clock) = (Arena::new(GEOMETRY), Arc::default());
        let (promised, requests, turned_away, moved) = (0, Vec::new(), 0, 0);
        Self { arena, clock, promised, requests, again, turned_away, moved }
    }

    fn terms(&self) -> Terms {
        Terms { limit: LIMIT, promised: self.promised }
    }

    fn use_of(&self, stream: u32, time: u64) -> Use {
        Use { stream, over: self.clock.now() + time, clock: Arc::clone(&self.clock) }
    }

    /// Lets a request in, if what it declares is there in whole pages.
    fn admit(&mut self, declared: u64, largest: u64, stream: u32) {
        if self.promised + declared > self.arena.promisable(LIMIT) {
            self.turned_away += 1;
            return;
        }
        self.promised += declared;
        self.requests.push(Request { stream, left: declared, held: Vec::new(), largest });
    }

    fn take(&mut self, which: usize, bytes: u64) {
        let request = &self.requests[which];
        let bytes = self.arena.block_bytes(bytes.min(request.left).max(1)).unwrap();
        if bytes > request.left {
            return;
        }
        let home = self.use_of(request.stream, 0);
        let block = self.arena.allocate(bytes, self.terms(), Some(&home));
        let block = block.unwrap_or_else(|| self.grow(bytes, &home));
        let request = &mut self.requests[which];
        request.left -= bytes;
        request.held.push(block);
    }

    /// As the pool grows; waiting costs time, and nothing else.
    fn grow(&mut self, bytes: u64, home: &Use) -> Block {
        let (mut wait, terms) = (true, self.terms());
        loop {
            let mut provide =
                |remap| self.arena.provide(bytes, terms, Manner { wait, remap }, Some(home));
            match provide(false).or_else(|_| provide(true)) {
                Ok(Provision { block, unmap, rest, .. }) => {
                    self.moved += unmap.iter().map(|pages| pages.bytes).sum::<u64>();
                    rest.into_iter().for_each(|rest| self.arena.free(rest, None).unwrap());
                    return block;
                }
                Err(NoRoom::Busy(user)) => {
                    self.clock.advance_to(user.over);
                    wait = false;
                }
                Err(NoRoom::Full) => panic!(
                    "{bytes} bytes were promised and refused: live {}, promised {}, lost {}",
                    self.arena.live(),
                    self.promised,
                    self.arena.lost()
                ),
            }
        }
    }

    /// A block comes back; its request may use the bytes again, if it does so at all.
    fn give(&mut self, which: usize, index: usize, time: u64) {
        let block = self.requests[which].held.swap_remove(index);
        match self.again {
            true => self.requests[which].left += block.bytes(),
            false => self.promised -= block.bytes(),
        }
        let last_use = self.use_of(self.requests[which].stream, time);
        self.arena.free(block, Some(last_use)).unwrap();
    }

    fn finish(&mut self, which: usize, time: u64) {
        while !self.requests[which].held.is_empty() {
            self.give(which, 0, time);
        }
        self.promised -= self.requests.swap_remove(which).left;
    }
}

/// Each of eight doublings as often as any other.
fn size(random: &mut impl Rng, most: u64) -> u64 {
    let doubling = random.random_range(0..8u32);
    random.random_range(most >> (doubling + 1)..=most >> doubling)
}

/// Requests of a few blocks and requests of thousands, at a limit that is always reached.
fn run(seed: u64, again: bool) {
    let random = &mut ChaCha8Rng::seed_from_u64(seed);
    let mut device = Device::new(again);
    for _ in 0..STEPS {
        device.clock.advance_by(random.random_range(0..10));
        let time = random.random_range(0..40);
        let count = device.requests.len();
        let which = random.random_range(0..count.max(1));
        match random.random_range(0..100) {
            _ if count == 0 => admit(&mut device, random),
            0..10 => admit(&mut device, random),
            10 => device.finish(which, time),
            11..50 if !device.requests[which].held.is_empty() => {
                let index = random.random_range(0..device.requests[which].held.len());
                device.give(which, index, time);
            }
            50..55 => {
                while device.requests[which].left > 0 {
                    let largest = device.requests[which].largest;
                    device.take(which, size(random, largest));
                }
            }
            _ => {
                let largest = device.requests[which].largest;
                device.take(which, size(random, largest));
            }
        }
    }
    while !device.requests.is_empty() {
        device.finish(0, 0);
    }
    assert_eq!((device.arena.live(), device.promised), (0, 0));
    assert!(device.turned_away > 0, "the limit was reached");
}

fn admit(device: &mut Device, random: &mut impl Rng) {
    let largest = PAGE << random.random_range(0..5u32) >> random.random_range(0..8u32);
    let declared = random.random_range(1..LIMIT / 3 / 512) * 512;
    device.admit(declared, largest, random.random_range(0..STREAMS));
}

fn seeds() -> u64 {
    std::env::var("PROMISE_SEEDS").map_or(5, |seeds| seeds.parse().unwrap())
}

#[test]
fn what_was_promised_is_there() {
    (0..seeds()).for_each(|seed| run(seed, false));
}

#[test]
fn what_was_promised_is_there_again() {
    (0..seeds()).for_each(|seed| run(seed, true));
}

/// Every second page is free, and more than half of it is wanted, so often that all that was promised is
/// taken: if each lay in a page of its own there would be too few.
#[test]
fn what_was_promised_is_not_wasted() {
    let mut device = Device::new(false);
    device.admit(LIMIT / 10 * 9, PAGE, 0);
    while device.requests[0].left >= PAGE {
        device.take(0, PAGE);
    }
    let count = device.requests[0].held.len();
    for index in (0..count).rev().step_by(2) {
        device.give(0, index, 0);
    }
    device.clock.advance_by(1);
    let left = device.arena.promisable(LIMIT) - device.promised;
    device.admit(left / 512 * 512, PAGE, 0);
    while device.requests[1].left > 0 {
        device.take(1, PAGE / 5 * 3);
    }
    assert!(device.moved > 0);
}

//! What the pool bench measures: three mixes of sizes, on anything that hands out blocks.
//!
//! | mix | a pair is |
//! |---|---|
//! | one size | a block of 4 KiB taken and given back at once |
//! | mixed sizes | one of 64 live blocks, picked at random, given back and another taken for it; sizes from 512 B to 256 KiB, each doubling as likely |
//! | mixed sizes, 2 threads | the same on two threads at once: the time of a pair on its thread |
//!
//! No block is written to: what is measured is the allocator, not the memory.

pub mod cuda;
mod lease;

use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;

pub use lease::Leases;

/// The mixes, in the order of [`measure`]'s figures.
pub const MIXES: [&str; 3] = ["one size", "mixed sizes", "mixed sizes, 2 threads"];

/// For long enough that the system has spread two threads over the processors: it takes some milliseconds.
const PAIRS: usize = 2_000_000;
const FEW_PAIRS: usize = 4_000;
const ONE_SIZE: usize = 4096;
const LIVE: usize = 64;
const SMALLEST: f64 = 512.0;
const DOUBLINGS: f64 = 9.0;

/// Something that hands out blocks to several threads.
pub trait Peer: Sync {
    /// What one thread holds of it.
    type Hand: Hand;

    /// A thread's hold, made on that thread.
    fn hand(&self) -> Self::Hand;
}

/// Takes blocks and gives them back, on one thread.
pub trait Hand {
    /// A block.
    type Block;

    /// Takes a block of so many bytes.
    fn allocate(&mut self, bytes: usize) -> Self::Block;

    /// Gives a block back.
    fn free(&mut self, block: Self::Block);
}

/// Nanoseconds a pair, for each of [`MIXES`].
pub fn measure<P: Peer>(peer: &P) -> [f64; 3] {
    measure_pairs(peer, PAIRS)
}

/// The same for what takes microseconds.
pub fn measure_few<P: Peer>(peer: &P) -> [f64; 3] {
    measure_pairs(peer, FEW_PAIRS)
}

fn measure_pairs<P: Peer>(peer: &P, count: usize) -> [f64; 3] {
    let (same, mixed) = ([(ONE_SIZE, 0)], mix());
    let on_threads = |mix: &[Next], threads| on_threads(peer, (mix, count), threads);
    [on_threads(&same, 1), on_threads(&mixed, 1), on_threads(&mixed, 2)]
}

/// A size, and which of the live blocks makes way for it.
type Next = (usize, usize);

/// Many sizes and places, the same in every run.
fn mix() -> Vec<Next> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let next = |_| {
        let part = (random() >> 11) as f64 / (1_u64 << 53) as f64;
        ((SMALLEST * (part * DOUBLINGS).exp2()) as usize, (random() >> 32) as usize % LIVE)
    };
    (0..4096).map(next).collect()
}

/// What a pair takes, of so many of a mix, with so many threads that begin together.
fn on_threads<P: Peer>(peer: &P, work: (&[Next], usize), threads: usize) -> f64 {
    let start = Barrier::new(threads);
    std::thread::scope(|scope| {
        let run = || scope.spawn(|| timed(&mut peer.hand(), work, &start));
        let running: Vec<_> = (0..threads).map(|_| run()).collect();
        let times = running.into_iter().map(|thread| thread.join().unwrap_or(f64::NAN));
        times.sum::<f64>() / threads as f64
    })
}

#[allow(clippy::disallowed_methods, reason = "a benchmark reads the real clock")]
fn timed(hand: &mut impl Hand, (mix, count): (&[Next], usize), start: &Barrier) -> f64 {
    start.wait();
    let mut live: [_; LIVE] = std::array::from_fn(|_| None);
    pairs(hand, mix, &mut live, count / 10);
    let begin = Instant::now();
    pairs(hand, mix, &mut live, count);
    let nanos = begin.elapsed().as_nanos() as f64 / count as f64;
    live.into_iter().flatten().for_each(|block| hand.free(block));
    nanos
}

fn pairs<H: Hand>(hand: &mut H, mix: &[Next], live: &mut [Option<H::Block>; LIVE], count: usize) {
    for &(bytes, place) in mix.iter().cycle().take(count) {
        if let Some(block) = live[place].take() {
            hand.free(block);
        }
        live[place] = Some(hand.allocate(black_box(bytes)));
    }
}

/// The global allocator of this program, whichever it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Global;

impl Peer for Global {
    type Hand = Self;

    fn hand(&self) -> Self {
        *self
    }
}

impl Hand for Global {
    type Block = Vec<u8>;

    fn allocate(&mut self, bytes: usize) -> Vec<u8> {
        black_box(Vec::with_capacity(bytes))
    }

    fn free(&mut self, block: Vec<u8>) {
        drop(black_box(block));
    }
}

/// What the programs `pool_glibc`, `pool_mimalloc` and `pool_jemalloc` do: each has its allocator as
/// the global one, and prints its figures for the bench that started it.
///
/// # Panics
/// If figures cannot be written as JSON.
pub fn print_global() {
    let figures = serde_json::to_string(&measure(&Global)).expect("invariant: they are numbers");
    println!("{figures}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_span_their_range_evenly() {
        let mix = mix();
        assert!(
            mix.iter().all(|(bytes, place)| (512..=256 << 10).contains(bytes) && *place < LIVE)
        );
        let small = mix.iter().filter(|(bytes, _)| *bytes < 11_585).count();
        assert!((1900..2200).contains(&small), "{small}: half are below 512 · 2^4.5");
    }

    #[test]
    fn every_block_is_given_back() {
        struct Counting(i64);
        impl Hand for &mut Counting {
            type Block = ();
            fn allocate(&mut self, _: usize) {
                self.0 += 1;
            }
            fn free(&mut self, (): ()) {
                self.0 -= 1;
            }
        }
        let mut counting = Counting(0);
        timed(&mut &mut counting, (&mix(), 1000), &Barrier::new(1));
        assert_eq!(counting.0, 0);
    }
}

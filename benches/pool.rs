//! What a block costs: taken and given back, by our pool and by allocators of others.
//!
//! `cargo bench -p rustkernel-benches --features peers --bench pool [-- --rounds 9 --json]`
//!
//! | peer | a block is |
//! |---|---|
//! | glibc, mimalloc, jemalloc | memory of a program whose global allocator that is |
//! | size classes + mutex | an offset out of a list for each power of two, all behind one mutex |
//! | offset-allocator + mutex | an offset from that crate's allocator, behind a mutex |
//! | our arena + mutex | an offset from the bookkeeping of our pool, behind a mutex |
//! | our magazine | a number out of the stacks that a stream has in front of the pool, without a lock |
//! | our lease | host memory as kernels get it, with the books, the limit and the pressure level |
//! | our lease, reserved | the same within a reservation, as requests have that declare their memory |
//! | our lease, no stream | the same without a stream: from the arena each time |
//! | our lease, cuda:0 | the same of the first CUDA device, if there is one |
//! | cuMemAlloc/cuMemFree + our books | the same without pooling: a call of the driver each way, and our books |
//! | cuMemAllocAsync/cuMemFreeAsync | memory of the driver's own pool, on a stream for each thread |
//! | the loop alone | nothing: what the other figures contain of the measuring itself |
//!
//! The first three are programs of their own, because a program has one global allocator and its
//! other interfaces are unsafe; so are those on CUDA, for a driver's threads shall disturb nobody. The
//! mixes are described in `src/pool.rs`.
//!
//! At the end stands how long it takes to tell what lies where (`rustkernel device map`) in a pool whose blocks are
//! every other one free: meanwhile nobody gets a block from it that is not in a magazine.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a benchmark reads the real clock, may fail, and says why"
)]

use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use clap::Parser;
use rustkernel_benches::pool::cuda::{self, Measured};
use rustkernel_benches::pool::{Hand, Leases, MIXES, Peer, measure};
use rustkernel_benches::{Figures, Options};
use rustkernel_gpu::memory::BlockSizes;
use rustkernel_gpu::memory::arena::{Arena, Block, Geometry, LastUse, Manner, Terms};
use rustkernel_gpu::memory::magazine::{self, Magazine};
use serde::de::DeserializeOwned;

/// Programs that measure their own global allocator.
const PROGRAMS: [(&str, &str); 3] = [
    ("glibc", env!("CARGO_BIN_EXE_pool_glibc")),
    ("mimalloc", env!("CARGO_BIN_EXE_pool_mimalloc")),
    ("jemalloc", env!("CARGO_BIN_EXE_pool_jemalloc")),
];

fn main() {
    let options = Options::parse();
    let mut figures = Figures::new();
    for round in 0..options.rounds {
        let mut add = |peer, nanos: [f64; 3]| {
            MIXES.into_iter().zip(nanos).for_each(|(mix, nanos)| figures.add(peer, mix, nanos));
        };
        PROGRAMS.into_iter().for_each(|(peer, program)| add(peer, measured_by(program)));
        add("size classes + mutex", measure(&Locked::new(Classes::default())));
        add("offset-allocator + mutex", measure(&Locked::new(Offsets::new())));
        ours(&mut add);
        match on_cuda() {
            Ok(rows) => cuda::PEERS.into_iter().zip(rows).for_each(|(peer, row)| add(peer, row)),
            Err(reason) if round == 0 => eprintln!("no rows of a CUDA device: {reason}"),
            Err(_) => {}
        }
        add("the loop alone", measure(&Nothing));
    }
    figures.print(&options);
    time_a_map();
}

fn time_a_map() {
    const BLOCKS: usize = 100_000;
    let leases = Leases::on_host().without_streams();
    let mut hand = leases.hand();
    let all: Vec<_> = (0..BLOCKS).map(|_| hand.allocate(512)).collect();
    let (kept, dropped): (Vec<_>, Vec<_>) =
        all.into_iter().enumerate().partition(|(n, _)| n % 2 == 0);
    drop(dropped);
    let mut millis: Vec<f64> = (0..9)
        .map(|_| {
            let since = Instant::now();
            let map = leases.map().unwrap();
            assert!(map.ranges.len() as u64 + map.left_out >= kept.len() as u64);
            since.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    millis.sort_by(f64::total_cmp);
    eprintln!("a map of {BLOCKS} blocks, every other one free: {:.1} ms (median of 9)", millis[4]);
}

fn ours(add: &mut impl FnMut(&'static str, [f64; 3])) {
    add("our arena + mutex", measure(&Locked::new(OurArena::new())));
    add("our magazine", measure(&Magazines));
    add("our lease", measure(&Leases::on_host()));
    add("our lease, reserved", measure(&Leases::on_host().reserving(64 << 20)));
    add("our lease, no stream", measure(&Leases::on_host().without_streams()));
}

fn on_cuda() -> Measured {
    measured_by(env!("CARGO_BIN_EXE_pool_cuda"))
}

fn measured_by<T: DeserializeOwned>(program: &str) -> T {
    let output = Command::new(program).output().unwrap();
    assert!(output.status.success(), "{program}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// An allocator that knows no threads, behind a mutex.
struct Locked<A>(Arc<Mutex<A>>);

impl<A> Locked<A> {
    fn new(allocator: A) -> Self {
        Self(Arc::new(Mutex::new(allocator)))
    }
}

impl<A: Hand + Send> Peer for Locked<A> {
    type Hand = Self;

    fn hand(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<A: Hand> Hand for Locked<A> {
    type Block = A::Block;

    fn allocate(&mut self, bytes: usize) -> A::Block {
        self.0.lock().unwrap().allocate(bytes)
    }

    fn free(&mut self, block: A::Block) {
        self.0.lock().unwrap().free(block);
    }
}

// ---- size classes

#[derive(Default)]
struct Classes {
    free: [Vec<usize>; 32],
    end: usize,
}

impl Hand for Classes {
    /// Class and offset.
    type Block = (u32, usize);

    fn allocate(&mut self, bytes: usize) -> (u32, usize) {
        let class = bytes.next_power_of_two().ilog2();
        let offset = self.free[class as usize].pop().unwrap_or_else(|| {
            self.end += 1 << class;
            self.end - (1 << class)
        });
        (class, offset)
    }

    fn free(&mut self, (class, offset): (u32, usize)) {
        self.free[class as usize].push(offset);
    }
}

// ---- offset-allocator

struct Offsets(offset_allocator::Allocator<u32>);

impl Offsets {
    fn new() -> Self {
        Self(offset_allocator::Allocator::new(1 << 30))
    }
}

impl Hand for Offsets {
    type Block = offset_allocator::Allocation<u32>;

    fn allocate(&mut self, bytes: usize) -> Self::Block {
        self.0.allocate(bytes as u32).unwrap()
    }

    fn free(&mut self, block: Self::Block) {
        self.0.free(block);
    }
}

// ---- ours

struct OurArena(Arena<NoUse>);

const MANNER: Manner = Manner { wait: false, remap: false };
const TERMS: Terms = Terms { limit: u64::MAX, promised: 0 };

/// Blocks are not used by streams here.
#[derive(Debug, Clone)]
enum NoUse {}

impl LastUse for NoUse {
    fn is_over(&self) -> bool {
        match *self {}
    }

    fn is_same_stream(&self, _: &Self) -> bool {
        match *self {}
    }

    fn later(self, _: Self) -> Self {
        self
    }
}

impl OurArena {
    fn new() -> Self {
        Self(Arena::new(Geometry { page: 2 << 20, grain: 512, span: 1 << 36 }))
    }
}

impl Hand for OurArena {
    type Block = Block;

    fn allocate(&mut self, bytes: usize) -> Block {
        let bytes = bytes as u64;
        let mapped = self.0.allocate(bytes, TERMS, None);
        mapped.unwrap_or_else(|| self.0.provide(bytes, TERMS, MANNER, None).unwrap().block)
    }

    fn free(&mut self, block: Block) {
        self.0.free(block, None).unwrap();
    }
}

/// What a thread takes is the next number; what is given back comes again.
struct Magazines;

struct OurMagazine {
    magazine: Magazine<usize>,
    next: usize,
}

const SIZES: BlockSizes = BlockSizes { grain: 512, classes_to: magazine::LARGEST, step: 32 << 10 };

impl Peer for Magazines {
    type Hand = OurMagazine;

    fn hand(&self) -> OurMagazine {
        OurMagazine { magazine: Magazine::new(SIZES, u64::MAX), next: 0 }
    }
}

impl Hand for OurMagazine {
    type Block = (u64, usize);

    fn allocate(&mut self, bytes: usize) -> (u64, usize) {
        let bytes = SIZES.block_bytes(bytes).unwrap() as u64;
        let block = self.magazine.take(bytes).unwrap_or_else(|| {
            self.next += 1;
            self.next
        });
        (bytes, block)
    }

    fn free(&mut self, (bytes, block): (u64, usize)) {
        // (What does not fit goes back to where it came from, and here that is nowhere.)
        if let Some(place) = self.magazine.place(bytes) {
            place.put(block);
        }
    }
}

// ---- nothing

struct Nothing;

impl Peer for Nothing {
    type Hand = Self;

    fn hand(&self) -> Self {
        Self
    }
}

impl Hand for Nothing {
    type Block = usize;

    fn allocate(&mut self, bytes: usize) -> usize {
        std::hint::black_box(bytes)
    }

    fn free(&mut self, block: usize) {
        std::hint::black_box(block);
    }
}

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
//! | the loop alone | nothing: what the other figures contain of the measuring itself |
//!
//! The first three are programs of their own, because a program has one global allocator and its
//! other interfaces are unsafe. The mixes are described in `src/pool.rs`.
#![allow(clippy::unwrap_used, reason = "a benchmark may fail")]

use std::process::Command;
use std::sync::{Arc, Mutex};

use clap::Parser;
use rustkernel_benches::pool::{Hand, MIXES, Peer, measure};
use rustkernel_benches::{Figures, Options};
use rustkernel_gpu::host::{self, HostOptions, ThreadBudget};
use rustkernel_gpu::memory::arena::{Arena, Block, Geometry, LastUse, Manner};
use rustkernel_gpu::memory::magazine::{self, Magazine};
use rustkernel_gpu::memory::{
    BlockSizes, DeviceMemory, Grown, Lease, Leased, MemoryKind, MemoryLimits, Need,
    PressureThresholds, Reservation,
};
use rustkernel_gpu::{Stream, StreamOptions};

/// Programs that measure their own global allocator.
const PROGRAMS: [(&str, &str); 3] = [
    ("glibc", env!("CARGO_BIN_EXE_pool_glibc")),
    ("mimalloc", env!("CARGO_BIN_EXE_pool_mimalloc")),
    ("jemalloc", env!("CARGO_BIN_EXE_pool_jemalloc")),
];

fn main() {
    let options = Options::parse();
    let mut figures = Figures::new();
    for _ in 0..options.rounds {
        let mut add = |peer, nanos: [f64; 3]| {
            MIXES.into_iter().zip(nanos).for_each(|(mix, nanos)| figures.add(peer, mix, nanos));
        };
        PROGRAMS.into_iter().for_each(|(peer, program)| add(peer, measured_by(program)));
        add("size classes + mutex", measure(&Locked::new(Classes::default())));
        add("offset-allocator + mutex", measure(&Locked::new(Offsets::new())));
        ours(&mut add);
        add("the loop alone", measure(&Nothing));
    }
    figures.print(&options);
}

fn ours(add: &mut impl FnMut(&'static str, [f64; 3])) {
    add("our arena + mutex", measure(&Locked::new(OurArena::new())));
    add("our magazine", measure(&Magazines));
    add("our lease", measure(&Leases::new(true, 0)));
    add("our lease, reserved", measure(&Leases::new(true, 64 << 20)));
    add("our lease, no stream", measure(&Leases::new(false, 0)));
}

fn measured_by(program: &str) -> [f64; 3] {
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
        let mapped = self.0.allocate(bytes, None);
        mapped.unwrap_or_else(|| self.0.provide(bytes, u64::MAX, MANNER, None).unwrap().block)
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

const SIZES: BlockSizes = BlockSizes { grain: 512, classes_to: magazine::LARGEST };

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

struct Leases {
    memory: Arc<DeviceMemory>,
    /// Whether each thread has a stream of its own.
    stream: bool,
    /// What each thread reserves, in bytes.
    reserved: u64,
}

impl Leases {
    fn new(stream: bool, reserved: u64) -> Self {
        const BYTES: u64 = 1 << 30;
        let device = host::open(HostOptions {
            name: "bench".into(),
            memory_bytes: BYTES,
            staging_bytes: BYTES,
            threads: ThreadBudget::new(2),
        });
        let limits = MemoryLimits {
            device_bytes: BYTES,
            staging_bytes: BYTES,
            pooling: true,
            defrag: true,
            thresholds: PressureThresholds::default(),
        };
        Self { memory: DeviceMemory::new(device, &limits), stream, reserved }
    }
}

struct Lessee {
    memory: Arc<DeviceMemory>,
    stream: Option<Stream>,
    reservation: Option<Reservation>,
}

impl Peer for Leases {
    type Hand = Lessee;

    fn hand(&self) -> Lessee {
        let memory = Arc::clone(&self.memory);
        let stream = self.stream.then(|| memory.open_stream(&StreamOptions::default()).unwrap());
        let need = (self.reserved > 0).then_some(Need::device(self.reserved));
        let reservation = need.map(|need| memory.try_reserve(need).unwrap());
        Lessee { memory, stream, reservation }
    }
}

impl Hand for Lessee {
    type Block = Lease;

    fn allocate(&mut self, bytes: usize) -> Lease {
        let (stream, reservation) = (self.stream.as_ref(), self.reservation.as_ref());
        match self.memory.lease(MemoryKind::Device, bytes, stream, reservation).unwrap() {
            Leased::Ready(lease) => lease,
            Leased::NeedsGrowth(growth) => match growth.run().unwrap() {
                Grown::Ready(lease) => lease,
                Grown::Wait(..) => unreachable!("nothing is submitted, so nothing is busy"),
            },
        }
    }

    fn free(&mut self, lease: Lease) {
        drop(lease);
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

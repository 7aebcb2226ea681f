//! Admitted requests do not run out of memory: many, on threads that get in each other's way, with all of
//! the memory promised nearly all of the time.
//!
//! `REQUESTS=1000000 cargo test --release -p rustkernel-tests --test promises` for longer runs.

#![allow(clippy::disallowed_methods, reason = "threads without actors wait for a real device")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rustkernel_gpu::host::{HostOptions, ThreadBudget};
use rustkernel_gpu::memory::{
    DeviceMemory, MemoryKind, MemoryLimits, Need, PressureThresholds, Reservation,
};
use rustkernel_gpu::{Buffer, Device, Stream, StreamOptions};
use rustkernel_tests::fake;
use rustkernel_tests::rig::lease;

const MIB: u64 = 1 << 20;
const LIMIT: u64 = 200 * MIB;
const THREADS: u64 = 6;
/// Blocks that a request holds at once, at most; one may take 128 out of its declaration.
const BLOCKS: usize = 24;

fn requests() -> u64 {
    let asked = std::env::var("REQUESTS").ok();
    asked.map_or(4000, |asked| asked.parse().unwrap())
}

fn memory(device: Device) -> Arc<DeviceMemory> {
    let limits = MemoryLimits {
        device_bytes: LIMIT,
        staging_bytes: 16 * MIB,
        pooling: true,
        defrag: true,
        thresholds: PressureThresholds::default(),
    };
    DeviceMemory::new(device, &limits)
}

/// What one thread does requests with.
struct Worker<'a> {
    memory: &'a DeviceMemory,
    stream: Stream,
    random: ChaCha8Rng,
}

impl Worker<'_> {
    /// Waits its turn, as the allocator's queue does.
    fn reserve(&mut self, bytes: u64) -> Reservation {
        loop {
            match self.memory.try_reserve(Need::device(bytes)) {
                Ok(reservation) => return reservation,
                Err(_) => thread::yield_now(),
            }
        }
    }

    /// Small ones often, all doublings up to what is declared.
    fn size(&mut self, most: u64) -> u64 {
        let doubling = self.random.random_range(0..=most.ilog2());
        self.random.random_range(1 << doubling..2u64 << doubling).min(most)
    }

    /// Takes and drops blocks at random, all of what was declared at once now and then.
    fn request(&mut self) {
        let declared = self.random.random_range(LIMIT / 16..LIMIT / 3);
        let reservation = self.reserve(declared);
        let mut held: Vec<(Buffer<u8>, u64)> = Vec::new();
        for _ in 0..self.random.random_range(1..2 * BLOCKS) {
            // So that requests overlap, on few processors too.
            thread::yield_now();
            let left = declared - held.iter().map(|(_, bytes)| bytes).sum::<u64>();
            if held.len() == BLOCKS || left == 0 || self.random.random_ratio(2, 5) {
                if !held.is_empty() {
                    held.swap_remove(self.random.random_range(0..held.len()));
                }
                continue;
            }
            let bytes = if self.random.random_ratio(1, 3) { left } else { self.size(left) };
            let (kind, stream) = (MemoryKind::Device, &self.stream);
            let lease = lease(self.memory, kind, bytes as usize, stream, Some(&reservation));
            let lease = lease.unwrap_or_else(|error| panic!("{bytes} of {declared}: {error}"));
            let mut buffer = Buffer::new(lease, bytes as usize).unwrap();
            // What is used by the stream is not free at once when it is dropped.
            if bytes < MIB && self.random.random_ratio(1, 8) {
                self.stream.fill(&mut buffer, 1).unwrap();
                drop(self.stream.completion());
            }
            held.push((buffer, bytes));
        }
    }
}

fn run(device: &Device) {
    let memory = memory(device.clone());
    let done = AtomicU64::new(0);
    thread::scope(|scope| {
        for seed in 0..THREADS {
            let (memory, done) = (&memory, &done);
            scope.spawn(move || {
                let stream = memory.open_stream(&StreamOptions::default()).unwrap();
                let random = ChaCha8Rng::seed_from_u64(seed);
                let mut worker = Worker { memory, stream, random };
                while done.fetch_add(1, Ordering::Relaxed) < requests() {
                    worker.request();
                }
            });
        }
    });
    let stats = memory.stats(MemoryKind::Device);
    assert_eq!((stats.unkept, stats.live, stats.committed), (0, 0, 0), "{stats:?}");
    assert!(stats.peak_live > LIMIT / 2 && stats.leases > 4 * requests(), "{stats:?}");
    // The last fills may not be over yet.
    let mapped = || memory.stats(MemoryKind::Device).mapped;
    for _ in 0..10_000 {
        memory.trim();
        if mapped() > 0 {
            thread::sleep(Duration::from_millis(1));
        }
    }
    assert_eq!(mapped(), 0);
}

#[test]
fn on_the_host() {
    run(&rustkernel_gpu::host::open(HostOptions {
        name: "test".into(),
        memory_bytes: LIMIT,
        staging_bytes: 16 * MIB,
        threads: ThreadBudget::new(THREADS as usize),
    }));
}

#[test]
fn on_cuda() {
    let ordinal = fake::claim();
    run(&rustkernel_gpu::cuda::open(ordinal).unwrap());
    assert_eq!(fake::ledger(ordinal).physical_bytes, 0);
}

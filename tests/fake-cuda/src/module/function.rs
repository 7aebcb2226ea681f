//! A kernel of a loaded module, and its attributes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::code::{Answer, Code};
use crate::device::attributes::{BLOCK_THREADS, SHARED_BYTES, SHARED_BYTES_ASKED};
use crate::jit::Entry;
use crate::sim::program::Program;

pub(crate) struct Function {
    /// The handle of its module.
    pub(crate) module: u64,
    pub(crate) program: Arc<Program>,
    pub(crate) entry: Arc<Entry>,
    /// The dynamic shared memory that it may be launched with.
    dynamic_shared: AtomicU32,
}

impl Function {
    pub(crate) fn new(module: u64, program: Arc<Program>, entry: Arc<Entry>) -> Self {
        let dynamic = SHARED_BYTES.saturating_sub(entry.static_shared);
        Self { module, program, entry, dynamic_shared: AtomicU32::new(dynamic) }
    }

    pub(crate) fn most_dynamic_shared(&self) -> u32 {
        self.dynamic_shared.load(Ordering::Relaxed)
    }

    /// The threads that a block of it may have.
    pub(crate) fn most_threads(&self) -> u32 {
        let bounds = self.entry.bounds;
        let product = |sizes: [u32; 3]| sizes.iter().fold(1u32, |all, size| all.saturating_mul(*size));
        [bounds.max_threads, bounds.required_threads]
            .map(product)
            .into_iter()
            .filter(|most| *most > 0)
            .fold(BLOCK_THREADS, u32::min)
    }

    /// An attribute by its number in the driver's interface.
    pub(crate) fn attribute(&self, number: u32) -> Answer<i32> {
        Ok(match number {
            0 => self.most_threads() as i32,
            1 => self.entry.static_shared as i32,
            3 => self.entry.local_bytes as i32,
            4 => self.entry.registers as i32,
            5 | 6 => 80,
            8 => self.most_dynamic_shared() as i32,
            2 | 7 | 9 => 0,
            _ => return Err(Code::INVALID_VALUE),
        })
    }

    pub(crate) fn set_attribute(&self, number: u32, value: i32) -> Answer {
        let most = SHARED_BYTES_ASKED.saturating_sub(self.entry.static_shared);
        match (number, u32::try_from(value)) {
            (8, Ok(bytes)) if bytes <= most => {
                self.dynamic_shared.store(bytes, Ordering::Relaxed);
                Ok(())
            }
            // how the device should divide its cache: a wish
            (9, _) if (-1..=100).contains(&value) => Ok(()),
            _ => Err(Code::INVALID_VALUE),
        }
    }

    /// How many blocks of so many threads a multiprocessor holds.
    pub(crate) fn blocks_per_multiprocessor(&self, threads: u32, dynamic_shared: u64) -> u32 {
        if threads == 0 || threads > self.most_threads() {
            return 0;
        }
        let warps = threads.div_ceil(32);
        let by_threads = 64 / warps;
        let by_registers = 65_536 / (self.entry.registers * warps * 32);
        let shared = u64::from(self.entry.static_shared) + dynamic_shared;
        let by_shared = (164u64 << 10).checked_div(shared + 1024).unwrap_or(0);
        if shared > SHARED_BYTES_ASKED.into() {
            return 0;
        }
        by_threads.min(by_registers).min(32).min(u32::try_from(by_shared).unwrap_or(32))
    }
}

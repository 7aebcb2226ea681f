//! What the device says of itself: an accelerator of compute capability 8.0.

/// The value of a device attribute, by its number in the driver's interface; zero for what the
/// device does not have or do.
pub(crate) fn value(attribute: u32, ordinal: usize) -> i32 {
    match attribute {
        1 => BLOCK_THREADS as i32,
        // the size of a block, and of a grid
        2 | 3 => BLOCK_THREADS as i32,
        4 => 64,
        5 => i32::MAX,
        6 | 7 => 65_535,
        // of a block: shared memory, with and without asking for more, what the system keeps of it,
        // registers
        8 => SHARED_BYTES as i32,
        97 => SHARED_BYTES_ASKED as i32,
        111 => 1 << 10,
        12 => 65_536,
        // of a multiprocessor: threads, shared memory, registers, blocks
        39 => 2048,
        81 => 164 << 10,
        82 => 65_536,
        106 => 32,
        // warp size, multiprocessors, constant memory, pitch, alignments
        10 => 32,
        16 => MULTIPROCESSORS,
        9 => 64 << 10,
        11 => i32::MAX,
        14 | 30 => 512,
        51 => 32,
        // clocks in kHz, memory bus in bits, level-2 cache
        13 => 1_410_000,
        36 => 1_593_000,
        37 => 5120,
        38 => 40 << 20,
        // PCI bus; copy engines; compute capability; single against double precision
        33 => ordinal as i32 + 1,
        40 => 3,
        75 => 8,
        76 => 0,
        87 => 2,
        // copies beside kernels, kernels beside each other, stream priorities, preemption
        15 | 31 | 78 | 90 => 1,
        // host memory: mapped, registered, by the same pointer; unified addressing; managed memory
        19 | 99 | 91 | 41 | 83 => 1,
        // caches of global and local memory, error correction, cooperative launches
        79 | 80 | 32 | 95 => 1,
        // stream memory operations: present, of 64 bits, NOR; and their second version
        92..=94 | 122 | 123 => 1,
        // virtual memory management, memory pools
        102 | 115 => 1,
        _ => 0,
    }
}

pub(crate) const MULTIPROCESSORS: i32 = 108;

/// The most threads that a block may have.
pub(crate) const BLOCK_THREADS: u32 = 1024;
/// The shared memory that a block may have without asking for more, and after asking.
pub(crate) const SHARED_BYTES: u32 = 48 << 10;
pub(crate) const SHARED_BYTES_ASKED: u32 = 163 << 10;

/// The driver's version: CUDA 12.4.
pub(crate) const DRIVER_VERSION: i32 = 12_040;

/// The least and the greatest priority of streams.
pub(crate) const PRIORITIES: (i32, i32) = (0, -5);

//! What a pool tells of itself.

/// A snapshot of one kind of memory of one device. All sizes are bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct MemoryStats {
    /// The most that may ever be committed.
    pub limit: u64,
    /// The most that can be committed at present: the limit, or what others leave of the device, or what is
    /// not lost in parts of pages, if that is less.
    pub attainable: u64,
    /// Held by others when last looked: other processes, and contexts and modules of this one. 0 on the host,
    /// which is not looked at.
    pub foreign: u64,
    /// Promised to reservations, or leased outside of any.
    pub committed: u64,
    /// Leased now.
    pub live: u64,
    /// Of what is leased: results of requests ([`HostBuffer`](super::HostBuffer)), which are their receivers'.
    pub results: u64,
    /// Promised and not leased: `committed - live`.
    pub reserved: u64,
    /// Held from the device: `live + cached`.
    pub mapped: u64,
    /// Held by the pool for the next lease, magazines included.
    pub cached: u64,
    /// Of what is cached: at hand in the magazines of streams.
    pub parked: u64,
    /// Of what is cached: still used by work of a stream, and kept from others until that is over.
    pub quarantined: u64,
    /// Of what is cached: in pages that are partly in use, so that it cannot move or be given back.
    pub stranded: u64,
    /// The most that was ever leased, or in magazines, at once.
    pub peak_live: u64,
    /// Leases granted.
    pub leases: u64,
    /// Leases served from what was there, without the allocator.
    pub hits: u64,
    /// Of these: by the magazines of streams that are open, also where they got the block just then.
    pub magazine_hits: u64,
    /// Leases refused although their bytes were committed. Anything but 0 is a fault of the pool.
    pub unkept: u64,
    /// Times that memory was taken from the device.
    pub growths: u64,
    /// Times that memory was given back to the device: blocks, or runs of pages.
    pub releases: u64,
    /// Times that free pages moved to where they were needed.
    pub remaps: u64,
    /// Blocks lost with an earlier epoch of the device.
    pub forgotten: u64,
    /// What is free, class by class; classes without blocks are left out. In an arena a class is a
    /// power of two, and counts the free ranges up to the next.
    pub classes: Vec<ClassStats>,
    /// What magazines have, class by class.
    pub magazines: Vec<ClassStats>,
}

/// Cached blocks of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClassStats {
    /// The size of each block.
    pub block_bytes: u64,
    /// How many are cached.
    pub cached: u64,
}

impl MemoryStats {
    /// The part of the mapped bytes that is in use, 0 to 1; 0 where nothing is mapped.
    pub fn utilization(&self) -> f64 {
        ratio(self.live, self.mapped)
    }

    /// The part of the mapped bytes that is free and cannot be used elsewhere, 0 to 1.
    pub fn fragmentation(&self) -> f64 {
        ratio(self.stranded, self.mapped)
    }

    /// The part of the leases that needed no allocator, 0 to 1; 0 before the first.
    pub fn hit_rate(&self) -> f64 {
        ratio(self.hits, self.leases)
    }

    /// The part of what can be had that is committed, which makes the pressure level: 0 to 1, more where
    /// others have taken what was promised before.
    pub fn commitment(&self) -> f64 {
        ratio(self.committed, self.attainable)
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

//! What requests turned out to need: the distribution of their peaks, beside what they declared.

use std::sync::{Mutex, MutexGuard, PoisonError};

use hdrhistogram::Histogram;
use rustkernel_gpu::memory::{MemoryKind, Need, Reservation};

/// Decimal digits to which a peak is kept. With them a histogram has at most 59 KiB.
const DIGITS: u8 = 2;

/// The memory that a kernel's requests have held, in bytes: what an honest declaration has to cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LearnedMemory {
    /// Of the device's own memory.
    pub device: LearnedPeaks,
    /// Of staging memory.
    pub staging: LearnedPeaks,
}

/// What the requests of a kernel have held of one kind of memory. A request's peak is the most that it
/// held at once, in whole blocks: each by up to a page of the host, or an eighth, more than it asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LearnedPeaks {
    /// Requests that have run and declared or leased any memory.
    pub requests: u64,
    /// The largest peak, in bytes.
    pub max: u64,
    /// The peak that 99.9 % of the requests have kept within, in bytes, to about one part in a hundred.
    pub p99_9: u64,
    /// The most that was declared, in bytes; 0 if nothing ever was.
    pub declared: u64,
}

/// Learns from requests, of all instances of a kernel.
pub(crate) struct Learned {
    kinds: Mutex<[Peaks; 2]>,
}

struct Peaks {
    histogram: Histogram<u64>,
    max: u64,
    declared: u64,
}

impl Peaks {
    fn new() -> Self {
        let histogram = Histogram::new(DIGITS).expect("invariant: a histogram may have two digits");
        Self { histogram, max: 0, declared: 0 }
    }

    fn record(&mut self, peak: u64, declared: u64) {
        // (It grows to any value; only where addresses have 32 bits that can fail.)
        if self.histogram.record(peak).is_err() {
            self.histogram.saturating_record(peak);
        }
        self.max = self.max.max(peak);
        self.declared = self.declared.max(declared);
    }

    fn read(&self) -> LearnedPeaks {
        LearnedPeaks {
            requests: self.histogram.len(),
            max: self.max,
            p99_9: self.histogram.value_at_quantile(0.999).min(self.max),
            declared: self.declared,
        }
    }
}

impl Learned {
    pub(crate) fn new() -> Self {
        Self { kinds: Mutex::new([Peaks::new(), Peaks::new()]) }
    }

    /// A request has run with that reservation, having declared `need`.
    pub(crate) fn note(&self, reservation: &Reservation, need: Need) {
        let [device, staging] = &mut *self.kinds();
        device.record(reservation.peak(MemoryKind::Device), need.device);
        staging.record(reservation.peak(MemoryKind::Staging), need.staging);
    }

    pub(crate) fn read(&self) -> LearnedMemory {
        let [device, staging] = &*self.kinds();
        LearnedMemory { device: device.read(), staging: staging.read() }
    }

    fn kinds(&self) -> MutexGuard<'_, [Peaks; 2]> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_known_before_the_first_request() {
        assert_eq!(Learned::new().read(), LearnedMemory::default());
    }

    #[test]
    fn the_distribution_is_told_beside_the_largest() {
        let mut peaks = Peaks::new();
        for request in 1..=10_000u64 {
            // One in five thousand is far larger than the rest.
            peaks.record(if request % 5000 == 0 { 1 << 40 } else { request * 1000 }, 1 << 20);
        }
        let read = peaks.read();
        assert_eq!((read.requests, read.max, read.declared), (10_000, 1 << 40, 1 << 20));
        assert!((9_990_000..10_100_000).contains(&read.p99_9), "{read:?}");
    }

    #[test]
    fn any_size_is_kept_in_bounded_memory() {
        let mut peaks = Peaks::new();
        for shift in 0..64 {
            peaks.record(1 << shift, u64::MAX);
        }
        peaks.record(u64::MAX, 0);
        let read = peaks.read();
        assert!(read.max == u64::MAX && read.p99_9 > u64::MAX / 2, "{read:?}");
        assert!(peaks.histogram.distinct_values() * size_of::<u64>() <= 59 << 10);
    }
}

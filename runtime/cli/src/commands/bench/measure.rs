//! The measurements: each repeats something until its time is over, and takes the median.

use std::time::Duration;

use rustkernel_core::kernel::{CallError, Instant};
use rustkernel_core::prelude::*;
use tokio::task::JoinSet;

use super::probe::{Probe, Took, Work};
use super::report::{Calls, Memory, Transfers};
use crate::progress::Progress;

/// Sizes of blocks, in bytes: from magazines, and from the arena behind them.
const BLOCKS: [usize; 3] = [512, 64 << 10, 4 << 20];
/// Sizes of copies, in bytes.
const COPIES: [usize; 3] = [4 << 10, 1 << 20, 32 << 20];
/// Calls that are open at once where many are.
pub(super) const AT_ONCE: usize = 64;
/// Blocks taken between two readings of the clock.
const BATCH: u32 = 128;
/// Most results of a measurement that are kept.
const MOST: usize = 1 << 20;
/// Measurements on a device.
pub(super) const STEPS: usize = 2 + BLOCKS.len() + COPIES.len();

type Failed = CallError<Work>;

/// A device that is measured.
pub(super) struct Bench<'a> {
    pub(super) kernel: KernelRef<Probe>,
    /// How long each measurement takes.
    pub(super) time: Duration,
    pub(super) device: DeviceId,
    pub(super) progress: &'a Progress,
}

impl Bench<'_> {
    /// All of it.
    ///
    /// # Errors
    /// If a call fails: the device is lost, has too little memory, or gives back what it was not given.
    pub(super) async fn all(&self) -> Result<(Calls, Vec<Memory>, Vec<Transfers>), Failed> {
        let calls = self.calls().await?;
        let (mut memory, mut transfers) = (Vec::new(), Vec::new());
        for bytes in BLOCKS {
            memory.push(self.memory(bytes).await?);
        }
        for bytes in COPIES {
            transfers.push(self.transfers(bytes).await?);
        }
        Ok((calls, memory, transfers))
    }

    fn say(&self, what: &str) {
        self.progress.say(format!("{}: {what}", self.device));
    }

    async fn calls(&self) -> Result<Calls, Failed> {
        self.say("one call at a time");
        let mut times = Vec::new();
        let start = Instant::now();
        while goes_on(start, self.time, &times) {
            let before = Instant::now();
            self.kernel.call(Work::Nothing).await?;
            times.push(before.elapsed());
        }
        let alone = start.elapsed();
        let count = times.len();
        times.sort_unstable();
        self.progress.step();
        self.say("many calls at once");
        let (many, together) = self.many().await?;
        self.progress.step();
        Ok(Calls {
            median_ns: nanoseconds(times[count / 2]),
            p99_ns: nanoseconds(times[count * 99 / 100]),
            per_second: count as f64 / alone.as_secs_f64(),
            at_once: AT_ONCE,
            per_second_at_once: many as f64 / together.as_secs_f64(),
        })
    }

    /// As many callers as calls are to be open; how many calls they made, in which time.
    async fn many(&self) -> Result<(u64, Duration), Failed> {
        let (start, time) = (Instant::now(), self.time);
        let mut callers = JoinSet::new();
        for _ in 0..AT_ONCE {
            let kernel = self.kernel.clone();
            callers.spawn(async move {
                let mut count = 0_u64;
                while start.elapsed() < time {
                    kernel.call(Work::Nothing).await?;
                    count += 1;
                }
                Ok(count)
            });
        }
        let counts: Result<Vec<u64>, Failed> = callers.join_all().await.into_iter().collect();
        Ok((counts?.into_iter().sum(), start.elapsed()))
    }

    async fn memory(&self, bytes: usize) -> Result<Memory, Failed> {
        self.say(&format!("blocks of {bytes} bytes"));
        let (mut leases, mut blocks) = (Vec::new(), Vec::new());
        let start = Instant::now();
        // (In turns, so that both meet the same disturbances.)
        while goes_on(start, self.time, &leases) {
            leases.push(self.took(Work::Leases { bytes, times: BATCH }).await?);
            blocks.push(self.took(Work::Blocks { bytes, times: BATCH }).await?);
        }
        self.progress.step();
        let of_one = |batches: &mut [Duration]| nanoseconds(median(batches)) / f64::from(BATCH);
        Ok(Memory { bytes, lease_ns: of_one(&mut leases), malloc_ns: of_one(&mut blocks) })
    }

    async fn transfers(&self, bytes: usize) -> Result<Transfers, Failed> {
        self.say(&format!("copies of {bytes} bytes"));
        let (mut ups, mut downs) = (Vec::new(), Vec::new());
        let start = Instant::now();
        while goes_on(start, self.time, &ups) {
            if let Took::Copies { up, down } = self.kernel.call(Work::Copies { bytes }).await? {
                ups.push(up);
                downs.push(down);
            }
        }
        self.progress.step();
        let rate = |times: &mut [Duration]| bytes as f64 / median(times).as_secs_f64();
        Ok(Transfers {
            bytes,
            to_device_bytes_per_second: rate(&mut ups),
            from_device_bytes_per_second: rate(&mut downs),
        })
    }

    async fn took(&self, work: Work) -> Result<Duration, Failed> {
        match self.kernel.call(work).await? {
            Took::Together(time) => Ok(time),
            other => unreachable!("invariant: blocks are timed together, not {other:?}"),
        }
    }
}

/// Until the time is over, but something has been measured.
fn goes_on(start: Instant, time: Duration, measured: &[Duration]) -> bool {
    measured.is_empty() || (start.elapsed() < time && measured.len() < MOST)
}

/// The one in the middle. There is at least one.
fn median(times: &mut [Duration]) -> Duration {
    let middle = times.len() / 2;
    *times.select_nth_unstable(middle).1
}

fn nanoseconds(time: Duration) -> f64 {
    time.as_nanos() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_and_one_result_is_enough() {
        let seconds = |seconds: &[u64]| -> Vec<Duration> {
            seconds.iter().map(|it| Duration::from_secs(*it)).collect()
        };
        assert_eq!(median(&mut seconds(&[9, 1, 3])), Duration::from_secs(3));
        assert_eq!(median(&mut seconds(&[7])), Duration::from_secs(7));
        assert_eq!(nanoseconds(Duration::from_micros(2)), 2000.0);
        let start = Instant::now();
        assert!(goes_on(start, Duration::ZERO, &[]));
        assert!(!goes_on(start, Duration::ZERO, &seconds(&[1])));
    }
}

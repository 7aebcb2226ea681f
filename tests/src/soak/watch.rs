//! Memory, threads and descriptors of a process.

use std::fs;
use std::time::Duration;

use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};

/// How often it is looked.
const EVERY: Duration = Duration::from_millis(500);

/// One look.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Sample {
    /// Memory that is resident, in KiB.
    pub resident_kib: f64,
    /// Threads.
    pub threads: f64,
    /// Open descriptors.
    pub descriptors: f64,
}

/// Looks at a process.
#[derive(Debug, Clone, Copy)]
pub struct Watch {
    process: u32,
}

impl Watch {
    /// At that process.
    pub fn new(process: u32) -> Self {
        Self { process }
    }

    /// Looks for as long as it is let, and tells `looked`.
    pub async fn look(self, mut looked: impl FnMut(Sample)) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Some(sample) = self.sample() {
                looked(sample);
            }
        }
    }

    /// One look; `None` if the process is gone.
    fn sample(self) -> Option<Sample> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process)).ok()?;
        let of = |name: &str| -> Option<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        let descriptors = fs::read_dir(format!("/proc/{}/fd", self.process)).ok()?.count();
        Some(Sample {
            resident_kib: of("VmRSS:")?,
            threads: of("Threads:")?,
            descriptors: descriptors as f64,
        })
    }
}

impl Sample {
    /// The median of each.
    pub(super) fn median(samples: &[Self]) -> Option<Self> {
        let of = |value: fn(&Self) -> f64| {
            let mut values: Vec<f64> = samples.iter().map(value).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied()
        };
        Some(Self {
            resident_kib: of(|sample| sample.resident_kib)?,
            threads: of(|sample| sample.threads)?,
            descriptors: of(|sample| sample.descriptors)?,
        })
    }
}

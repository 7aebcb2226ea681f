//! How full a device is: four levels, with hysteresis.
//!
//! What is here knows no time. That a level falls only after a while below its edge is the
//! supervisor's doing, which is the one writer of the level.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

#[cfg(feature = "planted")]
use crate::planted::{self, Bug};

/// How full a device's memory is, by its committed bytes over its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[repr(u8)]
pub enum PressureLevel {
    /// Below 70 %: nothing special.
    #[default]
    Normal = 0,
    /// 70 % to 85 %: logged; allocations that can wait do.
    Warning = 1,
    /// 85 % to 95 %: new kernels and new reservations are rejected, pools are flushed.
    Critical = 2,
    /// Above 95 %: everything that can be given back is.
    Emergency = 3,
}

impl PressureLevel {
    /// Every level, from the lowest.
    pub const ALL: [Self; 4] = [Self::Normal, Self::Warning, Self::Critical, Self::Emergency];

    /// The level's name in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Emergency => "emergency",
        }
    }

    /// The level below; [`Normal`](Self::Normal) has none and stays.
    pub fn lower(self) -> Self {
        Self::ALL[(self as usize).saturating_sub(1)]
    }

    fn from_u8(value: u8) -> Self {
        Self::ALL[usize::from(value).min(3)]
    }
}

impl fmt::Display for PressureLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The text is not a pressure level's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a pressure level; there are normal, warning, critical and emergency")]
pub struct ParsePressureLevelError(String);

impl FromStr for PressureLevel {
    type Err = ParsePressureLevelError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|level| level.name() == text);
        found.ok_or_else(|| ParsePressureLevelError(text.to_owned()))
    }
}

/// Where the levels begin, as fractions of the limit.
///
/// A level is entered at its threshold and left only [`HYSTERESIS`](Self::HYSTERESIS) below it, so
/// that noise around a threshold is not a stream of transitions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PressureThresholds {
    /// From here on it is [`PressureLevel::Warning`].
    pub warning: f64,
    /// From here on it is [`PressureLevel::Critical`].
    pub critical: f64,
    /// Strictly above this it is [`PressureLevel::Emergency`].
    pub emergency: f64,
}

impl Default for PressureThresholds {
    fn default() -> Self {
        Self { warning: 0.70, critical: 0.85, emergency: 0.95 }
    }
}

impl PressureThresholds {
    /// How far below its threshold a level is left, as a fraction of the limit.
    pub const HYSTERESIS: f64 = 0.05;

    /// The level that `committed` bytes of `limit` make, coming from `current`.
    pub fn next(&self, current: PressureLevel, committed: u64, limit: u64) -> PressureLevel {
        let bands = self.bands(limit);
        let mut level = current as usize;
        while level < 3 && committed >= bands[level].1 {
            level += 1;
        }
        while level > 0 && committed < bands[level].0 {
            level -= 1;
        }
        PressureLevel::ALL[level]
    }

    /// How many of the committed bytes are too many for the level to fall.
    pub(crate) fn excess(&self, level: PressureLevel, committed: u64, limit: u64) -> u64 {
        let (leave, _) = self.bands(limit)[level as usize];
        (committed + 1).saturating_sub(leave)
    }

    /// The committed bytes at which a level is looked at again: below the first, or from the second on.
    /// While it is about to fall that is as soon as they are back at the edge where it is left.
    fn band(&self, level: PressureLevel, falling: bool, limit: u64) -> (u64, u64) {
        let (leave, enter) = self.bands(limit)[level as usize];
        if falling { (0, leave) } else { (leave, enter) }
    }

    /// For each level the bytes below which it is left, and from which a higher one begins.
    fn bands(&self, limit: u64) -> [(u64, u64); 4] {
        let at = |fraction: f64| (fraction * limit as f64).ceil() as u64;
        let leave = |fraction: f64| at((fraction - Self::HYSTERESIS).max(0.0));
        // `Emergency` is strictly above its threshold.
        let emergency = (self.emergency * limit as f64).floor() as u64 + 1;
        let critical = at(self.critical);
        #[cfg(feature = "planted")]
        let critical = critical + u64::from(planted::is(Bug::LateCritical));
        [
            (0, at(self.warning)),
            (leave(self.warning), critical),
            (leave(self.critical), emergency),
            (leave(self.emergency), u64::MAX),
        ]
    }
}

/// The current level of a device, for everybody to read, and the bytes between which it stays.
///
/// Written by the supervisor alone.
#[derive(Debug)]
pub(crate) struct PressureCell {
    level: AtomicU8,
    leave: AtomicU64,
    enter: AtomicU64,
    /// How often each level was entered.
    entered: [AtomicU64; 4],
}

impl PressureCell {
    pub(crate) fn new(thresholds: &PressureThresholds, limit: u64) -> Self {
        let (leave, enter) = thresholds.band(PressureLevel::Normal, false, limit);
        let entered = Default::default();
        Self { level: AtomicU8::new(0), leave: leave.into(), enter: enter.into(), entered }
    }

    pub(crate) fn level(&self) -> PressureLevel {
        PressureLevel::from_u8(self.level.load(Ordering::Acquire))
    }

    /// How often each level was entered, from `Normal` on.
    pub(crate) fn entered(&self) -> [u64; 4] {
        self.entered.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    pub(crate) fn set(&self, level: PressureLevel) {
        let before = self.level.swap(level as u8, Ordering::AcqRel);
        if before != level as u8 {
            self.entered[level as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sets the bytes between which the level is not looked at again; see [`PressureThresholds::band`].
    pub(crate) fn set_band(&self, thresholds: &PressureThresholds, falling: bool, limit: u64) {
        let (leave, enter) = thresholds.band(self.level(), falling, limit);
        self.leave.store(leave, Ordering::Relaxed);
        self.enter.store(enter, Ordering::Release);
    }

    /// Whether that many committed bytes are reason to look at the level again.
    pub(crate) fn leaves_band(&self, committed: u64) -> bool {
        committed < self.leave.load(Ordering::Relaxed)
            || committed >= self.enter.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::PressureLevel::{Critical, Emergency, Normal, Warning};
    use super::*;

    const LIMIT: u64 = 1000;

    fn next(current: PressureLevel, committed: u64) -> PressureLevel {
        PressureThresholds::default().next(current, committed, LIMIT)
    }

    #[test]
    fn levels_are_entered_at_the_specified_thresholds() {
        for (committed, level) in [
            (0, Normal),
            (699, Normal),
            (700, Warning),
            (849, Warning),
            (850, Critical),
            (950, Critical),
            (951, Emergency),
            (1000, Emergency),
        ] {
            assert_eq!(next(Normal, committed), level, "{committed}");
        }
    }

    #[test]
    fn levels_are_left_below_their_hysteresis() {
        for (from, committed, level) in [
            (Warning, 650, Warning),
            (Warning, 649, Normal),
            (Critical, 800, Critical),
            (Critical, 799, Warning),
            (Emergency, 900, Emergency),
            (Emergency, 899, Critical),
            (Emergency, 0, Normal),
        ] {
            assert_eq!(next(from, committed), level, "{from} {committed}");
        }
    }

    #[test]
    fn a_sweep_up_and_down_crosses_each_edge_once_even_with_jitter() {
        let sweep = (0..=LIMIT).chain((0..LIMIT).rev());
        let mut level = Normal;
        let mut transitions = Vec::new();
        for base in sweep {
            for committed in [base, (base + 1).min(LIMIT), base.saturating_sub(1), base] {
                let new = next(level, committed);
                if new != level {
                    transitions.push((level, new));
                    level = new;
                }
            }
        }
        let up = [(Normal, Warning), (Warning, Critical), (Critical, Emergency)];
        let down = [(Emergency, Critical), (Critical, Warning), (Warning, Normal)];
        assert_eq!(transitions, [up, down].concat());
    }

    #[test]
    fn every_byte_count_settles_in_one_step() {
        for from in PressureLevel::ALL {
            for committed in 0..=LIMIT {
                let once = next(from, committed);
                assert_eq!(next(once, committed), once, "{from} {committed}");
            }
        }
    }

    #[test]
    fn a_moved_warning_threshold_moves_only_warning() {
        let thresholds = PressureThresholds { warning: 0.80, ..Default::default() };
        assert_eq!(thresholds.next(Normal, 799, LIMIT), Normal);
        assert_eq!(thresholds.next(Normal, 800, LIMIT), Warning);
        assert_eq!(thresholds.next(Normal, 850, LIMIT), Critical);
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for level in PressureLevel::ALL {
            assert_eq!(level.to_string().parse(), Ok(level));
        }
        assert!("Normal".parse::<PressureLevel>().is_err());
    }
}

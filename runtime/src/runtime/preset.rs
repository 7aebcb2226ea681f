//! Presets: sets of values for a purpose.

use std::fmt;
use std::str::FromStr;

use crate::config::values::Choice;

/// A set of values for a purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RuntimePreset {
    /// Relaxed timeouts, a talkative log.
    Development,
    /// Reliability first.
    Production,
    /// Throughput first: either side of a call looks for the other longer before it sleeps.
    HighPerformance,
}

impl RuntimePreset {
    /// Every preset.
    pub const ALL: [Self; 3] = [Self::Development, Self::Production, Self::HighPerformance];

    /// The preset's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Production => "production",
            Self::HighPerformance => "high_performance",
        }
    }
}

impl Choice for RuntimePreset {
    fn names() -> impl IntoIterator<Item = (&'static str, Self)> {
        let names = Self::ALL.map(|preset| (preset.name(), preset));
        names.into_iter().chain([("hp", Self::HighPerformance)])
    }
}

impl fmt::Display for RuntimePreset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The text is not a preset's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a preset; there are development, production and high_performance (or hp)")]
pub struct ParsePresetError(String);

impl FromStr for RuntimePreset {
    type Err = ParsePresetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::named(text).ok_or_else(|| ParsePresetError(text.to_owned()))
    }
}

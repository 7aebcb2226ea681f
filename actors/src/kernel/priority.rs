//! Who goes first where memory is short.

use std::fmt;

/// How much a request matters where memory is short. It does not change the order in a kernel's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[repr(u8)]
pub enum Priority {
    /// It can wait: from [`Warning`](rustkernel_gpu::memory::PressureLevel::Warning) on its
    /// reservation is deferred until the level falls, or its deadline passes. While it waits it is
    /// cancelled under [`Emergency`](rustkernel_gpu::memory::PressureLevel::Emergency).
    Low,
    /// As it comes.
    #[default]
    Normal,
    /// Its reservation goes before those of others that wait.
    High,
}

impl Priority {
    /// The class after as many steps up.
    pub(crate) fn raised(self, steps: u32) -> Self {
        match self as u32 + steps {
            0 => Self::Low,
            1 => Self::Normal,
            _ => Self::High,
        }
    }

    /// How many classes are above it.
    pub(crate) fn classes_above(self) -> u32 {
        Self::High as u32 - self as u32
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        })
    }
}

//! How the program ends: the exit codes, and failures that say what to do about them.

use std::fmt::Write;

/// An exit code. The numbers are those of `sysexits.h`, so that scripts can tell what to do: correct
/// the command, correct the data, try again, or call somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    Success = 0,
    Usage = 64,
    Data = 65,
    NoInput = 66,
    Unavailable = 69,
    Software = 70,
    CannotCreate = 73,
    TryAgain = 75,
    Config = 78,
}

impl Exit {
    /// Every exit code.
    pub(crate) const ALL: [Self; 9] = [
        Self::Success,
        Self::Usage,
        Self::Data,
        Self::NoInput,
        Self::Unavailable,
        Self::Software,
        Self::CannotCreate,
        Self::TryAgain,
        Self::Config,
    ];

    /// The number that the shell sees.
    pub(crate) const fn code(self) -> u8 {
        self as u8
    }

    /// What it means, in a line.
    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Usage => {
                "usage: a bad flag, an unknown kernel, an unknown or missing input or parameter"
            }
            Self::Data => {
                "data: a malformed file, a wrong type or shape, a request that the kernel calls invalid"
            }
            Self::NoInput => "an input file cannot be read",
            Self::Unavailable => {
                "the device is not there, or has too little memory; or no service runs"
            }
            Self::Software => "the kernel or its device failed",
            Self::CannotCreate => "an output cannot be written, or an endpoint not be had",
            Self::TryAgain => {
                "try again: the deadline passed, memory is short, or the queue is full"
            }
            Self::Config => "the configuration is wrong",
        }
    }

    /// All of them, a line each.
    pub(crate) fn table() -> String {
        Self::ALL.into_iter().fold(String::new(), |mut table, exit| {
            writeln!(table, "  {:>2}  {}", exit.code(), exit.meaning())
                .expect("invariant: a String takes whatever is written");
            table
        })
    }
}

/// Why a command failed: where, for what reason, and the way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(crate) fn data(message: impl Into<String>) -> Self {
        Self::new(Exit::Data, message)
    }

    /// The same with a way out.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_has_the_same_table() {
        let readme = include_str!("../README.md");
        for exit in Exit::ALL {
            let row = format!("| {} | {} |", exit.code(), exit.meaning());
            assert!(readme.contains(&row), "README.md lacks the row\n{row}");
        }
    }
}

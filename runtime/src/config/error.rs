//! What is wrong with a configuration: all of it, each with its place and the way out.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::runtime::RuntimePreset;

/// Most problems that are told at once.
pub(super) const TOLD: usize = 100;

/// Where a value is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// A preset.
    Preset(RuntimePreset),
    /// A file.
    File {
        /// Its name.
        path: Arc<Path>,
        /// The line, counted from 1, if it is known.
        line: Option<usize>,
    },
    /// A variable of the environment.
    Variable(String),
    /// A flag of the command line.
    Flag(String),
    /// The program.
    Code,
}

impl Origin {
    /// Whether somebody has set a value there, or it is as it was.
    pub(super) fn is_own(&self) -> bool {
        !matches!(self, Self::Default | Self::Preset(_))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.pad("default"),
            Self::Preset(preset) => write!(f, "preset {preset}"),
            Self::File { path, line: Some(line) } => write!(f, "{}:{line}", path.display()),
            Self::File { path, line: None } => write!(f, "{}", path.display()),
            Self::Variable(name) | Self::Flag(name) => f.pad(name),
            Self::Code => f.pad("code"),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key, as in `runtime.worker_threads`; empty if it is the file as a whole.
    pub key: String,
    /// Where it is.
    pub origin: Origin,
    /// What is wrong, and what would be right.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, origin, reason } = self;
        match (key.is_empty(), origin) {
            (true, _) => write!(f, "{origin}: {reason}"),
            (false, Origin::Code) => write!(f, "{key}: {reason}"),
            (false, _) => write!(f, "{origin}: {key}: {reason}"),
        }
    }
}

/// Why there is no configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {reason}", path.display())]
    Unreadable {
        /// Its name.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// All that is wrong, a line each.
    #[error("{}", lines(.0))]
    Invalid(Vec<Problem>),
}

impl ConfigError {
    /// What is wrong, if the file could be read.
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Unreadable { .. } => &[],
            Self::Invalid(problems) => problems,
        }
    }

    /// An error if there are problems.
    pub(super) fn of(problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self::told(problems)) }
    }

    /// What is told of problems: those of a file by its lines, the others before; of very many the first.
    pub(super) fn told(mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| match problem.origin {
            Origin::File { line, .. } => line,
            _ => None,
        });
        problems.truncate(TOLD + 1);
        if let Some(last) = problems.get_mut(TOLD) {
            *last = Problem {
                reason: "there is more that is wrong, from here on".into(),
                ..last.clone()
            };
        }
        Self::Invalid(problems)
    }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

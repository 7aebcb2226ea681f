//! The log: structured lines on standard error, written off the threads that log.
//!
//! Each line carries kernel, instance, device and request where there are any. On a terminal lines
//! are coloured text, elsewhere JSON, one object a line, unless the configuration says otherwise.

use std::fmt;
use std::io::{IsTerminal, stderr};
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slog::{Drain, Level, LevelFilter, Logger, o};
use slog_async::AsyncGuard;

use crate::config::values::choice;

/// Lines that may wait to be written. If the writer falls behind, further lines are dropped and
/// counted in a line of their own.
const QUEUE: usize = 4096;

/// What is logged, and how it looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// Lines of this level and above.
    #[serde(with = "choice")]
    #[schemars(schema_with = "choice::schema::<LogLevel>", extend("x-live" = true))]
    pub level: LogLevel,
    /// How a line looks.
    #[serde(with = "choice")]
    #[schemars(schema_with = "choice::schema::<LogFormat>")]
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: LogLevel::Warning, format: LogFormat::Auto }
    }
}

/// How grave a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogLevel {
    /// Nothing at all.
    Off,
    /// Something is wrong and needs somebody.
    Error,
    /// Something is not as it should be; the runtime deals with it.
    Warning,
    /// What happens.
    Info,
    /// Why it happens.
    Debug,
    /// Every step.
    Trace,
}

impl LogLevel {
    /// Every level.
    pub const ALL: [Self; 6] =
        [Self::Off, Self::Error, Self::Warning, Self::Info, Self::Debug, Self::Trace];

    /// The level's name in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    fn level(self) -> Option<Level> {
        match self {
            Self::Off => None,
            Self::Error => Some(Level::Error),
            Self::Warning => Some(Level::Warning),
            Self::Info => Some(Level::Info),
            Self::Debug => Some(Level::Debug),
            Self::Trace => Some(Level::Trace),
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The text is not a log level's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a log level; there are off, error, warning, info, debug and trace")]
pub struct ParseLogLevelError(String);

impl FromStr for LogLevel {
    type Err = ParseLogLevelError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|level| level.name() == text);
        found.ok_or_else(|| ParseLogLevelError(text.to_owned()))
    }
}

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// Text, coloured on a terminal.
    Text,
    /// JSON, one object a line.
    Json,
}

/// A logger as configured, and what flushes it when it is dropped.
pub(crate) fn logger(config: &LogConfig) -> (Logger, Option<AsyncGuard>) {
    let Some(level) = config.level.level() else {
        return (Logger::root(slog::Discard, o!()), None);
    };
    let (logger, guard) = match config.format {
        LogFormat::Auto if stderr().is_terminal() => root(text(), level),
        LogFormat::Text => root(text(), level),
        LogFormat::Auto | LogFormat::Json => root(json(), level),
    };
    (logger, Some(guard))
}

fn text() -> impl Drain<Ok = (), Err = slog::Never> + Send {
    let decorator = slog_term::TermDecorator::new().stderr().build();
    slog_term::FullFormat::new(decorator).use_utc_timestamp().build().fuse()
}

fn json() -> impl Drain<Ok = (), Err = slog::Never> + Send {
    // A line that cannot be written, to a closed pipe say, is lost; there is nowhere else to say so.
    slog_json::Json::new(stderr()).add_default_keys().build().ignore_res()
}

fn root(
    drain: impl Drain<Ok = (), Err = slog::Never> + Send + 'static,
    level: Level,
) -> (Logger, AsyncGuard) {
    let writer = slog_async::Async::new(drain).chan_size(QUEUE).thread_name("rk-log".into());
    let (writer, guard) = writer.build_with_guard();
    (Logger::root(LevelFilter::new(writer, level).ignore_res(), o!()), guard)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn level_names_are_read_as_they_are_written() {
        for level in LogLevel::ALL {
            assert_eq!(level.to_string().parse(), Ok(level));
        }
        assert!("verbose".parse::<LogLevel>().unwrap_err().to_string().contains("warning"));
    }

    #[test]
    fn off_discards_and_levels_filter() {
        assert!(LogLevel::Off.level().is_none());
        let (logger, _guard) =
            logger(&LogConfig { level: LogLevel::Error, format: LogFormat::Json });
        slog::info!(logger, "not seen");
    }
}

//! The log: structured lines on standard error, written off the threads that log.
//!
//! Each line carries kernel, instance, device and request where there are any. On a terminal lines
//! are coloured text, elsewhere JSON, one object a line, unless the configuration says otherwise.

use std::fmt;
use std::io::{IsTerminal, stderr};
use std::str::FromStr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slog::{Drain, Level, Logger, OwnedKVList, Record, o};
use slog_async::AsyncGuard;

use crate::config::values::{Choice, choice};

/// Lines that may wait to be written. If the writer falls behind, further lines are dropped and
/// counted in a line of their own.
const QUEUE: usize = 4096;
/// How long the last lines may take to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

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
#[repr(u8)]
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

    /// Whether lines of that level are to be written.
    fn lets_through(self, level: Level) -> bool {
        let least = match level {
            Level::Critical | Level::Error => Self::Error,
            Level::Warning => Self::Warning,
            Level::Info => Self::Info,
            Level::Debug => Self::Debug,
            Level::Trace => Self::Trace,
        };
        self >= least
    }
}

impl Choice for LogLevel {
    fn names() -> impl IntoIterator<Item = (&'static str, Self)> {
        Self::ALL.map(|level| (level.name(), level))
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
        Self::named(text).ok_or_else(|| ParseLogLevelError(text.to_owned()))
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

/// The level of a log, which may change while it is written.
#[derive(Debug, Clone)]
pub(crate) struct LevelCell(Arc<AtomicU8>);

impl LevelCell {
    fn new(level: LogLevel) -> Self {
        Self(Arc::new(AtomicU8::new(level as u8)))
    }

    pub(crate) fn get(&self) -> LogLevel {
        LogLevel::ALL[usize::from(self.0.load(Ordering::Relaxed)).min(LogLevel::ALL.len() - 1)]
    }

    pub(crate) fn set(&self, level: LogLevel) {
        self.0.store(level as u8, Ordering::Relaxed);
    }
}

/// Lets through what the level of the moment does.
#[derive(Debug)]
struct Filter<D> {
    drain: D,
    level: LevelCell,
}

impl<D: Drain> Drain for Filter<D> {
    type Ok = Option<D::Ok>;
    type Err = D::Err;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<Self::Ok, Self::Err> {
        if !self.level.get().lets_through(record.level()) {
            return Ok(None);
        }
        self.drain.log(record, values).map(Some)
    }

    fn is_enabled(&self, level: Level) -> bool {
        self.level.get().lets_through(level) && self.drain.is_enabled(level)
    }
}

/// A log of the runtime's own.
pub(crate) struct Log {
    pub(crate) logger: Logger,
    /// Flushes it when it is dropped.
    pub(crate) guard: Flush,
    pub(crate) level: LevelCell,
}

/// Has what was logged be written when it is dropped, but waits for no reader that has stopped.
pub(crate) struct Flush(Option<AsyncGuard>);

impl Drop for Flush {
    fn drop(&mut self) {
        let guard = self.0.take();
        let (done, flushed) = mpsc::sync_channel(1);
        let flush = move || {
            drop(guard);
            done.send(()).ok();
        };
        if thread::Builder::new().name("rk-log-end".into()).spawn(flush).is_ok() {
            flushed.recv_timeout(LAST_LINES).ok();
        }
    }
}

/// A log as configured.
pub(crate) fn log(config: &LogConfig) -> Log {
    let level = LevelCell::new(config.level);
    match config.format {
        LogFormat::Auto if stderr().is_terminal() => root(text(), level),
        LogFormat::Text => root(text(), level),
        LogFormat::Auto | LogFormat::Json => root(json(), level),
    }
}

fn text() -> impl Drain<Ok = (), Err = slog::Never> + Send {
    let decorator = slog_term::TermDecorator::new().stderr().build();
    slog_term::FullFormat::new(decorator).use_utc_timestamp().build().fuse()
}

fn json() -> impl Drain<Ok = (), Err = slog::Never> + Send {
    // A line that cannot be written, to a closed pipe say, is lost; there is nowhere else to say so.
    slog_json::Json::new(stderr()).add_default_keys().build().ignore_res()
}

fn root(drain: impl Drain<Ok = (), Err = slog::Never> + Send + 'static, level: LevelCell) -> Log {
    let writer = slog_async::Async::new(drain).chan_size(QUEUE).thread_name("rk-log".into());
    let (writer, guard) = writer.build_with_guard();
    let filter = Filter { drain: writer, level: level.clone() };
    let guard = Flush(Some(guard));
    Log { logger: Logger::root(filter.ignore_res(), o!()), guard, level }
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

    /// Counts what reaches it.
    #[derive(Clone, Default)]
    struct Lines(Arc<AtomicU8>);

    impl Drain for Lines {
        type Ok = ();
        type Err = slog::Never;

        fn log(&self, _: &Record<'_>, _: &OwnedKVList) -> Result<(), slog::Never> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    }

    #[test]
    fn the_level_of_the_moment_filters() {
        let (lines, level) = (Lines::default(), LevelCell::new(LogLevel::Off));
        let filter = Filter { drain: lines.clone(), level: level.clone() };
        let logger = Logger::root(filter.ignore_res(), o!());
        // Each level lets through one kind of line more than the one before.
        for (now, passed) in LogLevel::ALL.into_iter().zip([0, 2, 3, 4, 5, 6]) {
            level.set(now);
            assert_eq!(level.get(), now);
            slog::crit!(logger, "1");
            slog::error!(logger, "2");
            slog::warn!(logger, "3");
            slog::info!(logger, "4");
            slog::debug!(logger, "5");
            slog::trace!(logger, "6");
            assert_eq!(lines.0.swap(0, Ordering::Relaxed), passed, "{now}");
            assert_eq!(logger.is_enabled(Level::Info), now >= LogLevel::Info);
        }
    }
}

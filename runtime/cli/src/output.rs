//! What is printed: results on standard output, everything else on standard error.
//!
//! This is the one module that prints. Nothing here panics: a reader that has gone away, as
//! `| head -1` does, is no failure; standard output that cannot be written otherwise is one; and
//! where standard error cannot be written there is nobody left to tell.

use std::fmt::{self, Display};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use comfy_table::{ContentArrangement, Table as Grid, presets};
use serde::Serialize;

use crate::args::OutputFormat;
use crate::exit::{Exit, Failure};

/// How names and headings stand out.
pub(crate) const BOLD: Style = Style::new().bold();
const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default().bold();

/// Writes to standard output. Styles are left out unless it is a terminal that wants them.
///
/// # Errors
/// If it cannot be written, other than because nobody reads it any more.
pub(crate) fn print(text: impl Display) -> Result<(), Failure> {
    let mut stdout = anstream::stdout().lock();
    let written = write!(stdout, "{text}").and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::new(
            Exit::CannotCreate,
            format!("standard output cannot be written: {error}"),
        )),
        _ => Ok(()),
    }
}

/// Writes a value to standard output for programs, as YAML or else as JSON, and ends the line.
///
/// # Errors
/// As [`print()`].
pub(crate) fn print_value(format: OutputFormat, value: &impl Serialize) -> Result<(), Failure> {
    const PLAIN: &str = "invariant: what is printed has text keys and no failing serialisers";
    let text = match format {
        OutputFormat::Yaml => serde_yaml::to_string(value).expect(PLAIN),
        OutputFormat::Table | OutputFormat::Json => {
            serde_json::to_string_pretty(value).expect(PLAIN)
        }
    };
    print(format_args!("{}\n", text.trim_end()))
}

/// Tells somebody at the terminal.
pub(crate) fn note(text: impl Display) {
    to_stderr(format_args!("{text}\n"));
}

/// Warns somebody at the terminal.
pub(crate) fn warning(text: impl Display) {
    to_stderr(format_args!("{WARNING}warning:{WARNING:#} {text}\n"));
}

/// Tells why the command failed.
pub(crate) fn failure(Failure { message, hint, .. }: &Failure) {
    to_stderr(format_args!("{ERROR}error:{ERROR:#} {message}\n"));
    if let Some(hint) = hint {
        to_stderr(format_args!("{HINT}hint:{HINT:#} {hint}\n"));
    }
}

/// Writes help that was asked for to standard output, and complaints about the usage to standard
/// error.
pub(crate) fn usage(error: &clap::Error) -> Exit {
    let text = error.render();
    if error.use_stderr() {
        to_stderr(text.ansi());
        return Exit::Usage;
    }
    match print(text.ansi()) {
        Ok(()) => Exit::Success,
        Err(cannot) => {
            failure(&cannot);
            cannot.exit
        }
    }
}

/// Texts for standard error that may wait for its reader; further ones are dropped.
const WAITING: usize = 64;
/// How long the last of them may take to be read.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Who writes to standard error, where nobody else may wait for its reader.
static WRITER: OnceLock<SyncSender<Told>> = OnceLock::new();

enum Told {
    Text(String),
    /// All before it is written.
    Flush(SyncSender<()>),
}

/// From now on nothing that is told waits for whoever reads standard error: a terminal that is held, or a pipe that
/// nobody empties, is no reason to stand still.
pub(crate) fn never_wait() {
    let (writer, told) = mpsc::sync_channel(WAITING);
    let started = thread::Builder::new().name("rk-tell".into()).spawn(move || write_all(&told));
    if started.is_ok() {
        WRITER.set(writer).ok();
    }
}

fn write_all(told: &Receiver<Told>) {
    for told in told {
        match told {
            Told::Text(text) => write_stderr(text),
            Told::Flush(done) => drop(done.try_send(())),
        }
    }
}

/// Waits until all is told, but not for a reader that has stopped.
pub(crate) fn flush() {
    let Some(writer) = WRITER.get() else { return };
    let (done, told) = mpsc::sync_channel(1);
    if writer.try_send(Told::Flush(done)).is_ok() {
        told.recv_timeout(LAST_WORDS).ok();
    }
}

fn to_stderr(text: impl Display) {
    match WRITER.get() {
        Some(writer) => drop(writer.try_send(Told::Text(text.to_string()))),
        None => write_stderr(text),
    }
}

fn write_stderr(text: impl Display) {
    let written = write!(anstream::stderr().lock(), "{text}");
    // Where standard error cannot be written, the exit code has to say it all.
    drop(written);
}

/// Whether somebody watches standard error and wants to be kept posted.
pub(crate) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// A table: columns under bold headings. On a terminal it is made to fit; elsewhere a row is a line.
#[derive(Debug)]
pub(crate) struct Table {
    grid: Grid,
}

impl Table {
    pub(crate) fn new(headings: &[&str]) -> Self {
        let mut grid = Grid::new();
        grid.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        if let Some(width) = terminal_width() {
            grid.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        }
        grid.set_header(headings.iter().map(|heading| heading.to_uppercase()));
        grid.column_iter_mut().for_each(|column| {
            column.set_padding((0, 2));
        });
        Self { grid }
    }

    pub(crate) fn row<T: Display>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.grid.add_row(cells.into_iter().map(|cell| cell.to_string()));
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = self.grid.lines();
        if let Some(headings) = lines.next() {
            writeln!(f, "{BOLD}{}{BOLD:#}", headings.trim_end())?;
        }
        // The padding of the last column is of no use to anybody.
        lines.try_for_each(|line| writeln!(f, "{}", line.trim_end()))
    }
}

/// How many characters a line of standard output has, if it is a terminal.
pub(crate) fn terminal_width() -> Option<u16> {
    let (width, _) = terminal_size::terminal_size_of(io::stdout())?;
    Some(width.0)
}

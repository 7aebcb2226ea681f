//! From a file to a [`Trace`].

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::str::FromStr;

use flate2::read::MultiGzDecoder;

use super::books::Books;
use super::error::{Reason, TraceError, shown};
use super::lifetimes::Lifetimes;
use super::lines::Lines;
use super::{PAGE, Trace, lifetimes, rows};

impl Trace {
    /// Reads a file; one whose name ends in `.gz` is unpacked.
    ///
    /// # Errors
    /// If it cannot be read or is not a right trace, with the line.
    pub fn read(path: &Path) -> Result<Self, TraceError> {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| refuse(&name, 1, error.into()))?;
        if path.extension().is_some_and(|ending| ending == "gz") {
            // (A gzip file may be several put after each other.)
            Self::parse(&name, MultiGzDecoder::new(BufReader::new(file)))
        } else {
            Self::parse(&name, file)
        }
    }

    /// Reads what is unpacked already. `name` stands in errors.
    ///
    /// # Errors
    /// If it cannot be read or is not a right trace, with the line.
    pub fn parse(name: &str, text: impl Read) -> Result<Self, TraceError> {
        let mut lines = Lines::new(text);
        let trace = format(&mut lines).and_then(|format| match format {
            Format::Rows => by_rows(name, &mut lines),
            Format::Lifetimes => by_lifetimes(name, &mut lines),
        });
        trace.map_err(|reason| refuse(name, lines.line(), reason))
    }
}

fn refuse(file: &str, line: u64, reason: Reason) -> TraceError {
    TraceError { file: file.to_owned(), line, reason }
}

fn by_rows(name: &str, lines: &mut Lines<impl Read>) -> Result<Trace, Reason> {
    let mut books = Books::default();
    while let Some(row) = lines.next()? {
        rows::add(&mut books, row)?;
    }
    books.close(name, |_| PAGE)
}

fn by_lifetimes(name: &str, lines: &mut Lines<impl Read>) -> Result<Trace, Reason> {
    let mut lives = Lifetimes::default();
    while let Some(row) = lines.next()? {
        lives.add(row)?;
    }
    // Nothing else in a row would tell that its last number lacks digits.
    if !lines.is_ended() {
        return Err(Reason::Unended);
    }
    lives.into_books()?.close(name, lifetimes::page)
}

enum Format {
    Rows,
    Lifetimes,
}

fn format(lines: &mut Lines<impl Read>) -> Result<Format, Reason> {
    match lines.next()?.ok_or(Reason::Empty)? {
        rows::HEADER => Ok(Format::Rows),
        lifetimes::HEADER => Ok(Format::Lifetimes),
        other => Err(Reason::UnknownHeader(shown(other))),
    }
}

/// Exactly as many fields as the format has.
pub(super) fn fields<const N: usize>(row: &[u8]) -> Result<[&[u8]; N], Reason> {
    let mut all = row.split(|byte| *byte == b',');
    let fields = [(); N].map(|()| all.next().unwrap_or_default());
    match row.split(|byte| *byte == b',').count() {
        found if found != N => Err(Reason::Fields { found, wanted: N }),
        _ => Ok(fields),
    }
}

/// The number in a field.
pub(super) fn number<T: FromStr>(column: &'static str, field: &[u8]) -> Result<T, Reason> {
    let text = std::str::from_utf8(field).ok().and_then(|text| text.parse().ok());
    text.ok_or_else(|| Reason::NotANumber { column, text: shown(field) })
}

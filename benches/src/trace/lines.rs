//! A text line by line, with the number of each.
//!
//! Both formats are lines of plain fields with commas between them. They are split here and not by
//! a CSV library because what is refused has to be found: csv numbers a line wrongly after blank lines
//! and after the line ends of other systems, and does not say whether the last line had an end.

use std::io::{BufRead, BufReader, ErrorKind, Read};

use super::error::Reason;

/// No row of a trace is longer. A file of one endless line must not fill the memory.
const LONGEST: u64 = 1024;

/// The lines of a file, and where we are in them.
pub(super) struct Lines<R> {
    text: BufReader<R>,
    row: Vec<u8>,
    line: u64,
    /// The line has an end (the last one may have none).
    ended: bool,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(text: R) -> Self {
        Self { text: BufReader::new(text), row: Vec::new(), line: 0, ended: true }
    }

    /// The number of the line that was read last, or of the first.
    pub(super) fn line(&self) -> u64 {
        self.line.max(1)
    }

    /// Whether the line that was read last has an end.
    pub(super) fn is_ended(&self) -> bool {
        self.ended
    }

    /// The next line that is neither blank nor a remark, without its end.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, Reason> {
        loop {
            self.row.clear();
            let mut text = self.text.by_ref().take(LONGEST);
            // What cannot be read is on the line after the last that could.
            let read = text.read_until(b'\n', &mut self.row).map_err(unreadable);
            let count = read.inspect_err(|_| self.line += 1)?;
            if count == 0 {
                return Ok(None);
            }
            self.line += 1;
            self.ended = self.row.ends_with(b"\n");
            if !self.ended && count as u64 == LONGEST {
                return Err(Reason::LongLine);
            }
            if !self.row.trim_ascii().is_empty() && !self.row.starts_with(b"#") {
                return Ok(Some(self.row.trim_ascii_end()));
            }
        }
    }
}

fn unreadable(error: std::io::Error) -> Reason {
    match error.kind() {
        ErrorKind::UnexpectedEof => Reason::CutShort,
        _ => Reason::Unreadable(error),
    }
}

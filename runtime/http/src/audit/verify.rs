//! Finding what was altered, lost or reordered.

use std::fmt;
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};

use super::chain::{self, Hash, LONGEST_LINE, Link, NoRecord};

/// Most flaws that are described; the rest is counted.
const TOLD: usize = 100;

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It is no record.
    Malformed,
    /// It is a record that was altered: its hash is that of other bytes.
    Altered,
    /// It has another number than the one after the record before: records were lost, added or reordered.
    Number {
        /// The number that it should have.
        expected: u64,
        /// The number that it has.
        found: u64,
    },
    /// It has the right number, but comes after another record than the one that is there.
    Unlinked,
    /// It has no end: a crash, or a cut.
    Unfinished,
    /// The log ends elsewhere than it has to.
    Last {
        /// The hash that its last record should have.
        expected: Hash,
    },
    /// The log has no record that it has to have.
    Missing {
        /// The record's hash.
        hash: Hash,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("this is no record"),
            Self::Altered => f.write_str("this record was altered"),
            Self::Number { expected: 1, found } => {
                write!(
                    f,
                    "the log begins with record {found}; records 1 to {} are not here",
                    found.saturating_sub(1)
                )
            }
            Self::Number { expected, found } if found > expected => {
                write!(f, "record {found} follows; records {expected} to {} are lost", found - 1)
            }
            Self::Number { expected, found } => {
                write!(f, "record {found} follows where record {expected} should")
            }
            Self::Unlinked => f.write_str("this record does not belong after the one before it"),
            Self::Unfinished => f.write_str("this line has no end"),
            Self::Last { expected } => {
                write!(f, "the log does not end with the record of the hash {expected}")
            }
            Self::Missing { hash } => write!(f, "the log has no record of the hash {hash}"),
        }
    }
}

/// A fault, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: u64,
    /// What is wrong.
    pub fault: Fault,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.fault)
    }
}

/// What was found in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Lines that are records, altered or not.
    pub records: u64,
    /// The place of the last record: what a later verification can go on from.
    pub last: Link,
    /// How many flaws there are.
    pub count: u64,
    /// The first hundred of them, in order.
    pub flaws: Vec<Flaw>,
}

/// Reads the files of a log, in their order, a line at a time.
///
/// The chain shows every change that leaves a later record as it was. Whoever can write the file could make
/// the chain anew from some record on, or cut its end off: that is seen only if the last hash was noted
/// elsewhere, and is given: by [`has_to_contain`](Self::has_to_contain), as long as the log grows, or else by
/// [`ends_with`](Self::ends_with).
#[derive(Debug)]
pub struct Verifier {
    /// The number of the record before, and its hash, as far as they are known.
    seq: Option<u64>,
    hash: Option<Hash>,
    /// The hash of a record that has to come yet.
    missing: Option<Hash>,
    path: PathBuf,
    line: u64,
    found: Verified,
}

impl Verifier {
    /// Begins after a record: [`Link::START`] for a whole log.
    pub fn after(link: Link) -> Self {
        let found = Verified { records: 0, last: link, count: 0, flaws: Vec::new() };
        Self {
            seq: Some(link.seq),
            hash: Some(link.hash),
            missing: None,
            path: PathBuf::new(),
            line: 0,
            found,
        }
    }

    /// Begins after the record of that hash, whatever its number.
    pub fn after_hash(hash: Hash) -> Self {
        Self { seq: None, ..Self::after(Link { seq: 0, hash }) }
    }

    /// One of the records has to have that hash, if one is given: the last of the log as it once was.
    #[must_use]
    pub fn has_to_contain(self, hash: Option<Hash>) -> Self {
        Self { missing: hash, ..self }
    }

    /// Reads the next file.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(&mut self, path: &Path, file: impl Read) -> io::Result<()> {
        (self.path, self.line) = (path.to_owned(), 0);
        let mut reader = io::BufReader::with_capacity(256 * 1024, file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let most = LONGEST_LINE as u64 + 1;
            if reader.by_ref().take(most).read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            self.line += 1;
            match line.strip_suffix(b"\n") {
                Some(line) => self.take(line),
                None if line.len() as u64 == most => {
                    self.flaw(Fault::Malformed);
                    skip_line(&mut reader)?;
                }
                None => self.flaw(Fault::Unfinished),
            }
        }
    }

    /// What was found. The last record has to have that hash, if one is given.
    #[must_use]
    pub fn ends_with(mut self, last: Option<Hash>) -> Verified {
        if let Some(hash) = self.missing {
            self.flaw(Fault::Missing { hash });
        }
        if let Some(expected) = last.filter(|last| *last != self.found.last.hash) {
            self.flaw(Fault::Last { expected });
        }
        self.found
    }

    fn take(&mut self, line: &[u8]) {
        let expected = self.seq.map(|seq| seq.saturating_add(1));
        match chain::read(line) {
            Err(fault) => {
                let altered = fault == NoRecord::Altered;
                self.found.records += u64::from(altered);
                self.flaw(if altered { Fault::Altered } else { Fault::Malformed });
                // The next one is compared by its number alone.
                (self.seq, self.hash) = (expected, None);
            }
            Ok(sealed) => {
                self.found.records += 1;
                let found = sealed.link.seq;
                match expected.filter(|expected| *expected != found) {
                    Some(expected) => self.flaw(Fault::Number { expected, found }),
                    None if self.hash.is_some_and(|hash| hash != sealed.previous) => {
                        self.flaw(Fault::Unlinked);
                    }
                    None => {}
                }
                (self.seq, self.hash) = (Some(found), Some(sealed.link.hash));
                self.found.last = sealed.link;
                self.missing = self.missing.filter(|hash| *hash != sealed.link.hash);
            }
        }
    }

    fn flaw(&mut self, fault: Fault) {
        self.found.count += 1;
        if self.found.flaws.len() < TOLD {
            self.found.flaws.push(Flaw { path: self.path.clone(), line: self.line, fault });
        }
    }
}

/// Reads on to the end of a line, and forgets it.
fn skip_line(reader: &mut impl BufRead) -> io::Result<()> {
    loop {
        let bytes = reader.fill_buf()?;
        let (read, ended) = match bytes.iter().position(|byte| *byte == b'\n') {
            Some(end) => (end + 1, true),
            None => (bytes.len(), bytes.is_empty()),
        };
        reader.consume(read);
        if ended {
            return Ok(());
        }
    }
}

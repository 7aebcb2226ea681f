//! How records are tied to one another.

use std::fmt;
use std::io::Write;
use std::str::FromStr;
use std::time::SystemTime;

use humantime::Rfc3339Timestamp;
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::entry::{Entry, Event};

/// Most bytes of a line, its end included: far more than [`Entry::cut`] leaves.
pub(super) const LONGEST_LINE: usize = 64 * 1024;
/// What stands before a record's hash, and after it.
const HASH_KEY: &[u8] = b",\"hash\":\"";
const END: &[u8] = b"\"}";
/// Characters of a hash.
const HEX: usize = 64;

/// A SHA-256 hash. It is written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash([u8; 32]);

/// The text is no hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a hash is 64 digits and small letters from a to f")]
pub struct InvalidHash;

impl Hash {
    fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; HEX];
        f.write_str(base16ct::lower::encode_str(&self.0, &mut digits).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = InvalidHash;

    /// Small letters alone: a hash has one way to be written.
    fn from_str(text: &str) -> Result<Self, InvalidHash> {
        let mut bytes = [0; HEX / 2];
        let decoded = base16ct::lower::decode(text, &mut bytes).map_err(|_| InvalidHash)?;
        if decoded.len() == HEX / 2 { Ok(Self(bytes)) } else { Err(InvalidHash) }
    }
}

/// A place in the chain: a record's number and its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// The record's number; the first is 1.
    pub seq: u64,
    /// The record's hash.
    pub hash: Hash,
}

impl Link {
    /// Before the first record.
    pub const START: Self = Self { seq: 0, hash: Hash([0; 32]) };
}

/// How a record begins; what it is about follows, as the entry has it.
#[derive(Serialize)]
struct Head {
    seq: u64,
    #[serde(serialize_with = "displayed")]
    ts: Rfc3339Timestamp,
    event: Event,
}

/// How it ends, but for its hash.
#[derive(Serialize)]
struct Tail<'e> {
    outcome: Option<&'e str>,
    reason: Option<&'e str>,
    #[serde(serialize_with = "displayed")]
    prev_hash: Hash,
}

fn displayed<S: Serializer>(value: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn write_json(lines: &mut Vec<u8>, part: &impl Serialize) {
    serde_json::to_writer(lines, part)
        .expect("invariant: texts and numbers are JSON, and memory takes them");
}

/// Appends the line of the record after `link`; returns its own place.
pub(super) fn append(lines: &mut Vec<u8>, link: Link, at: SystemTime, entry: &Entry) -> Link {
    let (begin, seq) = (lines.len(), link.seq + 1);
    let ts = humantime::format_rfc3339_micros(at);
    write_json(lines, &Head { seq, ts, event: entry.event });
    lines.pop(); // (The parts are one object: commas stand where their braces meet.)
    lines.push(b',');
    lines.extend_from_slice(entry.about.as_bytes());
    let tail = lines.len();
    let reason = entry.reason.as_deref();
    write_json(lines, &Tail { outcome: entry.outcome, reason, prev_hash: link.hash });
    lines[tail] = b',';
    let hash = Hash::of(&lines[begin..]);
    lines.pop(); // (The brace, which comes again.)
    lines.extend_from_slice(HASH_KEY);
    write!(lines, "{hash}").expect("invariant: memory takes whatever is written");
    lines.extend_from_slice(END);
    lines.push(b'\n');
    Link { seq, hash }
}

/// A line that is a record, by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sealed {
    pub(super) link: Link,
    /// The hash of the record before.
    pub(super) previous: Hash,
}

/// Why a line is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoRecord {
    /// It does not look like one.
    Malformed,
    /// Its bytes are not those of its hash.
    Altered,
}

/// What of a record ties it.
#[derive(Deserialize)]
struct Ties<'l> {
    seq: u64,
    prev_hash: &'l str,
}

/// Reads a line, without its end.
pub(super) fn read(line: &[u8]) -> Result<Sealed, NoRecord> {
    let body = line.strip_suffix(END).ok_or(NoRecord::Malformed)?;
    let (body, hash) =
        body.split_at_checked(body.len().wrapping_sub(HEX)).ok_or(NoRecord::Malformed)?;
    let body = body.strip_suffix(HASH_KEY).ok_or(NoRecord::Malformed)?;
    let hash = str::from_utf8(hash).ok().and_then(|hash| hash.parse().ok());
    let hash: Hash = hash.ok_or(NoRecord::Malformed)?;
    let body = [body, b"}"].concat();
    if Hash::of(&body) != hash {
        return Err(NoRecord::Altered);
    }
    let ties: Ties<'_> = serde_json::from_slice(&body).map_err(|_| NoRecord::Malformed)?;
    let previous = ties.prev_hash.parse().map_err(|_| NoRecord::Malformed)?;
    Ok(Sealed { link: Link { seq: ties.seq, hash }, previous })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::About;

    #[test]
    fn a_record_is_a_line_that_can_be_read_again() {
        let mut lines = Vec::new();
        let entry =
            Entry::new(Event::Denied, &About::default()).with_outcome("x", "a \"b\"\n\u{1}");
        let first = append(&mut lines, Link::START, SystemTime::UNIX_EPOCH, &entry);
        let second = append(&mut lines, first, SystemTime::UNIX_EPOCH, &entry);
        let read: Vec<Sealed> =
            lines.split(|byte| *byte == b'\n').filter_map(|line| read(line).ok()).collect();
        assert_eq!(read[0], Sealed { link: first, previous: Link::START.hash });
        assert_eq!(read[1], Sealed { link: second, previous: first.hash });
        assert_eq!((second.seq, read.len()), (2, 2));
    }

    #[test]
    fn a_hash_has_one_way_to_be_written() {
        let text = "0123456789abcdef".repeat(4);
        assert_eq!(text.parse::<Hash>().unwrap().to_string(), text);
        for wrong in [text.to_uppercase(), text[1..].to_owned(), format!("{}g", &text[1..])] {
            assert_eq!(wrong.parse::<Hash>(), Err(InvalidHash));
        }
    }
}

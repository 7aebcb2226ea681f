//! Why a trace is refused.

use std::io;

use thiserror::Error;

/// Where a trace is wrong, and how.
#[derive(Debug, Error)]
#[error("{file}:{line}: {reason}")]
pub struct TraceError {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1 on. In a packed file: of what it unpacks to.
    pub line: u64,
    /// What is wrong there.
    pub reason: Reason,
}

/// What is wrong with a trace.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Reason {
    /// The file cannot be opened or read, or is no gzip file where its name says so.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// A gzip file ends in its middle.
    #[error("the gzip file is cut short")]
    CutShort,
    /// The last line of a file whose last column is a size has no end: digits may be missing.
    #[error("the last line does not end: the file may be cut short")]
    Unended,
    /// A line that is longer than any row.
    #[error("the line is longer than any row of a trace")]
    LongLine,
    /// There are no rows.
    #[error("the trace is empty")]
    Empty,
    /// The first line is that of no format we know.
    #[error(
        "the first line has to be `t_us,op,id,bytes,stream` or `id,lower,upper,size`, not `{0}`"
    )]
    UnknownHeader(String),
    /// A row has too few or too many fields.
    #[error("{found} fields instead of {wanted}")]
    Fields {
        /// How many there are.
        found: usize,
        /// How many there have to be.
        wanted: usize,
    },
    /// A field holds no number, or none that fits its column.
    #[error("{column} is not a number: `{text}`")]
    NotANumber {
        /// The column's name.
        column: &'static str,
        /// The field.
        text: String,
    },
    /// An operation other than `a` and `f`.
    #[error("unknown operation `{0}`: `a` allocates, `f` frees")]
    UnknownOp(String),
    /// A second allocation of an id.
    #[error("id {0} is used twice")]
    UsedTwice(u64),
    /// A free of what was never allocated or is already free.
    #[error("id {0} is freed but not live")]
    NotLive(u64),
    /// A free that repeats another size than the allocation's.
    #[error("id {id} was allocated with {allocated} bytes and is freed with {freed}")]
    BytesDiffer {
        /// The id.
        id: u64,
        /// The size on its allocation.
        allocated: u64,
        /// The size on its free.
        freed: u64,
    },
    /// Rows are not in time order.
    #[error("time goes back from {from} to {to}")]
    TimeGoesBack {
        /// The time of the row before.
        from: f64,
        /// The time of this row.
        to: f64,
    },
    /// A buffer that ends before it begins.
    #[error("a buffer's life from {lower} to {upper} has no length")]
    NoLife {
        /// Its first moment.
        lower: u64,
        /// The moment after its last.
        upper: u64,
    },
    /// More bytes live than any machine has.
    #[error("more than 2^56 bytes are live")]
    TooMuchLive,
    /// More blocks or streams than are counted.
    #[error("more than 2^32 blocks")]
    TooMany,
}

/// A field as an error shows it: printable and short.
pub(super) fn shown(field: &[u8]) -> String {
    let text = String::from_utf8_lossy(field);
    let short: String = text.chars().take(40).flat_map(char::escape_debug).collect();
    if text.chars().nth(40).is_some() { short + "…" } else { short }
}

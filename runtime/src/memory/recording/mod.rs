//! Recording: each allocation and free of device memory, written to a file as it happens.
//!
//! | part | role |
//! |---|---|
//! | [`record`](rustkernel_gpu::memory::record) | tells of each lease and its end, by a bounded channel |
//! | `rows` | an event as a row of the file's format |
//! | `file` | the file: its name for a device, packed or not |
//! | `writer` | the thread that takes events and writes rows, one for each device |

mod file;
mod rows;
mod writer;

use std::path::PathBuf;

use rustkernel_gpu::DeviceId;

pub(crate) use writer::{About, Writers};

/// Where the allocations of a runtime are recorded, and how.
///
/// The file's name ends in `.csv`, or in `.csv.gz` to be packed. Where a runtime has several devices
/// there is a file for each, with the device's name before the ending: `trace.cuda0.csv`,
/// `trace.host.csv`. What was there is overwritten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordConfig {
    /// The file.
    pub path: PathBuf,
    /// What its rows look like.
    pub format: RecordFormat,
}

/// What the rows of a recording look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum RecordFormat {
    /// `t_us,op,id,bytes,stream`, which the replay program reads: microseconds since the recording
    /// began, `a` or `f`, an id used once, the size of the block, and the stream's number (0: none).
    #[default]
    Trace,
    /// `Thread,Time,Action,Pointer,Size,Stream`, which RMM's replay benchmark reads.
    Rmm,
}

/// A recording of one device's memory.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recording {
    /// The device.
    pub device: DeviceId,
    /// Its file.
    pub path: PathBuf,
    /// How it ended; none before the runtime's end.
    pub end: Option<Result<Recorded, RecordError>>,
}

/// What a recording that has ended wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Recorded {
    /// Rows of allocations.
    pub allocations: u64,
    /// Rows of frees.
    pub frees: u64,
    /// Allocations and frees that came too fast to be written. A trace ends with a remark if there
    /// were any.
    pub lost: u64,
}

/// Why there is no recording, or no whole one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The file's name does not say whether it is packed.
    #[error("memory cannot be recorded to {}: its name has to end in .csv or .csv.gz", .0.display())]
    UnknownExtension(PathBuf),
    /// The file cannot be written.
    #[error("memory cannot be recorded to {}: {reason}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// There is no thread that could write.
    #[error("memory cannot be recorded: no thread could be started: {0}")]
    NoThread(String),
}

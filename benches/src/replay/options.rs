//! The command line.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Parser, ValueEnum};

/// Replays recorded allocation traces and reports what memory they needed.
#[derive(Debug, Clone, Parser)]
#[command(name = "replay")]
pub struct Options {
    /// Print one JSON object per trace, one a line.
    #[arg(long)]
    pub json: bool,
    /// Where the memory is: `offsets` (none at all, simulated), or `host` or `cuda:N`, where the runtime's
    /// own pool is replayed to.
    #[arg(long, default_value_t = Backend::Offsets)]
    pub backend: Backend,
    /// How blocks are placed.
    #[arg(long, value_enum, default_value_t = PolicyName::Arena)]
    pub policy: PolicyName,
    /// Draw mapped and live bytes over time, under the soft cap (with one trace only).
    #[arg(long, value_name = "OUT.SVG")]
    pub plot: Option<PathBuf>,
    /// Replay the workloads that this seed makes, too.
    #[arg(long, value_name = "SEED")]
    pub made: Option<u64>,
    /// The traces: `.csv` or `.csv.gz`.
    #[arg(required_unless_present = "made", value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// How blocks are placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PolicyName {
    /// The runtime's own: its arena on offsets, its pool on memory.
    Arena,
    /// One fixed range, best fit, merging.
    BestFit,
    /// Powers of two, cached, trimmed when there is no room.
    SizeClasses,
}

impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Arena => "arena",
            Self::BestFit => "best-fit",
            Self::SizeClasses => "size-classes",
        })
    }
}

/// Where the memory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// Memory of this process.
    Host,
    /// Nowhere: only positions are computed.
    Offsets,
    /// Memory of the CUDA device with this number.
    Cuda(u32),
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("host"),
            Self::Offsets => f.write_str("offsets"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

impl FromStr for Backend {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "host" => Ok(Self::Host),
            "offsets" => Ok(Self::Offsets),
            _ => {
                let number = text.strip_prefix("cuda:").and_then(|number| number.parse().ok());
                number
                    .map(Self::Cuda)
                    .ok_or_else(|| "it has to be `host`, `offsets` or `cuda:N`".into())
            }
        }
    }
}

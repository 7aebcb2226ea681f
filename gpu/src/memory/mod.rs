//! Memory of a device: leased from pools, reserved before it is needed, watched for pressure.
//!
//! ```text
//!  Reservation ──debits── Ledger (bytes promised; never above the limit)
//!       │                    │ crosses a threshold ──► Attention ──► allocator ──► supervisor
//!       ▼                    ▼
//!     Lease ─ magazine ─ Pool ─ Space (an arena and its pages) or Cache ──grow, trim──► the device
//!       │        ▲                ▲
//!  Buffer / Staging ──drop────────┘ with the stream's position: reused elsewhere only once it is passed
//! ```
//!
//! | part | role |
//! |---|---|
//! | [`DeviceMemory`] | a device's two pools (device, staging) and their ledgers |
//! | [`Ledger`](ledger) | bytes promised against the limit: one atomic, taken before anything else |
//! | [`Reservation`] | bytes promised to a request before it starts |
//! | [`Lease`] | one block in use; [`Buffer`], [`Staging`] and [`HostBuffer`] are leases with an element type |
//! | [`magazine`] | small blocks at hand, by size class; a stream has one in front of its pool |
//! | [`Pool`](pool) | a store of memory and its books; grows and shrinks on its allocator's thread |
//! | `space` | a store of pages that come, go and move, where the device has virtual memory |
//! | [`arena`] | the bookkeeping of such a space |
//! | `cache` | a store of blocks by size class, where it has not |
//! | [`MemoryMap`] | what lies where in such a space |
//! | [`record`] | each lease and its end, told to whoever records them |
//! | [`PressureLevel`] | how full the device is, with hysteresis |
//!
//! What always holds, per device and kind of memory, all in bytes: `live ≤ committed ≤ limit`,
//! `mapped = live + cached` is at most what was configured, and after everything was dropped
//! `live = committed = 0`. Leases within a reservation do not meet out-of-memory: their bytes were
//! committed when the reservation was granted, and what is free makes way. (Where blocks share pages less
//! is promised than was configured: see [`pool`].)

mod allowance;
pub mod arena;
mod attention;
mod buffer;
mod cache;
mod class;
mod device;
mod host_buffer;
mod lease;
pub mod ledger;
pub mod magazine;
mod map;
pub mod pool;
mod pressure;
pub mod record;
mod reservation;
#[cfg(all(test, feature = "shuttle"))]
mod room_model;
mod space;
mod stats;
mod stream_magazine;
mod sync;

use std::fmt;

use crate::device::Epoch;

pub use attention::{Attention, Need as AttentionNeed};
pub use buffer::{Buffer, Staging};
pub use class::{BlockSizes, GRAIN};
pub use device::{DeviceMemory, Leased, MemoryLimits};
pub use host_buffer::HostBuffer;
pub use lease::Lease;
pub use map::{MOST_RANGES, MapRange, MemoryMap, RangeState};
pub use pool::{Grown, Growth};
pub use pressure::{ParsePressureLevelError, PressureLevel, PressureThresholds};
pub use reservation::{Need, Reservation, Shortage};
pub use stats::{ClassStats, MemoryStats};
pub(crate) use stream_magazine::StreamMagazine;

/// Which memory of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MemoryKind {
    /// The device's own memory, where kernels work.
    Device,
    /// Host memory that the device can copy from and to on its own (pinned, for CUDA).
    Staging,
}

impl fmt::Display for MemoryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Device => "device",
            Self::Staging => "staging",
        })
    }
}

/// Memory as a backend gave it: an address, a size, and the epoch it belongs to.
///
/// Not `Clone`: there is one for each allocation, and giving it back consumes it.
#[derive(Debug)]
pub(crate) struct RawMemory {
    pub(crate) address: u64,
    pub(crate) bytes: usize,
    pub(crate) epoch: Epoch,
    /// Its place in the arena that it is of, if it is of one.
    pub(crate) block: Option<arena::Block>,
}

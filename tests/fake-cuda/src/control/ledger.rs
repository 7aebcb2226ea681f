//! The driver's own books, for a test to compare with those of the program.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use super::log;
use crate::device::{self, Device};
use crate::entry::ENTRY_POINTS;
use crate::memory::host;
use crate::memory::pool::Attribute;

/// What is live on one device, and what was called.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// The device.
    pub device: usize,
    /// How often its primary context is retained.
    pub contexts_retained: u32,
    /// All device memory that is taken: the sum of the four below.
    pub device_bytes: u64,
    /// Memory of `cuMemAlloc` and `cuMemAllocManaged`.
    pub allocation_bytes: u64,
    /// Memory that pools hold, in use or not.
    pub pool_bytes: u64,
    /// Physical memory of `cuMemCreate`, with a handle or mapped.
    pub physical_bytes: u64,
    /// Variables of loaded modules.
    pub module_bytes: u64,
    /// Of the pools' memory, what is in use.
    pub pool_used_bytes: u64,
    /// The most of `device_bytes` that there ever was at once.
    pub peak_device_bytes: u64,
    /// Host memory of `cuMemHostAlloc` and `cuMemAllocHost`.
    pub pinned_bytes: u64,
    /// Host memory under `cuMemHostRegister`.
    pub registered_bytes: u64,
    /// Live streams, without the legacy one.
    pub streams: usize,
    /// Live events.
    pub events: usize,
    /// Loaded modules.
    pub modules: usize,
    /// Graphs and executable graphs.
    pub graphs: usize,
    /// Memory pools, without the default one.
    pub pools: usize,
    /// Live handles of `cuMemCreate`.
    pub physical_handles: usize,
    /// Calls that concerned the device, by entry point. (A call without a device, such as `cuInit`,
    /// is in no ledger.)
    pub calls: BTreeMap<String, u64>,
    /// Launches that the device came to, by kernel.
    pub launches: BTreeMap<String, u64>,
    /// Handles and addresses that the driver was given although their context was gone: the entry point and
    /// the value of each, the first 64. A program should never do that.
    pub stale: Vec<String>,
}

impl Ledger {
    /// Whether nothing is live: no memory, no handle, no retained context.
    pub fn is_settled(&self) -> bool {
        let books = Self {
            device: self.device,
            peak_device_bytes: self.peak_device_bytes,
            calls: self.calls.clone(),
            launches: self.launches.clone(),
            stale: self.stale.clone(),
            ..Self::default()
        };
        *self == books
    }

    /// How often an entry point was called.
    pub fn calls_of(&self, name: &str) -> u64 {
        self.calls.get(name).copied().unwrap_or(0)
    }
}

/// The books of one device.
///
/// # Panics
/// If there is no such device.
pub fn ledger(device: usize) -> Ledger {
    let found = device::find(device);
    read(found.unwrap_or_else(|| no_such_device(device)))
}

fn no_such_device(device: usize) -> ! {
    let count = device::all().len();
    #[allow(clippy::panic, reason = "a mistake of the test's, documented")]
    {
        panic!("there is no device {device}: there are {count}")
    }
}

/// The books of all devices.
pub fn ledgers() -> Vec<Ledger> {
    device::all().iter().map(read).collect()
}

fn read(device: &Device) -> Ledger {
    let taken = device.budget.taken();
    let (pinned_bytes, registered_bytes) = host::pinned(device.ordinal);
    let pools = device.pools.table.all();
    let called = ENTRY_POINTS.iter().zip(&device.calls);
    let called = called.map(|(name, count)| ((*name).into(), count.load(Ordering::Relaxed)));
    let mut ledger = Ledger {
        device: device.ordinal,
        contexts_retained: device.state().2,
        device_bytes: taken.total(),
        allocation_bytes: taken.allocations,
        pool_bytes: taken.pools,
        physical_bytes: taken.physical,
        module_bytes: taken.modules,
        pool_used_bytes: pools.iter().map(|pool| pool.get(Attribute::Used)).sum(),
        peak_device_bytes: taken.peak,
        pinned_bytes,
        registered_bytes,
        pools: pools.len().saturating_sub(1),
        physical_handles: device.physical.count(),
        calls: called.filter(|(_, count)| *count > 0).collect(),
        launches: device.launches.lock().clone(),
        stale: device.generation.noted(),
        ..Ledger::default()
    };
    if let Some(context) = device.context() {
        ledger.streams = context.streams.count();
        ledger.events = context.events.count();
        ledger.modules = context.modules.count();
        ledger.graphs = context.graphs.count() + context.graph_execs.count();
    }
    ledger
}

static FILE: OnceLock<PathBuf> = OnceLock::new();

/// Writes the books of all devices, as JSON, to `file` when the process exits.
pub(crate) fn write_at_exit(file: PathBuf) {
    extern "C" fn at_exit() {
        if let Some(file) = FILE.get() {
            write(file);
        }
    }
    if FILE.set(file).is_ok() {
        // SAFETY: the function needs nothing that is gone by then: statics of Rust are not dropped.
        let registered = unsafe { libc::atexit(at_exit) };
        if registered != 0 {
            log::always("FAKE_CUDA_LEDGER: the host takes no more functions to call at exit");
        }
    }
}

fn write(file: &std::path::Path) {
    let text = serde_json::to_string_pretty(&ledgers()).unwrap_or_default();
    if let Err(error) = std::fs::write(file, text + "\n") {
        log::always(format_args!("FAKE_CUDA_LEDGER: {}: {error}", file.display()));
    }
}

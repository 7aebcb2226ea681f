//! What is answered, as JSON. Clients are to ignore keys that they do not know: there may be more.

use std::time::Duration;

use humantime::format_rfc3339_millis;
use rustkernel_core::gpu::{DeviceId, DeviceKind};
use rustkernel_core::kernel::{Condition, HistoryEntry, KernelStats, Ledger};
use rustkernel_core::memory::{ClassStats, MemoryMap, MemoryStats};
use rustkernel_core::runtime::{DeviceStats, LifecycleState, RuntimeStats};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::control::Control;

/// Where the runtime is in its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct State {
    /// `starting`, `running`, `draining` or `stopped`.
    pub state: String,
}

/// How a service is, on one page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The service's name.
    pub name: String,
    /// The version of the program.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// `starting`, `running`, `draining` or `stopped`.
    pub state: String,
    /// Since its start.
    pub uptime_seconds: f64,
    /// How many kernels it has.
    pub kernels: usize,
    /// Those that refuse requests at present, by name.
    pub refusing: Vec<String>,
    /// Requests waiting or running.
    pub in_flight: u64,
    /// All requests so far.
    pub requests: Requests,
    /// How often instances were restarted.
    pub restarts: u64,
    /// Requests that ended their kernel each time that they were tried.
    pub dead_letters: u64,
    /// How full each device is.
    pub pressure: Vec<Pressure>,
    /// How long a drain waits for requests in flight.
    pub shutdown_timeout_seconds: f64,
    /// For how long requests are taken before that, when it is told to drain.
    #[serde(default)]
    pub drain_delay_seconds: f64,
    /// What is left of that, once it was told to.
    #[serde(default)]
    pub drains_in_seconds: Option<f64>,
}

/// How full a device is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pressure {
    /// The device: `host`, `cuda:0`, …
    pub device: String,
    /// `normal`, `warning`, `critical` or `emergency`.
    pub level: String,
}

/// The books: submitted = completed + failed + rejected + cancelled, but for those in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Requests {
    pub submitted: u64,
    pub completed: u64,
    pub failed: u64,
    pub rejected: u64,
    pub cancelled: u64,
}

/// The kernels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kernels {
    /// By name.
    pub kernels: Vec<Kernel>,
}

/// A kernel: its statistics and its history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kernel {
    /// Its name.
    pub name: String,
    /// `serving`, `restarting`, `quarantined`, `on_trial` or `ended`.
    pub condition: String,
    /// Instances that it is meant to have.
    pub instances: usize,
    /// Instances that are up.
    pub running: usize,
    /// The device of each instance.
    pub devices: Vec<String>,
    /// Requests waiting or running.
    pub in_flight: u64,
    /// The most that may be.
    pub queue: usize,
    /// The most that `queue` can be set to without a restart.
    pub queue_capacity: usize,
    /// How long a request may take, unless its caller says otherwise; null is as long as it takes.
    pub deadline_seconds: Option<f64>,
    /// All requests so far.
    pub requests: Requests,
    /// How often an instance was restarted.
    pub restarts: u64,
    /// How often its code panicked.
    pub panics: u64,
    /// How often an instance hung and was replaced.
    pub hung: u64,
    /// Instances that had not come back to their thread between the last two health checks.
    pub unresponsive: usize,
    /// Threads that do not come back.
    pub abandoned: usize,
    /// How often a request was tried again.
    pub retried: u64,
    /// Requests that ended the kernel each time that they were tried.
    pub dead_letters: u64,
    /// What happened to it lately, the oldest first. Left out of the list of all kernels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<HistoryLine>,
}

/// Something that happened to a kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryLine {
    /// How many came before it.
    pub number: u64,
    /// When, in UTC by RFC 3339.
    pub at: String,
    /// Which instance, if it was one.
    pub instance: Option<usize>,
    /// What, in a sentence.
    pub what: String,
}

/// The devices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Devices {
    /// In the order of the configuration.
    pub devices: Vec<Device>,
}

/// A device, and the runtime's memory there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Device {
    /// `host`, `cuda:0`, …
    pub id: String,
    /// `host` or `cuda`.
    pub kind: String,
    /// What it calls itself.
    pub name: String,
    /// Memory that it has, in bytes.
    pub memory_bytes: u64,
    /// Why it cannot be used, if it cannot.
    pub lost: Option<String>,
    /// `normal`, `warning`, `critical` or `emergency`.
    pub pressure: String,
    /// Its own memory.
    pub device: Memory,
    /// Its staging memory.
    pub staging: Memory,
}

/// One kind of memory. All sizes are bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// The most that may ever be committed.
    pub limit: u64,
    /// The most that can be committed at present.
    pub attainable: u64,
    /// Held by others.
    pub foreign: u64,
    /// Promised to requests, or leased outside of any.
    pub committed: u64,
    /// Leased now.
    pub live: u64,
    /// Held from the device.
    pub mapped: u64,
    /// The most that was ever leased at once.
    pub peak_live: u64,
    /// Leases granted.
    pub leases: u64,
    /// Leases refused although their bytes were promised.
    pub unkept: u64,
    /// Promised and not leased.
    pub reserved: u64,
    /// Of what is held from the device, not leased: what follows are parts of it.
    pub cached: u64,
    /// At hand in the magazines of streams.
    pub parked: u64,
    /// Still used by work of a stream, and kept from others until that is over.
    pub quarantined: u64,
    /// In pages that are partly in use, so that it cannot move or be given back.
    pub stranded: u64,
    /// Leases served from what was there, without the allocator.
    pub hits: u64,
    /// Of these, by magazines.
    pub magazine_hits: u64,
    /// Times that memory was taken from the device.
    pub growths: u64,
    /// Times that memory was given back to it.
    pub releases: u64,
    /// Times that free pages moved to where they were needed.
    pub remaps: u64,
    /// What is free, by the sizes of blocks.
    pub free: Vec<Blocks>,
    /// What magazines have, by the sizes of blocks.
    pub magazines: Vec<Blocks>,
}

/// Blocks of one size, or of ranges from one size to twice that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocks {
    /// Bytes of each.
    pub block_bytes: u64,
    /// How many.
    pub count: u64,
}

/// What lies where in the memory of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maps {
    /// `host`, `cuda:0`, …
    pub id: String,
    /// Its own memory; null where that is not one range of addresses, as without pooling.
    pub device: Option<Map>,
    /// Its staging memory, likewise.
    pub staging: Option<Map>,
}

/// What lies where in one range of addresses. All numbers are bytes; places are told from the first address.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Map {
    /// All addresses, with memory or without.
    pub span: u64,
    /// What gets memory, and loses it, at once.
    pub page: u64,
    /// Where the region of small blocks ends, which begins at 0; null if they have none.
    pub border: Option<u64>,
    /// What has memory: the sum of the next four.
    pub mapped: u64,
    /// Leased.
    pub live: u64,
    /// At hand in the magazines of streams.
    pub parked: u64,
    /// Free, but still used by work of a stream.
    pub quarantined: u64,
    /// Free.
    pub free: u64,
    /// Leased out of addresses that were lost with the device, and not in these.
    pub lost: u64,
    /// What has memory, in the order of addresses; neighbours differ in their state.
    pub ranges: Vec<MapRange>,
    /// How many ranges after the last are left out, which the sums have: no more than 32,768 are told.
    pub left_out: u64,
}

/// Addresses with memory, all in one state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapRange {
    /// Where it begins.
    pub start: u64,
    /// How long it is.
    pub bytes: u64,
    /// `live`, `parked`, `quarantined` or `free`.
    pub state: String,
}

/// Whether a quarantine was lifted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifted {
    /// False if the kernel was in none.
    pub lifted: bool,
}

/// A kernel was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loaded {
    /// Instances that are up.
    pub running: usize,
}

/// A kernel was unloaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unloaded {
    /// Instances that did not come back in time, and were replaced.
    pub replaced: usize,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// In a sentence.
    pub error: String,
    /// The way out, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Where there are several, each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

impl State {
    pub(crate) fn of(state: LifecycleState) -> Self {
        Self { state: state.to_string() }
    }
}

impl Status {
    pub(crate) fn of(control: &Control) -> Self {
        let runtime = &control.runtime;
        let RuntimeStats { state, uptime, ledger, kernels, devices, .. } = runtime.stats();
        let refuses = |kernel: &&KernelStats| kernel.condition.refuses();
        Self {
            name: control.name.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            state: state.to_string(),
            uptime_seconds: seconds(uptime),
            kernels: kernels.len(),
            refusing: kernels.iter().filter(refuses).map(|kernel| kernel.name.clone()).collect(),
            in_flight: kernels.iter().map(|kernel| kernel.open).sum(),
            requests: ledger.into(),
            restarts: kernels.iter().map(|kernel| kernel.restarts).sum(),
            dead_letters: kernels.iter().map(|kernel| kernel.dead_letters).sum(),
            pressure: devices.iter().map(Pressure::of).collect(),
            shutdown_timeout_seconds: seconds(runtime.config().shutdown_timeout),
            drain_delay_seconds: seconds(control.drain_delay),
            drains_in_seconds: control.drains_in().map(seconds),
        }
    }
}

impl Pressure {
    fn of(stats: &DeviceStats) -> Self {
        Self { device: stats.info.id.to_string(), level: stats.pressure.to_string() }
    }
}

impl From<Ledger> for Requests {
    fn from(ledger: Ledger) -> Self {
        let Ledger { submitted, completed, failed, rejected, cancelled } = ledger;
        Self { submitted, completed, failed, rejected, cancelled }
    }
}

impl Kernel {
    /// Without its history.
    pub(crate) fn of(stats: &KernelStats) -> Self {
        Self {
            name: stats.name.clone(),
            condition: condition(stats.condition).into(),
            instances: stats.instances,
            running: stats.running,
            devices: stats.devices.iter().map(DeviceId::to_string).collect(),
            in_flight: stats.open,
            queue: stats.queue,
            queue_capacity: stats.queue_capacity,
            deadline_seconds: stats.deadline.map(seconds),
            requests: stats.ledger.into(),
            restarts: stats.restarts,
            panics: stats.panics,
            hung: stats.hung,
            unresponsive: stats.unresponsive,
            abandoned: stats.abandoned,
            retried: stats.retried,
            dead_letters: stats.dead_letters,
            history: Vec::new(),
        }
    }

    pub(crate) fn with_history(stats: &KernelStats) -> Self {
        let history = stats.history.iter().map(HistoryLine::of).collect();
        Self { history, ..Self::of(stats) }
    }
}

impl HistoryLine {
    fn of(entry: &HistoryEntry) -> Self {
        Self {
            number: entry.number,
            at: format_rfc3339_millis(entry.at).to_string(),
            instance: entry.instance,
            what: entry.what.clone(),
        }
    }
}

impl Device {
    pub(crate) fn of(stats: &DeviceStats) -> Self {
        let kind = match stats.info.id.kind() {
            DeviceKind::Host => "host",
            DeviceKind::Cuda => "cuda",
        };
        Self {
            id: stats.info.id.to_string(),
            kind: kind.into(),
            name: stats.info.name.clone(),
            memory_bytes: stats.info.memory_bytes,
            lost: stats.lost.clone(),
            pressure: stats.pressure.to_string(),
            device: Memory::of(&stats.device),
            staging: Memory::of(&stats.staging),
        }
    }
}

impl Memory {
    fn of(stats: &MemoryStats) -> Self {
        let blocks = |classes: &[ClassStats]| {
            let of_class =
                |class: &ClassStats| Blocks { block_bytes: class.block_bytes, count: class.cached };
            classes.iter().map(of_class).collect()
        };
        Self {
            limit: stats.limit,
            attainable: stats.attainable,
            foreign: stats.foreign,
            committed: stats.committed,
            live: stats.live,
            mapped: stats.mapped,
            peak_live: stats.peak_live,
            leases: stats.leases,
            unkept: stats.unkept,
            reserved: stats.reserved,
            cached: stats.cached,
            parked: stats.parked,
            quarantined: stats.quarantined,
            stranded: stats.stranded,
            hits: stats.hits,
            magazine_hits: stats.magazine_hits,
            growths: stats.growths,
            releases: stats.releases,
            remaps: stats.remaps,
            free: blocks(&stats.classes),
            magazines: blocks(&stats.magazines),
        }
    }
}

impl MapRange {
    /// The first address after it.
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.bytes)
    }
}

impl From<MemoryMap> for Map {
    fn from(map: MemoryMap) -> Self {
        let range = |range: &rustkernel_core::memory::MapRange| MapRange {
            start: range.start,
            bytes: range.bytes,
            state: range.state.name().into(),
        };
        Self {
            span: map.span,
            page: map.page,
            border: map.border,
            mapped: map.mapped(),
            live: map.live,
            parked: map.parked,
            quarantined: map.quarantined,
            free: map.free,
            lost: map.lost,
            ranges: map.ranges.iter().map(range).collect(),
            left_out: map.left_out,
        }
    }
}

impl Problem {
    pub(crate) fn new(error: impl Into<String>) -> Self {
        Self { error: error.into(), hint: None, problems: Vec::new() }
    }

    /// The same with a way out.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

/// The names of the conditions that a kernel can be in.
pub(crate) const CONDITIONS: [&str; 6] =
    ["serving", "restarting", "quarantined", "on_trial", "unloaded", "ended"];

pub(crate) fn condition(condition: Condition) -> &'static str {
    match condition {
        Condition::Serving => "serving",
        Condition::Restarting => "restarting",
        Condition::Quarantined => "quarantined",
        Condition::OnTrial => "on_trial",
        Condition::Unloaded => "unloaded",
        Condition::Ended => "ended",
        _ => "unknown",
    }
}

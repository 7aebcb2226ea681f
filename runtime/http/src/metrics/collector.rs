//! What the runtime counts itself, as it is at the moment.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};
use rustkernel_core::kernel::KernelStats;
use rustkernel_core::memory::MemoryStats;
use rustkernel_core::runtime::{DeviceStats, LifecycleState, RuntimeStats};

use crate::control::Control;
use crate::tracing::Counts;
use crate::view;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfKernel {
    kernel: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCondition {
    kernel: String,
    condition: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfEnd {
    kernel: String,
    end: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfState {
    state: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfDevice {
    device: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfLevel {
    device: String,
    level: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfMemory {
    device: String,
    pool: &'static str,
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPool {
    device: String,
    pool: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfDenials {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSpans {
    outcome: &'static str,
}

/// Registers what there is now.
pub(super) fn register(registry: &mut Registry, control: &Control) {
    let stats = control.runtime.stats();
    let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("build", "The program", version);
    of_lifecycle(registry, &stats);
    let uptime = Gauge::<f64, AtomicU64>::default();
    uptime.set(stats.uptime.as_secs_f64());
    registry.register_with_unit("uptime", "Since the start", Unit::Seconds, uptime);
    of_kernels(registry, &stats.kernels);
    of_devices(registry, &stats.devices);
    let denied = control.guard.denied().map(|(reason, count)| (OfDenials { reason }, count));
    counters(registry, "denied_requests", "Requests that no kernel was asked for, by why", denied);
    if let Some(tracing) = &control.tracing {
        of_spans(registry, tracing.counts());
    }
}

fn of_spans(registry: &mut Registry, counts: &Counts) {
    let ends = counts.ends().map(|(outcome, count)| (OfSpans { outcome }, count));
    counters(registry, "trace_spans", "Spans by what became of them", ends);
    let waiting = Gauge::<i64>::default();
    waiting.set(signed(counts.waiting()));
    registry.register("trace_spans_waiting", "Spans that wait to be sent", waiting);
}

fn of_lifecycle(registry: &mut Registry, stats: &RuntimeStats) {
    use LifecycleState::{Draining, Running, Starting, Stopped};
    let rows = [Starting, Running, Draining, Stopped]
        .map(|state| (OfState { state: state.to_string() }, i64::from(state == stats.state)));
    gauges(registry, "lifecycle_state", "1 where the runtime is in its life, else 0", rows);
}

fn of_kernels(registry: &mut Registry, kernels: &[KernelStats]) {
    let of = |kernel: &KernelStats| OfKernel { kernel: kernel.name.clone() };
    let gauge = |value: fn(&KernelStats) -> u64| {
        kernels.iter().map(move |kernel| (of(kernel), signed(value(kernel))))
    };
    let counter = |value: fn(&KernelStats) -> u64| {
        kernels.iter().map(move |kernel| (of(kernel), value(kernel)))
    };
    gauges(
        registry,
        "kernel_open_requests",
        "Requests waiting or running",
        gauge(|kernel| kernel.open),
    );
    let help = "The most requests that may wait or run";
    gauges(registry, "kernel_queue_bound", help, gauge(|kernel| kernel.queue as u64));
    let help = "Instances that are up";
    gauges(registry, "kernel_instances", help, gauge(|kernel| kernel.running as u64));
    let help = "Instances that it is meant to have";
    gauges(registry, "kernel_instances_wanted", help, gauge(|kernel| kernel.instances as u64));
    let help = "Threads that do not come back";
    gauges(registry, "kernel_abandoned_threads", help, gauge(|kernel| kernel.abandoned as u64));
    let conditions = kernels.iter().flat_map(|kernel| {
        view::CONDITIONS.into_iter().map(|condition| {
            let is = condition == view::condition(kernel.condition);
            (OfCondition { kernel: kernel.name.clone(), condition }, i64::from(is))
        })
    });
    gauges(registry, "kernel_condition", "1 for how the kernel is, else 0", conditions);
    let ends = kernels.iter().flat_map(|kernel| {
        let ledger = kernel.ledger;
        let ends = [
            ("completed", ledger.completed),
            ("failed", ledger.failed),
            ("rejected", ledger.rejected),
            ("cancelled", ledger.cancelled),
        ];
        ends.map(|(end, count)| (OfEnd { kernel: kernel.name.clone(), end }, count))
    });
    let help = "Requests by how they ended, called by whomever";
    counters(registry, "kernel_requests", help, ends);
    counters(registry, "kernel_restarts", "Instances restarted", counter(|kernel| kernel.restarts));
    counters(registry, "kernel_panics", "Panics of its code", counter(|kernel| kernel.panics));
    let help = "Instances that hung and were replaced";
    counters(registry, "kernel_hangs", help, counter(|kernel| kernel.hung));
    counters(registry, "kernel_retries", "Requests tried again", counter(|kernel| kernel.retried));
    let help = "Requests that ended the kernel each time that they were tried";
    counters(registry, "kernel_dead_letters", help, counter(|kernel| kernel.dead_letters));
}

fn of_devices(registry: &mut Registry, devices: &[DeviceStats]) {
    let of = |device: &DeviceStats| OfDevice { device: device.info.id.to_string() };
    let lost = devices.iter().map(|device| (of(device), i64::from(device.lost.is_some())));
    gauges(registry, "device_lost", "1 if the device cannot be used", lost);
    let level = devices.iter().map(|device| (of(device), device.pressure as i64));
    let help = "How full the device is: 0 normal, 1 warning, 2 critical, 3 emergency";
    gauges(registry, "memory_pressure_level", help, level);
    let entered = devices.iter().flat_map(|device| {
        let levels = ["normal", "warning", "critical", "emergency"].into_iter();
        levels.zip(device.pressure_entered).map(move |(level, count)| {
            (OfLevel { device: device.info.id.to_string(), level }, count)
        })
    });
    counters(registry, "memory_pressure_entered", "Transitions, by level entered", entered);
    let pools = || {
        devices.iter().flat_map(|device| {
            [("device", &device.device), ("staging", &device.staging)]
                .map(|(pool, stats)| (device.info.id.to_string(), pool, stats))
        })
    };
    let bytes = pools().flat_map(|(device, pool, stats)| {
        sizes(stats)
            .map(|(kind, bytes)| (OfMemory { device: device.clone(), pool, kind }, signed(bytes)))
    });
    let help = "Memory of the device, by what it is";
    with_unit(registry, "memory", help, Unit::Bytes, bytes);
    let counter = |value: fn(&MemoryStats) -> u64| {
        pools().map(move |(device, pool, stats)| (OfPool { device, pool }, value(stats)))
    };
    counters(registry, "memory_leases", "Blocks leased", counter(|stats| stats.leases));
    let help = "Leases refused although their bytes were promised";
    counters(registry, "memory_unkept", help, counter(|stats| stats.unkept));
}

fn sizes(stats: &MemoryStats) -> [(&'static str, u64); 7] {
    [
        ("limit", stats.limit),
        ("attainable", stats.attainable),
        ("foreign", stats.foreign),
        ("committed", stats.committed),
        ("live", stats.live),
        ("mapped", stats.mapped),
        ("peak_live", stats.peak_live),
    ]
}

fn gauges<L: Labels>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    rows: impl IntoIterator<Item = (L, i64)>,
) {
    registry.register(
        name,
        help,
        family(rows, |gauge: &Gauge, value| {
            gauge.set(value);
        }),
    );
}

fn with_unit<L: Labels>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    unit: Unit,
    rows: impl IntoIterator<Item = (L, i64)>,
) {
    let family = family(rows, |gauge: &Gauge, value| {
        gauge.set(value);
    });
    registry.register_with_unit(name, help, unit, family);
}

fn counters<L: Labels>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    rows: impl IntoIterator<Item = (L, u64)>,
) {
    registry.register(
        name,
        help,
        family(rows, |counter: &Counter, value| {
            counter.inc_by(value);
        }),
    );
}

/// What labels have to be.
trait Labels:
    EncodeLabelSet + Clone + std::hash::Hash + Eq + std::fmt::Debug + Send + Sync + 'static
{
}

impl<L: EncodeLabelSet + Clone + std::hash::Hash + Eq + std::fmt::Debug + Send + Sync + 'static>
    Labels for L
{
}

fn family<L: Labels, M: Metric + EncodeMetric + Default, V>(
    rows: impl IntoIterator<Item = (L, V)>,
    set: impl Fn(&M, V),
) -> Family<L, M> {
    let family = Family::<L, M>::default();
    for (labels, value) in rows {
        set(&family.get_or_create(&labels), value);
    }
    family
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

//! Metrics, for Prometheus.
//!
//! What is known of each request is counted here, as it happens; what the runtime counts itself is read from
//! it when somebody asks.

mod collector;
mod format;

use std::fmt::Write as _;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use rustkernel_core::kernel::Instant;

use crate::control::Control;
use crate::inference::{Parts, Reason};

pub(crate) use format::Format;

/// Upper ends of the histograms' buckets, in seconds.
const BUCKETS: [f64; 15] =
    [1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// How a request has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Outcome {
    Ok,
    Fault(Reason),
    /// Its client has gone before there was an answer.
    ClientGone,
}

impl EncodeLabelValue for Outcome {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        match self {
            Self::Ok => encoder.write_str("ok"),
            Self::Fault(reason) => encoder.write_str(reason.name()),
            Self::ClientGone => encoder.write_str("client_gone"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KernelLabel {
    kernel: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KernelOutcome {
    kernel: String,
    outcome: Outcome,
}

type Histograms = Family<KernelLabel, Histogram, fn() -> Histogram>;

/// What is counted over all kernels.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<KernelOutcome, Counter>,
    in_flight: Family<KernelLabel, Gauge>,
    duration: Histograms,
    queue: Histograms,
    compute: Histograms,
}

/// What is counted of one kernel.
#[derive(Debug)]
pub(crate) struct KernelMetrics {
    kernel: String,
    requests: Family<KernelOutcome, Counter>,
    ok: Counter,
    in_flight: Gauge,
    duration: Histogram,
    queue: Histogram,
    compute: Histogram,
}

fn histogram() -> Histogram {
    Histogram::new(BUCKETS)
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let histograms = || Histograms::new_with_constructor(histogram);
        let mut metrics = Self {
            registry: Registry::with_prefix("rustkernel"),
            requests: Family::default(),
            in_flight: Family::default(),
            duration: histograms(),
            queue: histograms(),
            compute: histograms(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        let help = "Requests answered over HTTP, by kernel and outcome";
        registry.register("requests", help, self.requests.clone());
        let help = "Requests that are being answered over HTTP";
        registry.register("inflight", help, self.in_flight.clone());
        let timed = [
            ("request_duration", "From the head of a request to its answer", &self.duration),
            ("queue_duration", "How long requests waited for an instance", &self.queue),
            ("compute_duration", "How long kernels computed", &self.compute),
        ];
        for (name, help, histograms) in timed {
            registry.register_with_unit(name, help, Unit::Seconds, histograms.clone());
        }
    }

    /// What is counted of that kernel.
    pub(crate) fn of_kernel(&self, kernel: &str) -> KernelMetrics {
        let label = KernelLabel { kernel: kernel.to_owned() };
        let ok = KernelOutcome { kernel: kernel.to_owned(), outcome: Outcome::Ok };
        KernelMetrics {
            kernel: kernel.to_owned(),
            requests: self.requests.clone(),
            ok: self.requests.get_or_create(&ok).clone(),
            in_flight: self.in_flight.get_or_create(&label).clone(),
            duration: self.duration.get_or_create(&label).clone(),
            queue: self.queue.get_or_create(&label).clone(),
            compute: self.compute.get_or_create(&label).clone(),
        }
    }

    /// Everything, in that format.
    pub(crate) fn text(&self, control: &Control, format: Format) -> String {
        let mut text = String::new();
        let mut runtime = Registry::with_prefix("rustkernel");
        collector::register(&mut runtime, control);
        // (Writing to a text does not fail.)
        encode(&mut text, &runtime).ok();
        let end = text.rfind("# EOF").unwrap_or(text.len());
        text.truncate(end);
        encode(&mut text, &self.registry).ok();
        format.tell(text)
    }
}

impl KernelMetrics {
    /// A request begins.
    pub(crate) fn begin(&self) -> Pending<'_> {
        self.in_flight.inc();
        Pending { metrics: self, since: Instant::now(), over: false }
    }
}

/// A request that has no answer yet. Dropped like that, its client has gone.
#[derive(Debug)]
pub(crate) struct Pending<'a> {
    metrics: &'a KernelMetrics,
    since: Instant,
    over: bool,
}

impl Pending<'_> {
    /// When it began.
    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    /// It was answered with a result. How long it took.
    pub(crate) fn succeeded(mut self, parts: Parts) -> Duration {
        self.metrics.ok.inc();
        self.metrics.queue.observe(parts.queue.as_secs_f64());
        self.metrics.compute.observe(parts.compute.as_secs_f64());
        self.end()
    }

    /// It was answered without one. How long it took.
    pub(crate) fn failed(mut self, reason: Reason) -> Duration {
        self.count(Outcome::Fault(reason));
        self.end()
    }

    fn count(&self, outcome: Outcome) {
        let label = KernelOutcome { kernel: self.metrics.kernel.clone(), outcome };
        self.metrics.requests.get_or_create(&label).inc();
    }

    fn end(&mut self) -> Duration {
        self.over = true;
        self.metrics.in_flight.dec();
        let took = self.since.elapsed();
        self.metrics.duration.observe(took.as_secs_f64());
        took
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.count(Outcome::ClientGone);
            self.end();
        }
    }
}

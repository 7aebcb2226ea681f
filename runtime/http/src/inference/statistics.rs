//! What was counted of a kernel's requests, as clients of Triton expect it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use schemars::JsonSchema;
use serde::Serialize;

use super::models::Model;

/// How often, and how long together.
#[derive(Debug, Default)]
struct Tally {
    count: AtomicU64,
    nanos: AtomicU64,
}

#[derive(Debug, Serialize, JsonSchema)]
struct TallyView {
    count: u64,
    ns: u64,
}

impl Tally {
    fn add(&self, took: Duration) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    fn view(&self) -> TallyView {
        TallyView {
            count: self.count.load(Ordering::Relaxed),
            ns: self.nanos.load(Ordering::Relaxed),
        }
    }
}

/// What is counted of one kernel.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    success: Tally,
    fail: Tally,
    queue: Tally,
    compute_input: Tally,
    compute_infer: Tally,
    compute_output: Tally,
    /// Milliseconds since 1970.
    last: AtomicU64,
}

/// How long the parts of a request took that was answered with a result.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Parts {
    /// Reading its body.
    pub(crate) input: Duration,
    /// Until the kernel's code began.
    pub(crate) queue: Duration,
    /// The kernel's code.
    pub(crate) compute: Duration,
    /// Writing the answer.
    pub(crate) output: Duration,
}

impl Counts {
    pub(crate) fn succeeded(&self, total: Duration, parts: Parts) {
        self.success.add(total);
        self.queue.add(parts.queue);
        self.compute_input.add(parts.input);
        self.compute_infer.add(parts.compute);
        self.compute_output.add(parts.output);
        self.note_time();
    }

    pub(crate) fn failed(&self, total: Duration) {
        self.fail.add(total);
        self.note_time();
    }

    #[allow(clippy::disallowed_methods, reason = "for people to read: nothing is measured by it")]
    fn note_time(&self) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.last.store(u64::try_from(since.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// The statistics of kernels.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Statistics<'a> {
    model_stats: Vec<ModelStatistics<'a>>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct ModelStatistics<'a> {
    name: &'a str,
    version: &'a str,
    last_inference: u64,
    inference_count: u64,
    execution_count: u64,
    inference_stats: InferenceStatistics,
    /// No batching: there is nothing to tell.
    batch_stats: [(); 0],
}

#[derive(Debug, Serialize, JsonSchema)]
struct InferenceStatistics {
    success: TallyView,
    fail: TallyView,
    queue: TallyView,
    compute_input: TallyView,
    compute_infer: TallyView,
    compute_output: TallyView,
    /// No cache: never hit, never missed.
    cache_hit: TallyView,
    cache_miss: TallyView,
}

impl<'a> Statistics<'a> {
    pub(crate) fn of(models: impl IntoIterator<Item = &'a Model>) -> Self {
        Self { model_stats: models.into_iter().map(ModelStatistics::of).collect() }
    }
}

impl<'a> ModelStatistics<'a> {
    fn of(model: &'a Model) -> Self {
        let (signature, counts) = (model.signature(), &model.counts);
        let never = || Tally::default().view();
        let success = counts.success.view();
        Self {
            name: &signature.name,
            version: &signature.version,
            last_inference: counts.last.load(Ordering::Relaxed),
            inference_count: success.count,
            execution_count: success.count,
            inference_stats: InferenceStatistics {
                success,
                fail: counts.fail.view(),
                queue: counts.queue.view(),
                compute_input: counts.compute_input.view(),
                compute_infer: counts.compute_infer.view(),
                compute_output: counts.compute_output.view(),
                cache_hit: never(),
                cache_miss: never(),
            },
            batch_stats: [],
        }
    }
}

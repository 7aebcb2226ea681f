//! Spans on their way to the collector: within a bound, counted, never waited for.
//!
//! OpenTelemetry's batch processor has a thread of its own, which sends what waits every few seconds or when a
//! batch is full. Its queue drops what it has no room for and tells nobody, so that room is counted here, and
//! given to all spans of a request or to none.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry_otlp::{WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanExporter, SpanProcessor,
};
use slog::{Logger, info, warn};

use super::TracingError;
use super::client::Client;
use super::settings::Settings;

/// What became of spans.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    waiting: AtomicU64,
    sent: AtomicU64,
    not_taken: AtomicU64,
    queue_full: AtomicU64,
}

impl Counts {
    /// Spans that wait to be sent, or are being sent.
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    fn not_taken(&self) -> u64 {
        self.not_taken.load(Ordering::Relaxed)
    }

    /// Spans by what became of them.
    pub(crate) fn ends(&self) -> [(&'static str, u64); 3] {
        let Self { sent, not_taken, queue_full, .. } = self;
        [("sent", sent), ("not_taken", not_taken), ("queue_full", queue_full)]
            .map(|(name, count)| (name, count.load(Ordering::Relaxed)))
    }

    /// Makes room for so many, if there is.
    fn admit(&self, spans: u64, most: u64) -> bool {
        let before = self.waiting.fetch_add(spans, Ordering::Relaxed);
        let fits = before.saturating_add(spans) <= most;
        if !fits {
            self.waiting.fetch_sub(spans, Ordering::Relaxed);
            self.queue_full.fetch_add(spans, Ordering::Relaxed);
        }
        fits
    }

    /// A batch is over, and so many of it were taken.
    fn over(&self, spans: u64, taken: u64) {
        self.sent.fetch_add(taken, Ordering::Relaxed);
        self.not_taken.fetch_add(spans - taken, Ordering::Relaxed);
        self.waiting.fetch_sub(spans, Ordering::Relaxed);
    }
}

/// Sends spans.
pub(super) struct Exporter {
    processor: BatchSpanProcessor,
    counts: Arc<Counts>,
    most: u64,
}

impl Exporter {
    /// Starts its thread. Nothing is sent before there are spans.
    ///
    /// # Errors
    /// If the collector could never be reached like that.
    pub(super) fn start(
        settings: Settings,
        resource: &Resource,
        logger: &Logger,
    ) -> Result<Self, TracingError> {
        let counts = Arc::new(Counts::default());
        let client = Arc::new(Client::new(&settings)?);
        let otlp = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_shared_http_client(Arc::clone(&client) as _)
            .with_endpoint(&settings.endpoint)
            .with_timeout(settings.timeout)
            .build()
            .map_err(|error| TracingError::Exporter(error.to_string()))?;
        let counted = Counted {
            otlp,
            client,
            counts: Arc::clone(&counts),
            endpoint: settings.endpoint,
            logger: logger.clone(),
            away: AtomicBool::new(false),
        };
        let batches = BatchConfigBuilder::default().with_max_queue_size(settings.queue).build();
        let mut processor = BatchSpanProcessor::new(counted, batches);
        processor.set_resource(resource);
        Ok(Self { processor, counts, most: settings.queue as u64 })
    }

    pub(super) fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// Has the spans of a request sent, if there is room for all of them. Does not wait.
    pub(super) fn send(&self, spans: Vec<SpanData>) {
        if self.counts.admit(spans.len() as u64, self.most) {
            spans.into_iter().for_each(|span| self.processor.on_end(span));
        }
    }

    /// Sends what waits, within that time, and ends; how many spans of it were left behind or not taken.
    pub(super) fn close(&self, within: Duration) -> u64 {
        let before = self.counts.not_taken();
        // (An error is that of the last batch, which is counted, or that the time is over.)
        self.processor.shutdown_with_timeout(within).ok();
        self.counts.waiting() + self.counts.not_taken() - before
    }
}

/// Sends batches, counts what becomes of them, and says when the collector goes or comes back.
struct Counted {
    otlp: opentelemetry_otlp::SpanExporter,
    client: Arc<Client>,
    counts: Arc<Counts>,
    endpoint: String,
    logger: Logger,
    away: AtomicBool,
}

impl SpanExporter for Counted {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        let sent = self.otlp.export(batch).await;
        let taken = if sent.is_ok() { spans.saturating_sub(self.client.rejected()) } else { 0 };
        self.counts.over(spans, taken);
        self.tell(sent.is_ok());
        sent
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.otlp.set_resource(resource);
    }
}

impl Counted {
    /// One line for each change, not one for each batch.
    fn tell(&self, reached: bool) {
        let was_away = self.away.swap(!reached, Ordering::Relaxed);
        let logger = &self.logger;
        match (was_away, reached) {
            (false, false) => warn!(logger, "the collector takes no spans, they are dropped";
                "endpoint" => &self.endpoint, "why" => self.client.last_error()),
            (true, true) => info!(logger, "the collector takes spans again";
                "endpoint" => &self.endpoint),
            _ => {}
        }
    }
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counted").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::SystemTime;

    use opentelemetry::trace::{
        SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
    };
    use opentelemetry_sdk::trace::{SpanEvents, SpanLinks};
    use rustkernel_core::config::ObservabilityConfig;
    use slog::{Discard, o};

    use super::*;

    fn span(id: u64) -> SpanData {
        let flags = TraceFlags::SAMPLED;
        let (trace, id) = (TraceId::from(1), SpanId::from(id));
        SpanData {
            span_context: SpanContext::new(trace, id, flags, false, TraceState::NONE),
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: "a".into(),
            start_time: SystemTime::UNIX_EPOCH,
            end_time: SystemTime::UNIX_EPOCH,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: Default::default(),
        }
    }

    #[test]
    fn spans_that_are_refused_at_the_end_are_left_behind() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let config = ObservabilityConfig { otlp_endpoint: Some(endpoint), ..Default::default() };
        let settings = Settings::of(&config, &|_| None).unwrap().unwrap();
        let resource = Resource::builder_empty().build();
        let logger = Logger::root(Discard, o!());
        let exporter = Exporter::start(settings, &resource, &logger).unwrap();
        exporter.send(vec![span(1), span(2)]);
        assert_eq!(exporter.close(Duration::from_secs(60)), 2);
        assert_eq!(exporter.counts().ends()[1], ("not_taken", 2));
    }

    #[test]
    fn room_is_for_all_spans_of_a_request_or_for_none() {
        let counts = Counts::default();
        assert!(counts.admit(7, 10));
        assert!(!counts.admit(4, 10));
        assert!(counts.admit(3, 10));
        assert_eq!(counts.waiting(), 10);
        counts.over(10, 8);
        assert_eq!(counts.waiting(), 0);
        assert_eq!(counts.ends(), [("sent", 8), ("not_taken", 2), ("queue_full", 4)]);
    }
}

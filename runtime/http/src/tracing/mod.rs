//! Traces: a span for each request, with one for each of its steps, sent to a collector by OTLP over HTTP.
//!
//! | part | role |
//! |---|---|
//! | `context` | what a caller says of the trace that its request belongs to (W3C Trace Context) |
//! | `sampler` | which requests are traced |
//! | `middleware` | the span around a request |
//! | `request`, `steps` | what is noted of a request that is traced, and the spans that it makes |
//! | `export` | on their way to the collector: within a bound, counted, never waited for |
//! | `client` | the connection to the collector |
//! | `settings` | the configuration, and the variables that OpenTelemetry has for it |
//!
//! Spans are made when a request is over, out of what was noted meanwhile, so that a request that is not traced
//! pays for nothing but the decision. OpenTelemetry's crates bring the batches, the encoding and the retries.

mod client;
mod context;
mod export;
mod middleware;
mod request;
mod sampler;
mod settings;
mod steps;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::HeaderMap;
use opentelemetry::trace::TraceId;
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};
use rustkernel_core::config::ObservabilityConfig;
use slog::Logger;

use export::Exporter;
use sampler::Sampler;
use settings::Settings;

pub(crate) use context::Parent;
pub(crate) use export::Counts;
pub(crate) use middleware::traced;
pub(crate) use request::{calling, trace_id, wrote};

/// Why requests cannot be traced.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TracingError {
    /// A variable of the environment, or a key of the configuration, says what cannot be.
    #[error("{name}: `{value}` will not do; {wanted} is wanted")]
    Invalid {
        /// Which.
        name: String,
        /// What it says.
        value: String,
        /// What it could say.
        wanted: &'static str,
    },
    /// The collector's address may hold a password, which would be shown with it; so it is not told.
    #[error(
        "{name}: an address with an `@` will not do, as a name and a password in it would be shown with it; \
         headers, as for credentials, are taken from OTEL_EXPORTER_OTLP_HEADERS"
    )]
    Credentials {
        /// The key or the variable.
        name: String,
    },
    /// The certificates that a collector's is to be checked by cannot be had.
    #[error("certificates to check the collector's by: {0}")]
    Certificates(String),
    /// The exporter cannot be made.
    #[error("spans cannot be sent: {0}")]
    Exporter(String),
}

/// Traces requests, and sends their spans to a collector.
pub struct Tracing {
    sampler: Sampler,
    exporter: Exporter,
}

/// The trace that a request belongs to, where it is traced.
struct Belongs {
    trace: TraceId,
    parent: Option<Parent>,
}

impl Tracing {
    /// What a configuration asks for, of a service of that name and version; `None` if it asks for no traces, or
    /// the environment has switched them off (`OTEL_SDK_DISABLED`, `OTEL_TRACES_EXPORTER=none`). That the
    /// collector comes and goes is told to `logger`.
    ///
    /// # Errors
    /// [`TracingError`] if what is asked for cannot be.
    pub fn of(
        config: &ObservabilityConfig,
        name: &str,
        version: &str,
        logger: &Logger,
    ) -> Result<Option<Self>, TracingError> {
        if !config.tracing_enabled {
            return Ok(None);
        }
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let Some(settings) = Settings::of(config, &variable)? else { return Ok(None) };
        let sampler = settings.sampler.clone();
        let resource = settings::resource(name, version, &variable);
        let exporter = Exporter::start(settings, &resource, logger)?;
        Ok(Some(Self { sampler, exporter }))
    }

    /// What was counted of spans.
    pub(crate) fn counts(&self) -> &Arc<Counts> {
        self.exporter.counts()
    }

    /// Whether a request is traced, by what its headers say.
    fn decide(&self, headers: &HeaderMap) -> Option<Belongs> {
        let parent = Parent::of(headers);
        let fresh = || RandomIdGenerator::default().new_trace_id();
        let trace = parent.as_ref().map_or_else(fresh, |parent| parent.trace);
        self.sampler.samples(parent.as_ref(), trace).then_some(Belongs { trace, parent })
    }

    /// Sends what waits, within that time; how many spans were left behind. May block for as long.
    pub(crate) fn close(&self, within: Duration) -> u64 {
        self.exporter.close(within)
    }
}

impl fmt::Debug for Tracing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracing").field("sampler", &self.sampler).finish_non_exhaustive()
    }
}

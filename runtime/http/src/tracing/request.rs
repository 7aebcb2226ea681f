//! What is noted of a request that is traced, and the spans that it makes.
//!
//! Attributes have the names of OpenTelemetry's
//! [semantic conventions](https://opentelemetry.io/docs/specs/semconv/http/http-spans/); RustKernel's own begin with
//! `rustkernel.`. What a caller writes is cut: spans wait in memory.

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use actix_web::dev::ServiceRequest;
use actix_web::http::header::USER_AGENT;
use actix_web::http::{Method, Version};
use actix_web::{HttpMessage, HttpRequest};
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SpanData, SpanEvents, SpanLinks};
use rustkernel_core::kernel::{Instant, Timing};

use super::steps::Called;
use super::{Belongs, Parent, context};
use crate::clock;
use crate::security::Need;

/// Most characters of a value that a caller writes.
const LONGEST: usize = 256;

/// A request that is traced, among the extensions of its own.
pub(super) type Shared = Rc<Traced>;

/// What is noted of a request while it runs.
pub(super) struct Traced {
    context: SpanContext,
    parent: Option<SpanId>,
    since: Instant,
    /// The same on the wall clock.
    began: SystemTime,
    method: Method,
    /// The pattern of the path, if it is one that is served.
    route: Option<String>,
    attributes: RefCell<Vec<KeyValue>>,
    called: RefCell<Option<Called>>,
}

/// How a request has ended.
pub(super) struct End<'e> {
    /// The status of the answer, if there was somebody to give one to.
    pub(super) status: Option<u16>,
    /// Why it has failed, for machines.
    pub(super) reason: Option<&'e str>,
}

impl Traced {
    pub(super) fn new(Belongs { trace, parent }: Belongs, request: &ServiceRequest) -> Self {
        let span = RandomIdGenerator::default().new_span_id();
        let state = match parent {
            Some(_) => context::state(request.headers()),
            None => TraceState::NONE,
        };
        Self {
            context: SpanContext::new(trace, span, TraceFlags::SAMPLED, false, state),
            parent: parent.map(|parent| parent.span),
            since: Instant::now(),
            began: clock::wall(),
            method: request.method().clone(),
            route: request.match_pattern(),
            attributes: RefCell::new(attributes(request)),
            called: RefCell::new(None),
        }
    }

    /// The value of `traceresponse`.
    pub(super) fn response(&self) -> String {
        format!("00-{}-{}-01", self.context.trace_id(), self.context.span_id())
    }

    /// The spans of a request that is over: its own, then those of its steps.
    pub(super) fn spans(&self, end: &End<'_>) -> Vec<SpanData> {
        let over = Instant::now();
        let steps =
            self.called.borrow().as_ref().map_or_else(Vec::new, |called| called.steps(over));
        let mut spans = Vec::with_capacity(steps.len() + 1);
        spans.push(self.own(end, over));
        spans.extend(steps.into_iter().map(|(name, from, to)| SpanData {
            span_kind: SpanKind::Internal,
            parent_span_id: self.context.span_id(),
            ..self.span(
                RandomIdGenerator::default().new_span_id(),
                name.into(),
                (from, to.max(from)),
            )
        }));
        spans
    }

    fn own(&self, end: &End<'_>, over: Instant) -> SpanData {
        let method = if is_known(&self.method) { self.method.as_str() } else { "HTTP" };
        let name = match &self.route {
            Some(route) => format!("{method} {route}"),
            None => method.to_owned(),
        };
        let failed = end.status.is_none_or(|status| status >= 500);
        SpanData {
            span_kind: SpanKind::Server,
            parent_span_id: self.parent.unwrap_or(SpanId::INVALID),
            parent_span_is_remote: self.parent.is_some(),
            attributes: self.attributes(end, failed),
            status: if failed { Status::error("") } else { Status::Unset },
            ..self.span(self.context.span_id(), name.into(), (self.since, over))
        }
    }

    fn attributes(&self, end: &End<'_>, failed: bool) -> Vec<KeyValue> {
        let mut all = self.attributes.take();
        let mut add = |key, value: Option<Value>| {
            all.extend(value.map(|value| KeyValue::new(key, value)));
        };
        let error = match (end.reason, end.status) {
            (Some(reason), _) => reason.to_owned(),
            (None, Some(status)) => status.to_string(),
            (None, None) => "client_gone".into(),
        };
        add("http.route", self.route.clone().map(Value::from));
        add("http.response.status_code", end.status.map(|status| i64::from(status).into()));
        add("error.type", failed.then(|| error.into()));
        add("rustkernel.reason", end.reason.map(|reason| reason.to_owned().into()));
        all
    }

    fn span(
        &self,
        id: SpanId,
        name: Cow<'static, str>,
        (from, to): (Instant, Instant),
    ) -> SpanData {
        let wall = |at: Instant| self.began + at.saturating_duration_since(self.since);
        let (trace, flags) = (self.context.trace_id(), self.context.trace_flags());
        let state = self.context.trace_state().clone();
        SpanData {
            span_context: SpanContext::new(trace, id, flags, false, state),
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name,
            start_time: wall(from),
            end_time: wall(to),
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: scope(),
        }
    }
}

/// Who says it: this crate.
fn scope() -> InstrumentationScope {
    InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
        .with_version(env!("CARGO_PKG_VERSION"))
        .build()
}

/// Methods that name a span; any other text could.
fn is_known(method: &Method) -> bool {
    [
        Method::GET,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::HEAD,
        Method::OPTIONS,
        Method::PATCH,
        Method::CONNECT,
        Method::TRACE,
    ]
    .contains(method)
}

/// What is known of a request when it comes.
fn attributes(request: &ServiceRequest) -> Vec<KeyValue> {
    let mut all = Vec::with_capacity(16);
    let mut add = |key: &'static str, value: Value| all.push(KeyValue::new(key, value));
    if is_known(request.method()) {
        add("http.request.method", request.method().to_string().into());
    } else {
        add("http.request.method", "_OTHER".into());
        add("http.request.method_original", cut(request.method().as_str()));
    }
    add("url.path", cut(request.path()));
    add("url.scheme", if request.app_config().secure() { "https" } else { "http" }.into());
    add("network.protocol.version", version(request.version()).into());
    if let Some(peer) = request.peer_addr() {
        add("client.address", peer.ip().to_string().into());
        add("client.port", i64::from(peer.port()).into());
    }
    let agent = request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok());
    if let Some(agent) = agent {
        add("user_agent.original", cut(agent));
    }
    if let Some(kernel) = Need::of(request.path()).and_then(|need| need.kernel) {
        add("rustkernel.kernel", cut(kernel));
    }
    all
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}

fn cut(text: &str) -> Value {
    let end = text.char_indices().nth(LONGEST).map_or(text.len(), |(end, _)| end);
    text[..end].to_owned().into()
}

fn of(request: &HttpRequest) -> Option<Shared> {
    request.extensions().get::<Shared>().cloned()
}

/// A request calls a kernel: where the call is to note when it is run.
pub(crate) fn calling(request: &HttpRequest, since: Instant, asked: Instant) -> Arc<Timing> {
    let Some(traced) = of(request) else { return Arc::default() };
    let timing = Arc::new(Timing::with_phases());
    let called = Called { since, asked, timing: Arc::clone(&timing), written: None };
    traced.called.replace(Some(called));
    timing
}

/// The answer of a call is written, since then.
pub(crate) fn wrote(request: &HttpRequest, since: Instant) {
    let Some(traced) = of(request) else { return };
    if let Some(called) = &mut *traced.called.borrow_mut() {
        called.written = Some((since, Instant::now()));
    }
}

/// The id of the trace that a request belongs to, if it does to one.
pub(crate) fn trace_id(request: &ServiceRequest) -> Option<String> {
    let traced = request.extensions().get::<Shared>().map(|traced| traced.context.trace_id());
    let trace = traced.or_else(|| Some(Parent::of(request.headers())?.trace));
    trace.map(|trace| trace.to_string())
}

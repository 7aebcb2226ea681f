//! What a collector is told of requests, and that nobody waits for it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails is to say where")]

#[path = "support/collector.rs"]
mod collector;
mod support;

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use collector::{Collector, attributes};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use rustkernel_core::config::ObservabilityConfig;
use rustkernel_http::tracing::Tracing;
use serde_json::json;
use slog::{Drain, Logger, Never, OwnedKVList, Record, o};
use support::tcp::{Serving, config, held};
use support::within_a_minute;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";
const INFER: &str = "/v2/models/saxpy/infer";

/// Lines of a log.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Drain for Lines {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, _: &OwnedKVList) -> Result<(), Never> {
        self.0.lock().unwrap().push(record.msg().to_string());
        Ok(())
    }
}

impl Lines {
    fn said(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

async fn serving(collector: SocketAddr, lines: &Lines) -> Serving {
    let observability = ObservabilityConfig {
        tracing_enabled: true,
        otlp_endpoint: Some(format!("http://{collector}")),
        trace_sampling_ratio: Some(1.0),
        ..Default::default()
    };
    let logger = Logger::root(lines.clone().fuse(), o!());
    let tracing = Tracing::of(&observability, "test", "1.2.3", &logger).unwrap();
    assert!(tracing.is_some());
    Serving::start_as(config(), |service| service.tracing(tracing)).await
}

/// Ends the service, which sends what waits.
async fn end(serving: Serving) {
    serving.control.drain().await.unwrap();
    serving.end().await;
}

fn saxpy() -> String {
    let vector =
        |name: &str| json!({ "name": name, "datatype": "FP32", "shape": [2], "data": [1, 2] });
    json!({ "parameters": { "a": 2 }, "inputs": [vector("x"), vector("y")] }).to_string()
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attribute(span: &Span, key: &str) -> Option<String> {
    attributes(&span.attributes).remove(key)
}

/// The server's spans, and for each the names of its steps.
fn requests(spans: &[Span]) -> Vec<(&Span, Vec<&str>)> {
    let servers = spans.iter().filter(|span| span.kind() == SpanKind::Server);
    let steps = |of: &Span| {
        let own = spans.iter().filter(|span| span.parent_span_id == of.span_id);
        own.map(|span| span.name.as_str()).collect()
    };
    servers.map(|server| (server, steps(server))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_has_a_span_in_its_callers_trace_and_one_for_each_step() {
    let collector = Collector::start().await;
    let serving = serving(collector.address, &Lines::default()).await;
    let parent = format!("00-{TRACE}-{SPAN}-01");
    let headers = [("traceparent", &*parent), ("tracestate", "a=1"), ("user-agent", "this test")];
    let answer = serving.post(INFER, &headers, saxpy()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    end(serving).await;

    let resource = collector.resource();
    assert_eq!((&*resource["service.name"], &*resource["service.version"]), ("test", "1.2.3"));
    assert!(resource.contains_key("service.instance.id"));
    let spans = collector.spans();
    assert!(spans.iter().all(|span| hex(&span.trace_id) == TRACE && span.trace_state == "a=1"));
    let [(server, steps)] = &requests(&spans)[..] else { panic!("{spans:#?}") };
    assert_eq!(*steps, ["read", "queue", "stage", "launch", "collect", "write"]);
    assert_eq!(spans.len(), 7);
    assert_eq!(server.name, "POST /v2/models/{name}/infer");
    assert_eq!(hex(&server.parent_span_id), SPAN);
    let told = format!("00-{TRACE}-{}-01", hex(&server.span_id));
    assert_eq!(answer.header("traceresponse"), Some(&*told));
    for (key, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/v2/models/{name}/infer"),
        ("http.response.status_code", "200"),
        ("url.path", INFER),
        ("url.scheme", "http"),
        ("client.address", "127.0.0.1"),
        ("network.protocol.version", "1.1"),
        ("user_agent.original", "this test"),
        ("rustkernel.kernel", "saxpy"),
    ] {
        assert_eq!(attribute(server, key).as_deref(), Some(value), "{key}");
    }
    assert_eq!(attribute(server, "error.type"), None);
    assert_eq!(server.status.clone().unwrap_or_default().code(), StatusCode::Unset);

    // One step follows another, within the request.
    let steps: Vec<&Span> = spans.iter().filter(|span| span.kind() == SpanKind::Internal).collect();
    let times = steps.iter().flat_map(|step| [step.start_time_unix_nano, step.end_time_unix_nano]);
    let times: Vec<u64> = std::iter::once(server.start_time_unix_nano)
        .chain(times)
        .chain([server.end_time_unix_nano])
        .collect();
    assert!(times.is_sorted(), "{times:?}");
    let (first, last) = (steps[0].start_time_unix_nano, steps[4].end_time_unix_nano);
    let took = |span: &&Span| span.end_time_unix_nano - span.start_time_unix_nano;
    let sum: u64 = steps[..5].iter().map(took).sum();
    assert_eq!(sum, last - first, "nothing is between them");
    assert!(steps.iter().all(|step| step.parent_span_id == server.span_id));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_to_be_traced_is_not_and_a_malformed_parent_is_none() {
    let collector = Collector::start().await;
    let serving = serving(collector.address, &Lines::default()).await;
    let unsampled = format!("00-{TRACE}-{SPAN}-00");
    let answer = serving.post(INFER, &[("traceparent", &unsampled)], saxpy()).await;
    assert_eq!((answer.status, answer.header("traceresponse")), (200, None));
    for path in ["/livez", "/readyz?verbose", "/v2/health/live", "/metrics"] {
        let answer = serving.get(path).await;
        assert_eq!((answer.status, answer.header("traceresponse")), (200, None), "{path}");
    }
    let malformed = format!("00-{}-{SPAN}-01", TRACE.to_uppercase());
    let headers = [("traceparent", &*malformed), ("tracestate", "a=1")];
    let answer = serving.post("/v2/repository/index", &headers, "").await;
    assert!(answer.header("traceresponse").is_some());
    end(serving).await;

    let spans = collector.spans();
    let [span] = &spans[..] else { panic!("{spans:#?}") };
    assert_eq!(span.name, "POST /v2/repository/index");
    assert_ne!(hex(&span.trace_id), TRACE);
    assert_eq!((span.parent_span_id.len(), &*span.trace_state), (0, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_is_said_in_the_span() {
    let collector = Collector::start().await;
    let serving = serving(collector.address, &Lines::default()).await;
    let path = "/v2/models/held/infer";
    let long = "a".repeat(1000);
    assert_eq!(serving.get(&format!("/no/such/{long}?secret=1")).await.status, 404);
    assert_eq!(serving.get(path).await.status, 405);
    assert_eq!(serving.post(path, &[], "{").await.status, 400);
    assert_eq!(serving.infer("held", &held(&[-1.0])).await.status, 500);
    let late = [("x-request-timeout-ms", "20")];
    assert_eq!(serving.post(path, &late, held(&[1.0]).to_string()).await.status, 504);
    give_up(&serving, path).await;
    end(serving).await;

    let spans = collector.spans();
    let said: Vec<_> = requests(&spans)
        .into_iter()
        .map(|(span, steps)| {
            let failed = span.status.clone().unwrap_or_default().code() == StatusCode::Error;
            let says = |key| attribute(span, key);
            let (status, error) = (says("http.response.status_code"), says("error.type"));
            (span.name.clone(), status, failed.then(|| error.unwrap()), steps.join(" "))
        })
        .collect();
    let post = "POST /v2/models/{name}/infer";
    let row = |name: &str, status: Option<&str>, error: Option<&str>, steps: &str| {
        (name.to_owned(), status.map(str::to_owned), error.map(str::to_owned), steps.to_owned())
    };
    let ran = "read queue stage launch";
    // (How far it had come, when its caller went away, nobody knows.)
    assert!(ran.starts_with(&said[5].3), "{said:?}");
    assert_eq!(
        said,
        [
            row("GET", Some("404"), None, ""),
            row("GET /v2/models/{name}/infer", Some("405"), None, ""),
            row(post, Some("400"), None, ""),
            row(post, Some("500"), Some("failed"), ran),
            row(post, Some("504"), Some("deadline"), ran),
            row(post, None, Some("client_gone"), &said[5].3),
        ]
    );
    let invalid = spans.iter().filter_map(|span| attribute(span, "rustkernel.reason"));
    assert_eq!(invalid.collect::<Vec<_>>(), ["invalid", "failed", "deadline"]);
    assert_eq!(attribute(&spans[0], "url.path").unwrap().len(), 256, "spans wait in memory");
    let secret = spans.iter().flat_map(|span| attributes(&span.attributes).into_values());
    assert!(!secret.collect::<String>().contains("secret"), "queries may hold some");
}

/// Has a caller go away whose request runs.
async fn give_up(serving: &Serving, path: &str) {
    let before = serving.runtime.stats().ledger;
    let mut stream = TcpStream::connect(serving.address).await.unwrap();
    let body = held(&[1.0]).to_string();
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(head.as_bytes()).await.unwrap();
    let ledger = || serving.runtime.stats().ledger;
    let poll = async |is: &dyn Fn() -> bool| {
        within_a_minute(async {
            while !is() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    };
    let kernel = || {
        let kernels = serving.runtime.stats().kernels;
        kernels.into_iter().find(|kernel| kernel.name == "held").unwrap()
    };
    poll(&|| ledger().submitted > before.submitted && kernel().open == 1).await;
    drop(stream);
    poll(&|| ledger().cancelled > before.cancelled).await;
}

/// What a counter of the metrics says.
async fn counted(serving: &Serving, row: &str) -> u64 {
    let text = String::from_utf8(serving.get("/metrics").await.body).unwrap();
    let line = text.lines().find(|line| line.starts_with(row));
    let line = line.unwrap_or_else(|| panic!("{row}: {text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

async fn until_counted(serving: &Serving, row: &str, least: u64) {
    within_a_minute(async {
        while counted(serving, row).await < least {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// As many requests as make a full batch of spans.
async fn a_batch(serving: &Serving) {
    for _ in 0..74 {
        assert_eq!(serving.post(INFER, &[], saxpy()).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_is_said_once_and_so_is_its_return() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let lines = Lines::default();
    let serving = serving(address, &lines).await;
    let not_taken = "rustkernel_trace_spans_total{outcome=\"not_taken\"}";
    a_batch(&serving).await;
    until_counted(&serving, not_taken, 512).await;
    a_batch(&serving).await;
    until_counted(&serving, not_taken, 1024).await;
    assert_eq!(lines.said(), ["the collector takes no spans, they are dropped"]);

    let collector = Collector::start_at(address).await;
    a_batch(&serving).await;
    until_counted(&serving, "rustkernel_trace_spans_total{outcome=\"sent\"}", 512).await;
    assert_eq!(lines.said()[1..], ["the collector takes spans again"]);
    assert!(!collector.spans().is_empty());
    end(serving).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_that_nobody_takes_at_the_end_are_said_to_be_lost() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let serving = serving(address, &Lines::default()).await;
    assert_eq!(serving.post(INFER, &[], saxpy()).await.status, 200);
    let waiting = counted(&serving, "rustkernel_trace_spans_waiting").await;
    let lost = Arc::clone(&serving.spans_lost);
    end(serving).await;
    assert!(waiting > 0 && lost.load(Ordering::Relaxed) == waiting, "{waiting}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_hangs_keeps_neither_requests_nor_the_end_waiting() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let hangs = tokio::spawn(async move {
        let mut open = Vec::new();
        loop {
            open.push(listener.accept().await.unwrap().0);
        }
    });
    let serving = serving(address, &Lines::default()).await;
    // (Its queue has room for 2,048.)
    for _ in 0..5 {
        a_batch(&serving).await;
    }
    assert_eq!(counted(&serving, "rustkernel_trace_spans_waiting").await, 2044);
    let full = "rustkernel_trace_spans_total{outcome=\"queue_full\"}";
    assert_eq!(counted(&serving, full).await, 5 * 74 * 7 - 2044);
    // (It is sooner than a batch is given up, after ten seconds.)
    tokio::time::timeout(Duration::from_secs(8), end(serving)).await.unwrap();
    hangs.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_that_a_collector_does_not_want_are_counted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // Takes all but three spans (`partial_success.rejected_spans`).
    let picky = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut taken = vec![0; 1 << 20];
        let mut length = 0;
        while !is_whole(&taken[..length]) {
            length += stream.read(&mut taken[length..]).await.unwrap();
        }
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n\x0a\x02\x08\x03";
        stream.write_all(answer).await.unwrap();
        stream
    });
    let serving = serving(address, &Lines::default()).await;
    a_batch(&serving).await;
    until_counted(&serving, "rustkernel_trace_spans_total{outcome=\"sent\"}", 509).await;
    let row = "rustkernel_trace_spans_total{outcome=\"not_taken\"}";
    assert_eq!(counted(&serving, row).await, 3);
    drop(picky.await.unwrap());
    end(serving).await;
}

fn is_whole(request: &[u8]) -> bool {
    let Some(at) = request.windows(4).position(|end| end == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&request[..at]).to_lowercase();
    let length = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
    request.len() - at - 4 == length.parse::<usize>().unwrap()
}

#[test]
fn what_cannot_be_is_refused() {
    let config = ObservabilityConfig {
        tracing_enabled: true,
        otlp_endpoint: Some("localhost:4318".into()),
        ..Default::default()
    };
    let logger = Logger::root(slog::Discard, o!());
    let error = Tracing::of(&config, "test", "1", &logger).unwrap_err().to_string();
    assert!(error.starts_with("observability.otlp_endpoint: `localhost:4318"), "{error}");
    assert!(Tracing::of(&ObservabilityConfig::default(), "test", "1", &logger).unwrap().is_none());
}

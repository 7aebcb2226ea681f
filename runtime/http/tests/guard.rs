//! The guard as a middleware: who is let in, and what is written down.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails is to say where")]

mod identities;

use std::fs;
use std::future::Future;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::from_fn;
use actix_web::test::{self, TestRequest};
use actix_web::web::{self, Data, ReqData};
use actix_web::{App, HttpResponse};
use futures_util::FutureExt;
use identities::Files;
use rustkernel_core::config::{CallerConfig, SecurityConfig};
use rustkernel_http::audit::{Audit, Settings};
use rustkernel_http::security::{Guard, Principal, RequestId, Role, guarded};
use serde_json::Value;

const TOO_MANY: StatusCode = StatusCode::TOO_MANY_REQUESTS;

/// The rows of the documented table: a permission, and whether each role has it.
fn documented() -> Vec<(String, [bool; 4])> {
    let page = include_str!("../../../docs/security.md");
    let rows = page.lines().skip_while(|line| !line.starts_with("| permission | viewer |")).skip(2);
    let rows = rows.take_while(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let has = |at: usize| match cells[at] {
            "yes" => true,
            "–" => false,
            other => panic!("{other} in {row}"),
        };
        (cells[0].trim_matches('`').to_owned(), [has(1), has(2), has(3), has(4)])
    })
    .collect()
}

/// A path that needs a permission, about a kernel if that can be.
fn path(permission: &str) -> &'static str {
    match permission {
        "health" => "/readyz",
        "metadata" => "/v2/models/gemm",
        "inference" => "/v2/models/gemm/infer",
        "model-config" => "/v2/models/gemm/config",
        "model-repository" => "/v2/repository/models/gemm/load",
        "statistics" => "/v2/models/gemm/stats",
        "metrics" => "/metrics",
        "status" => "/admin/v1/status",
        "config" => "/admin/v1/config",
        "drain" => "/admin/v1/drain",
        "stop" => "/admin/v1/stop",
        "reload" => "/admin/v1/reload",
        "restart" => "/admin/v1/kernels/gemm/restart",
        "lift" => "/admin/v1/kernels/gemm/lift",
        other => panic!("no path is known that needs {other}"),
    }
}

fn run(test: impl Future<Output = ()>) {
    actix_web::rt::System::new().block_on(test);
}

/// What the application does behind the guard.
async fn handle(done: Data<AtomicUsize>, request: actix_web::HttpRequest) -> HttpResponse {
    done.fetch_add(1, Ordering::Relaxed);
    match request.query_string() {
        "never" => std::future::pending().await,
        "fails" => HttpResponse::InternalServerError().finish(),
        damages if damages.starts_with("empties=") => {
            fs::write(&damages["empties=".len()..], "").unwrap();
            HttpResponse::Ok().body("done")
        }
        _ => HttpResponse::Ok().body("done"),
    }
}

macro_rules! app {
    ($guard:expr, $done:expr) => {
        test::init_service(
            App::new()
                .app_data(Data::from(Arc::clone(&$guard)))
                .app_data(Data::from(Arc::clone(&$done)))
                .wrap(from_fn(guarded))
                .route("/v2/models/who/infer", web::get().to(who))
                .default_service(web::to(handle)),
        )
        .await
    };
}

async fn who(principal: ReqData<Principal>, id: ReqData<RequestId>) -> String {
    format!("{} {}", principal.name(), *id)
}

fn get(path: &str, key: Option<&str>) -> TestRequest {
    let request = TestRequest::with_uri(path).peer_addr("10.0.0.1:77".parse().unwrap());
    match key {
        Some(key) => request.insert_header(("authorization", format!("Bearer {key}"))),
        None => request,
    }
}

macro_rules! status {
    ($app:expr, $request:expr) => {
        $app.call($request.to_request()).await.unwrap().status()
    };
}

fn header<'a, B>(answer: &'a ServiceResponse<B>, name: &str) -> &'a str {
    answer.headers().get(name).unwrap().to_str().unwrap()
}

#[test]
fn each_cell_of_the_documented_table_holds() {
    run(async {
        let files = Files::new(&[]);
        let keys = Role::ALL.map(|role| files.key(&[role], "g*").1);
        let (_, nothing) = files.key(&[], "*");
        let config = SecurityConfig { jwt: Default::default(), ..files.config() };
        let guard = Arc::new(Guard::of(&config, "test").unwrap());
        let done = Arc::new(AtomicUsize::new(0));
        let app = app!(guard, done);
        let (rows, mut expected) = (documented(), 0);
        assert_eq!(rows.len(), 14);
        for (permission, row) in rows {
            let path = path(&permission);
            let open = permission == "health";
            let unknown = status!(app, get(path, None));
            assert_eq!(unknown, if open { StatusCode::OK } else { StatusCode::UNAUTHORIZED });
            let nobody = status!(app, get(path, Some(&nothing)));
            assert_eq!(nobody, if open { StatusCode::OK } else { StatusCode::FORBIDDEN });
            expected += if open { 2 } else { 0 };
            for (key, may) in keys.iter().zip(row) {
                let found = status!(app, get(path, Some(key)));
                let wanted = if may { StatusCode::OK } else { StatusCode::FORBIDDEN };
                assert_eq!(found, wanted, "{permission}");
                let head = get(path, Some(key)).method(Method::HEAD);
                assert_eq!(status!(app, head), wanted, "{permission}, of its head");
                expected += 2 * usize::from(may);
                if path.contains("gemm") {
                    let other = path.replace("gemm", "softmax");
                    let found = status!(app, get(&other, Some(key)));
                    assert_eq!(found, StatusCode::FORBIDDEN, "{permission} of another kernel");
                }
            }
        }
        assert_eq!(done.load(Ordering::Relaxed), expected, "nothing else was done");
        for path in ["/", "/v2/models/gemm/generate", "/v2/models/%67emm/infer"] {
            let found = status!(app, get(path, Some(&keys[3])));
            assert_eq!(found, StatusCode::NOT_FOUND);
            assert_eq!(status!(app, get(path, None)), StatusCode::UNAUTHORIZED);
        }
    });
}

#[test]
fn a_request_and_its_outcome_are_written_down_by_an_id_that_the_caller_gets() {
    run(async {
        let signer = identities::Signer::new(1);
        let files = Files::new(&[&signer]);
        let (id, key) = files.key(&[Role::Executor], "*");
        let guard = Arc::new(Guard::of(&files.config(), "test").unwrap());
        let done = Arc::new(AtomicUsize::new(0));
        let app = app!(guard, done);
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let request = get("/v2/models/who/infer", Some(&key))
            .insert_header(("traceparent", format!("00-{trace}-b7ad6b7169203331-01")));
        let answer = app.call(request.to_request()).await.unwrap();
        let request_id = header(&answer, "x-request-id").to_owned();
        let body = test::read_body(answer).await;
        assert_eq!(body, format!("key:{id} {request_id}"));
        status!(app, get("/v2/models/gemm/infer?fails", Some(&key)));
        let denied = app.call(get("/metrics", Some(&key)).to_request()).await.unwrap();
        let denied_id = header(&denied, "x-request-id").to_owned();
        let body: Value = test::read_body_json(denied).await;
        assert_eq!(
            (&body["reason"], &body["request_id"]),
            (&"forbidden".into(), &denied_id.clone().into())
        );
        let unknown = app.call(get("/v2", None).to_request()).await.unwrap();
        assert_eq!(header(&unknown, "www-authenticate"), "Bearer realm=\"rustkernel\"");
        let wrong = app.call(get("/v2", Some("x")).to_request()).await.unwrap();
        assert!(header(&wrong, "www-authenticate").ends_with("\"invalid_token\""));
        // Whoever gives up leaves an outcome as well.
        let gone = app.call(get("/v2/models/gemm/infer?never", Some(&key)).to_request());
        assert!(tokio::time::timeout(Duration::from_millis(200), gone).await.is_err());
        guard.lifecycle("draining", "SIGTERM").await.unwrap();
        guard.audit().unwrap().close().await;

        let lines = files.audited();
        let told: Vec<String> = lines
            .iter()
            .map(|line| {
                let text = |key: &str| line[key].as_str().unwrap_or("-").to_owned();
                format!(
                    "{} {} {} {} {}",
                    text("event"),
                    text("action"),
                    text("object"),
                    text("outcome"),
                    text("reason")
                )
            })
            .collect();
        assert_eq!(
            told[1..],
            [
                "request inference who - -",
                "outcome inference who ok status 200",
                "request inference gemm - -",
                "outcome inference gemm failed status 500",
                "denied metrics /metrics forbidden this needs the permission `metrics`",
                "denied metadata /v2 unauthenticated no credentials",
                "denied metadata /v2 unauthenticated credentials that are neither a key nor a token",
                "request inference gemm - -",
                "outcome inference gemm abandoned its caller is gone",
                "lifecycle draining  - SIGTERM",
            ]
        );
        assert_eq!(
            (&lines[1]["id"], &lines[2]["id"]),
            (&request_id.clone().into(), &request_id.into())
        );
        assert_eq!(lines[5]["id"], denied_id.as_str());
        assert_eq!(lines[1]["trace_id"], trace);
        assert_eq!(
            (&lines[1]["source"], &lines[1]["roles"][0]),
            (&"10.0.0.1:77".into(), &"executor".into())
        );
    });
}

#[test]
fn nothing_is_done_that_cannot_be_written_down() {
    run(async {
        let files = Files::new(&[&identities::Signer::new(1)]);
        let (_, key) = files.key(&[Role::Admin], "*");
        let guard = Arc::new(Guard::of(&files.config(), "test").unwrap());
        let done = Arc::new(AtomicUsize::new(0));
        let app = app!(guard, done);
        let kept = files.directory.path().join("kept");
        fs::rename(files.audit(), &kept).unwrap();
        symlink("/dev/full", files.audit()).unwrap();
        let infer = || get("/v2/models/gemm/infer", Some(&key));
        let refused = app.call(infer().to_request()).await.unwrap();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(header(&refused, "retry-after"), "1");
        let body: Value = test::read_body_json(refused).await;
        assert_eq!(body["reason"], "audit_unavailable");
        assert_eq!(status!(app, get("/v2", None)), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(done.load(Ordering::Relaxed), 0);
        let denied = guard.denied().find(|(reason, _)| *reason == "audit_unavailable");
        assert_eq!(denied, Some(("audit_unavailable", 2)));
        assert_eq!(status!(app, get("/readyz", None)), StatusCode::OK, "probes go on");
        fs::remove_file(files.audit()).unwrap();
        fs::rename(&kept, files.audit()).unwrap();
        assert_eq!(status!(app, infer()), StatusCode::OK);
        assert_eq!(done.load(Ordering::Relaxed), 2);
        guard.audit().unwrap().close().await;
        let lines = files.audited();
        let resumed = lines.iter().find(|line| line["action"] == "audit.resumed").unwrap();
        let reason = resumed["reason"].as_str().unwrap();
        assert!(reason.starts_with("2 records"), "a refused request has no outcome: {reason}");
        assert!(lines.iter().all(|line| line["outcome"] != "abandoned"), "{lines:?}");
    });
}

#[test]
fn what_was_done_and_cannot_be_written_down_is_not_told_as_not_done() {
    run(async {
        let files = Files::new(&[&identities::Signer::new(1)]);
        let (_, key) = files.key(&[Role::Admin], "*");
        let guard = Arc::new(Guard::of(&files.config(), "test").unwrap());
        let done = Arc::new(AtomicUsize::new(0));
        let app = app!(guard, done);
        let path = format!("/v2/models/gemm/infer?empties={}", files.audit().display());
        let answer = app.call(get(&path, Some(&key)).to_request()).await.unwrap();
        assert_eq!(done.load(Ordering::Relaxed), 1);
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!answer.headers().contains_key("retry-after"));
        assert!(answer.headers().contains_key("x-request-id"));
        let body: Value = test::read_body_json(answer).await;
        assert_eq!(body["reason"], "outcome_unrecorded", "{body}");
    });
}

#[test]
fn a_caller_that_leaves_while_its_request_becomes_durable_leaves_an_outcome() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.jsonl");
        // (The record waits that long for others: for the outcome.)
        let commit_delay = Duration::from_millis(500);
        let settings = Settings { path: path.clone(), max_bytes: 1 << 20, commit_delay, queue: 64 };
        let guard = Guard::new(None, Some(Audit::open(&settings).unwrap()));
        let (guard, done) = (Arc::new(guard), Arc::new(AtomicUsize::new(0)));
        let app = app!(guard, done);
        let asked = app.call(get("/v2/models/gemm/infer", None).to_request());
        assert!(asked.now_or_never().is_none(), "it waits until it is durable");
        guard.audit().unwrap().close().await;
        assert_eq!(done.load(Ordering::Relaxed), 0);
        let log = fs::read_to_string(&path).unwrap();
        let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let lines: Vec<Value> = lines.skip(1).collect();
        let told: Vec<&Value> = lines.iter().map(|line| &line["event"]).collect();
        assert_eq!(told, ["request", "outcome"]);
        assert_eq!(lines[1]["outcome"], "abandoned");
        assert_eq!(lines[1]["id"], lines[0]["id"]);
    });
}

#[test]
fn one_caller_may_not_ask_more_than_its_share() {
    run(async {
        let files = Files::new(&[&identities::Signer::new(1)]);
        let (_, key) = files.key(&[Role::Admin], "*");
        let (_, other) = files.key(&[Role::Admin], "*");
        let caller = CallerConfig { requests_per_second: 1, burst: 2, concurrent: 1 };
        let guard = Guard::of(&SecurityConfig { caller, ..files.config() }, "test");
        let (guard, done) = (Arc::new(guard.unwrap()), Arc::new(AtomicUsize::new(0)));
        let app = app!(guard, done);
        let infer = || get("/v2/models/gemm/infer", Some(&key));
        let open = app.call(get("/v2/models/gemm/infer?never", Some(&key)).to_request());
        let mut open = Box::pin(open);
        while done.load(Ordering::Relaxed) == 0 {
            assert!((&mut open).now_or_never().is_none());
            tokio::task::yield_now().await;
        }
        let refused = app.call(infer().to_request()).await.unwrap();
        assert_eq!((refused.status(), header(&refused, "retry-after")), (TOO_MANY, "1"));
        let body: Value = test::read_body_json(refused).await;
        assert_eq!(body["reason"], "too_many_open");
        drop(open);
        assert_eq!(status!(app, infer()), StatusCode::OK);
        let refused = app.call(infer().to_request()).await.unwrap();
        assert_eq!((refused.status(), header(&refused, "retry-after")), (TOO_MANY, "1"));
        let body: Value = test::read_body_json(refused).await;
        assert_eq!(body["reason"], "rate_limited");

        assert_eq!(status!(app, get("/v2", Some(&other))), StatusCode::OK, "another has its own");
        let wrong = || get("/v2", Some("x"));
        assert_eq!(status!(app, wrong()), StatusCode::UNAUTHORIZED);
        assert_eq!(status!(app, wrong()), StatusCode::UNAUTHORIZED);
        assert_eq!(status!(app, wrong()), TOO_MANY, "wrong ones count by their address");
        assert_eq!(status!(app, get("/v2", Some(&other))), StatusCode::OK, "a right one does not");
        for _ in 0..5 {
            assert_eq!(status!(app, get("/readyz", None)), StatusCode::OK, "probes have none");
        }
        guard.limit_callers(CallerConfig::default());
        assert_eq!(status!(app, infer()), StatusCode::OK, "and it can be lifted");

        guard.audit().unwrap().close().await;
        let lines = files.audited();
        let denied = lines.iter().filter(|line| line["event"] == "denied");
        let outcomes: Vec<&str> = denied.map(|line| line["outcome"].as_str().unwrap()).collect();
        assert_eq!(
            outcomes,
            ["too_many_open", "rate_limited", "unauthenticated", "unauthenticated", "rate_limited"]
        );
    });
}

#[test]
fn without_credentials_a_caller_is_an_address() {
    run(async {
        let caller = CallerConfig { requests_per_second: 1, ..CallerConfig::default() };
        let config = SecurityConfig { caller, ..SecurityConfig::default() };
        let guard = Arc::new(Guard::of(&config, "test").unwrap());
        let done = Arc::new(AtomicUsize::new(0));
        let app = app!(guard, done);
        let from = |address: &str| get("/v2", None).peer_addr(address.parse().unwrap());
        assert_eq!(status!(app, from("10.0.0.1:77")), StatusCode::OK);
        assert_eq!(status!(app, from("10.0.0.1:78")), TOO_MANY);
        assert_eq!(status!(app, from("10.0.0.2:77")), StatusCode::OK);
    });
}

#[test]
fn without_a_guard_nobody_is_let_in() {
    run(async {
        let done = Arc::new(AtomicUsize::new(0));
        let app = test::init_service(
            App::new()
                .app_data(Data::from(Arc::clone(&done)))
                .wrap(from_fn(guarded))
                .default_service(web::to(handle)),
        )
        .await;
        assert_eq!(status!(app, get("/v2", None)), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(done.load(Ordering::Relaxed), 0);
        // One that asks for nothing lets everybody in.
        let app = app!(Arc::new(Guard::default()), done);
        assert_eq!(status!(app, get("/v2", None)), StatusCode::OK);
    });
}

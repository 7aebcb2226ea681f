//! Kernels over the Open Inference Protocol: what is answered, and what is refused.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails is to say where")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use rustkernel_core::config::{CallerConfig, HttpConfig, SecurityConfig};
use rustkernel_http::security::Guard;
use serde_json::{Value, json};
use support::tcp::{Serving, config, held};
use support::within_a_minute;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn saxpy() -> Value {
    json!({
        "id": "7",
        "parameters": { "a": 2 },
        "inputs": [
            { "name": "x", "datatype": "FP32", "shape": [2], "data": [1, 2.5] },
            { "name": "y", "datatype": "FP32", "shape": [2], "data": [[10], [20]] },
        ],
    })
}

fn packed_with_gzip(body: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(body).unwrap();
    packer.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kernel_is_described_called_and_counted() {
    let serving = Serving::start(config()).await;
    assert_eq!(serving.get("/v2").await.json()["name"], "test");
    let metadata = serving.get("/v2/models/saxpy").await.json();
    let vector = |name: &str| json!({ "name": name, "datatype": "FP32", "shape": [-1] });
    assert_eq!(metadata["inputs"], json!([vector("x"), vector("y")]));
    assert_eq!(metadata["versions"], json!(["1"]));
    let configuration = serving.get("/v2/models/saxpy/versions/1/config").await.json();
    assert_eq!(
        configuration["input"][0],
        json!({ "name": "x", "data_type": "TYPE_FP32", "dims": [-1] })
    );
    assert_eq!(serving.get("/v2/models/saxpy/ready").await.status, 200);

    let answer = serving.infer("saxpy", &saxpy()).await.json();
    let output =
        json!({ "name": "output", "datatype": "FP32", "shape": [2], "data": [12.0, 25.0] });
    let expected =
        json!({ "model_name": "saxpy", "model_version": "1", "id": "7", "outputs": [output] });
    assert_eq!(answer, expected);

    let statistics = serving.get("/v2/models/saxpy/stats").await.json();
    let statistics = &statistics["model_stats"][0];
    assert_eq!((&statistics["name"], &statistics["inference_count"]), (&json!("saxpy"), &json!(1)));
    assert!(statistics["inference_stats"]["compute_infer"]["ns"].as_u64().unwrap() > 0);
    let all = serving.get("/v2/models/stats").await.json();
    let index = serving.post("/v2/repository/index", &[], "").await.json();
    assert_eq!(all["model_stats"].as_array().unwrap().len(), index.as_array().unwrap().len());
    assert!(index.as_array().unwrap().iter().all(|kernel| kernel["state"] == "READY"));
    assert_eq!(serving.post("/v2/repository/models/saxpy/load", &[], "{}").await.status, 200);

    let order =
        async |what: &str| serving.post(&format!("/v2/repository/models/{what}"), &[], "{}").await;
    for (what, order) in [
        ("load", json!({ "parameters": { "config": "{}" } })),
        ("load", json!({ "parameters": { "file:1/a": "" } })),
        ("unload", json!({ "parameters": { "version": 1 } })),
        ("unload", json!([null])),
        ("load", json!([null])),
        ("unload", json!({ "parameters": { "unload_dependents": "all" } })),
    ] {
        let path = format!("/v2/repository/models/saxpy/{what}");
        let refused = serving.post(&path, &[], order.to_string()).await;
        assert_eq!(refused.refusal(), (400, "invalid".into()), "it is not passed over: {order}");
    }
    let unload = json!({ "parameters": { "unload_dependents": true } }).to_string();
    let unloaded = serving.post("/v2/repository/models/saxpy/unload", &[], unload).await;
    assert_eq!(unloaded.status, 200);
    assert_eq!(serving.infer("saxpy", &saxpy()).await.refusal(), (503, "unloaded".into()));
    assert_eq!(serving.get("/v2/models/saxpy/ready").await.refusal(), (503, "unloaded".into()));
    let index = serving.post("/v2/repository/index", &[], "").await.json();
    let state = index.as_array().unwrap().iter().find(|kernel| kernel["name"] == "saxpy").unwrap();
    assert_eq!(
        (&state["state"], &state["reason"]),
        (&json!("UNAVAILABLE"), &json!("it is unloaded"))
    );
    let some = serving.post("/v2/repository/index", &[], r#"{"ready":true}"#).await.json();
    let expected = index.as_array().unwrap().iter().filter(|kernel| kernel["name"] != "saxpy");
    assert_eq!(some, expected.cloned().collect::<Value>());
    for all in ["{}", r#"{"ready":null}"#, r#"{"ready":false,"repository_name":"a"}"#] {
        assert_eq!(serving.post("/v2/repository/index", &[], all).await.json(), index);
    }
    for wrong in ["{", "[]", "[null]", "[true]", r#"{"ready":1}"#] {
        let refused = serving.post("/v2/repository/index", &[], wrong).await;
        assert_eq!(refused.refusal(), (400, "invalid".into()), "{wrong}");
    }
    assert_eq!(serving.get("/readyz").await.status, 200, "the service is as it is meant to be");
    assert_eq!(order("saxpy/load").await.status, 200);
    assert_eq!(serving.infer("saxpy", &saxpy()).await.status, 200);
    assert_eq!(order("nobody/unload").await.refusal(), (404, "not_found".into()));
    serving.control.drain().await.unwrap();
    assert!(serving.end().await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_the_same_by_each_path_that_names_its_kernel() {
    let serving = Serving::start(config()).await;
    let by = async |path: &str| {
        let path = format!("/v2/models/{path}/infer");
        serving.post(&path, &[], saxpy().to_string()).await
    };
    let answer = by("saxpy").await.json();
    // (What is escaped is found as every other path is.)
    for path in ["saxpy/versions/1", "%73axpy", "saxpy/versions/%31"] {
        assert_eq!(by(path).await.json(), answer, "{path}");
    }
    for path in ["saxpy/versions/2", "saxpi", "saxpy/x", "x/saxpy", "", "/saxpy"] {
        assert_eq!(by(path).await.refusal(), (404, "not_found".into()), "{path}");
    }
    assert_eq!(serving.get("/v2/models/saxpy/infer").await.status, 405);
    serving.control.drain().await.unwrap();
    assert!(serving.end().await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn tensors_come_and_go_as_bytes() {
    let serving = Serving::start(config()).await;
    let header = json!({
        "parameters": { "a": 0.5, "binary_data_output": true },
        "inputs": [
            { "name": "x", "datatype": "FP32", "shape": [2], "parameters": { "binary_data_size": 8 } },
            { "name": "y", "datatype": "FP32", "shape": [2], "data": [1, 1] },
        ],
    })
    .to_string();
    let mut body = header.clone().into_bytes();
    [2.0f32, -4.0].iter().for_each(|x| body.extend_from_slice(&x.to_le_bytes()));
    let length = header.len().to_string();
    let headers = [("Inference-Header-Content-Length", length.as_str())];
    let answer = serving.post("/v2/models/saxpy/infer", &headers, &body).await;
    assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
    let length = answer.header("inference-header-content-length").unwrap().parse().unwrap();
    let (header, bytes) = answer.body.split_at(length);
    let header: Value = serde_json::from_slice(header).unwrap();
    assert_eq!(header["outputs"][0]["parameters"], json!({ "binary_data_size": 8 }));
    assert_eq!(header["outputs"][0].get("data"), None);
    assert_eq!(bytes, [2.0f32.to_le_bytes(), (-1.0f32).to_le_bytes()].concat());

    let raw = [("Inference-Header-Content-Length", "0")];
    let answer =
        serving.post("/v2/models/scan/infer", &raw, [1.0f32.to_le_bytes(); 3].concat()).await;
    assert!(answer.body.ends_with(&3.0f32.to_le_bytes()), "{answer:?}");

    // (Large JSON is read and written on other threads.)
    let many = vec![1.0f32; 1 << 17];
    let input = json!({ "name": "input", "datatype": "FP32", "shape": [many.len()], "data": many });
    let sums = serving.infer("scan", &json!({ "inputs": [input] })).await.json();
    assert_eq!(sums["outputs"][0]["data"][many.len() - 1], 131_072.0);
    serving.control.drain().await.unwrap();
    serving.end().await;
}

/// Sends a request of `scan` over an open connection, in pieces of odd sizes, and reads its answer: the head, and the body.
fn in_pieces(stream: &mut TcpStream, inputs: &Value, bytes: &[u8]) -> (String, Vec<u8>) {
    let document = json!({ "inputs": inputs, "parameters": { "binary_data_output": true } });
    let json = document.to_string();
    let mut sent = format!(
        "POST /v2/models/scan/infer HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\
         inference-header-content-length: {}\r\n\r\n{json}",
        json.len() + bytes.len(),
        json.len()
    )
    .into_bytes();
    sent.extend_from_slice(bytes);
    let mut rest = &sent[..];
    for length in [1usize, 150, 77, 65_537, 3, 99_999, 7, 1_000_001].into_iter().cycle() {
        let (piece, others) = rest.split_at(rest.len().min(length));
        stream.write_all(piece).unwrap();
        rest = others;
        if rest.is_empty() {
            break;
        }
    }
    let mut answer = Vec::new();
    let mut reader = BufReader::new(stream);
    while !answer.ends_with(b"\r\n\r\n") {
        assert_ne!(reader.read_until(b'\n', &mut answer).unwrap(), 0, "it has a head");
    }
    let head = String::from_utf8(answer).unwrap().to_lowercase();
    let (_, length) = head.split_once("\r\ncontent-length: ").unwrap();
    let mut body = vec![0; length.lines().next().unwrap().parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    (head, body)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_is_read_as_it_comes() {
    const MANY: usize = 1_000_003;
    let serving = Serving::start(config()).await;
    let address = serving.address;
    let input = |shape: usize| {
        json!([{ "name": "input", "datatype": "FP32", "shape": [shape],
                 "parameters": { "binary_data_size": MANY * 4 } }])
    };
    let talk = move || {
        let numbers: Vec<f32> = (0..MANY).map(|at| (at % 3) as f32 - 1.0).collect();
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        let mut sum = 0.0;
        let sums = numbers.iter().map(|number| {
            sum += number;
            sum
        });
        let sums: Vec<u8> = sums.flat_map(f32::to_le_bytes).collect();
        let mut stream = TcpStream::connect(address).unwrap();
        // (What is refused is read to its end: the connection goes on.)
        for _ in 0..2 {
            let (head, body) = in_pieces(&mut stream, &input(MANY), &bytes);
            assert!(head.starts_with("http/1.1 200") && body.ends_with(&sums), "{head}");
            let (head, body) = in_pieces(&mut stream, &input(MANY + 1), &bytes);
            let body: Value = serde_json::from_slice(&body).unwrap();
            let error =
                "input `input`: 4000012 bytes are not a FP32 tensor [1000004]: it has 4000016";
            assert_eq!((&head[..12], &body["error"]), ("http/1.1 400", &json!(error)));
            let (head, body) = in_pieces(&mut stream, &input(MANY), &bytes[1..]);
            let body: Value = serde_json::from_slice(&body).unwrap();
            let error = "input `input`: `binary_data_size` is 4000012, and 4000011 bytes are left";
            assert_eq!((&head[..12], &body["error"]), ("http/1.1 400", &json!(error)));
        }
    };
    within_a_minute(tokio::task::spawn_blocking(talk)).await.unwrap();
    serving.control.drain().await.unwrap();
    assert!(serving.end().await.ledger.is_balanced());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_says_why() {
    let small = HttpConfig { max_body_bytes: 1000, max_answer_bytes: 600, ..config() };
    let serving = Serving::start(small).await;
    let refused = |answer: support::tcp::Answer| answer.refusal();
    let unknown = serving.infer("nope", &saxpy()).await;
    assert_eq!(unknown.json()["error"], "Request for unknown model: 'nope' is not found");
    assert_eq!(refused(unknown), (404, "not_found".into()));
    assert_eq!(
        refused(serving.get("/v2/models/saxpy/versions/2").await),
        (404, "not_found".into())
    );
    assert_eq!(refused(serving.get("/v3").await), (404, "not_found".into()));
    assert_eq!(serving.get("/v2/models/saxpy/infer").await.status, 405);
    let path = "/v2/models/saxpy/infer";
    assert_eq!(refused(serving.post(path, &[], "{").await), (400, "invalid".into()));
    let wrong = serving.infer("saxpy", &held(&[1.0])).await;
    assert!(wrong.json()["error"].as_str().unwrap().contains("`a` is missing"), "{wrong:?}");
    assert_eq!(refused(wrong), (400, "invalid".into()));
    for path in [path, "/v2/repository/index"] {
        let large = serving.post(path, &[], vec![b' '; 1001]).await;
        assert_eq!(large.header("connection"), Some("close"));
        assert_eq!(refused(large), (413, "too_large".into()));
    }
    let packed = serving.post(path, &[("Content-Encoding", "br")], "").await;
    assert_eq!(refused(packed), (415, "unsupported_encoding".into()));
    let gzip = [("Content-Encoding", "gzip")];
    let sound = serving.post(path, &gzip, packed_with_gzip(saxpy().to_string().as_bytes())).await;
    assert_eq!(sound.json()["outputs"][0]["data"], json!([12.0, 25.0]));
    assert_eq!(refused(serving.post(path, &gzip, "{}").await), (400, "invalid".into()));
    for (name, values) in [
        ("Content-Encoding", ["identity", "gzip"]),
        ("Inference-Header-Content-Length", ["1", "2"]),
        ("X-Request-Timeout-Ms", ["1000", "1"]),
    ] {
        let twice = serving.post(path, &values.map(|value| (name, value)), "{}").await;
        let error = twice.json()["error"].to_string();
        assert!(twice.status == 400 && error.contains("more than once"), "{error}");
    }
    // (It is the unpacked size that counts.)
    let bomb = packed_with_gzip(&[b' '; 100_000]);
    assert!(bomb.len() < 1000, "{}", bomb.len());
    assert_eq!(refused(serving.post(path, &gzip, bomb).await), (413, "too_large".into()));
    // Forty numbers: in JSON each may take 17 bytes.
    let tensor = |name: &str| json!({ "name": name, "datatype": "FP32", "shape": [40], "data": vec![1; 40] });
    let mut forty = json!({ "parameters": { "a": 2 }, "inputs": [tensor("x"), tensor("y")] });
    let long = serving.infer("saxpy", &forty).await;
    assert!(long.json()["error"].as_str().unwrap().contains("may take 680 bytes"), "{long:?}");
    assert_eq!(refused(long), (400, "never_fits".into()));
    forty["parameters"]["binary_data_output"] = json!(true);
    assert_eq!(serving.infer("saxpy", &forty).await.status, 200);
    let header = [("Inference-Header-Content-Length", "x")];
    assert_eq!(refused(serving.post(path, &header, "").await), (400, "invalid".into()));
    serving.control.drain().await.unwrap();
    assert!(serving.end().await.ledger.is_balanced());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kernel_that_is_full_late_or_broken_is_told_apart() {
    let serving = Serving::start(config()).await;
    let path = "/v2/models/held/infer";
    let late = serving.post(path, &[("X-Request-Timeout-Ms", "5")], held(&[1.0]).to_string()).await;
    assert_eq!(late.refusal(), (504, "deadline".into()));
    let mut own = held(&[1.0]);
    own["parameters"] = json!({ "timeout": 5000 });
    assert_eq!(serving.infer("held", &own).await.refusal(), (504, "deadline".into()));

    let (first, second) = (serving.hold().await, serving.hold().await);
    let full = serving.infer("held", &held(&[1.0])).await;
    assert_eq!(full.header("retry-after"), Some("1"));
    assert_eq!(full.refusal(), (429, "queue_full".into()));
    serving.gate.add_permits(2);
    assert_eq!((first.await.unwrap().status, second.await.unwrap().status), (200, 200));

    let mut reasons = Vec::new();
    for _ in 0..4 {
        reasons.push(serving.infer("held", &held(&[-1.0])).await.refusal());
    }
    assert_eq!(reasons[0], (500, "failed".into()));
    assert_eq!(reasons[3], (503, "quarantined".into()));
    assert_eq!(serving.get("/v2/models/held/ready").await.refusal(), (503, "quarantined".into()));
    assert_eq!(serving.get("/v2/health/ready").await.status, 200, "the other kernels serve");
    let verbose = String::from_utf8(serving.get("/readyz?verbose").await.body).unwrap();
    assert!(verbose.contains("[!]kernel held degraded: it is quarantined"), "{verbose}");
    assert_eq!(serving.post("/v2/repository/models/held/load", &[], "").await.status, 200);

    let metrics = serving.get_as("/metrics", "application/openmetrics-text; version=1.0.0").await;
    let metrics = String::from_utf8(metrics.body).unwrap();
    for line in [
        "rustkernel_requests_total{kernel=\"held\",outcome=\"ok\"} 2",
        "rustkernel_requests_total{kernel=\"held\",outcome=\"deadline\"} 2",
        "rustkernel_requests_total{kernel=\"held\",outcome=\"queue_full\"} 1",
        "rustkernel_inflight{kernel=\"held\"} 0",
        "rustkernel_request_duration_seconds_count{kernel=\"held\"} 9",
        "rustkernel_lifecycle_state{state=\"running\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    assert!(metrics.ends_with("# EOF\n") && metrics.matches("# EOF").count() == 1);
    serving.control.drain().await.unwrap();
    assert!(serving.end().await.ledger.is_balanced());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_gives_its_request_up() {
    let serving = Serving::start(config()).await;
    let body = held(&[1.0]).to_string();
    let head = format!(
        "POST /v2/models/held/infer HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(serving.address).unwrap();
    stream.write_all((head + &body).as_bytes()).unwrap();
    let open = || serving.runtime.stats().kernels.iter().map(|kernel| kernel.open).sum::<u64>();
    within_a_minute(async {
        while open() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await
        }
    })
    .await;
    drop(stream);
    within_a_minute(async {
        while open() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await
        }
    })
    .await;
    assert_eq!(serving.runtime.stats().ledger.cancelled, 1);
    let metrics = String::from_utf8(serving.get("/metrics").await.body).unwrap();
    assert!(metrics.contains("outcome=\"client_gone\"} 1"), "{metrics}");
    serving.control.drain().await.unwrap();
    serving.end().await;
}

/// What the server's own clocks do not see: a request that is begun behind another, and a body in chunks that goes on
/// behind its answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_stands_still_is_closed() {
    // Long enough for the first answer where the machine itself stands still for a while.
    let patience = Duration::from_secs(3);
    let (keep_alive, header_timeout) = (patience, patience);
    let config = HttpConfig { keep_alive, header_timeout, ..config() };
    let serving = Serving::start(config).await;
    let sent = [
        "GET /livez HTTP/1.1\r\nhost: a\r\n\r\nG",
        "GET /livez HTTP/1.1\r\nhost: a\r\n\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n",
    ];
    let until_closed = async |sent: &str| {
        let mut stream = tokio::net::TcpStream::connect(serving.address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{sent:?}: {answer}");
    };
    within_a_minute(futures_util::future::join_all(sent.map(until_closed))).await;
    serving.control.drain().await.unwrap();
    serving.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_nobody_reads_is_not_kept() {
    let patience = Duration::from_millis(500);
    let config = HttpConfig { body_timeout: patience, ..config() };
    let caller = CallerConfig { concurrent: 1, ..CallerConfig::default() };
    let guard = Guard::of(&SecurityConfig { caller, ..SecurityConfig::default() }, "test").unwrap();
    let serving = Serving::start_as(config, |service| service.guard(guard).metrics(true)).await;
    let asked = r#"{"inputs":[{"name":"a","datatype":"FP32","shape":[2500000,0],"data":[]},{"name":"b","datatype":"FP32","shape":[0,4],"data":[]}]}"#;
    let ask = async |waits: Duration| {
        let mut stream = tokio::net::TcpStream::connect(serving.address).await.unwrap();
        let head = "POST /v2/models/gemm/infer HTTP/1.1\r\nhost: a\r\nconnection: close\r\n";
        let request = format!("{head}content-length: {}\r\n\r\n{asked}", asked.len());
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        stream.read_exact(&mut answer).await.unwrap();
        let other = serving.get("/v2").await;
        assert_eq!(other.refusal(), (429, "too_many_open".into()), "it is not sent yet");
        tokio::time::sleep(waits).await;
        let whole = stream.read_to_end(&mut answer).await.is_ok();
        let text = String::from_utf8_lossy(&answer);
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let (_, length) = head.split_once("content-length: ").unwrap();
        let length: usize = length.lines().next().unwrap().parse().unwrap();
        (whole && body.len() == length, length)
    };
    let (whole, length) = within_a_minute(ask(Duration::ZERO)).await;
    assert!(whole && length > 32 << 20, "{length}");
    let (whole, _) = within_a_minute(ask(8 * patience)).await;
    assert!(!whole, "it was kept");
    let metrics = String::from_utf8(serving.get("/metrics").await.body).unwrap();
    assert!(
        metrics.contains("rustkernel_denied_requests_total{reason=\"too_many_open\"} 2\n"),
        "{metrics}"
    );
    serving.control.drain().await.unwrap();
    serving.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_together_take_no_more_than_they_may() {
    let serving = Serving::start(HttpConfig { max_held_bytes: 100 << 10, ..config() }).await;
    let (small, large) = (held(&[1.0]), held(&vec![1.0; 20_000]));
    let first = serving.hold_with(&large).await;
    let refused = serving.infer("held", &large).await;
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refused.refusal(), (503, "bodies_full".into()));
    let packed = packed_with_gzip(large.to_string().as_bytes());
    let path = "/v2/models/held/infer";
    let refused = serving.post(path, &[("Content-Encoding", "gzip")], packed).await;
    assert_eq!(refused.refusal(), (503, "bodies_full".into()));
    let second = serving.hold_with(&small).await;
    serving.gate.add_permits(3);
    for held in [first, second] {
        assert_eq!(held.await.unwrap().status, 200);
    }
    assert_eq!(serving.infer("held", &large).await.status, 200);
    serving.control.drain().await.unwrap();
    assert!(serving.end().await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_is_not_waited_for() {
    let patience = Duration::from_millis(100);
    let config = HttpConfig { body_timeout: patience, header_timeout: patience, ..config() };
    let serving = Serving::start(config).await;
    for sent in [
        "POST /v2/models/held/infer HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n{",
        "GET /v2 HT",
    ] {
        let address = serving.address;
        let talk = move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(sent.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        };
        let answer = within_a_minute(tokio::task::spawn_blocking(talk)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
    serving.control.drain().await.unwrap();
    serving.end().await;
}

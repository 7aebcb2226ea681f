//! What a service answers, and how it ends when it is asked to.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails is to say where")]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustkernel_core::kernel::{CallError, Cancellation};
use rustkernel_http::view::{Blocks, HistoryLine, MapRange, Requests};
use rustkernel_http::{
    BindError, Client, ClientError, Configuration, Notice, Reloaded, ServeError, Service,
};
use serde_json::{Value, json};
use support::{Running, within_a_minute};

fn refused(error: ClientError) -> (u16, String, Option<String>) {
    match error {
        ClientError::Refused { status, problem } => (status, problem.error, problem.hint),
        error => panic!("{error}"),
    }
}

#[tokio::test]
async fn everything_can_be_asked() {
    let running = Running::start(None).await;
    let client = &running.client;
    let call = running.call().await;
    running.gate.add_permits(1);
    within_a_minute(call).await.unwrap().unwrap();

    let status = client.status().await.unwrap();
    assert_eq!((status.name.as_str(), status.state.as_str()), ("test", "running"));
    assert_eq!((status.pid, status.kernels, status.in_flight), (std::process::id(), 1, 0));
    let requests = Requests { submitted: 1, completed: 1, ..Requests::default() };
    assert_eq!(status.requests, requests);
    assert_eq!(
        (status.pressure[0].device.as_str(), status.pressure[0].level.as_str()),
        ("host", "normal")
    );

    let kernels = client.kernels().await.unwrap().kernels;
    assert_eq!(
        (kernels.len(), kernels[0].condition.as_str(), kernels[0].requests),
        (1, "serving", requests)
    );
    assert_eq!((kernels[0].queue, kernels[0].deadline_seconds), (1024, Some(60.0)));
    let devices = client.devices().await.unwrap().devices;
    assert_eq!((devices[0].id.as_str(), devices[0].device.live), ("host", 0));
    let of_classes = |blocks: &[Blocks]| blocks.iter().map(|one| one.block_bytes * one.count).sum();
    let (free, parked): (u64, u64) =
        (of_classes(&devices[0].device.free), of_classes(&devices[0].device.magazines));
    assert_eq!(parked, devices[0].device.parked);
    assert!(free <= devices[0].device.cached, "a class has the least of its sizes");

    let held = running.runtime.memory().unwrap().allocate(3 << 20).unwrap();
    let maps = client.map("host").await.unwrap();
    let map = maps.device.unwrap();
    let live = MapRange { start: map.ranges[0].start, bytes: 3 << 20, state: "live".into() };
    assert_eq!((maps.id.as_str(), map.live, &map.ranges[0]), ("host", 3 << 20, &live));
    assert_eq!(map.mapped, map.ranges.iter().map(|range| range.bytes).sum::<u64>());
    assert_eq!(maps.staging.unwrap().live, 0);
    drop(held);
    for unknown in ["cuda:0", "disk", "a/b"] {
        let (status, error, hint) = refused(client.map(unknown).await.unwrap_err());
        let expected = format!("the process does not use the device {unknown}");
        assert_eq!((status, error), (404, expected));
        assert!(hint.unwrap().contains("/admin/v1/devices"));
    }

    client.restart("waits").await.unwrap();
    within_a_minute(async { while client.kernel("waits").await.unwrap().restarts == 0 {} }).await;
    assert!(!client.lift("waits").await.unwrap().lifted, "it is in no quarantine");

    let minute = Duration::from_secs(60);
    assert_eq!(client.unload("waits", minute).await.unwrap().replaced, 0);
    assert_eq!(client.kernel("waits").await.unwrap().condition, "unloaded");
    assert_eq!(client.load("waits", minute).await.unwrap().running, 1);
    assert_eq!(client.kernel("waits").await.unwrap().condition, "serving");
    assert_eq!(refused(client.load("wait", minute).await.unwrap_err()).0, 404);
    assert_eq!(refused(client.unload("wait", minute).await.unwrap_err()).0, 404);

    let (status, error, hint) = refused(client.kernel("a/b").await.unwrap_err());
    assert_eq!((status, error.as_str()), (404, "there is no kernel `a/b`"));
    assert!(hint.unwrap().contains("/admin/v1/kernels"));
    assert_eq!(refused(client.restart("wait").await.unwrap_err()).0, 404);
    assert_eq!(refused(client.config().await.unwrap_err()).0, 404);
    let (status, error, hint) = refused(client.reload().await.unwrap_err());
    assert_eq!((status, error.as_str()), (409, "there is no configuration file to read again"));
    assert!(hint.is_some());

    assert_eq!(running.raw("GET /livez").await, (200, json!({ "state": "running" })));
    assert_eq!(running.raw("GET /readyz").await.0, 200);
    let (status, problem) = running.raw("GET /admin/v1/drain").await;
    assert_eq!((status, &problem["error"]), (405, &json!("this path takes POST alone")));
    for path in ["livez", "admin/v1/kernels/waits", "admin/v1/devices/host/map"] {
        let head = running.said(&format!("HEAD /{path}")).await;
        let got = running.said(&format!("GET /{path}")).await;
        let (got, _) = got.split_once("\r\n\r\n").unwrap();
        // (Without the date; the order of headers is nobody's promise.)
        let lines = |head: &str| {
            let lines = head.lines().filter(|line| !line.starts_with("date: "));
            lines.map(str::to_owned).collect::<BTreeSet<_>>()
        };
        assert_eq!(lines(head.strip_suffix("\r\n\r\n").unwrap()), lines(got));
    }
    let refused = running.said("POST /livez").await;
    assert!(refused.starts_with("HTTP/1.1 405") && refused.contains("allow: GET, HEAD\r\n"));
    let refused = running.said("HEAD /admin/v1/drain").await;
    assert!(refused.starts_with("HTTP/1.1 405") && refused.ends_with("\r\n\r\n"), "{refused}");
    let (status, problem) = running.raw("GET /admin/v2/status").await;
    assert_eq!(status, 404);
    assert!(problem["hint"].as_str().unwrap().contains("/admin/v1/status"));

    running.gate.close();
    let waits = running.runtime.kernel::<support::Waits>("waits").unwrap();
    within_a_minute(waits.call(())).await.unwrap_err();
    // (The caller has its answer before the end of the instance is written down.)
    within_a_minute(async {
        let panicked = |line: &HistoryLine| line.what.contains("panicked");
        while !client.kernel("waits").await.unwrap().history.iter().any(panicked) {
            tokio::task::yield_now().await;
        }
    })
    .await;

    client.drain().await.unwrap();
    assert!(running.end().await.is_clean());
}

#[tokio::test]
async fn a_drain_finishes_what_is_in_flight_and_answers_all_the_while() {
    let mut running = Running::start(None).await;
    let call = running.call().await;
    running.client.drain().await.unwrap();
    assert_eq!(running.notice().await, Some(Notice::Draining));
    let status = within_a_minute(async {
        loop {
            let status = running.client.status().await.unwrap();
            if status.state == "draining" {
                return status;
            }
        }
    });
    assert_eq!(status.await.in_flight, 1);
    assert_eq!(running.raw("GET /livez").await.0, 200);
    let (status, problem) = running.raw("GET /readyz").await;
    assert_eq!((status, &problem["problems"]), (503, &json!(["runtime: it is draining"])));
    assert_eq!(refused(running.client.restart("waits").await.unwrap_err()).0, 409);
    running.client.drain().await.expect("a second time changes nothing");
    assert_eq!(running.client.status().await.unwrap().in_flight, 1);

    running.gate.add_permits(1);
    within_a_minute(call).await.unwrap().unwrap();
    let client = running.client.clone();
    let report = running.end().await;
    assert!(report.is_clean() && report.ledger.completed == 1, "{report:?}");
    assert!(matches!(client.status().await, Err(ClientError::NotRunning { .. })));
}

#[tokio::test]
async fn a_stop_cancels_what_is_in_flight_also_while_draining() {
    let running = Running::start(None).await;
    let call = running.call().await;
    running.client.drain().await.unwrap();
    running.client.stop().await.unwrap();
    let error = within_a_minute(call).await.unwrap().unwrap_err();
    assert!(matches!(error, CallError::Cancelled(Cancellation::ShutDown { .. })), "{error}");
    assert_eq!(running.end().await.cancelled, 1);
}

/// Is wrong every second time.
#[derive(Default)]
struct Moody(AtomicUsize);

impl Configuration for Moody {
    fn show(&self) -> Value {
        json!({ "runtime": { "log_level": "info" } })
    }

    fn reload(&self) -> Result<Reloaded, Vec<String>> {
        if self.0.fetch_add(1, Ordering::SeqCst) % 2 == 1 {
            return Err(vec!["line 1: this".into(), "line 2: that".into()]);
        }
        let need_restart = vec!["memory.max_gpu_memory".into()];
        let changed = vec!["runtime.log_level".into()];
        Ok(Reloaded { read: vec!["configuration".into()], changed, need_restart })
    }
}

#[tokio::test]
async fn a_configuration_is_shown_and_read_again() {
    let running = Running::start(Some(Arc::new(Moody::default()))).await;
    let client = &running.client;
    assert_eq!(client.config().await.unwrap()["runtime"]["log_level"], "info");
    let reloaded = client.reload().await.unwrap();
    assert_eq!(reloaded.changed, ["runtime.log_level"]);
    assert_eq!(reloaded.need_restart, ["memory.max_gpu_memory"]);
    let ClientError::Refused { status, problem } = client.reload().await.unwrap_err() else {
        panic!("it is wrong this time")
    };
    assert_eq!((status, problem.problems.len()), (422, 2));
    client.stop().await.unwrap();
    running.end().await;
}

#[tokio::test]
async fn a_second_service_at_the_same_endpoint_is_refused_and_the_first_goes_on() {
    let running = Running::start(None).await;
    let second = support::runtime(&running.gate);
    let endpoint = running.client.endpoint().clone();
    let error = Service::new(second).endpoint(endpoint).serve().await.unwrap_err();
    assert!(matches!(error, ServeError::Bind(BindError::Taken(_))), "{error}");
    assert_eq!(running.client.status().await.unwrap().state, "running");
    running.client.stop().await.unwrap();
    running.end().await;
}

#[tokio::test]
async fn what_is_no_service_is_said_to_be_none() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let client = Client::new(path.into());
    let speak = async {
        let (stream, _) = listener.accept().await.unwrap();
        stream.writable().await.unwrap();
        stream.try_write(b"SSH-2.0-OpenSSH\r\n").unwrap();
    };
    let (answer, ()) = within_a_minute(async { tokio::join!(client.status(), speak) }).await;
    let error = answer.unwrap_err();
    assert!(matches!(error, ClientError::Broken { .. }), "{error}");
}

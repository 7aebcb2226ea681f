//! A drain, seen from outside.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails is to say where")]

mod support;

use std::time::Duration;

use rustkernel_core::config::HttpConfig;
use support::tcp::{Answer, Serving, config, held};
use support::within_a_minute;

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_keeps_the_listener_and_answers_everything() {
    let serving = Serving::start(config()).await;
    let in_flight = serving.hold().await;
    assert_eq!(serving.get("/readyz").await.status, 200);
    serving.control.drain().await.unwrap();
    // From the first probe on it is alive and not ready, over new connections too.
    within_a_minute(async { while serving.get("/readyz").await.status == 200 {} }).await;
    for _ in 0..3 {
        assert_eq!(serving.get("/livez").await.status, 200);
        assert_eq!(serving.get("/v2/health/live").await.status, 200);
        assert_eq!(serving.get("/v2/health/ready").await.status, 503);
        let refused = serving.infer("held", &held(&[1.0])).await;
        assert_eq!(refused.refusal(), (503, "draining".into()));
        let headers = ["retry-after", "connection"].map(|name| refused.header(name));
        assert_eq!(headers, [Some("1"), Some("close")]);
    }
    assert!(!in_flight.is_finished());
    serving.gate.add_permits(1);
    let answer = in_flight.await.unwrap();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    let report = serving.end().await;
    assert!(report.is_clean(), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_taken_for_a_while_that_load_balancers_need() {
    let serving =
        Serving::start(HttpConfig { drain_delay: Duration::from_millis(500), ..config() }).await;
    let before = serving.control.status().await.unwrap();
    assert_eq!((before.drain_delay_seconds, before.drains_in_seconds), (0.5, None));
    serving.control.drain().await.unwrap();
    within_a_minute(async { while serving.get("/readyz").await.status == 200 {} }).await;
    let status = serving.control.status().await.unwrap();
    let left = status.drains_in_seconds.expect("it was told to");
    assert!(status.state == "running" && left <= 0.5, "{status:?}");
    serving.gate.add_permits(1);
    let taken = serving.infer("held", &held(&[1.0])).await;
    assert_eq!((taken.status, taken.header("connection")), (200, Some("close")));
    assert_eq!(serving.end().await.ledger.completed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_end_in_time_is_answered_as_cancelled() {
    let serving = Serving::start(config()).await;
    let in_flight = serving.hold().await;
    serving.control.stop().await.unwrap();
    let answer: Answer = within_a_minute(in_flight).await.unwrap();
    assert_eq!(answer.refusal(), (503, "draining".into()));
    assert!(answer.json()["error"].as_str().unwrap().contains("the runtime shut down"));
    assert_eq!(serving.end().await.cancelled, 1);
}

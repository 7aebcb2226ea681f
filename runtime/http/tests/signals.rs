//! Signals, of which a process has one set: so this file has one test.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails is to say where")]

mod support;

use rustix::process::{Signal, getpid, kill_process};
use rustkernel_http::Notice;
use support::{Running, within_a_minute};

#[tokio::test]
async fn one_interrupt_drains_as_terminations_do_and_a_second_cancels() {
    let mut running = Running::start(None).await;
    let call = running.call().await;
    let send = |signal| kill_process(getpid(), signal).unwrap();
    send(Signal::HUP);
    let Some(Notice::Reloaded(Err(problem))) = running.notice().await else { panic!("a reload") };
    assert!(problem.error.contains("no configuration file"));
    for signal in [Signal::TERM, Signal::TERM, Signal::INT] {
        send(signal);
        assert_eq!(running.notice().await, Some(Notice::Draining));
    }
    assert_eq!(running.client.status().await.unwrap().in_flight, 1, "none of these cancels");
    send(Signal::INT);
    assert_eq!(running.notice().await, Some(Notice::Stopping));
    within_a_minute(call).await.unwrap().unwrap_err();
    assert_eq!(running.end().await.cancelled, 1);
}

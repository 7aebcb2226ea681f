//! A process under load, seen from outside: panics, hangs, signals, the end.
//!
//! `LOAD=50000 cargo test -p rustkernel-tests --test process -- --nocapture` makes 50,000 requests at 2,000 a
//! second; the default is a tenth.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The process, once it is ready.
struct UnderLoad {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl UnderLoad {
    fn start(requests: u64, seed: u64) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_under_load"))
            .args(["--requests", &requests.to_string(), "--seed", &seed.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self { process, output }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.process);
        // (It may have ended already.)
        kill_process(pid, signal).ok();
    }

    /// Waits for its end; its exit code and what it reported.
    fn end(mut self) -> (Option<i32>, Value) {
        let mut text = String::new();
        self.output.read_to_string(&mut text).unwrap();
        let code = self.process.wait().unwrap().code();
        (code, serde_json::from_str(&text).unwrap_or(Value::Null))
    }
}

#[allow(clippy::disallowed_methods, reason = "another process is waited for")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

#[allow(clippy::disallowed_methods, reason = "another process is watched")]
fn now() -> Instant {
    Instant::now()
}

fn number(report: &Value, name: &str) -> u64 {
    report[name].as_u64().unwrap_or_else(|| panic!("{name} in {report}"))
}

/// What has to hold at each end: every request was answered once, and both books say the same.
fn check(report: &Value) {
    let get = |name| number(report, name);
    let answered = ["completed", "panicked", "cancelled", "rejected", "other"].map(get);
    assert_eq!(get("sent"), answered.iter().sum::<u64>(), "each is answered: {report}");
    let runtime = &report["runtime"];
    assert_eq!(get("sent"), number(runtime, "submitted"), "{report}");
    assert_eq!(get("completed"), number(runtime, "completed"), "{report}");
    assert_eq!(get("panicked") + get("other"), number(runtime, "failed"), "{report}");
    assert_eq!(get("cancelled"), number(runtime, "cancelled"), "{report}");
    assert_eq!(get("rejected"), number(runtime, "rejected"), "{report}");
    assert_eq!(
        (get("panicked"), get("other")),
        (get("panics"), 0),
        "as many as panicked: {report}"
    );
    assert_eq!((get("steady_failed"), get("leaked_bytes")), (0, 0), "{report}");
}

/// Semantics: S1, S2, S15.
#[test]
fn panics_and_hangs_under_load_are_answered_and_disturb_nobody() {
    let requests = std::env::var("LOAD").map_or(5_000, |text| text.parse().unwrap());
    let (code, report) = UnderLoad::start(requests, 7).end();
    println!("{report}");
    assert_eq!(code, Some(0));
    check(&report);
    assert_eq!(number(&report, "sent"), requests);
    assert!(number(&report, "panics") > 0 && number(&report, "cancelled") > 0, "{report}");
    assert!(number(&report, "hung") > 0, "threads that hang are replaced: {report}");
}

/// Semantics: S16, S40, S43.
#[test]
fn a_signal_under_load_loses_nothing_and_a_second_changes_nothing() {
    for (seed, millis) in [(1, 300), (2, 700), (3, 1100)] {
        let load = UnderLoad::start(u64::MAX / 1_000_000, seed);
        pause(Duration::from_millis(millis));
        let start = now();
        load.signal(Signal::TERM);
        pause(Duration::from_millis(50));
        load.signal(Signal::TERM);
        let (code, report) = load.end();
        assert_eq!(code, Some(0), "{report}");
        assert!(
            start.elapsed() < Duration::from_secs(4),
            "within the shutdown timeout and a little"
        );
        check(&report);
        assert!(number(&report, "sent") > 0);
    }
}

#[test]
fn a_process_that_was_killed_starts_again() {
    let load = UnderLoad::start(u64::MAX / 1_000_000, 4);
    pause(Duration::from_millis(200));
    load.signal(Signal::KILL);
    assert_eq!(load.end().0, None, "killed");
    let (code, report) = UnderLoad::start(200, 4).end();
    assert_eq!(code, Some(0));
    check(&report);
}

//! A service that callers reach over the network and have to be known to: with real processes.
//!
//! `KILLS=100 cargo test -p rustkernel-cli --test secured sigkill -- --nocapture` kills it a hundred times, and says how long
//! the slowest start took.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails is to say where")]
#![allow(clippy::disallowed_methods, reason = "a process is timed from outside")]

mod support;

use std::collections::HashSet;
use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::http::{Answer, exchange};
use support::{Ended, Folder, end, rustkernel};

/// A folder with a service's files.
struct Place(Folder);

impl Place {
    fn new() -> Self {
        Self(Folder::new())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = rustkernel();
        for variable in ["XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME"] {
            command.env(variable, self.0.path(""));
        }
        command.env_remove("RUSTKERNEL_ENDPOINT").args(arguments);
        command
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Ended {
        let ended = end(&mut self.command(arguments));
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        ended
    }

    fn key(&self, role: &str, kernel: &str) -> String {
        let made = self.run(&["key", "create", "--role", role, "--kernel", kernel]);
        made.stdout.trim().to_owned()
    }

    fn serve(&self) -> Served {
        Self::start(self.command(&["serve", "--preset", "production"]))
    }

    fn start(mut command: Command) -> Served {
        command.args(["--listen", "127.0.0.1:0", "--set", "http.drain_delay=0s"]);
        // (Lines of the log could come in the middle of what is waited for.)
        command.args(["--set", "observability.log.level=off"]);
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(process.stderr.take().unwrap());
        let (mut address, mut line) = (String::new(), String::new());
        while !line.starts_with("serving") {
            line.clear();
            assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "it has ended");
            if let Some(at) = line.find("127.0.0.1:") {
                address = line[at..].trim().to_owned();
            }
        }
        Served { process, stderr, address }
    }

    fn audited(&self) -> Vec<Value> {
        self.audited_as("rustkernel")
    }

    fn audited_as(&self, service: &str) -> Vec<Value> {
        let path = self.0.path(format!("rustkernel/{service}.audit.jsonl"));
        let log = fs::read_to_string(path).unwrap();
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A service in a process of its own.
struct Served {
    process: Child,
    stderr: BufReader<ChildStderr>,
    address: String,
}

impl Served {
    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.process.id()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // (A test has failed, if it still runs.)
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

const SAXPY: &str = r#"{"parameters":{"a":2},"inputs":[
    {"name":"x","datatype":"FP32","shape":[2],"data":[1,2]},
    {"name":"y","datatype":"FP32","shape":[2],"data":[10,10]}]}"#;

/// One request on a connection.
fn ask(stream: &mut TcpStream, path: &str, key: Option<&str>) -> io::Result<Answer> {
    let key = key.map(|key| format!("authorization: Bearer {key}\r\n")).unwrap_or_default();
    exchange(stream, path, &key, path.ends_with("/infer").then_some(SAXPY))
}

/// A collector that takes whatever is posted: the head and the body of the next request.
fn collector() -> (String, thread::JoinHandle<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let posted = thread::spawn(move || {
        let mut stream = BufReader::new(listener.accept().unwrap().0);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(stream.read_line(&mut head).unwrap(), 0, "{head}");
        }
        let head = head.to_lowercase();
        let (_, length) = head.split_once("content-length: ").unwrap();
        let length = length.split("\r\n").next().unwrap().parse().unwrap();
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
        (head, body)
    });
    (address, posted)
}

#[test]
fn the_file_of_the_specification_serves_and_its_requests_are_traced() {
    let place = Place::new();
    let file = place.0.path("production.toml");
    fs::write(&file, include_str!("golden/config.in/production.toml")).unwrap();
    let caller = place.key("executor", "*");
    let (address, posted) = collector();
    let mut command = place.command(&["serve", "--config", file.to_str().unwrap()]);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", address);
    command.env("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=ours");
    let mut served = Place::start(command);
    let mut stream = TcpStream::connect(&served.address).unwrap();
    let answer = ask(&mut stream, "/v2/models/saxpy/infer", Some(&caller)).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    let span = answer.header("traceresponse").unwrap();
    let trace = span.split('-').nth(1).unwrap();
    let audited = place.audited_as("rustkernels");
    let request = audited.iter().find(|record| record["event"] == "request").unwrap();
    assert_eq!(request["trace_id"], trace);

    served.signal(Signal::TERM);
    let (head, body) = posted.join().unwrap();
    assert_eq!(served.process.wait().unwrap().code(), Some(0));
    assert!(head.starts_with("post /v1/traces http/1.1"), "{head}");
    assert!(head.contains("x-tenant: ours"), "{head}");
    let trace = u128::from_str_radix(trace, 16).unwrap().to_be_bytes();
    for text in [&trace[..], b"rustkernels", b"0.2.0", b"POST /v2/models/{name}/infer", b"launch"] {
        let found = body.windows(text.len()).any(|window| window == text);
        assert!(found, "{}", String::from_utf8_lossy(text));
    }
}

#[test]
fn callers_do_what_their_keys_allow_and_it_is_written_down() {
    let place = Place::new();
    let (caller, viewer) = (place.key("executor", "saxpy"), place.key("viewer", "*"));
    let operator = place.key("operator", "s*");
    let served = place.serve();
    let mut stream = TcpStream::connect(&served.address).unwrap();
    let mut ask = |path, key: Option<&str>| ask(&mut stream, path, key).unwrap();
    let infer = "/v2/models/saxpy/infer";

    let answer = ask(infer, Some(&caller));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let output: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(output["outputs"][0]["data"], serde_json::json!([12.0, 14.0]));
    let id = answer.header("x-request-id").unwrap().to_owned();
    for (path, key, status) in [
        ("/livez", None, 200),
        ("/v2/health/ready", None, 200),
        (infer, None, 401),
        (infer, Some("rk_000000000000_0"), 401),
        (infer, Some(&*viewer), 403),
        ("/v2/models/saxpy", Some(&*viewer), 200),
        ("/v2/models/dot/infer", Some(&*caller), 403),
        ("/v2/models/dot", Some(&*caller), 403),
        ("/v2/nothing", Some(&*viewer), 404),
        ("/admin/v1/stop", Some(&*caller), 403),
    ] {
        let answer = ask(path, key);
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
        assert_eq!(answer.header("www-authenticate").is_some(), status == 401);
    }
    let all = ask("/v2/models/stats", Some(&operator));
    let all: Value = serde_json::from_str(&all.body).unwrap();
    let names: Vec<&Value> =
        all["model_stats"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["saxpy", "scan", "sobel", "softmax"], "those alone that the key is for");
    place.run(&["key", "revoke", &caller[3..15]]);
    assert_eq!(ask(infer, Some(&caller)).status, 200, "until it is read again");
    place.run(&["runtime", "reload"]);
    assert_eq!(ask(infer, Some(&caller)).status, 401);
    place.run(&["runtime", "drain"]);

    let lines = place.audited();
    let of_id: Vec<&Value> = lines.iter().filter(|line| line["id"] == *id).collect();
    let told = |line: &Value| format!("{} {} {}", line["event"], line["action"], line["object"]);
    assert_eq!(told(of_id[0]), r#""request" "inference" "saxpy""#);
    assert_eq!((told(of_id[1]), of_id.len()), (r#""outcome" "inference" "saxpy""#.into(), 2));
    assert_eq!(of_id[1]["actor"], format!("key:{}", &caller[3..15]));
    let denied: Vec<&str> = lines
        .iter()
        .filter(|line| line["event"] == "denied")
        .map(|line| line["outcome"].as_str().unwrap())
        .collect();
    let (known, unknown) = ("forbidden", "unauthenticated");
    assert_eq!(denied, [unknown, unknown, known, known, known, "not_found", known, unknown]);
}

#[test]
fn every_answer_that_was_seen_is_in_the_log_after_sigkill() {
    let place = Place::new();
    let key = place.key("executor", "*");
    let (mut seen, mut slowest) = (HashSet::new(), Duration::ZERO);
    let kills = env::var("KILLS").ok().and_then(|times| times.parse().ok()).unwrap_or(10_u64);
    for round in 0..kills {
        let begun = Instant::now();
        let served = place.serve();
        slowest = slowest.max(begun.elapsed());
        assert!(slowest < Duration::from_secs(5), "it took {slowest:?}");
        let clients: Vec<_> = (0..4)
            .map(|_| {
                let (address, key) = (served.address.clone(), key.clone());
                thread::spawn(move || callers_answers(&address, &key))
            })
            .collect();
        // (Killed after some answers: how many is another number each time.)
        let log = place.0.path("rustkernel/rustkernel.audit.jsonl");
        let before = fs::metadata(&log).unwrap().len();
        let more = 20_000 + 17_001 * (round % 10);
        while fs::metadata(&log).unwrap().len() < before + more {
            assert!(begun.elapsed() < Duration::from_secs(60), "nobody is answered");
            thread::yield_now();
        }
        served.signal(Signal::KILL);
        drop(served);
        for client in clients {
            seen.extend(client.join().unwrap());
        }
    }
    drop(place.serve()); // (It puts aside what is unfinished.)
    place.run(&[
        "audit",
        "verify",
        place.0.path("rustkernel/rustkernel.audit.jsonl").to_str().unwrap(),
    ]);
    let lines = place.audited();
    let of = |event: &str| -> HashSet<String> {
        let lines =
            lines.iter().filter(|line| line["event"] == event && line["action"] == "inference");
        lines.map(|line| line["id"].as_str().unwrap().to_owned()).collect()
    };
    let (requests, outcomes) = (of("request"), of("outcome"));
    assert!(seen.len() > 100, "{}", seen.len());
    let missing: Vec<&String> = seen.difference(&outcomes).collect();
    assert!(missing.is_empty(), "{} of {} answers: {missing:?}", missing.len(), seen.len());
    assert!(outcomes.is_subset(&requests));
    println!("{kills} kills, {} answers seen, the slowest start took {slowest:?}", seen.len());
}

/// The ids of answers, until the service is gone.
fn callers_answers(address: &str, key: &str) -> Vec<String> {
    let mut ids = Vec::new();
    let mut stream = TcpStream::connect(address).unwrap();
    while let Ok(answer) = ask(&mut stream, "/v2/models/saxpy/infer", Some(key)) {
        assert_eq!(answer.status, 200, "{}", answer.body);
        ids.push(answer.header("x-request-id").unwrap().to_owned());
    }
    ids
}

#[test]
fn a_service_that_cannot_write_its_log_does_nothing_and_goes_on_by_itself() {
    let place = Place::new();
    let key = place.key("executor", "*");
    let mut served = place.serve();
    let mut stream = TcpStream::connect(&served.address).unwrap();
    let (log, kept) = (place.0.path("rustkernel/rustkernel.audit.jsonl"), place.0.path("kept"));
    fs::rename(&log, &kept).unwrap();
    std::os::unix::fs::symlink("/dev/full", &log).unwrap();
    let refused = ask(&mut stream, "/v2/models/saxpy/infer", Some(&key)).unwrap();
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert!(refused.body.contains("audit_unavailable"), "{}", refused.body);
    assert_eq!(ask(&mut stream, "/livez", None).unwrap().status, 200);
    let ready = ask(&mut stream, "/readyz?verbose", None).unwrap();
    assert_eq!(ready.status, 503);
    assert!(ready.body.contains("[-]audit log failed"), "{}", ready.body);
    fs::remove_file(&log).unwrap();
    fs::rename(&kept, &log).unwrap();
    assert_eq!(ask(&mut stream, "/v2/models/saxpy/infer", Some(&key)).unwrap().status, 200);
    assert_eq!(ask(&mut stream, "/readyz", None).unwrap().status, 200);
    served.signal(Signal::TERM);
    let mut said = String::new();
    served.stderr.read_to_string(&mut said).unwrap();
    assert_eq!(served.process.wait().unwrap().code(), Some(0), "{said}");
    assert!(said.contains("1 requests completed"), "{said}");
}

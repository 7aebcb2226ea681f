//! SIGTERM under load, seen from outside: nothing that was sent goes without an answer.
//!
//! `DRAINS=50 cargo test -p rustkernel-cli --test drained` does it fifty times.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails is to say where")]
#![allow(clippy::disallowed_methods, reason = "a process is timed from outside")]

mod support;

use std::collections::BTreeMap;
use std::env;
use std::io;
use std::net::TcpStream;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use support::http::exchange;
use support::served::Served;

/// Together they send about 2,000 requests a second.
const CLIENTS: usize = 64;
const PAUSE: Duration = Duration::from_millis(30);
/// One request in so many takes 200 ms.
const SLOW: usize = 16;

const IDENTITY: &str =
    r#"{"inputs":[{"name":"input","datatype":"FP32","shape":[3],"data":[1,2,3]}]}"#;
const DELAY: &str =
    r#"{"inputs":[{"name":"milliseconds","datatype":"UINT32","shape":[1],"data":[200]}]}"#;

/// How often each status was answered, and what the last answer of a connection that ended was.
#[derive(Debug, Default)]
struct Seen {
    statuses: BTreeMap<u16, usize>,
    unanswered: Vec<String>,
}

/// Sends one request after the other until an answer says that the connection is closed, as one behind a
/// load balancer does.
fn client(address: String, number: usize) -> JoinHandle<Seen> {
    thread::spawn(move || {
        let mut seen = Seen::default();
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        for request in number.. {
            let (path, body) = match request % SLOW {
                0 => ("/v2/models/delay/infer", DELAY),
                _ => ("/v2/models/identity/infer", IDENTITY),
            };
            match exchange(&mut stream, path, "", Some(body)) {
                Ok(answer) => {
                    *seen.statuses.entry(answer.status).or_default() += 1;
                    if answer.header("connection") == Some("close") {
                        break;
                    }
                }
                Err(error) => {
                    seen.unanswered.push(format!("client {number}, request {request}: {error}"));
                    break;
                }
            }
            thread::sleep(PAUSE);
        }
        seen
    })
}

/// What a probe over a new connection is answered, until nobody listens.
fn probes(address: String, path: &'static str) -> JoinHandle<Vec<u16>> {
    thread::spawn(move || {
        let mut statuses = Vec::new();
        let ask = || -> io::Result<u16> {
            let mut stream = TcpStream::connect(&address)?;
            Ok(exchange(&mut stream, path, "connection: close\r\n", None)?.status)
        };
        while let Ok(status) = ask() {
            if statuses.last() != Some(&status) {
                statuses.push(status);
            }
            thread::sleep(Duration::from_millis(10));
        }
        statuses
    })
}

fn drain(after: Duration) {
    let mut served = Served::new();
    let address = served.address.clone();
    let started = Instant::now();
    while exchange(&mut TcpStream::connect(&address).unwrap(), "/readyz", "", None).unwrap().status
        != 200
    {
        assert!(started.elapsed() < Duration::from_secs(60), "it gets ready");
    }
    let clients: Vec<_> = (0..CLIENTS).map(|number| client(address.clone(), number)).collect();
    let (ready, live) = (probes(address.clone(), "/readyz"), probes(address, "/livez"));
    thread::sleep(after);
    let pid = Pid::from_raw(i32::try_from(served.process.id()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();

    let seen: Vec<Seen> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    let unanswered: Vec<&String> = seen.iter().flat_map(|seen| &seen.unanswered).collect();
    assert!(unanswered.is_empty(), "{unanswered:#?}");
    let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
    for (status, count) in seen.iter().flat_map(|seen| &seen.statuses) {
        *statuses.entry(*status).or_default() += count;
    }
    assert!(statuses.keys().all(|status| [200, 429, 503].contains(status)), "{statuses:?}");
    assert_eq!(served.process.wait().unwrap().code(), Some(0));
    assert_eq!((ready.join().unwrap(), live.join().unwrap()), (vec![200, 503], vec![200]));
}

#[test]
fn nothing_goes_without_an_answer() {
    let times = env::var("DRAINS").ok().and_then(|times| times.parse().ok()).unwrap_or(2);
    for time in 0..times {
        // (Spread over the rhythm of the clients.)
        drain(Duration::from_millis(500 + 7 * time % 97));
    }
}

//! Requests that are none, on raw sockets, beside others that are: each is refused or its connection closed, no
//! other request waits for it, and it leaves nothing behind.
//!
//! `MALFORMED=500 cargo test --release -p rustkernel-cli --test malformed_http -- --nocapture` sends 500 of each
//! kind, prints what they were answered, and compares how long good requests take with what they take alone.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails is to say where")]
#![allow(clippy::disallowed_methods, reason = "a process is timed from outside")]

mod support;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use support::http::exchange;
use support::served::Served;

/// Good clients, and how long each waits between two requests.
const CLIENTS: usize = 4;
const PAUSE: Duration = Duration::from_millis(2);
/// From one malformed request to the next.
const BETWEEN: Duration = Duration::from_millis(1);
/// Most memory that a service may keep of all of it, in KiB.
const MOST_GROWTH: i64 = 8 * 1024;

const GOOD: &str = r#"{"inputs":[{"name":"input","datatype":"FP32","shape":[3],"data":[1,2,3]}]}"#;

/// What is sent, made from a number so that no two are quite alike.
struct Kind {
    name: &'static str,
    bytes: fn(u64) -> Vec<u8>,
    /// How often [`PADDING`] follows: many bytes that cost their sender, on the same cores, next to nothing.
    padding: usize,
    /// The client goes when it has sent it, in the middle of its request.
    leaves: bool,
}

const fn whole(name: &'static str, bytes: fn(u64) -> Vec<u8>) -> Kind {
    Kind { name, bytes, padding: 0, leaves: false }
}

const fn cut(name: &'static str, bytes: fn(u64) -> Vec<u8>) -> Kind {
    Kind { name, bytes, padding: 0, leaves: true }
}

static PADDING: [u8; 64 << 10] = [b'a'; 64 << 10];

const KINDS: [Kind; 24] = [
    whole("noise", |n| [noise(n, 200), b"\r\n\r\n".to_vec()].concat()),
    whole("TLS where there is none", |n| {
        [b"\x16\x03\x01\x02\x00\x01\x00".to_vec(), noise(n, 300)].concat()
    }),
    whole("HTTP/2 where there is none", |_| b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
    whole("no version", |n| format!("GET /v2/{n}\r\n\r\n").into()),
    whole("no such version", |n| format!("GET /v2 HTTP/{}.{}\r\n\r\n", 2 + n % 7, n % 10).into()),
    whole("a method of other signs", |n| {
        format!("G\u{7f}T{n}( /v2 HTTP/1.1\r\nhost: a\r\n\r\n").into()
    }),
    whole("a target of other signs", |n| {
        format!("GET /v2/\u{1}{n}\u{0} HTTP/1.1\r\nhost: a\r\n\r\n").into()
    }),
    whole("percent signs alone", |n| head(&format!("/v2/models/%{n}%zz%/infer"), &length(0))),
    whole("a header without a colon", |n| format!("GET /v2 HTTP/1.1\r\nhost{n}\r\n\r\n").into()),
    whole("a header's name with a space", |n| {
        format!("GET /v2 HTTP/1.1\r\nx {n}: a\r\n\r\n").into()
    }),
    whole("a header with a zero", |n| format!("GET /v2 HTTP/1.1\r\nx: a\u{0}{n}\r\n\r\n").into()),
    whole("many headers", |n| {
        head("/v2/models/identity/infer", &format!("x-{n}: a\r\n").repeat(500))
    }),
    Kind {
        padding: 16,
        ..whole("a header of a mebibyte", |n| {
            format!("POST /v2 HTTP/1.1\r\nhost: a\r\nx{n}: ").into()
        })
    },
    whole("two lengths", |n| {
        infer(&format!("content-length: 0\r\ncontent-length: {}\r\n", 1 + n), "")
    }),
    whole("a length that is none", |n| infer(&format!("content-length: -{n}x\r\n"), "")),
    whole("a length of more than is taken", |n| infer(&length((1 << 40) + n as usize), "{}")),
    whole("a length and pieces", |n| {
        infer(&format!("{}{PIECES}", length(3 + n as usize % 9)), "zz\r\n")
    }),
    whole("a piece of no size", |n| infer(PIECES, &format!("{n}zz\r\n{{}}\r\n0\r\n\r\n"))),
    whole("JSON that ends early", |n| {
        with_body("", &GOOD.as_bytes()[..1 + n as usize % (GOOD.len() - 1)])
    }),
    whole("JSON in JSON in JSON", |n| {
        with_body("", "[{\"inputs\":".repeat(200 + n as usize % 2000).as_bytes())
    }),
    whole("a shape that no memory has", |n| {
        with_body("", GOOD.replace("[3]", &format!("[{},{}]", u64::MAX, n)).as_bytes())
    }),
    whole("JSON that ends behind the body", |n| {
        with_body(&format!("inference-header-content-length: {}\r\n", 1000 + n), b"{}")
    }),
    cut("a head that ends early", |n| {
        format!("POST /v2/models/identity/infer HTTP/1.1\r\nx: {n}").into()
    }),
    cut("a body that ends early", |n| infer(&length(1000 + n as usize), GOOD)),
];

const PIECES: &str = "transfer-encoding: chunked\r\n";

fn head(path: &str, headers: &str) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nhost: a\r\n{headers}\r\n").into()
}

fn length(bytes: usize) -> String {
    format!("content-length: {bytes}\r\n")
}

fn infer(headers: &str, body: &str) -> Vec<u8> {
    [head("/v2/models/identity/infer", headers), body.into()].concat()
}

/// A sound request around a body that is not.
fn with_body(headers: &str, body: &[u8]) -> Vec<u8> {
    [head("/v2/models/identity/infer", &format!("{headers}{}", length(body.len()))), body.into()]
        .concat()
}

/// Bytes that follow from a number (xorshift).
fn noise(number: u64, count: usize) -> Vec<u8> {
    let mut state = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..count).map(|_| next()).collect()
}

/// What came of one: its status, or that the connection was closed without one.
fn send(address: &str, kind: &Kind, number: u64) -> Option<u16> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // (Whoever sends too much may be cut off before the end.)
    let mut padding = std::iter::repeat_n(&PADDING[..], kind.padding);
    let sent = stream.write_all(&(kind.bytes)(number));
    let sent = sent.and_then(|()| padding.try_for_each(|bytes| stream.write_all(bytes)));
    if kind.leaves {
        drop(stream.shutdown(Shutdown::Both));
        return None;
    }
    let mut answer = [0; 12];
    match (stream.read_exact(&mut answer), sent) {
        (Ok(()), _) => Some(str::from_utf8(&answer[9..]).unwrap().parse().unwrap()),
        (Err(error), Ok(())) if error.kind() == std::io::ErrorKind::WouldBlock => {
            panic!("{}, number {number}: neither answered nor closed", kind.name)
        }
        _ => None,
    }
}

/// The memory that it holds, in KiB.
fn resident(served: &Served) -> i64 {
    let status = fs::read_to_string(format!("/proc/{}/status", served.process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Good requests one after the other, until told to stop: how long each took.
fn client(served: &Served, stop: &Arc<AtomicBool>) -> JoinHandle<Vec<Duration>> {
    let (address, stop) = (served.address.clone(), Arc::clone(stop));
    thread::spawn(move || {
        let (mut took, mut stream) = (Vec::new(), TcpStream::connect(&address).unwrap());
        while !stop.load(Ordering::Relaxed) {
            let began = Instant::now();
            let answer = exchange(&mut stream, "/v2/models/identity/infer", "", Some(GOOD));
            took.push(began.elapsed());
            assert_eq!(answer.unwrap().status, 200);
            thread::sleep(PAUSE);
        }
        took
    })
}

/// The 99th percentile of good requests while something else is done.
fn p99_beside(served: &Served, something: impl FnOnce()) -> Duration {
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS).map(|_| client(served, &stop)).collect();
    something();
    stop.store(true, Ordering::Relaxed);
    let took = clients.into_iter().flat_map(|client| client.join().unwrap());
    let mut took: Vec<Duration> = took.collect();
    took.sort();
    took[took.len() * 99 / 100]
}

/// So many of each kind; how often each was answered what.
fn flood(served: &Served, each: u64) -> Vec<BTreeMap<Option<u16>, u64>> {
    let mut answered = vec![BTreeMap::new(); KINDS.len()];
    for number in 0..each {
        for (kind, answered) in KINDS.iter().zip(&mut answered) {
            *answered.entry(send(&served.address, kind, number)).or_default() += 1;
            thread::sleep(BETWEEN);
        }
    }
    answered
}

#[test]
fn what_is_malformed_is_refused_and_keeps_nobody_waiting() {
    let full: Option<u64> = env::var("MALFORMED").ok().map(|each| each.parse().unwrap());
    let served = Served::new();
    // (What is made once, at the first of each kind, is no growth.)
    flood(&served, 3);
    let each = full.unwrap_or(5);
    let alone = full.map(|each| {
        let as_long = BETWEEN * u32::try_from(each).unwrap() * KINDS.len() as u32;
        p99_beside(&served, || thread::sleep(as_long))
    });
    let before = resident(&served);
    let mut answered = Vec::new();
    let beside = p99_beside(&served, || answered = flood(&served, each));
    let growth = resident(&served) - before;

    for (kind, answered) in KINDS.iter().zip(&answered) {
        let told = answered.iter().map(|(status, count)| {
            format!("{count} × {}", status.map_or("closed".into(), |status| status.to_string()))
        });
        println!("{:<32} {}", kind.name, told.collect::<Vec<_>>().join(", "));
        let refused =
            |status: &Option<u16>| status.is_none_or(|status| (400..500).contains(&status));
        assert!(answered.keys().all(refused), "{}: {answered:?}", kind.name);
    }
    println!("p99 of good requests {beside:?}, alone {alone:?}; {growth} KiB more than before");
    assert!(growth <= MOST_GROWTH, "{growth} KiB");
    // (How long they take is looked at where somebody asks for it: other work on the machine takes part in it.)
    assert!(alone.is_none_or(|alone| beside <= 2 * alone), "{beside:?} beside, {alone:?} alone");
}

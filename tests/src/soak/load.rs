//! Who sends the load.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use hdrhistogram::Histogram;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rustkernel_core::kernel::Instant;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, sleep_until, timeout};

use super::mix::Kind;

/// How long an answer may take before it counts as none.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long one waits that does not wait for its answer.
const IMPATIENCE: Duration = Duration::from_millis(5);
/// The deadline of those that are too late, in milliseconds.
const DEADLINE: u64 = 5;
/// How often a kernel is unloaded and loaded again.
const UNLOADS: Duration = Duration::from_millis(500);
/// The longest latency that is counted, in microseconds.
const LONGEST: u64 = 60_000_000;
/// What went wrong is told so often.
const TOLD: usize = 10;

/// A load.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Where the service is.
    pub address: SocketAddr,
    /// Requests a second.
    pub rate: u64,
    /// Over how many connections.
    pub connections: u64,
    /// For how long.
    pub time: Duration,
    /// Of the kinds' random order.
    pub seed: u64,
}

/// What was seen of the answers.
#[derive(Debug)]
pub struct Seen {
    /// How often each kind had each status; 0 is a request that was not to be answered.
    pub answers: BTreeMap<(Kind, u16), u64>,
    /// Of those of kind JSON and binary, from the intended time of sending to the answer, in microseconds.
    pub latency: Histogram<u64>,
    /// Answers that should not have been, or were not there: the first few.
    pub wrong: Vec<String>,
}

impl Default for Seen {
    fn default() -> Self {
        let latency = Histogram::new_with_max(LONGEST, 3).expect("invariant: a sensible histogram");
        Self { answers: BTreeMap::new(), latency, wrong: Vec::new() }
    }
}

impl Seen {
    fn wrong(&mut self, what: String) {
        if self.wrong.len() < TOLD {
            self.wrong.push(what);
        }
    }

    fn add(&mut self, other: Self) {
        for (key, count) in other.answers {
            *self.answers.entry(key).or_default() += count;
        }
        self.latency.add(&other.latency).expect("invariant: of one size");
        other.wrong.into_iter().for_each(|what| self.wrong(what));
    }
}

/// Sends it. Each connection has its own times, evenly spread, and sends what is due late rather than not at all.
pub async fn run(load: Load) -> Seen {
    let start = Instant::now();
    let clients = (0..load.connections).map(|number| tokio::spawn(client(load, number, start)));
    let orders = tokio::spawn(unload(load, start));
    let mut seen = Seen::default();
    for client in join_all(clients).await {
        seen.add(client.expect("a client does not panic"));
    }
    if let Err(what) = orders.await.expect("nor does an operator") {
        seen.wrong(what);
    }
    seen
}

async fn client(load: Load, number: u64, start: Instant) -> Seen {
    let mut random = ChaCha8Rng::seed_from_u64(load.seed.wrapping_add(number));
    let (mut seen, mut connection) = (Seen::default(), None);
    for step in 0.. {
        let since = Duration::from_secs(step * load.connections + number)
            / u32::try_from(load.rate).unwrap_or(u32::MAX);
        if since >= load.time {
            break;
        }
        sleep_until(start + since).await;
        let kind = Kind::draw(&mut random);
        match turn(load.address, &mut connection, kind).await {
            Ok(status) => {
                *seen.answers.entry((kind, status)).or_default() += 1;
                if matches!(kind, Kind::Json | Kind::Binary) {
                    let late = (start + since).elapsed().as_micros();
                    seen.latency.saturating_record(u64::try_from(late).unwrap_or(u64::MAX));
                }
            }
            Err(what) => {
                connection = None;
                seen.wrong(format!("{}: {what}", kind.name()));
            }
        }
    }
    seen
}

type Connection = SendRequest<Full<Bytes>>;

/// One request. The status of its answer; 0 for one that is not to have any.
async fn turn(
    address: SocketAddr,
    kept: &mut Option<Connection>,
    kind: Kind,
) -> Result<u16, String> {
    if kind == Kind::Half {
        return half(address).await.map_err(|error| error.to_string());
    }
    let mut connection = match kept.take() {
        Some(connection) if !connection.is_closed() => connection,
        _ => connect(address).await?,
    };
    if kind == Kind::Gone {
        // (Dropped, it closes.)
        timeout(IMPATIENCE, ask(&mut connection, kind)).await.ok();
        return Ok(0);
    }
    let status = timeout(PATIENCE, ask(&mut connection, kind)).await;
    let status = status.map_err(|_| "no answer".to_owned())??;
    if !kind.may_be(status) {
        return Err(format!("answered {status}"));
    }
    *kept = Some(connection);
    Ok(status)
}

async fn connect(address: SocketAddr) -> Result<Connection, String> {
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).ok();
    let (connection, driver) =
        handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    tokio::spawn(driver);
    Ok(connection)
}

async fn ask(connection: &mut Connection, kind: Kind) -> Result<u16, String> {
    let (body, json) = kind.body();
    let method = if kind == Kind::Metrics { Method::GET } else { Method::POST };
    let mut request = Request::builder().method(method).uri(kind.path()).header("host", "soak");
    if let Some(length) = json {
        request = request.header("inference-header-content-length", length);
    }
    if kind == Kind::Late {
        request = request.header("x-request-timeout-ms", DEADLINE);
    }
    send(connection, request.body(Full::new(body)).expect("invariant: a proper request")).await
}

async fn send(connection: &mut Connection, request: Request<Full<Bytes>>) -> Result<u16, String> {
    connection.ready().await.map_err(|error| error.to_string())?;
    let answer = connection.send_request(request).await.map_err(|error| error.to_string())?;
    let status = answer.status().as_u16();
    answer.into_body().collect().await.map_err(|error| error.to_string())?;
    Ok(status)
}

/// A client that goes away with half of its request sent.
async fn half(address: SocketAddr) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect(address).await?;
    let (path, (body, _)) = (Kind::Half.path(), Kind::Half.body());
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: soak\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&body[..body.len() / 2]).await?;
    Ok(0)
}

/// Unloads a kernel and loads it again, until the load is over.
async fn unload(load: Load, start: Instant) -> Result<(), String> {
    let mut connection = connect(load.address).await?;
    while start.elapsed() < load.time {
        for what in ["unload", "load"] {
            let uri = format!("/v2/repository/models/softmax/{what}");
            let request = Request::post(uri).header("host", "soak").body(Full::default());
            let request = request.expect("invariant: a proper request");
            let status = timeout(PATIENCE, send(&mut connection, request)).await;
            match status.map_err(|_| format!("{what}: no answer"))?? {
                200 => sleep(UNLOADS).await,
                status => return Err(format!("{what}: answered {status}")),
            }
        }
    }
    Ok(())
}

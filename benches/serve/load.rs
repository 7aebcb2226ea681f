//! Load: connections that are kept, each sending its next request when it has its answer.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Elements of a tensor, unless others are asked for.
pub(crate) const FEW: usize = 1024;
const HEADER_LENGTH: &str = "inference-header-content-length";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Binary,
    Json,
}

impl Encoding {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Binary => "binary",
            Self::Json => "JSON",
        }
    }

    /// A whole request of `saxpy` of so many elements, with those lines in its head.
    fn request(self, lines: &str, elements: usize) -> Vec<u8> {
        let x: Vec<f32> = (0..elements).map(|i| (i as f32).mul_add(0.000_976_5, 0.123)).collect();
        // (In JSON they get the digits of an FP64, as Python's clients write them.)
        let input = |name: &str| {
            let mut input = json!({ "name": name, "datatype": "FP32", "shape": [elements] });
            match self {
                Self::Binary => input["parameters"] = json!({ "binary_data_size": elements * 4 }),
                Self::Json => input["data"] = json!(x),
            }
            input
        };
        let binary = self == Self::Binary;
        let mut document = json!({ "inputs": [input("x"), input("y")], "parameters": { "a": 2, "binary_data_output": binary } });
        if !binary {
            document["parameters"] = json!({ "a": 2 });
        }
        let mut body = document.to_string().into_bytes();
        let json = body.len();
        if binary {
            let bytes = x.iter().flat_map(|x| x.to_le_bytes());
            body.extend(bytes.clone().chain(bytes));
        }
        let extra = if binary { format!("{HEADER_LENGTH}: {json}\r\n") } else { String::new() };
        let head = format!(
            "POST /v2/models/saxpy/infer HTTP/1.1\r\nhost: bench\r\ncontent-length: {}\r\n{extra}{lines}\r\n",
            body.len()
        );
        [head.into_bytes(), body].concat()
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) encoding: Encoding,
    /// Of each tensor.
    pub(crate) elements: usize,
    pub(crate) connections: usize,
    pub(crate) time: Duration,
}

pub(crate) struct Outcome {
    pub(crate) count: usize,
    /// In order.
    micros: Vec<f64>,
}

impl Outcome {
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let last = self.micros.len() - 1;
        self.micros[((last as f64) * share).round() as usize]
    }
}

/// Whether there is an answer, to a request with those lines in its head.
pub(crate) fn answers(address: SocketAddr, lines: &str, encoding: Encoding) -> bool {
    let once = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream.write_all(&encoding.request(lines, FEW)).await.ok()?;
        let mut answer = Vec::new();
        read(&mut stream, &mut answer).await
    };
    executor().block_on(once).is_some_and(|answer| answer.status == 200)
}

/// Loads a server with requests that have those lines in their heads.
///
/// # Panics
/// If a request is not answered, or not as the first.
pub(crate) fn run(address: SocketAddr, lines: &str, load: Load) -> Outcome {
    let executor = executor();
    let until = Instant::now() + load.time;
    let request: std::sync::Arc<[u8]> = load.encoding.request(lines, load.elements).into();
    let connections: Vec<_> = (0..load.connections)
        .map(|_| executor.spawn(connection(address, std::sync::Arc::clone(&request), until)))
        .collect();
    let mut micros: Vec<f64> = executor.block_on(async {
        let mut all = Vec::new();
        for connection in connections {
            all.extend(connection.await.unwrap());
        }
        all
    });
    micros.sort_by(f64::total_cmp);
    Outcome { count: micros.len(), micros }
}

fn executor() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn connection(
    address: SocketAddr,
    request: std::sync::Arc<[u8]>,
    until: Instant,
) -> Vec<f64> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut micros, mut buffer, mut first) = (Vec::new(), Vec::new(), None);
    while Instant::now() < until {
        let since = Instant::now();
        stream.write_all(&request).await.unwrap();
        let answer = read(&mut stream, &mut buffer).await.expect("an answer");
        assert_eq!(answer.status, 200);
        assert_eq!(*first.get_or_insert(answer.length), answer.length);
        micros.push(since.elapsed().as_secs_f64() * 1e6);
    }
    micros
}

struct Answer {
    status: u16,
    length: usize,
}

/// Reads one answer with a content-length; what is behind it is none of it.
async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Answer> {
    buffer.clear();
    loop {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
        let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else {
            continue;
        };
        let head = std::str::from_utf8(&buffer[..end]).ok()?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
        })?;
        while buffer.len() < end + 4 + length {
            if stream.read_buf(buffer).await.ok()? == 0 {
                return None;
            }
        }
        return Some(Answer { status, length });
    }
}

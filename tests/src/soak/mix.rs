//! What is sent, and which answers each kind may have.

use hyper::body::Bytes;
use rand::{Rng, RngExt};
use serde_json::json;

use super::service::Do;

/// What a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Two vectors of 256 numbers, in JSON.
    Json,
    /// The same in bytes.
    Binary,
    /// A kernel takes memory, or its time, or ends.
    Faulty(u32),
    /// One that takes longer than its deadline.
    Late,
    /// One that is for a kernel that is unloaded and loaded all the time.
    Unloaded,
    /// A body that is none.
    Malformed,
    /// A client goes away with half of its request sent.
    Half,
    /// A client goes away before its answer.
    Gone,
    /// Somebody looks at `/metrics`.
    Metrics,
}

/// Elements of a vector.
const N: usize = 256;

/// Of a thousand requests, so many are of that kind; the others are in JSON and binary, half of each.
const RARE: [(Kind, u32); 10] = [
    (Kind::Faulty(Do::Allocate as u32), 40),
    (Kind::Faulty(Do::Wait as u32), 20),
    (Kind::Faulty(Do::Panic as u32), 5),
    (Kind::Faulty(Do::Fail as u32), 5),
    (Kind::Late, 10),
    (Kind::Unloaded, 10),
    (Kind::Malformed, 10),
    (Kind::Half, 5),
    (Kind::Gone, 5),
    (Kind::Metrics, 1),
];

impl Kind {
    /// One at random.
    pub(super) fn draw(random: &mut impl Rng) -> Self {
        let mut at = random.random_range(0..1000);
        for (kind, share) in RARE {
            match u32::checked_sub(at, share) {
                None => return kind,
                Some(rest) => at = rest,
            }
        }
        if at % 2 == 0 { Self::Json } else { Self::Binary }
    }

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::Binary => "binary",
            Self::Faulty(0) => "takes memory",
            Self::Faulty(1) => "takes its time",
            Self::Faulty(2) => "panics",
            Self::Faulty(_) => "loses its state",
            Self::Late => "too late",
            Self::Unloaded => "of a kernel that is unloaded at times",
            Self::Malformed => "malformed",
            Self::Half => "half sent",
            Self::Gone => "not waited for",
            Self::Metrics => "metrics",
        }
    }

    /// Whether that is an answer to it.
    pub(super) fn may_be(self, status: u16) -> bool {
        match self {
            Self::Json | Self::Binary | Self::Faulty(0 | 1) | Self::Metrics => status == 200,
            Self::Faulty(_) => status == 500,
            Self::Late => status == 504,
            Self::Unloaded => matches!(status, 200 | 503),
            Self::Malformed => status == 400,
            Self::Half | Self::Gone => false,
        }
    }

    /// Where it goes.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Json | Self::Binary | Self::Malformed => "/v2/models/saxpy/infer",
            Self::Faulty(_) | Self::Late | Self::Half | Self::Gone => "/v2/models/faulty/infer",
            Self::Unloaded => "/v2/models/softmax/infer",
            Self::Metrics => "/metrics",
        }
    }

    /// Its body, and how much of that is JSON if bytes follow.
    pub(super) fn body(self) -> (Bytes, Option<usize>) {
        let ones = vec![1.0_f32; N];
        let input =
            |name: &str| json!({ "name": name, "datatype": "FP32", "shape": [N], "data": ones });
        let faulty = |what: Do| json!({ "inputs": [{ "name": "what", "datatype": "UINT32", "shape": [1], "data": [what as u32] }] });
        let document = match self {
            Self::Metrics => return (Bytes::new(), None),
            Self::Malformed => return (Bytes::from_static(b"{\"inputs\": [{"), None),
            Self::Binary => return binary(),
            Self::Json => json!({ "parameters": { "a": 2.0 }, "inputs": [input("x"), input("y")] }),
            Self::Unloaded => {
                json!({ "inputs": [{ "name": "input", "datatype": "FP32", "shape": [1, N], "data": ones }] })
            }
            Self::Faulty(0) => faulty(Do::Allocate),
            Self::Faulty(2) => faulty(Do::Panic),
            Self::Faulty(3) => faulty(Do::Fail),
            Self::Faulty(_) | Self::Late | Self::Half | Self::Gone => faulty(Do::Wait),
        };
        (document.to_string().into(), None)
    }
}

fn binary() -> (Bytes, Option<usize>) {
    let input = |name: &str| json!({ "name": name, "datatype": "FP32", "shape": [N], "parameters": { "binary_data_size": N * 4 } });
    let document = json!({ "parameters": { "a": 2.0, "binary_data_output": true }, "inputs": [input("x"), input("y")] });
    let json = document.to_string().into_bytes();
    let length = json.len();
    let bytes = 1.0_f32.to_le_bytes().repeat(2 * N);
    ([json, bytes].concat().into(), Some(length))
}

//! The section `http`: how requests come in over the network.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::thread::available_parallelism;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::Finding;
use super::values::{duration_schema, listen_schema, size};
use crate::runtime::RuntimePreset;

/// Where requests are listened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Listen {
    /// Nowhere: there is the control endpoint alone.
    Off,
    /// At that address; port 0 is one that is free.
    On(SocketAddr),
}

/// `off`, or an address.
impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            _ => text.parse().map(Self::On).map_err(|_| {
                format!(
                    "`{text}` is neither `off` nor an address with a port, as in 127.0.0.1:8000"
                )
            }),
        }
    }
}

impl TryFrom<String> for Listen {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Listen> for String {
    fn from(listen: Listen) -> Self {
        listen.to_string()
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.pad("off"),
            Self::On(address) => address.fmt(f),
        }
    }
}

/// How requests come in over the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Where requests are listened for: an address with a port, or `off`.
    #[schemars(schema_with = "listen_schema")]
    pub listen: Listen,
    /// Threads that read requests and write answers. They never compute: liveness is answered while
    /// every kernel is busy.
    #[schemars(range(min = 1, max = HttpConfig::MOST_WORKERS), extend("x-default" = "the number of CPUs, at most 512"))]
    pub workers: usize,
    /// Most connections at once; further ones wait to be accepted.
    #[schemars(range(min = 1))]
    pub max_connections: usize,
    /// Most bytes of a request's body.
    #[serde(with = "size")]
    #[schemars(schema_with = "size::schema")]
    pub max_body_bytes: u64,
    /// Most bytes of bodies at once, over all requests that are read or worked on; further ones are refused. Those of at
    /// most 64 KiB do not count.
    #[serde(with = "size")]
    #[schemars(schema_with = "size::schema")]
    pub max_held_bytes: u64,
    /// Most bytes of an answer; of numbers in JSON each counts as the longest of its type.
    #[serde(with = "size")]
    #[schemars(schema_with = "size::schema")]
    pub max_answer_bytes: u64,
    /// How long a client may take for a request's head.
    #[serde(with = "humantime_serde")]
    #[schemars(schema_with = "duration_schema")]
    pub header_timeout: Duration,
    /// How long a client may take for a request's body, and for a quarter of a MiB of its answer.
    #[serde(with = "humantime_serde")]
    #[schemars(schema_with = "duration_schema")]
    pub body_timeout: Duration,
    /// How long a connection is kept that is not used. One that begins a further request and does not go on has
    /// `header_timeout` more.
    #[serde(with = "humantime_serde")]
    #[schemars(schema_with = "duration_schema")]
    pub keep_alive: Duration,
    /// How long, once it is told to end, the service goes on taking requests while it says that it is
    /// not ready: the time that load balancers need to notice.
    #[serde(with = "humantime_serde")]
    #[schemars(schema_with = "duration_schema")]
    pub drain_delay: Duration,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: Listen::On(SocketAddr::from((Ipv4Addr::LOCALHOST, 8000))),
            workers: available_parallelism().map_or(1, usize::from).min(Self::MOST_WORKERS),
            max_connections: 4096,
            max_body_bytes: 64 << 20,
            max_held_bytes: 1 << 30,
            max_answer_bytes: 256 << 20,
            header_timeout: Duration::from_secs(5),
            body_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(75),
            drain_delay: Duration::ZERO,
        }
    }
}

impl HttpConfig {
    /// Most `workers`: the server cannot tell more of them apart.
    pub const MOST_WORKERS: usize = 512;

    /// What is wrong with it.
    pub(super) fn problems(&self) -> impl Iterator<Item = Finding> {
        let times = [
            ("header_timeout", self.header_timeout),
            ("body_timeout", self.body_timeout),
            ("keep_alive", self.keep_alive),
        ];
        let none = times.into_iter().filter(|(_, time)| time.is_zero());
        let none = none.map(|(name, _)| {
            (name, "in no time nothing can be sent; every connection would be closed at once")
        });
        let never = (self.max_held_bytes < self.max_body_bytes)
            .then_some(("max_held_bytes", "one body may be larger, by `http.max_body_bytes`"));
        none.chain(never).map(|(name, reason)| (format!("http.{name}"), reason.to_owned()))
    }

    /// The values of a preset. In production load balancers are given five seconds before a drain.
    pub fn preset(preset: RuntimePreset) -> Self {
        let drain_delay = match preset {
            RuntimePreset::Development => Duration::ZERO,
            RuntimePreset::Production | RuntimePreset::HighPerformance => Duration::from_secs(5),
        };
        Self { drain_delay, ..Self::default() }
    }
}

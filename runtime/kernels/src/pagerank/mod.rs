//! PageRank of a directed graph (Page, Brin, Motwani and Winograd, "The PageRank citation ranking:
//! bringing order to the web", 1999), by power iteration.
//!
//! A surfer follows one of the out-links of the page (with probability `damping`) or goes to any
//! page. From a page without out-links (dangling) the surfer goes to any page too, as in Langville
//! and Meyer, "Google's PageRank and beyond", 2006. Ranks are the probabilities in the long run and
//! sum to 1. A link that occurs twice counts twice.
//!
//! The iteration starts with equal ranks and ends after the first step in which the ranks change by
//! at most `tolerance` in sum (L1), or after the given number of steps: the same rule on host and
//! device, where a flag makes steps beyond the last do nothing. Ranks are `f64` until the end.
//!
//! Both pull rank along in-links, so that every sum has a fixed order and needs no atomics; the
//! transpose of the graph is made once, on the host.

mod device;
mod graph;
pub mod host;
mod kernel;

pub use kernel::{PageRank, PageRankRequest, PageRankResponse, spec};

/// The entries `pagerank_start`, `pagerank_spread`, `pagerank_gather`, `pagerank_check` and
/// `pagerank_finish`; `kernel.cu` says how they are launched.
pub const PTX: &str = include_str!("kernel.ptx");

//! Which library reads JSON tensors fastest: `cargo bench -p rustkernel-benches --features peers --bench json`.
//!
//! A request of `saxpy`, two vectors of 1024 numbers, is read into the same types by each. The numbers are of either
//! precision, as clients write them: as short as they come back the same; and FP32 as Python writes them, whose floats are
//! FP64 (`numpy.ndarray.tolist`). The libraries take turns within each round; shown is the median. All have to read the
//! same numbers, bit for bit (serde_json is built with `float_roundtrip` here).
#![forbid(unsafe_code)]
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark reads the real clock, prints its table, and may fail"
)]

use std::hint::black_box;
use std::time::Instant;

use comfy_table::{Table, presets};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

const LENGTH: usize = 1024;
const ROUNDS: usize = 400;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Request<T> {
    inputs: Vec<Input<T>>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Input<T> {
    name: String,
    datatype: String,
    shape: Vec<usize>,
    data: Vec<T>,
}

/// Reads a body, which some of them overwrite.
type Read<T> = fn(&mut [u8]) -> Request<T>;

fn main() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["numbers", "bytes", "library", "us", "ratio"]);
    let mut draw = || random.random_range(-1.0_f32..1.0);
    measure("FP32", &mut draw, shortest, &mut table);
    measure("FP32 of Python", &mut draw, widened, &mut table);
    let mut random = ChaCha8Rng::seed_from_u64(2);
    measure("FP64", || random.random_range(-1.0_f64..1.0), shortest, &mut table);
    println!("{table}");
}

fn shortest(request: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(request).unwrap()
}

/// (Values of serde_json's have numbers in FP64.)
fn widened(request: &Request<f32>) -> Vec<u8> {
    shortest(&serde_json::to_value(request).unwrap())
}

fn measure<T>(
    kind: &str,
    mut draw: impl FnMut() -> T,
    write: impl Fn(&Request<T>) -> Vec<u8>,
    table: &mut Table,
) where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let libraries: [(&str, Read<T>); 3] = [
        ("serde_json", |body| serde_json::from_slice(body).unwrap()),
        ("simd-json", |body| simd_json::serde::from_slice(body).unwrap()),
        ("sonic-rs", |body| sonic_rs::from_slice(body).unwrap()),
    ];
    let mut input = |name: &str| Input {
        name: name.into(),
        datatype: kind.into(),
        shape: vec![LENGTH],
        data: (0..LENGTH).map(|_| draw()).collect(),
    };
    let request = Request { inputs: vec![input("x"), input("y")] };
    let body = write(&request);
    let mut micros = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        for ((name, read), micros) in libraries.iter().zip(&mut micros) {
            let mut own = body.clone();
            let since = Instant::now();
            let back = black_box(read(black_box(&mut own)));
            micros.push(since.elapsed().as_secs_f64() * 1e6);
            assert_eq!(back, request, "{name}");
        }
    }
    let medians = micros.map(|mut all| {
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    });
    for ((name, _), median) in libraries.iter().zip(medians) {
        let ratio = median / medians[0];
        table.add_row([
            kind.to_owned(),
            body.len().to_string(),
            (*name).to_owned(),
            format!("{median:.1}"),
            format!("{ratio:.2}"),
        ]);
    }
}

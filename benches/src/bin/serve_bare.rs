//! What the service is measured beside: a bare actix-web handler that parses the same requests of `saxpy`, computes
//! inline, and answers in the same way. It checks nothing, bounds nothing and drains nothing.
//!
//! It prints the address that it listens at.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "it tells its address")]

use actix_web::web::Bytes;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde::{Deserialize, Serialize};

const HEADER_LENGTH: &str = "inference-header-content-length";

#[derive(Deserialize)]
struct Request {
    inputs: Vec<Input>,
    parameters: Parameters,
}

#[derive(Deserialize)]
struct Input {
    #[serde(default)]
    data: Vec<f32>,
}

#[derive(Deserialize)]
struct Parameters {
    a: f32,
}

#[derive(Serialize)]
struct Answer<'a> {
    model_name: &'a str,
    model_version: &'a str,
    outputs: [Output<'a>; 1],
}

#[derive(Serialize)]
struct Output<'a> {
    name: &'a str,
    datatype: &'a str,
    shape: [usize; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Size>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a [f32]>,
}

#[derive(Serialize)]
struct Size {
    binary_data_size: usize,
}

fn saxpy(a: f32, x: &[f32], y: &[f32]) -> Vec<f32> {
    x.iter().zip(y).map(|(x, y)| a * x + y).collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let (chunks, _) = bytes.as_chunks::<4>();
    chunks.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

fn answer(len: usize, data: Option<&[f32]>) -> Vec<u8> {
    let parameters = data.is_none().then_some(Size { binary_data_size: len * 4 });
    let output = Output { name: "output", datatype: "FP32", shape: [len], parameters, data };
    let answer = Answer { model_name: "saxpy", model_version: "1", outputs: [output] };
    serde_json::to_vec(&answer).unwrap_or_default()
}

async fn infer(http: HttpRequest, body: Bytes) -> Result<HttpResponse, actix_web::Error> {
    let length =
        http.headers().get(HEADER_LENGTH).and_then(|text| text.to_str().ok()?.parse().ok());
    let Some(length): Option<usize> = length else {
        let request: Request = serde_json::from_slice(&body)?;
        let [x, y] = request.inputs.as_slice() else {
            return Ok(HttpResponse::BadRequest().finish());
        };
        let output = saxpy(request.parameters.a, &x.data, &y.data);
        let body = answer(output.len(), Some(&output));
        return Ok(HttpResponse::Ok().content_type("application/json").body(body));
    };
    let (header, tensors) = body.split_at(length);
    let request: Request = serde_json::from_slice(header)?;
    let (x, y) = tensors.split_at(tensors.len() / 2);
    let output = saxpy(request.parameters.a, &floats(x), &floats(y));
    let mut body = answer(output.len(), None);
    let length = body.len();
    output.iter().for_each(|value| body.extend_from_slice(&value.to_le_bytes()));
    Ok(HttpResponse::Ok()
        .content_type("application/octet-stream")
        .insert_header((HEADER_LENGTH, length))
        .body(body))
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let app = || {
        let limit = web::PayloadConfig::new(64 << 20);
        App::new().app_data(limit).route("/v2/models/saxpy/infer", web::post().to(infer))
    };
    let server = HttpServer::new(app).bind("127.0.0.1:0")?;
    println!("http://{}", server.addrs()[0]);
    server.run().await
}

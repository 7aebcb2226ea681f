//! Bodies, as they come: within a size and a time. One that is packed is held to the size both ways.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::dev::Payload;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use actix_web::web::{self, Bytes, BytesMut};
use futures_util::StreamExt;

use super::packing::Packing;
use super::{Fault, Reason};

/// The most, and how long it may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimits {
    pub(crate) bytes: usize,
    pub(crate) patience: Duration,
}

/// Reads a body to its end.
///
/// # Errors
/// If it is too large, packed or not; too slow; packed in a way that is not known; or ends early.
pub(crate) async fn read(
    request: &HttpRequest,
    body: &mut Payload,
    limits: BodyLimits,
) -> Result<Bytes, Fault> {
    let packing = check(request, limits)?;
    let read = match tokio::time::timeout(limits.patience, collect(body, limits.bytes)).await {
        Ok(read) => read?,
        Err(_elapsed) => {
            let patience = humantime::format_duration(limits.patience);
            let error = format!("the body did not come within {patience}");
            return Err(Fault::new(Reason::TooSlow, error));
        }
    };
    match packing {
        None => Ok(read),
        Some(packing) => unpack(packing, read, limits.bytes).await,
    }
}

/// Unpacks a body where that keeps nobody waiting.
async fn unpack(packing: Packing, packed: Bytes, most: usize) -> Result<Bytes, Fault> {
    let unpacked = web::block(move || packing.unpack(&packed, most)).await;
    let unpacked = unpacked.map_err(|error| Fault::new(Reason::Failed, error.to_string()))??;
    unpacked.map(Bytes::from).ok_or_else(|| too_large(most))
}

/// What can be refused before the body is read.
fn check(request: &HttpRequest, limits: BodyLimits) -> Result<Option<Packing>, Fault> {
    let headers = request.headers();
    let packing = headers.get(CONTENT_ENCODING).map_or(Ok(None), Packing::of)?;
    let announced: Option<u64> =
        headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    match announced {
        Some(length) if length > limits.bytes as u64 => Err(too_large(limits.bytes)),
        _ => Ok(packing),
    }
}

async fn collect(body: &mut Payload, most: usize) -> Result<Bytes, Fault> {
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| Fault::invalid(format!("the body: {error}")))?;
        if first.len().max(all.len()) + chunk.len() > most {
            return Err(too_large(most));
        }
        // (A body that comes in one piece is not copied.)
        if first.is_empty() && all.is_empty() {
            first = chunk;
            continue;
        }
        if all.is_empty() {
            all.extend_from_slice(&std::mem::take(&mut first));
        }
        all.extend_from_slice(&chunk);
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

fn too_large(most: usize) -> Fault {
    let most = u64::try_from(most).unwrap_or(u64::MAX);
    Fault::new(
        Reason::TooLarge,
        format!("the body has more than {most} bytes (http.max_body_bytes)"),
    )
}

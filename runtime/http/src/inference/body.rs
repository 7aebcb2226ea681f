//! Bodies, as they come: within a size and a time.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use actix_web::web::{Bytes, BytesMut, Payload};
use futures_util::StreamExt;

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
/// If it is too large, too slow, packed, or ends early.
pub(crate) async fn read(
    request: &HttpRequest,
    body: &mut Payload,
    limits: BodyLimits,
) -> Result<Bytes, Fault> {
    check(request, limits)?;
    match tokio::time::timeout(limits.patience, collect(body, limits.bytes)).await {
        Ok(read) => read,
        Err(_elapsed) => Err(Fault::new(
            Reason::TooSlow,
            format!("the body did not come within {}", humantime::format_duration(limits.patience)),
        )),
    }
}

/// What can be refused before the body is read.
fn check(request: &HttpRequest, limits: BodyLimits) -> Result<(), Fault> {
    let headers = request.headers();
    if let Some(encoding) = headers.get(CONTENT_ENCODING)
        && encoding != "identity"
    {
        let error = format!("the body's encoding {encoding:?} is not known; send it as it is");
        return Err(Fault::new(Reason::UnsupportedEncoding, error));
    }
    let announced: Option<u64> =
        headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    match announced {
        Some(length) if length > limits.bytes as u64 => Err(too_large(limits.bytes)),
        _ => Ok(()),
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

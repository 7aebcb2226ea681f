//! What reads the bytes of strangers, for fuzz targets (`fuzz/`). No part of the interface.

use rustkernel_core::message::{Fields, Signature};

use crate::inference;

/// What a body asks of a kernel. `header` is the length of its JSON, where bytes follow.
///
/// # Errors
/// Why it asks for nothing.
pub fn infer(signature: &Signature, header: Option<usize>, body: &[u8]) -> Result<Fields, String> {
    let read = inference::read(signature, header, body);
    read.map(|inference| inference.fields).map_err(|fault| fault.error)
}

/// The same of a body that comes in chunks of that length.
///
/// # Errors
/// Why it asks for nothing.
///
/// # Panics
/// If the length is 0.
pub fn infer_in_chunks(
    signature: &Signature,
    header: Option<usize>,
    body: &[u8],
    length: usize,
) -> Result<Fields, String> {
    let front = header.unwrap_or(body.len()).next_multiple_of(length).min(body.len());
    let (front, rest) = body.split_at(front);
    let read = inference::begin(signature, header, front, body.len()).and_then(|mut begun| {
        rest.chunks(length).for_each(|chunk| begun.take(chunk));
        begun.finish()
    });
    read.map(|inference| inference.fields).map_err(|fault| fault.error)
}

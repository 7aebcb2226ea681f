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

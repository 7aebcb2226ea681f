//! Copies and fills, between any two places that the driver knows.

use std::sync::Arc;

use super::{device_of, host};
use crate::code::{Answer, Code};
use crate::device;
use crate::sim::Segment;

/// Where a copy reads or writes.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// An address of a device, or of host memory that the driver knows.
    Known(u64),
    /// An address of host memory that it does not know.
    Pageable(HostAddress),
    /// Bytes that were taken when the call was made.
    Staged(Arc<[u8]>),
}

/// An address that crosses to a stream's thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HostAddress(pub(crate) *mut u8);

// SAFETY: an address; the program that passed it keeps it valid until the copy is done.
unsafe impl Send for HostAddress {}
// SAFETY: as above.
unsafe impl Sync for HostAddress {}

impl Place {
    /// A pointer that may be of either side.
    pub(crate) fn unified(address: u64) -> Self {
        if device_of(address).is_some() || host::find(address).is_some() {
            Self::Known(address)
        } else {
            let pointer = std::ptr::with_exposed_provenance_mut(address as usize);
            Self::Pageable(HostAddress(pointer))
        }
    }

    pub(crate) fn is_pageable(&self) -> bool {
        matches!(self, Self::Pageable(_))
    }

    /// The place so many bytes further on.
    fn plus(&self, bytes: u64) -> Self {
        match self {
            Self::Known(address) => Self::Known(address.wrapping_add(bytes)),
            Self::Pageable(HostAddress(pointer)) => {
                Self::Pageable(HostAddress(pointer.wrapping_add(bytes as usize)))
            }
            Self::Staged(staged) => Self::Staged(staged[bytes as usize..].into()),
        }
    }

    /// That all of it is live, as far as the driver can tell.
    pub(crate) fn check(&self, bytes: u64) -> Answer {
        match self {
            Self::Known(_) => self.pieces(bytes).map(drop),
            Self::Pageable(HostAddress(pointer)) if pointer.is_null() => Err(Code::INVALID_VALUE),
            _ => Ok(()),
        }
    }

    /// The host memory behind it, in as many pieces as it has.
    fn pieces(&self, bytes: u64) -> Answer<Vec<Piece>> {
        let mut address = match self {
            Self::Known(address) => *address,
            Self::Pageable(HostAddress(pointer)) => {
                return Ok(vec![Piece { start: *pointer, bytes, _segment: None }]);
            }
            Self::Staged(staged) => {
                let start = staged.as_ptr().cast_mut();
                return Ok(vec![Piece { start, bytes, _segment: None }]);
            }
        };
        let (mut rest, mut pieces) = (bytes, Vec::new());
        while rest > 0 {
            let segment = segment(address).ok_or(Code::INVALID_VALUE)?;
            let start = segment.at(address, 1).ok_or(Code::INVALID_VALUE)?;
            let bytes = rest.min(segment.bytes - (address - segment.start));
            pieces.push(Piece { start, bytes, _segment: Some(segment) });
            address += bytes;
            rest -= bytes;
        }
        Ok(pieces)
    }
}

/// What is live at `address`, on any device or on the host.
pub(crate) fn segment(address: u64) -> Option<Segment> {
    match device_of(address) {
        Some(ordinal) => device::find(ordinal)?.context()?.space().segment(address),
        None => host::segment(address),
    }
}

/// Host memory, kept alive while it is used.
struct Piece {
    start: *mut u8,
    bytes: u64,
    _segment: Option<Segment>,
}

/// Copies `bytes` bytes. Both places must be live, or nothing is copied.
///
/// Places that are [`Place::Pageable`] must be valid: the program that passed them promises it.
pub(crate) fn copy(to: &Place, from: &Place, bytes: u64) -> Answer {
    let (to, from) = (to.pieces(bytes)?, from.pieces(bytes)?);
    let (mut to, mut from) = (to.into_iter(), from.into_iter());
    let (mut target, mut source) = (to.next(), from.next());
    while let (Some(into), Some(out_of)) = (&mut target, &mut source) {
        let count = into.bytes.min(out_of.bytes);
        // SAFETY: both pieces are live for so many bytes: the driver's own, which their segments
        // keep, or the program's, by its promise.
        unsafe { std::ptr::copy(out_of.start, into.start, count as usize) };
        for piece in [&mut *into, &mut *out_of] {
            piece.start = piece.start.wrapping_add(count as usize);
            piece.bytes -= count;
        }
        if into.bytes == 0 {
            target = to.next();
        }
        if out_of.bytes == 0 {
            source = from.next();
        }
    }
    Ok(())
}

/// A copy of rows: from each place, rows of `width` bytes at a pitch.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    pub(crate) to: (Place, u64),
    pub(crate) from: (Place, u64),
    pub(crate) width: u64,
    pub(crate) height: u64,
}

impl Rows {
    pub(crate) fn check(&self) -> Answer {
        let spans = |pitch: u64| pitch * self.height.saturating_sub(1) + self.width;
        self.to.0.check(spans(self.to.1))?;
        self.from.0.check(spans(self.from.1))
    }

    pub(crate) fn copy(&self) -> Answer {
        (0..self.height).try_for_each(|row| {
            copy(&self.to.0.plus(row * self.to.1), &self.from.0.plus(row * self.from.1), self.width)
        })
    }
}

/// Fills with a pattern of 1, 2 or 4 bytes, so many times.
pub(crate) fn fill(to: &Place, pattern: &[u8], count: u64) -> Answer {
    let size = pattern.len() as u64;
    let mut written = 0;
    for piece in to.pieces(count * size)? {
        // SAFETY: the piece is live for so many bytes, and its segment keeps it.
        let bytes = unsafe { std::slice::from_raw_parts_mut(piece.start, piece.bytes as usize) };
        if let [byte] = pattern {
            bytes.fill(*byte);
        } else {
            for (i, byte) in bytes.iter_mut().enumerate() {
                *byte = pattern[(written as usize + i) % pattern.len()];
            }
        }
        written += piece.bytes;
    }
    Ok(())
}

/// The bytes at a host address, taken now.
///
/// # Safety
/// So many bytes must be readable there.
pub(crate) unsafe fn staged(from: *const u8, bytes: u64) -> Place {
    // SAFETY: by the caller.
    Place::Staged(unsafe { std::slice::from_raw_parts(from, bytes as usize) }.into())
}

//! The one error that every kernel shares.

use thiserror::Error;

/// A slice does not have the length that the shapes ask for.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("`{buffer}` holds {actual} elements and needs {expected}")]
pub struct LengthError {
    /// The argument's name.
    pub buffer: &'static str,
    /// The length it has.
    pub actual: usize,
    /// The length it needs; scratch memory may be longer.
    pub expected: usize,
}

impl LengthError {
    /// `Ok` if `actual` is `expected`.
    pub(crate) fn unless_exact(
        buffer: &'static str,
        actual: usize,
        expected: usize,
    ) -> Result<(), Self> {
        if actual == expected { Ok(()) } else { Err(Self { buffer, actual, expected }) }
    }

    /// `Ok` if `actual` is at least `expected`.
    pub(crate) fn unless_enough(
        buffer: &'static str,
        actual: usize,
        expected: usize,
    ) -> Result<(), Self> {
        if actual >= expected { Ok(()) } else { Err(Self { buffer, actual, expected }) }
    }
}

/// The number of elements of an array; `usize::MAX`, which no slice has, if it would be more.
pub(crate) fn elements(extents: &[usize]) -> usize {
    // A zero first: the product of the others may overflow.
    if extents.contains(&0) { 0 } else { extents.iter().fold(1, |n, &e| n.saturating_mul(e)) }
}

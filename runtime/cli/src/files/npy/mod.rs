//! NumPy's `.npy` format, versions 1.0, 2.0 and 3.0, for the element types that tensors have.
//!
//! ```text
//!  \x93NUMPY  version  length  {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }␠…␠\n  data
//!  6 bytes    2        2 or 4  a Python literal, padded                                          …
//! ```
//!
//! As specified by `numpy.lib.format`. Both byte orders and both orders of dimensions are read, and
//! version 1.0 is written: little-endian, row-major.
//!
//! This is our own because what the crates for it do with a hostile file is not what a command line
//! may do: they multiply the shape without a check, allocate whatever the header's length says, and
//! bring a parser for all of Python's literals where three keys are needed.

mod data;
mod header;

use std::io;

use rustkernel_core::gpu::ElementType;

pub(crate) use data::{read, write};
pub(crate) use header::{Header, MAGIC};

/// What is wrong with a file, as a predicate of its name.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NpyError {
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("is not an .npy file")]
    NotNpy,
    #[error("is of version {0}.{1} of the .npy format; 1.0, 2.0 and 3.0 are known")]
    Version(u8, u8),
    #[error("is cut short: it ends within its header")]
    HeaderCut,
    #[error("has a malformed header: {0}")]
    Header(String),
    #[error("holds {what} ({descr})")]
    Type { what: &'static str, descr: String },
    #[error("claims a size that no memory has: {0}")]
    TooLarge(String),
    #[error("is cut short: its header promises {promised} bytes of data, and {found} follow")]
    Cut { promised: u64, found: u64 },
    #[error("goes on after the {promised} bytes of data that its header promises")]
    Trailing { promised: u64 },
    #[error("needs {0} bytes of memory, which are not there")]
    Memory(u64),
}

/// The element types and their codes in a `descr`.
const TYPES: [(ElementType, &str); 10] = [
    (ElementType::U8, "u1"),
    (ElementType::U16, "u2"),
    (ElementType::U32, "u4"),
    (ElementType::U64, "u8"),
    (ElementType::I8, "i1"),
    (ElementType::I16, "i2"),
    (ElementType::I32, "i4"),
    (ElementType::I64, "i8"),
    (ElementType::F32, "f4"),
    (ElementType::F64, "f8"),
];

#[cfg(test)]
mod numpy;
#[cfg(test)]
mod tests;

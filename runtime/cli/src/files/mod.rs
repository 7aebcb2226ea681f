//! Tensors in files: `.npy` for any tensor, pictures for tensors that are pictures.
//!
//! | module | role |
//! |---|---|
//! | [`input`] | opens a file, checks what its header says, then reads it |
//! | [`target`] | writes a file beside its place, then puts it there |
//! | [`npy`] | NumPy's format |
//! | [`picture`] | PNG, JPEG, BMP and PNM |
//!
//! Nothing in a file is believed: memory is taken as data arrives, never because a header says so.

mod input;
mod npy;
mod picture;
mod target;

pub(crate) use input::Input;
pub(crate) use target::{Staged, Target};

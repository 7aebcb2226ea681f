//! x
#![allow(dead_code)]
#![allow(unsafe_code)]
mod clock;
mod code;
mod jit;
mod ptx;
mod sim;

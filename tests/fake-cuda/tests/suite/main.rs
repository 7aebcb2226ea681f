//! The fake driver as programs use it: through `cust`, over `rustkernel_driver`'s entry points.
//!
//! One process with 64 devices. Every test claims one of its own, so they run beside each other.
#![allow(unsafe_code, reason = "the driver's interface is C")]

mod arithmetic;
mod capture;
mod control;
mod events;
mod faults;
mod instructions;
mod kernels;
mod library;
mod memory;
mod modules;
mod streams;
mod support;

//! What the integration tests share.
#![allow(clippy::panic, reason = "a wrong result fails the test that asked for it")]

pub mod reference;

//! What the end-to-end tests share.
#![forbid(unsafe_code)]
#![allow(clippy::panic, reason = "a wrong result fails the test that asked for it")]

pub mod adding;
pub mod builtin;
pub mod fake;
pub mod reference;
pub mod rig;
pub mod running;
pub mod simulated;
pub mod simulation;
pub mod soak;

use std::future::Future;
use std::time::Duration;

use rustkernel_core::kernel::{Backoff, RestartPolicy};
use rustkernel_core::observability::{LogConfig, LogFormat, LogLevel};
use rustkernel_core::runtime::RuntimeBuilder;

/// A builder for tests: on the host, and quiet.
pub fn builder() -> RuntimeBuilder {
    RuntimeBuilder::new()
        .with_gpu_enabled(false)
        .with_log(LogConfig { level: LogLevel::Off, format: LogFormat::Json })
        .with_shutdown_timeout(Duration::from_secs(10))
}

/// A kernel is restarted at once, however often it ends.
pub fn tireless() -> RestartPolicy {
    RestartPolicy::permanent().unlimited().backoff(Backoff::none())
}

/// Waits until something holds, for at most ten seconds.
///
/// # Panics
/// If it does not hold by then.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("not within ten seconds: {what}");
}

/// Fails a test that hangs instead of hanging with it.
///
/// # Panics
/// If the future is not ready within a minute.
pub async fn within_a_minute<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future)
        .await
        .expect("a test ends within a minute")
}

/// The sample program of the README: it compiles, and does what it says.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;

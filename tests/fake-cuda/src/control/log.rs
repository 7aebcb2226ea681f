//! Standard error: what the driver has to say for itself, if it is asked to.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};

static VERBOSE: AtomicBool = AtomicBool::new(false);

pub(crate) fn set_verbose(verbose: bool) {
    VERBOSE.store(verbose, Ordering::Relaxed);
}

/// Says something when `FAKE_CUDA_VERBOSE=1`.
pub(crate) fn verbose(message: impl Display) {
    if VERBOSE.load(Ordering::Relaxed) {
        always(message);
    }
}

/// Says something in any case: what the person at the terminal must know.
#[allow(clippy::print_stderr, reason = "a driver has no other way to speak")]
pub(crate) fn always(message: impl Display) {
    eprintln!("fake-cuda: {message}");
}

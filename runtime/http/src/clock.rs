//! The wall clock, read here and nowhere else in this crate.

use std::time::SystemTime;

#[allow(clippy::disallowed_methods, reason = "this is where it is read")]
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}

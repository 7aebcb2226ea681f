//! Requests' ids.

use std::fmt;

use actix_web::http::header::HeaderValue;
use uuid::Uuid;

/// A request's id: what the caller is told (`x-request-id`) and the audit log has. Of version 7, so that
/// they sort by time. A caller's own id is not taken: two requests could have the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(Uuid);

impl RequestId {
    /// The name of the header that tells it.
    pub const HEADER: &str = "x-request-id";

    /// A new one.
    #[allow(clippy::new_without_default, reason = "each is another; none is the default")]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// As the value of a header.
    pub(super) fn header(self) -> HeaderValue {
        let mut buffer = Uuid::encode_buffer();
        let text = self.0.hyphenated().encode_lower(&mut buffer);
        HeaderValue::from_str(text).expect("invariant: digits and dashes")
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

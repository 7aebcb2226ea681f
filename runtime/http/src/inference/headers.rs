//! What is read of a request's headers.

use std::str::FromStr;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};

use super::Fault;

/// What a header has, if it is there.
///
/// # Errors
/// If it is there more than once: who is on the way may have read another.
pub(super) fn only<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'h HeaderValue>, Fault> {
    let mut values = headers.get_all(name);
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(Fault::invalid(format!("the header `{name}` is there more than once"))),
        (value, None) => Ok(value),
    }
}

/// The number that a header has, if it is there.
pub(super) fn number<N: FromStr>(
    headers: &HeaderMap,
    name: &HeaderName,
) -> Result<Option<N>, Fault> {
    let Some(value) = only(headers, name)? else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| {
        Fault::invalid(format!("the header `{name}` is {value:?}; it has to be a whole number"))
    })
}

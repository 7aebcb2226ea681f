//! What a caller says of the trace that its request belongs to: the headers `traceparent` and `tracestate` of
//! [W3C Trace Context](https://www.w3.org/TR/trace-context-2/). A malformed `traceparent` is as if it were not
//! there.

use actix_web::http::header::{HeaderMap, HeaderName};
use opentelemetry::trace::{SpanId, TraceId, TraceState};

static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// Most members of a `tracestate`, and the characters that have to be passed on, by the recommendation.
const MEMBERS: usize = 32;
const CHARACTERS: usize = 512;

/// The caller's span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parent {
    pub(crate) trace: TraceId,
    pub(crate) span: SpanId,
    /// Whether the caller has it traced.
    pub(crate) sampled: bool,
}

impl Parent {
    /// What the headers say, if there is exactly one proper `traceparent`.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut all = headers.get_all(&TRACEPARENT);
        let only = all.next().filter(|_| all.next().is_none())?;
        Self::parse(only.to_str().ok()?.trim_matches([' ', '\t']))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let [version, trace, span, flags] = [(); 4].map(|()| parts.next());
        let (version, flags) = (hex(version?, 2)?, hex(flags?, 2)?);
        // What later versions add stands behind what this one has.
        if version == 0xff || (version == 0 && parts.next().is_some()) {
            return None;
        }
        let trace = TraceId::from(hex(trace?, 32)?);
        let span = SpanId::from(u64::try_from(hex(span?, 16)?).ok()?);
        let valid = trace != TraceId::INVALID && span != SpanId::INVALID;
        valid.then_some(Self { trace, span, sampled: flags & 1 == 1 })
    }
}

/// The number that so many lower-case hexadecimal digits make.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let all = text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    (all && text.len() == digits).then(|| u128::from_str_radix(text, 16).ok())?
}

/// What other systems have written into the trace's state; nothing if it is malformed or long.
pub(super) fn state(headers: &HeaderMap) -> TraceState {
    let lines = headers.get_all(&TRACESTATE).map(|line| line.to_str());
    let Ok(lines) = lines.collect::<Result<Vec<_>, _>>() else { return TraceState::NONE };
    let text = lines.join(",");
    let members = text.split(',').filter(|member| !member.trim().is_empty()).count();
    if !(1..=MEMBERS).contains(&members) || text.len() > CHARACTERS {
        return TraceState::NONE;
    }
    text.parse().unwrap_or(TraceState::NONE)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    fn headers(name: &'static str, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            let value = HeaderValue::from_str(value).unwrap();
            headers.append(HeaderName::from_static(name), value);
        }
        headers
    }

    fn parent(values: &[&str]) -> Option<(String, String, bool)> {
        let Parent { trace, span, sampled } = Parent::of(&headers("traceparent", values))?;
        Some((trace.to_string(), span.to_string(), sampled))
    }

    #[test]
    fn a_proper_parent_is_taken() {
        let is = |sampled| Some((TRACE.to_owned(), SPAN.to_owned(), sampled));
        assert_eq!(parent(&[&format!("00-{TRACE}-{SPAN}-01")]), is(true));
        assert_eq!(parent(&[&format!("00-{TRACE}-{SPAN}-00")]), is(false));
        // Flags that are not known are passed over; a later version may say more.
        assert_eq!(parent(&[&format!("00-{TRACE}-{SPAN}-03")]), is(true));
        assert_eq!(parent(&[&format!("00-{TRACE}-{SPAN}-fe")]), is(false));
        assert_eq!(parent(&[&format!("cc-{TRACE}-{SPAN}-01")]), is(true));
        assert_eq!(parent(&[&format!("cc-{TRACE}-{SPAN}-01-what-is-new")]), is(true));
        assert_eq!(parent(&[&format!(" 00-{TRACE}-{SPAN}-01\t")]), is(true));
    }

    #[test]
    fn a_malformed_one_is_as_if_it_were_not_there() {
        let zeros = "0".repeat(32);
        for malformed in [
            "",
            "00",
            &format!("00-{TRACE}-{SPAN}"),
            &format!("00-{TRACE}-{SPAN}-"),
            &format!("00-{TRACE}-{SPAN}-1"),
            &format!("00-{TRACE}-{SPAN}-01-x"),
            &format!("00-{TRACE}-{SPAN}-01-"),
            &format!("ff-{TRACE}-{SPAN}-01"),
            &format!("0-{TRACE}-{SPAN}-01"),
            &format!("cc-{TRACE}-{SPAN}-01x"),
            &format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            &format!("00-{TRACE}-{}-01", SPAN.to_uppercase()),
            &format!("00-{TRACE}-{SPAN}-0A"),
            &format!("00-{}-{SPAN}-01", &TRACE[1..]),
            &format!("00-{TRACE}0-{SPAN}-01"),
            &format!("00-{TRACE}-{}-01", &SPAN[1..]),
            &format!("00-{zeros}-{SPAN}-01"),
            &format!("00-{TRACE}-{}-01", &zeros[..16]),
            &format!("00-+{}-{SPAN}-01", &TRACE[1..]),
            &format!("00_{TRACE}_{SPAN}_01"),
        ] {
            assert_eq!(parent(&[malformed]), None, "{malformed:?}");
        }
        let good = format!("00-{TRACE}-{SPAN}-01");
        assert_eq!(parent(&[&good, &good]), None, "which of them?");
        assert_eq!(parent(&[]), None);
    }

    #[test]
    fn a_state_is_passed_on_and_a_malformed_one_is_not() {
        let read = |values: &[&str]| state(&headers("tracestate", values)).header();
        assert_eq!(read(&[]), "");
        assert_eq!(read(&["a=1,b=2"]), "a=1,b=2");
        assert_eq!(read(&["a=1", "b=2 , c=3"]), "a=1,b=2,c=3");
        assert_eq!(read(&["a"]), "");
        assert_eq!(read(&["A=1"]), "");
        let many: Vec<String> = (0..33).map(|n| format!("k{n}=1")).collect();
        assert_eq!(read(&[&many.join(",")]), "");
        assert!(!read(&[&many[1..].join(",")]).is_empty());
        let long = |length: usize| format!("a={}", "1".repeat(length));
        assert_eq!(read(&[&long(255), &long(300).replace('a', "b")]), "");
        assert!(!read(&[&long(250), &long(250).replace('a', "b")]).is_empty());
    }

    proptest! {
        #[test]
        fn whatever_is_taken_is_written_the_same(text in "[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}|.{0,70}") {
            if let Some(Parent { trace, span, sampled }) = Parent::parse(&text) {
                let flags = u8::from_str_radix(&text[53..55], 16).unwrap();
                prop_assert_eq!(&text[3..52], format!("{trace}-{span}"));
                prop_assert_eq!(flags & 1 == 1, sampled);
            }
        }
    }
}

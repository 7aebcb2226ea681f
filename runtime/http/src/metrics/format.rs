//! The two formats that metrics are told in.
//!
//! OpenMetrics 1.0 is what the encoder writes and what Prometheus asks for; whoever does not ask for it gets the
//! older text format, in which a counter's name has its `_total` throughout, and there are neither units nor an end.

use std::fmt::Write as _;

use actix_web::http::header::Accept;

/// A format of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    OpenMetrics,
    Text,
}

impl Format {
    /// The one that is asked for.
    pub(crate) fn of(accept: &Accept) -> Self {
        let wanted = accept.ranked().into_iter().find_map(|range| {
            match (range.type_().as_str(), range.subtype().as_str()) {
                ("application", "openmetrics-text") => Some(Self::OpenMetrics),
                ("text" | "*", _) => Some(Self::Text),
                _ => None,
            }
        });
        wanted.unwrap_or(Self::Text)
    }

    /// Its name.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// What was written as OpenMetrics, in this format.
    pub(crate) fn tell(self, text: String) -> String {
        match self {
            Self::OpenMetrics => text,
            Self::Text => plain(&text),
        }
    }
}

fn plain(text: &str) -> String {
    let mut all = String::with_capacity(text.len());
    let mut help = "";
    for line in text.lines() {
        let words = line.strip_prefix("# ").and_then(|rest| rest.split_once(' '));
        match words {
            Some(("HELP", rest)) => help = rest,
            Some(("TYPE", rest)) => head(&mut all, rest, help),
            // (Units, and the end, which is one word.)
            Some(_) => {}
            None if line.starts_with('#') => {}
            None => {
                all.push_str(line);
                all.push('\n');
            }
        }
    }
    all
}

/// The lines before the samples of a metric, by what the encoder writes: a name and a type, and before it the
/// name and the description.
fn head(all: &mut String, name_and_type: &str, help: &str) {
    let Some((name, kind)) = name_and_type.split_once(' ') else { return };
    let (end, kind) = match kind {
        "counter" => ("_total", "counter"),
        "info" => ("_info", "gauge"),
        "unknown" => ("", "untyped"),
        kind => ("", kind),
    };
    let about = help.split_once(' ').map_or("", |(_, about)| about);
    // (Writing to a text does not fail.)
    writeln!(all, "# HELP {name}{end} {about}\n# TYPE {name}{end} {kind}").ok();
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::Header as _;
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn counters_and_infos_have_their_names_throughout() {
        let text = "# HELP a A thing.\n# TYPE a counter\na_total{b=\"c d\"} 1\n\
                    # HELP e_seconds E.\n# TYPE e_seconds gauge\n# UNIT e_seconds seconds\ne_seconds 0.5\n\
                    # HELP f F.\n# TYPE f info\nf_info{v=\"1\"} 1\n# EOF\n";
        let expected = "# HELP a_total A thing.\n# TYPE a_total counter\na_total{b=\"c d\"} 1\n\
                        # HELP e_seconds E.\n# TYPE e_seconds gauge\ne_seconds 0.5\n\
                        # HELP f_info F.\n# TYPE f_info gauge\nf_info{v=\"1\"} 1\n";
        assert_eq!(plain(text), expected);
    }

    #[test]
    fn openmetrics_is_for_those_who_ask_for_it() {
        let of = |accept: &str| {
            let request =
                TestRequest::default().insert_header(("accept", accept)).to_http_request();
            Format::of(&Accept::parse(&request).unwrap())
        };
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,\
                          application/openmetrics-text;version=0.0.1;q=0.4,\
                          text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert_eq!(of(prometheus), Format::OpenMetrics);
        assert_eq!(of("text/plain"), Format::Text);
        assert_eq!(of("*/*"), Format::Text);
        assert_eq!(of("text/html, application/openmetrics-text;q=0.1"), Format::Text);
        assert_eq!(of("application/json"), Format::Text);
        let request = TestRequest::default().to_http_request();
        let none = Accept::parse(&request);
        assert_eq!(none.map_or(Format::Text, |accept| Format::of(&accept)), Format::Text);
    }
}

//! Compares values with the schema, and says everything that is wrong with them at once.

use regex_lite::Regex;
use serde_json::Value;

use super::error::TOLD;
use super::schema::{self, Field, SECONDS, fields};
use super::values::size;

/// A key, and what is wrong with its value.
pub(super) type Finding = (String, String);

/// What is said of a web address with an `@`, and not the address: a password may stand there.
pub(super) const CREDENTIALS: &str = "an address with an `@` will not do, as a name and a password in it would be \
    shown with it; headers for the collector, as for credentials, are taken from the variable OTEL_EXPORTER_OTLP_HEADERS";

/// Everything that is wrong with the value, by the schema; a little more than is told of very much.
pub(super) fn check(value: &Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    check_node(schema::json_schema(), value, "", &mut findings);
    findings
}

fn check_node(node: &Value, value: &Value, key: &str, findings: &mut Vec<Finding>) {
    if findings.len() > TOLD {
        return;
    }
    let mut wrong = |reason: String| findings.push((key.to_owned(), reason));
    if !has_type(node, value) {
        return wrong(mistyped(node, value, key));
    }
    match value {
        Value::Object(entries) => {
            for (name, below) in entries {
                let key = join(key, name);
                match schema::node(node, &[name]) {
                    None if findings.len() > TOLD => break,
                    None => findings.push((key.clone(), unknown(node, name, &key))),
                    Some(node) => check_node(node, below, &key, findings),
                }
                let other = name.strip_suffix(SECONDS).filter(|other| entries.contains_key(*other));
                if let Some(other) = other {
                    findings.push((key, format!("`{other}` says the same; leave one out")));
                }
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                check_node(&node["items"], item, &format!("{key}[{at}]"), findings);
            }
        }
        _ if !is_in_range(node, value) => {
            wrong(unfit(node, value));
        }
        _ => {}
    }
}

fn join(key: &str, name: &str) -> String {
    if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") }
}

fn types(node: &Value) -> Vec<&str> {
    match &node["type"] {
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        name => name.as_str().into_iter().collect(),
    }
}

fn has_type(node: &Value, value: &Value) -> bool {
    types(node).into_iter().any(|name| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        _ => value.is_number(),
    })
}

fn is_in_range(node: &Value, value: &Value) -> bool {
    match value {
        Value::String(text) => {
            let names = node["enum"].as_array();
            let pattern = node["pattern"].as_str();
            names.is_none_or(|names| names.contains(value))
                && pattern.is_none_or(|pattern| matches(pattern, text))
                && (!schema::is(node, "size") || is_large_enough(node, text))
        }
        Value::Number(number) => {
            let number = number.as_f64().unwrap_or(f64::NAN);
            let least = node["minimum"].as_f64().is_none_or(|least| number >= least);
            let most = node["maximum"].as_f64().is_none_or(|most| number <= most);
            least && most
        }
        _ => true,
    }
}

/// Whether a size with a unit is what one in bytes has to be.
fn is_large_enough(node: &Value, text: &str) -> bool {
    let least = node["minimum"].as_u64().unwrap_or_default();
    size::parse(text).is_ok_and(|bytes| bytes >= least)
}

fn matches(pattern: &str, text: &str) -> bool {
    Regex::new(pattern).expect("invariant: the schema's patterns are ours").is_match(text)
}

/// What values of the node look like.
pub(super) fn expected(node: &Value) -> String {
    if let Some(names) = node["enum"].as_array() {
        let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
        return format!("one of {}", names.join(", "));
    }
    match node["format"].as_str() {
        Some("duration") => return "a duration, as \"30s\" or \"1m 30s\"".into(),
        Some("size") => return "a size of at least 1 MiB, as \"16GiB\" or in bytes".into(),
        Some("address") => return "`off`, or an address with a port, as \"127.0.0.1:8000\"".into(),
        Some("url") => return "a web address, as \"http://localhost:4318\"".into(),
        Some("device") => return "a device, as \"host\" or \"cuda:0\"".into(),
        _ => {}
    }
    if node["pattern"].is_string() {
        return "a name of up to 32 letters, digits, - and _".into();
    }
    let range = match (node["minimum"].as_f64(), node["maximum"].as_f64()) {
        (Some(least), Some(most)) => format!(" from {least} to {most}"),
        (Some(least), None) => format!(" of at least {least}"),
        _ => String::new(),
    };
    match types(node).first().copied() {
        Some("boolean") => "true or false".into(),
        Some("integer") => format!("a whole number{range}"),
        Some("number") => format!("a number{range}"),
        Some("array") => format!("a list, each {}", expected(&node["items"])),
        Some("object") => "a table".into(),
        _ => "a text".into(),
    }
}

fn unfit(node: &Value, value: &Value) -> String {
    if schema::is(node, "url") && value.as_str().is_some_and(|url| url.contains('@')) {
        return CREDENTIALS.into();
    }
    format!("{} will not do; {} is wanted", shown(value), expected(node))
}

fn mistyped(node: &Value, value: &Value, key: &str) -> String {
    let wanted = format!("{} is {}; {} is wanted", shown(value), kind(value), expected(node));
    let unit = value.is_number() && schema::is(node, "duration");
    if unit { format!("{wanted}, or seconds as `{}{SECONDS}`", last(key)) } else { wanted }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(number) if number.is_f64() => "a number",
        Value::Number(_) => "a whole number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    }
}

/// The value, not too much of it.
pub(super) fn shown(value: &Value) -> String {
    const MOST: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn last(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

/// What is said of a key that does not exist: what its writer may have meant.
fn unknown(node: &Value, name: &str, key: &str) -> String {
    let own = node["properties"].as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    if let Some(near) = nearest(name, own) {
        return format!("there is no such key; did you mean `{near}`?");
    }
    let elsewhere = fields().iter().map(Field::key).find(|other| last(other) == name);
    match elsewhere {
        Some(other) => format!("there is no such key here; there is `{other}`"),
        None if !key.contains('.') => {
            let known: Vec<&str> = schema::json_schema()["properties"]
                .as_object()
                .into_iter()
                .flat_map(|known| known.keys().map(String::as_str))
                .collect();
            format!("there is no such key; there are {}", known.join(", "))
        }
        None => "there is no such key; `rustkernel config generate` prints all there are".into(),
    }
}

/// The name that is most like the one that was written, if one is.
pub(super) fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    // (Longer than any name there is; likeness takes time by the length.)
    const LONGEST: usize = 100;
    if name.len() > LONGEST {
        return None;
    }
    let likeness = known.filter_map(|known| Some((likeness(name, known)?, known)));
    likeness.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, nearest)| nearest)
}

/// How much of two names is alike, if it is enough for one to be meant by the other. (By the quicker of the
/// two distances that know swapped letters, and not of names whose lengths say enough: an unknown variable is
/// compared with every name there is.)
fn likeness(a: &str, b: &str) -> Option<f64> {
    const LIKE: f64 = 0.7;
    let (length, other) = (a.chars().count(), b.chars().count());
    let longer = length.max(other) as f64;
    if (length.min(other) as f64) < LIKE * longer {
        return None;
    }
    Some(1.0 - strsim::osa_distance(a, b) as f64 / longer).filter(|likeness| *likeness >= LIKE)
}

//! What is written down.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

/// Most characters of a text: callers choose some of them.
const LONGEST: usize = 512;
/// Bytes that most entries need for what they are about.
const TYPICAL: usize = 256;

/// What kind of thing a record tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Something is about to be done for somebody. An [`Outcome`](Self::Outcome) of the same id follows,
    /// unless the process is killed.
    Request,
    /// What came of a request.
    Outcome,
    /// Somebody was refused.
    Denied,
    /// The service started, drains, or ended.
    Lifecycle,
    /// Something about the log itself.
    Audit,
}

/// What a record is about, which is the same for a request and for what came of it. Texts that are longer
/// than 512 characters are cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct About<'a> {
    /// The request's id, which its caller was told.
    #[serde(serialize_with = "short")]
    pub id: &'a str,
    /// Who: `key:ID`, `jwt:SUBJECT`, `unix:UID`, `system`, or nothing if nobody knows.
    #[serde(serialize_with = "short")]
    pub actor: &'a str,
    /// The actor's roles.
    pub roles: &'a [&'static str],
    /// From where: an address and port, or `unix`.
    #[serde(serialize_with = "short")]
    pub source: &'a str,
    /// What was asked for: the name of a permission, or of what happened.
    #[serde(serialize_with = "short")]
    pub action: &'a str,
    /// Of what: a kernel, or a path.
    #[serde(serialize_with = "short")]
    pub object: &'a str,
    /// The id of the trace that the caller sent.
    #[serde(serialize_with = "short_if_any")]
    pub trace_id: Option<&'a str>,
}

impl About<'_> {
    /// Its fields as they stand in a record: JSON without the braces. A request and what came of it share
    /// the text, which is made where the request is, and not by the one thread that writes for all.
    fn fields(&self) -> Arc<str> {
        let mut json = Vec::with_capacity(TYPICAL);
        serde_json::to_writer(&mut json, self)
            .expect("invariant: texts are JSON, and memory takes them");
        let fields = &json[1..json.len() - 1];
        str::from_utf8(fields).expect("invariant: JSON is UTF-8").into()
    }
}

/// What is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub(super) event: Event,
    /// What it is about, as JSON.
    pub(super) about: Arc<str>,
    pub(super) outcome: Option<&'static str>,
    pub(super) reason: Option<Cow<'static, str>>,
}

impl Entry {
    /// An entry of an event, with nothing said of what came of it.
    pub fn new(event: Event, about: &About<'_>) -> Self {
        Self { event, about: about.fields(), outcome: None, reason: None }
    }

    /// An entry about the service or the log itself.
    pub fn of_system(
        event: Event,
        action: &'static str,
        reason: impl Into<Cow<'static, str>>,
    ) -> Self {
        let entry = Self::new(event, &About { actor: "system", action, ..About::default() });
        Self { reason: Some(cut(reason.into())), ..entry }
    }

    /// The same event, of which that came, for that reason: `ok`, `refused`, `failed`, `abandoned`, or the
    /// kind of denial.
    #[must_use]
    pub fn with_outcome(self, outcome: &'static str, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { outcome: Some(outcome), reason: Some(cut(reason.into())), ..self }
    }

    /// What came of this request, as an entry of its own.
    #[must_use]
    pub fn outcome(self, outcome: &'static str, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { event: Event::Outcome, ..self.with_outcome(outcome, reason) }
    }
}

fn short<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&cut(Cow::Borrowed(text)))
}

fn short_if_any<S: Serializer>(text: &Option<&str>, serializer: S) -> Result<S::Ok, S::Error> {
    text.map(|text| cut(Cow::Borrowed(text))).serialize(serializer)
}

fn cut(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.len() <= LONGEST {
        return text;
    }
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn no_text_is_longer_than_it_may_be() {
        let (short, long) = ("é".repeat(LONGEST), "é".repeat(LONGEST + 1));
        let of = |text: &str| {
            let [id, actor, source, action, object] = [text; 5];
            let about =
                About { id, actor, roles: &[], source, action, object, trace_id: Some(text) };
            let entry = Entry::new(Event::Denied, &about).with_outcome("x", text.to_owned());
            let fields: Value = serde_json::from_str(&format!("{{{}}}", entry.about)).unwrap();
            let texts = ["id", "actor", "source", "action", "object", "trace_id"];
            let texts = texts.map(|name| fields[name].as_str().unwrap().to_owned());
            texts.into_iter().chain(entry.reason.map(Cow::into_owned)).collect::<Vec<_>>()
        };
        assert_eq!(of(&short), vec![short.clone(); 7]);
        assert_eq!(of(&long), vec![format!("{short}…"); 7]);
    }
}

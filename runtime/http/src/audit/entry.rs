//! What is written down.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Most characters of a text: callers choose some of them.
const LONGEST: usize = 512;

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

/// What a record is about, which is the same for a request and for what came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// The request's id, which its caller was told.
    pub id: String,
    /// Who: `key:ID`, `jwt:SUBJECT`, `unix:UID`, `system`, or nothing if nobody knows.
    pub actor: String,
    /// The actor's roles.
    pub roles: Vec<&'static str>,
    /// From where: an address and port, or `unix`.
    pub source: String,
    /// What was asked for: the name of a permission, or of what happened.
    pub action: String,
    /// Of what: a kernel, or a path.
    pub object: String,
    /// The id of the trace that the caller sent.
    pub trace_id: Option<String>,
}

impl About {
    /// The same with no text longer than it may be.
    fn cut(mut self) -> Self {
        let texts =
            [&mut self.id, &mut self.actor, &mut self.source, &mut self.action, &mut self.object];
        texts.into_iter().chain(&mut self.trace_id).for_each(cut);
        self
    }
}

/// What is written down. Texts that are longer than 512 characters are cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub(super) event: Event,
    pub(super) about: Arc<About>,
    pub(super) outcome: Option<&'static str>,
    pub(super) reason: Option<Cow<'static, str>>,
}

impl Entry {
    /// An entry of an event, with nothing said of what came of it.
    pub fn new(event: Event, about: About) -> Self {
        Self { event, about: Arc::new(about.cut()), outcome: None, reason: None }
    }

    /// An entry about the service or the log itself.
    pub fn of_system(
        event: Event,
        action: &'static str,
        reason: impl Into<Cow<'static, str>>,
    ) -> Self {
        let (actor, action) = ("system".into(), action.into());
        let entry = Self::new(event, About { actor, action, ..About::default() });
        Self { reason: Some(cut_text(reason.into())), ..entry }
    }

    /// The same event, of which that came, for that reason: `ok`, `refused`, `failed`, `abandoned`, or the
    /// kind of denial.
    #[must_use]
    pub fn with_outcome(self, outcome: &'static str, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { outcome: Some(outcome), reason: Some(cut_text(reason.into())), ..self }
    }

    /// What came of this request, as an entry of its own.
    #[must_use]
    pub fn outcome(self, outcome: &'static str, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { event: Event::Outcome, ..self.with_outcome(outcome, reason) }
    }
}

fn cut_text(mut text: Cow<'static, str>) -> Cow<'static, str> {
    if text.len() > LONGEST {
        cut(text.to_mut());
    }
    text
}

fn cut(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(end);
        text.push('…');
    }
}

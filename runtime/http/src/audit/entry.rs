//! What is written down.

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

/// What is written down. Texts that are longer than 512 characters are cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What kind of thing it tells of.
    pub event: Event,
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
    /// What came of it: `ok`, `refused`, `failed`, `abandoned`, or the kind of denial.
    pub outcome: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// The id of the trace that the caller sent.
    pub trace_id: Option<String>,
}

impl Entry {
    /// An entry of an event, with nothing else said.
    pub fn new(event: Event, action: impl Into<String>) -> Self {
        Self {
            event,
            id: String::new(),
            actor: String::new(),
            roles: Vec::new(),
            source: String::new(),
            action: action.into(),
            object: String::new(),
            outcome: None,
            reason: None,
            trace_id: None,
        }
    }

    /// An entry about the service or the log itself.
    pub fn of_system(event: Event, action: &str, reason: impl Into<String>) -> Self {
        Self { actor: "system".into(), reason: Some(reason.into()), ..Self::new(event, action) }
    }

    /// The same with no text longer than it may be.
    pub(super) fn cut(mut self) -> Self {
        let texts =
            [&mut self.id, &mut self.actor, &mut self.source, &mut self.action, &mut self.object];
        let more = [&mut self.outcome, &mut self.reason, &mut self.trace_id];
        texts.into_iter().chain(more.into_iter().flatten()).for_each(cut);
        self
    }
}

fn cut(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(end);
        text.push('…');
    }
}

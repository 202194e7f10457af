//! What the clients remember: every request, every try, every answer. The auditor holds the shop to it.

use std::sync::{Arc, Mutex};

use super::{faults::lock, wish::Request};

/// What a client hears of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is done, for ever.
    Done(Effect),
    /// The rules refuse it; nothing has happened.
    Refused(String),
    /// The id was used for another wish.
    Reused,
    /// It was not tried or came to nothing; nothing has happened. Worth another try.
    Busy(String),
    /// Nobody knows. Send it again.
    Unknown(String),
    /// It was a question, and this is what there is to know.
    Told(Vec<String>),
}

/// An effect that was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// The stream.
    pub stream: String,
    /// How many events the stream held right after.
    pub revision: u64,
    /// Where it can be read.
    pub position: u64,
    /// The stored types of what happened; empty when it was already so.
    pub kinds: Vec<String>,
    /// True when this is an old answer again.
    pub replayed: bool,
}

impl Answer {
    /// True when the client need not ask again.
    #[must_use]
    pub const fn settles(&self) -> bool {
        matches!(self, Self::Done(_) | Self::Refused(_) | Self::Reused | Self::Told(_))
    }

    /// The answer in a word, for counts.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Done(Effect { replayed: true, .. }) => "done before",
            Self::Done(_) => "done",
            Self::Refused(_) => "refused",
            Self::Reused => "id reused",
            Self::Busy(_) => "busy",
            Self::Unknown(_) => "unknown",
            Self::Told(_) => "told",
        }
    }
}

/// One request, as its client remembers it.
#[derive(Debug, Clone)]
pub struct Asked {
    /// What was asked.
    pub request: Request,
    /// The label under which it is counted.
    pub kind: &'static str,
    /// When it was first sent, in simulated milliseconds.
    pub at_ms: u64,
    /// How often it was sent.
    pub sends: u32,
    /// What was heard, with the simulated millisecond.
    pub answers: Vec<(u64, Answer)>,
}

/// Every request of a run, in the order in which they were first sent. A clone is the same record.
#[derive(Debug, Clone, Default)]
pub struct Record(Arc<Mutex<Vec<Asked>>>);

/// A request's place in the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry(usize);

impl Record {
    /// Notes a new request.
    pub fn ask(&self, request: Request, kind: &'static str, at_ms: u64) -> Entry {
        let mut asked = lock(&self.0);
        asked.push(Asked { request, kind, at_ms, sends: 0, answers: Vec::new() });
        Entry(asked.len() - 1)
    }

    /// Notes that it was sent (again).
    pub fn sent(&self, entry: Entry) {
        if let Some(asked) = lock(&self.0).get_mut(entry.0) {
            asked.sends += 1;
        }
    }

    /// Notes an answer.
    pub fn heard(&self, entry: Entry, at_ms: u64, answer: Answer) {
        if let Some(asked) = lock(&self.0).get_mut(entry.0) {
            asked.answers.push((at_ms, answer));
        }
    }

    /// Everything so far.
    #[must_use]
    pub fn all(&self) -> Vec<Asked> {
        lock(&self.0).clone()
    }

    /// How many requests there were.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.0).len()
    }

    /// True before the first request.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

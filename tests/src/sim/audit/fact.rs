//! The log as anybody can read it: stored types, ids and plain JSON.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use ports::store::Recorded;
use serde_json::Value;
use uuid::Uuid;

use super::Findings;

/// How much of a body is told in a line.
const BODY_TOLD_MAX: usize = 400;

/// Events that keep what a person said.
const BY_PEOPLE: [&str; 4] = ["order.cancelled", "order.return_opened", "return.requested", "payment.refund_requested"];

/// One stored event.
#[derive(Debug, Clone)]
pub struct Fact {
    /// Its place in the log.
    pub position: u64,
    /// The stream's name.
    pub stream: String,
    /// Its place in the stream, from 0.
    pub revision: u64,
    /// Its id.
    pub id: Uuid,
    /// The stored type.
    pub kind: String,
    /// When it was stored.
    pub at: Timestamp,
    /// The body; null if it is not JSON.
    pub data: Value,
    /// What stands beside the body; null if it is not JSON.
    pub beside: Value,
}

/// Reads a log.
#[must_use]
pub fn read(log: &[Recorded]) -> Vec<Fact> {
    let json = |bytes: &[u8]| serde_json::from_slice(bytes).unwrap_or(Value::Null);
    let fact = |recorded: &Recorded| Fact {
        position: recorded.position.0,
        stream: recorded.stream.clone(),
        revision: recorded.revision,
        id: recorded.id,
        kind: recorded.kind.clone(),
        at: recorded.recorded_at,
        data: json(&recorded.data),
        beside: json(&recorded.metadata),
    };
    log.iter().map(fact).collect()
}

impl Fact {
    /// The event in a line.
    #[must_use]
    pub fn line(&self) -> String {
        let body: String = self.data.to_string().chars().take(BODY_TOLD_MAX).collect();
        let request = self.beside.pointer("/request_id").and_then(Value::as_str).unwrap_or("?");
        let Self { position, at, stream, revision, kind, .. } = self;
        format!("{position:>6} {at} {stream}@{revision} {kind} {body} by {} in {request}", self.actor())
    }

    /// What kind of thing it happened to: the stream's name up to the first hyphen.
    pub(super) fn category(&self) -> &str {
        self.stream.split_once('-').map_or("", |(category, _)| category)
    }

    /// Which thing it happened to: the rest of the stream's name.
    pub(super) fn subject(&self) -> &str {
        self.stream.split_once('-').map_or("", |(_, subject)| subject)
    }

    /// The text at a JSON pointer; empty if there is none.
    pub(super) fn text(&self, at: &str) -> &str {
        self.data.pointer(at).and_then(Value::as_str).unwrap_or_default()
    }

    /// The number at a JSON pointer; zero if there is none.
    pub(super) fn number(&self, at: &str) -> i64 {
        self.data.pointer(at).and_then(Value::as_i64).unwrap_or_default()
    }

    /// The list at a JSON pointer; empty if there is none.
    pub(super) fn list(&self, at: &str) -> &[Value] {
        self.data.pointer(at).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// The request that caused it.
    pub(super) fn request(&self) -> Option<Uuid> {
        self.beside.pointer("/request_id")?.as_str()?.parse().ok()
    }

    /// The member who asked for it; `None` when no person did.
    pub(super) fn member(&self) -> Option<Uuid> {
        self.beside.pointer("/actor/member")?.as_str()?.parse().ok()
    }

    fn actor(&self) -> String {
        self.beside.pointer("/actor").map_or_else(|| "nobody".into(), Value::to_string)
    }

    /// Business time, if it is told.
    pub(super) fn occurred_at(&self) -> Option<Timestamp> {
        self.beside.pointer("/occurred_at")?.as_str()?.parse().ok()
    }
}

/// A number in a part of a body; zero if there is none.
pub(super) fn number(of: &Value, at: &str) -> i64 {
    of.pointer(at).and_then(Value::as_i64).unwrap_or_default()
}

/// A text in a part of a body; empty if there is none.
pub(super) fn text<'a>(of: &'a Value, at: &str) -> &'a str {
    of.pointer(at).and_then(Value::as_str).unwrap_or_default()
}

/// Units per SKU, of a list of things that have a `sku` and a `quantity`.
pub(super) fn units(lines: &[Value]) -> BTreeMap<String, i64> {
    let mut units = BTreeMap::new();
    for line in lines {
        *units.entry(text(line, "/sku").to_owned()).or_default() += number(line, "/quantity");
    }
    units
}

/// Checks the log itself: order, revisions, ids, and that everything can be read.
pub(super) fn check(log: &[Fact], findings: &mut Findings) {
    let mut next: BTreeMap<&str, u64> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    let (mut position, mut at) = (0, Timestamp::MIN);
    for fact in log {
        let stream = [fact.stream.as_str()];
        let what = || fact.line();
        findings.expect(fact.position > position, "positions grow", &stream, what);
        findings.expect(fact.at >= at, "the store's clock never goes back", &stream, what);
        (position, at) = (fact.position, fact.at);
        let revision = next.entry(&fact.stream).or_default();
        findings.expect(fact.revision == *revision, "revisions are contiguous", &stream, what);
        *revision = fact.revision + 1;
        findings.expect(ids.insert(fact.id), "event ids are unique", &stream, what);
        findings.expect(fact.data.is_object() && fact.beside.is_object(), "events are JSON objects", &stream, what);
        let said = fact.data.get(if fact.kind == "return.requested" { "reason" } else { "why" });
        let sealed = !BY_PEOPLE.contains(&fact.kind.as_str()) || said.is_none_or(|said| said.get("sealed").is_some());
        findings.expect(sealed, "what a person says is sealed", &stream, what);
        let prefix = fact.kind.split('.').next().unwrap_or_default();
        findings.expect(prefix == fact.category(), "an event lies in a stream of its kind", &stream, what);
    }
}

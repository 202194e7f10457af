//! Who asks for what, and because of what: the envelope of every command.

use domain::{
    event::{Actor, Metadata},
    ids::{EventId, RequestId},
};
use jiff::Timestamp;
use ports::store::Revision;
use uuid::Uuid;

/// The envelope of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The caller's id of the wish: the same id is the same wish.
    pub id: RequestId,
    /// Who asks.
    pub actor: Actor,
    /// A hash of what is asked, to tell a retry from another wish under the same id.
    pub body_hash: u64,
    /// Shared by everything that one outside request set in motion.
    pub correlation: Uuid,
    /// The event that led to this command, if no person did.
    pub causation: Option<EventId>,
    /// Business time.
    pub occurred_at: Timestamp,
    /// The stream must hold exactly so many events (an etag), if the caller says so.
    pub if_match: Option<Revision>,
}

impl Request {
    /// A request of `actor`, with its own id as correlation.
    #[must_use]
    pub const fn new(id: RequestId, actor: Actor, body_hash: u64, now: Timestamp) -> Self {
        Self { id, actor, body_hash, correlation: id.0, causation: None, occurred_at: now, if_match: None }
    }

    /// The same envelope for a part of the work, under an id that derives from this one.
    #[must_use]
    pub fn part(&self, step: &str, part: &[u8]) -> Self {
        Self { id: RequestId::derived(self.id.0, &[step.as_bytes(), part]), if_match: None, ..self.clone() }
    }

    /// The id of the `n`-th event that this request causes in `stream`.
    #[must_use]
    pub fn event_id(&self, stream: &str, n: u32) -> EventId {
        EventId::derived(self.id.0, &[&self.actor.scope(), stream.as_bytes(), &n.to_be_bytes()])
    }

    /// What is stored beside an event that this request causes.
    #[must_use]
    pub const fn metadata(&self, schema: u32) -> Metadata {
        Metadata {
            schema,
            request_id: self.id,
            body_hash: self.body_hash,
            actor: self.actor,
            correlation_id: self.correlation,
            causation_id: self.causation,
            occurred_at: self.occurred_at,
        }
    }
}

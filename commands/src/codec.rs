//! Events to bytes and back: JSON bodies, JSON metadata, personal fields sealed on the way in.

use bytes::Bytes;
use domain::{
    decider::{DecodeError, EncodeError, Stored},
    event::Metadata,
    ids::EventId,
};
use ports::{
    keys::{self, Keys},
    store::{NewEvent, Recorded},
};

use crate::request::Request;

/// Why stored bytes could not be read.
#[derive(Debug, Clone, thiserror::Error)]
#[error("event at position {position} cannot be read: {why}")]
pub struct Unreadable {
    /// Where it lies.
    pub position: u64,
    /// What is wrong with it.
    pub why: String,
}

/// Seals every personal field that is open, under its member's key.
///
/// # Errors
/// [`keys::Error`] when a key can neither be read nor made; then nothing may be stored.
pub(crate) async fn seal<E: Stored>(event: &mut E, id: EventId, keys: &dyn Keys) -> Result<(), keys::Error> {
    for (field, value) in (0_u8..).zip(event.personal()) {
        if let Some(plaintext) = value.plaintext() {
            let key = keys.key(value.member().0).await?;
            value.seal(key.seal(id.0, field, &plaintext));
        }
    }
    Ok(())
}

/// The event as the store takes it.
pub(crate) fn encode<E: Stored>(event: &E, id: EventId, request: &Request) -> Result<NewEvent, EncodeError> {
    let kind = event.kind();
    let metadata =
        serde_json::to_vec(&request.metadata(event.schema())).map_err(|cause| EncodeError { kind, cause })?;
    Ok(NewEvent { id: id.0, kind: kind.into(), data: Bytes::from(event.encode()?), metadata: Bytes::from(metadata) })
}

/// The metadata of a stored event.
///
/// # Errors
/// [`Unreadable`] when it is not ours.
pub fn metadata(recorded: &Recorded) -> Result<Metadata, Unreadable> {
    serde_json::from_slice(&recorded.metadata)
        .map_err(|why| Unreadable { position: recorded.position.0, why: why.to_string() })
}

/// The event of a stored one, as one aggregate's own type.
///
/// # Errors
/// [`Unreadable`] when type, version or body are unknown here.
pub fn decode<E: Stored>(recorded: &Recorded) -> Result<E, Unreadable> {
    let schema = metadata(recorded)?.schema;
    E::decode(&recorded.kind, schema, &recorded.data)
        .map_err(|why: DecodeError| Unreadable { position: recorded.position.0, why: why.to_string() })
}

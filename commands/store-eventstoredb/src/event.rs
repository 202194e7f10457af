//! Events as the client has them, and as the port has them.

use std::collections::HashMap;

use bytes::Bytes;
use eventstore::{EventData, RecordedEvent};
use jiff::Timestamp;
use ports::store::{Error, NewEvent, Position, Recorded};
use serde_json::value::RawValue;

/// The key of an event's system metadata that says when it was written, in ticks of 100 ns since 1970.
const CREATED: &str = "created";

/// An event as the client takes it. JSON goes as it is, byte for byte; anything else as octets.
pub fn outgoing(event: &NewEvent) -> EventData {
    let raw = std::str::from_utf8(&event.data).ok().and_then(|text| RawValue::from_string(text.to_owned()).ok());
    let exact = raw.filter(|raw| raw.get().len() == event.data.len());
    let data = match exact.map(|raw| EventData::json(&event.kind, &raw)) {
        Some(Ok(json)) => json,
        Some(Err(_)) | None => EventData::binary(&event.kind, event.data.clone()),
    };
    data.id(event.id).metadata(event.metadata.clone())
}

/// An event as the port has it.
pub fn incoming(event: RecordedEvent) -> Result<Recorded, Error> {
    let stream = event.stream_id().to_owned();
    let recorded_at = recorded_at(&event.metadata)
        .ok_or_else(|| Error::Corrupt(format!("event {} of {stream} has no time", event.revision)))?;
    Ok(Recorded {
        position: Position(event.position.commit),
        stream,
        revision: event.revision,
        id: event.id,
        kind: event.event_type,
        recorded_at,
        data: event.data,
        metadata: event.custom_metadata,
    })
}

/// The client's own reading of it is cut to seconds.
fn recorded_at(metadata: &HashMap<String, String>) -> Option<Timestamp> {
    let ticks: i128 = metadata.get(CREATED)?.parse().ok()?;
    Timestamp::from_nanosecond(ticks.checked_mul(100)?).ok()
}

/// Whether a stored event is the one that was to be written, to the byte.
pub fn is_same(stored: &Recorded, new: &NewEvent) -> bool {
    let beside: (&Bytes, &Bytes) = (&stored.metadata, &new.metadata);
    stored.id == new.id && stored.kind == new.kind && stored.data == new.data && beside.0 == beside.1
}

//! Events as the client has them, and as the port has them.

use std::collections::HashMap;

use bytes::Bytes;
use eventstore::{EventData, RecordedEvent};
use jiff::Timestamp;
use ports::store::{Error, NewEvent, Position, Recorded};
use serde_json::value::RawValue;

/// The key of an event's system metadata that says when it was written, in ticks of 100 ns since 1970.
const CREATED: &str = "created";

/// How metadata begin that carry the time of an event that was copied from another log: the server dates by its own clock.
const DATED: &[u8] = br#"{"$recordedAt":""#;

/// An event as the client takes it. JSON goes as it is, byte for byte; anything else as octets.
pub fn outgoing(event: &NewEvent, recorded_at: Option<Timestamp>) -> EventData {
    let raw = std::str::from_utf8(&event.data).ok().and_then(|text| RawValue::from_string(text.to_owned()).ok());
    let exact = raw.filter(|raw| raw.get().len() == event.data.len());
    let data = match exact.map(|raw| EventData::json(&event.kind, &raw)) {
        Some(Ok(json)) => json,
        Some(Err(_)) | None => EventData::binary(&event.kind, event.data.clone()),
    };
    data.id(event.id).metadata(recorded_at.map_or_else(|| event.metadata.clone(), |at| dated(&event.metadata, at)))
}

/// An event as the port has it.
pub fn incoming(event: RecordedEvent) -> Result<Recorded, Error> {
    let stream = event.stream_id().to_owned();
    let (metadata, copied) = match undated(&event.custom_metadata) {
        Some((metadata, at)) => (metadata, Some(at)),
        None => (event.custom_metadata, None),
    };
    let recorded_at = copied
        .or_else(|| recorded_at(&event.metadata))
        .ok_or_else(|| Error::Corrupt(format!("event {} of {stream} has no time", event.revision)))?;
    Ok(Recorded {
        position: Position(event.position.commit),
        stream,
        revision: event.revision,
        id: event.id,
        kind: event.event_type,
        recorded_at,
        data: event.data,
        metadata,
    })
}

/// Metadata with a time in front of what they hold; those that are no object stay as they are.
fn dated(metadata: &Bytes, at: Timestamp) -> Bytes {
    let Some(rest) = metadata.strip_prefix(b"{") else { return metadata.clone() };
    let comma = if rest.trim_ascii_start().starts_with(b"}") { "" } else { "," };
    [DATED, format!("{at}\"{comma}").as_bytes(), rest].concat().into()
}

/// What [`dated`] was given.
fn undated(metadata: &[u8]) -> Option<(Bytes, Timestamp)> {
    let dated = metadata.strip_prefix(DATED)?;
    let (at, rest) = dated.split_at_checked(dated.iter().position(|byte| *byte == b'"')?)?;
    let at = std::str::from_utf8(at).ok()?.parse().ok()?;
    let rest = rest.strip_prefix(b"\"")?;
    Some(([b"{", rest.strip_prefix(b",").unwrap_or(rest)].concat().into(), at))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_come_back_from_under_a_time_to_the_byte() {
        let at = Timestamp::constant(1_000_000_000, 123_456_000);
        for text in [r#"{"a":1}"#, "{}", "{ }", r#"{ "a" : 1 }"#, r#"{"$recordedAt2":"x"}"#] {
            let dated = dated(&Bytes::from_static(text.as_bytes()), at);
            assert!(
                serde_json::from_slice::<serde_json::Value>(&dated).is_ok_and(|value| value["$recordedAt"].is_string())
            );
            assert_eq!(undated(&dated), Some((Bytes::from_static(text.as_bytes()), at)));
        }
        for text in ["", "[]", r#"{"a":1}"#, r#"{"$recordedAt":"soon"}"#] {
            assert_eq!(undated(text.as_bytes()), None);
        }
        assert_eq!(
            dated(&Bytes::from_static(b"[]"), at),
            Bytes::from_static(b"[]"),
            "what is no object carries nothing"
        );
    }
}

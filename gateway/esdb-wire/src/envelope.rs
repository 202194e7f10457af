//! Events as the protocol has them, and as our log keeps them; nothing is lost on the way and back.
//!
//! Our log holds JSON: a body, and an object beside it. An event that is declared as JSON, has a body that is JSON (see [`mod@crate::sound`]) and
//! an object as metadata is kept as it came; so our own events and foreign ones look alike. Everything else
//! (octets, text that is no JSON, no metadata, metadata that is no object) is kept in an envelope: the stored metadata is
//!
//! ```json
//! {"$wire": {"content_type": "application/octet-stream", "body": true, "metadata": "<base64>"}}
//! ```
//!
//! where `metadata` holds the metadata's bytes, and `body` says that the stored body is a JSON string with the
//! body's bytes in base64; without it the stored body is the body. An object that itself has a key `$wire`
//! at its top is put into an envelope, too, so that reading never mistakes one for the other.

use std::{borrow::Cow, collections::BTreeMap};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use ports::store::{NewEvent, Recorded};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use uuid::Uuid;

use crate::{sound::is_sound, wire};

pub const JSON: &str = "application/json";
const TYPE: &str = "type";
const CONTENT_TYPE: &str = "content-type";
const CREATED: &str = "created";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    #[serde(rename = "$wire")]
    wire: Inside,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inside {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    body: bool,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    metadata: String,
}

/// The top of a metadata object; only whether it has this key matters.
#[derive(Deserialize)]
struct Top {
    #[serde(rename = "$wire")]
    wire: Option<IgnoredAny>,
}

/// An event as the log takes it; `Err` says what is wrong with it.
pub fn pack(event: wire::streams::NewEvent, name_bytes_max: usize) -> Result<NewEvent, String> {
    let wire::streams::NewEvent { id, mut metadata, custom_metadata, data } = event;
    let id = id.as_ref().and_then(uuid).ok_or("an event has no id that is a UUID")?;
    let kind = metadata.remove(TYPE).filter(|kind| !kind.is_empty()).ok_or("an event has no type")?;
    let content_type = metadata.remove(CONTENT_TYPE).unwrap_or_else(|| JSON.to_owned());
    if kind.len() > name_bytes_max || content_type.len() > name_bytes_max {
        return Err(format!("a type has more than {name_bytes_max} bytes"));
    }
    let is_json = content_type == JSON;
    let body_is_json = is_sound(&data);
    if is_json && body_is_json && is_plain_object(&custom_metadata) {
        return Ok(NewEvent { id, kind: Cow::Owned(kind), data, metadata: custom_metadata });
    }
    // Octets that happen to be JSON are wrapped, too: what is declared as octets is nobody's text.
    let body = !(is_json && body_is_json);
    let content_type = (!is_json).then_some(content_type);
    let envelope = Envelope { wire: Inside { content_type, body, metadata: STANDARD.encode(&custom_metadata) } };
    let metadata = serde_json::to_vec(&envelope).map_err(|why| why.to_string())?;
    let data = if body { Bytes::from(format!("\"{}\"", STANDARD.encode(&data))) } else { data };
    Ok(NewEvent { id, kind: Cow::Owned(kind), data, metadata: Bytes::from(metadata) })
}

/// A JSON object that cannot be taken for an envelope.
fn is_plain_object(metadata: &[u8]) -> bool {
    metadata.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
        && is_sound(metadata)
        && serde_json::from_slice::<Top>(metadata).is_ok_and(|top| top.wire.is_none())
}

/// What a stored event was, before it was stored: content type, body, metadata.
fn unpack(recorded: &Recorded) -> (Cow<'static, str>, Bytes, Bytes) {
    match open(recorded) {
        Some((content_type, data, metadata)) => (content_type.map_or(Cow::Borrowed(JSON), Cow::Owned), data, metadata),
        None => (Cow::Borrowed(JSON), recorded.data.clone(), recorded.metadata.clone()),
    }
}

/// The contents of an envelope; `None` when it is none.
fn open(recorded: &Recorded) -> Option<(Option<String>, Bytes, Bytes)> {
    if !recorded.metadata.starts_with(b"{\"$wire\"") {
        return None;
    }
    let Envelope { wire } = serde_json::from_slice(&recorded.metadata).ok()?;
    let metadata = STANDARD.decode(wire.metadata).ok()?;
    let data = if wire.body {
        let text: &str = serde_json::from_slice(&recorded.data).ok()?;
        Bytes::from(STANDARD.decode(text).ok()?)
    } else {
        recorded.data.clone()
    };
    Some((wire.content_type, data, Bytes::from(metadata)))
}

/// A stored event as a client reads it.
pub fn recorded(recorded: Recorded, spelling: Spelling) -> wire::streams::ReadResp {
    use wire::streams::{ReadResp, read_resp};
    let (content_type, data, custom_metadata) = unpack(&recorded);
    let position = recorded.position.0;
    let metadata = BTreeMap::from([
        (TYPE.to_owned(), recorded.kind),
        (CONTENT_TYPE.to_owned(), content_type.into_owned()),
        (CREATED.to_owned(), (recorded.recorded_at.as_nanosecond() / 100).to_string()),
    ]);
    let event = read_resp::RecordedEvent {
        id: Some(spelling.spell(recorded.id)),
        stream: Some(identifier(recorded.stream)),
        revision: recorded.revision,
        prepare: position,
        commit: position,
        metadata,
        custom_metadata,
        data,
    };
    let place = Some(read_resp::read_event::Position::Commit(position));
    let event = read_resp::ReadEvent { event: Some(event), link: None, position: place };
    ReadResp { content: Some(read_resp::Content::Event(event)) }
}

/// How a client wants ids spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    Structured,
    Text,
}

impl Spelling {
    pub fn spell(self, id: Uuid) -> wire::Uuid {
        use wire::uuid::{Halves, Value};
        let (high, low) = id.as_u64_pair();
        let value = match self {
            Self::Structured => Value::Structured(Halves { high: high.cast_signed(), low: low.cast_signed() }),
            Self::Text => Value::String(id.to_string()),
        };
        wire::Uuid { value: Some(value) }
    }
}

/// An id in either spelling; `None` when it is none.
pub fn uuid(id: &wire::Uuid) -> Option<Uuid> {
    match id.value.as_ref()? {
        wire::uuid::Value::Structured(halves) => {
            Some(Uuid::from_u64_pair(halves.high.cast_unsigned(), halves.low.cast_unsigned()))
        }
        wire::uuid::Value::String(text) => Uuid::parse_str(text).ok(),
    }
}

/// A stream's name on the wire.
pub fn identifier(stream: String) -> wire::StreamIdentifier {
    wire::StreamIdentifier { stream_name: Bytes::from(stream) }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use ports::store::Position;

    use super::*;

    fn sent(content_type: &str, data: &[u8], metadata: &[u8]) -> wire::streams::NewEvent {
        wire::streams::NewEvent {
            id: Some(Spelling::Text.spell(Uuid::from_u128(7))),
            metadata: BTreeMap::from([
                (TYPE.to_owned(), "k".to_owned()),
                (CONTENT_TYPE.to_owned(), content_type.to_owned()),
            ]),
            custom_metadata: Bytes::copy_from_slice(metadata),
            data: Bytes::copy_from_slice(data),
        }
    }

    fn stored(event: NewEvent) -> Recorded {
        Recorded {
            position: Position(1),
            stream: "x-1".into(),
            revision: 0,
            id: event.id,
            kind: event.kind.into_owned(),
            recorded_at: Timestamp::UNIX_EPOCH,
            data: event.data,
            metadata: event.metadata,
        }
    }

    #[test]
    fn whatever_is_sent_comes_back_and_what_is_stored_is_json() {
        let bodies: [&[u8]; 11] = [
            b"{\"a\":\"\\u0000\"}",
            b"\"\xff\"",
            b"",
            b"{}",
            b" {\"a\": 1 } ",
            b"{\"a\":",
            b"\xff\xfe\x00",
            b"null",
            b"\"text\"",
            b"plain",
            "é".as_bytes(),
        ];
        let beside: [&[u8]; 10] = [
            b"{\"a\":\"\xff\"}",
            b"",
            b"{}",
            b" { \"$correlationId\" : \"c\" }",
            b"[1]",
            b"\x80",
            b"{\"$wire\":{}}",
            b" {\"$wire\":1}",
            b"{\"a\":1,\"$wire\":null}",
            b"{\"a\":1",
        ];
        for kind in [JSON, "application/octet-stream", "", "text/\u{e9}"] {
            for data in bodies {
                for metadata in beside {
                    let packed = pack(sent(kind, data, metadata), 100).unwrap();
                    assert!(is_sound(&packed.data), "the body is JSON");
                    assert!(serde_json::from_slice::<Top>(&packed.metadata).is_ok(), "beside it is an object");
                    let (content_type, body, custom) = unpack(&stored(packed));
                    assert_eq!((&*content_type, &*body, &*custom), (kind, data, metadata));
                }
            }
        }
    }

    #[test]
    fn events_like_ours_are_kept_as_they_are() {
        let packed = pack(sent(JSON, b"{\"a\":1}", b"{\"b\":2}"), 100).unwrap();
        assert_eq!((&*packed.data, &*packed.metadata), (&b"{\"a\":1}"[..], &b"{\"b\":2}"[..]));
    }

    #[test]
    fn an_event_without_id_or_type_is_none() {
        let mut nameless = sent(JSON, b"{}", b"{}");
        nameless.metadata.remove(TYPE);
        let mut unknown = sent(JSON, b"{}", b"{}");
        unknown.id = Some(wire::Uuid { value: Some(wire::uuid::Value::String("no".into())) });
        for bad in [nameless, unknown, wire::streams::NewEvent { id: None, ..sent(JSON, b"{}", b"{}") }] {
            assert!(pack(bad, 100).is_err());
        }
        assert!(pack(sent(&"x".repeat(101), b"{}", b"{}"), 100).is_err(), "a type may not be endless");
    }

    #[test]
    fn both_spellings_of_an_id_are_read() {
        let id = Uuid::from_u128(0xfedc_ba98_7654_3210_8123_4567_89ab_cdef);
        for spelling in [Spelling::Structured, Spelling::Text] {
            assert_eq!(uuid(&spelling.spell(id)), Some(id));
        }
    }
}

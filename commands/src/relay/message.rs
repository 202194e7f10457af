//! A stored event as a message: a CloudEvent 1.0 in binary mode, its body as it is stored.
//!
//! What was sealed stays sealed. The subject is made of aggregate, event and the aggregate's id, which the shop or its
//! staff chose; who asked, and everything else in the metadata, stays at home but for correlation and causation.

use bytes::Bytes;
use ports::{
    bus::{Message, REVISION_HEADER, STREAM_HEADER},
    store::Recorded,
};

use crate::codec;

/// The message of an event. A body of more than `payload_max` bytes stays in the log, and the message says how large
/// it is.
pub(super) fn of(event: Recorded, source: &str, payload_max: usize) -> Message {
    let headers = headers(&event, source, payload_max);
    let (category, id) = event.stream.split_once('-').unwrap_or((&event.stream, "-"));
    let name = event.kind.split_once('.').map_or(event.kind.as_str(), |(_, name)| name);
    Message {
        subject: vec![category.to_owned(), name.to_owned(), id.to_owned()],
        id: event.id,
        position: event.position,
        through: event.position,
        headers,
        payload: if event.data.len() > payload_max { Bytes::new() } else { event.data },
    }
}

/// The attributes of the CloudEvent. `causationid` and `correlationid` are documented extensions; `revision` and
/// `schemaversion` are ours, as is `omittedbytes`. The position is the adapter's to carry.
fn headers(event: &Recorded, source: &str, payload_max: usize) -> Vec<(&'static str, String)> {
    let metadata = codec::metadata(event).ok();
    let time = metadata.as_ref().map_or(event.recorded_at, |metadata| metadata.occurred_at);
    let mut headers = vec![
        ("ce-specversion", "1.0".to_owned()),
        ("ce-id", event.id.to_string()),
        ("ce-source", printable(source)),
        ("ce-type", printable(&event.kind)),
        ("ce-time", time.to_string()),
        (STREAM_HEADER, printable(&event.stream)),
        (REVISION_HEADER, event.revision.to_string()),
        ("content-type", "application/json".to_owned()),
    ];
    if let Some(metadata) = metadata {
        headers.push(("ce-schemaversion", metadata.schema.to_string()));
        headers.push(("ce-correlationid", metadata.correlation_id.to_string()));
        headers.extend(metadata.causation_id.map(|cause| ("ce-causationid", cause.0.to_string())));
    }
    if event.data.len() > payload_max {
        headers.push(("ce-omittedbytes", event.data.len().to_string()));
    }
    headers
}

/// Text as a header's value: as HTTP's binding of CloudEvents has it, what is not printable ASCII is percent-encoded.
fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && !matches!(byte, b'"' | b'%') {
            printable.push(char::from(byte));
        } else {
            printable.push_str(&format!("%{byte:02X}"));
        }
    }
    printable
}

/// What [`printable`] was given; nothing where it was given nothing of the kind.
pub(super) fn unprintable(printable: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(printable.len());
    let mut rest = printable.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => digit(rest.next()?)? << 4 | digit(rest.next()?)?,
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

fn digit(hex: u8) -> Option<u8> {
    char::from(hex).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_comes_back_from_a_header() {
        for text in ["order-1", "", "a b\u{e9}%\"%41\n", "\u{1f6d2}-x"] {
            let header = printable(text);
            assert!(header.is_ascii() && !header.contains(['"', ' ', '\n']), "{header}");
            assert_eq!(unprintable(&header).as_deref(), Some(text));
        }
        for nothing in ["%", "%4", "%4g", "%+1", "%FF"] {
            assert_eq!(unprintable(nothing), None, "{nothing}");
        }
    }
}

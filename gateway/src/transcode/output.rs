//! From a gRPC answer to JSON.
//!
//! Names are `lowerCamelCase` and 64-bit integers are strings, as the proto3 mapping has it; fields that are zero, empty
//! or false are written too, because a reader of `"available": 0` should not have to know what was left out. An
//! error is the google.rpc.Status itself, details included. A stream is one message a line, or server-sent events.

use bytes::{Buf as _, Bytes, BytesMut};
use futures::Stream;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor, SerializeOptions};
use tonic::{Code, Status, body::Body};
use tonic_types::StatusExt as _;

use crate::error::{self, Reason};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const LINES: HeaderValue = HeaderValue::from_static("application/x-ndjson");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// How a stream is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// One message a line; the last line may be `{"error": …}`.
    Lines,
    /// Server-sent events; the last one may be named `error`.
    Events,
}

impl Form {
    /// What the client's `Accept` asks for.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        if accept.contains("text/event-stream") { Self::Events } else { Self::Lines }
    }

    fn message(self, json: &[u8]) -> Bytes {
        match self {
            Self::Lines => [json, b"\n"].concat().into(),
            Self::Events => [b"data: ", json, b"\n\n"].concat().into(),
        }
    }

    fn error(self, json: &[u8]) -> Bytes {
        match self {
            Self::Lines => [b"{\"error\":", json, b"}\n"].concat().into(),
            Self::Events => [b"event: error\ndata: ", json, b"\n\n"].concat().into(),
        }
    }
}

/// The JSON answer to a unary call.
///
/// # Errors
/// The status that the service answered.
pub(super) async fn unary(answer: Response<Body>, output: &MessageDescriptor) -> Result<Bytes, Status> {
    fail(Status::from_header_map(answer.headers()))?;
    let collected = answer.into_body().collect().await?;
    fail(collected.trailers().and_then(Status::from_header_map))?;
    let mut data = collected.to_bytes();
    let message = next(&mut data)?.ok_or_else(|| internal("the answer is empty"))?;
    json(output, message).map(Bytes::from)
}

/// The JSON answer to a call that streams.
///
/// # Errors
/// The status that the service answered instead of a stream.
pub(super) fn stream(
    answer: Response<Body>,
    output: MessageDescriptor,
    status: MessageDescriptor,
    form: Form,
) -> Result<Response<Body>, Status> {
    fail(Status::from_header_map(answer.headers()))?;
    let source = Source { body: answer.into_body(), data: BytesMut::new(), output, status, form, ended: false };
    let mut response = Response::new(Body::new(StreamBody::new(source.frames())));
    let kind = if form == Form::Events { EVENTS } else { LINES };
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response.headers_mut().insert(header::CACHE_CONTROL, NO_STORE);
    Ok(response)
}

/// A stream being rewritten.
struct Source {
    body: Body,
    data: BytesMut,
    output: MessageDescriptor,
    status: MessageDescriptor,
    form: Form,
    ended: bool,
}

impl Source {
    fn frames(self) -> impl Stream<Item = Result<Frame<Bytes>, Status>> + Send {
        futures::stream::unfold(self, |mut source| async move {
            let text = source.next().await?;
            Some((Ok(Frame::data(text)), source))
        })
    }

    /// The text of the next message, or of the error that ends the stream.
    async fn next(&mut self) -> Option<Bytes> {
        while !self.ended {
            match self.step().await {
                Ok(Some(text)) => return Some(text),
                Ok(None) => {}
                Err(status) => {
                    self.ended = true;
                    return Some(self.form.error(&status_json(&self.status, &status)));
                }
            }
        }
        None
    }

    async fn step(&mut self) -> Result<Option<Bytes>, Status> {
        if let Some(message) = next(&mut self.data)? {
            return Ok(Some(self.form.message(&json(&self.output, message)?)));
        }
        match self.body.frame().await.transpose()? {
            None => self.ended = true,
            Some(frame) => match frame.into_data() {
                Ok(data) => self.data.extend_from_slice(&data),
                Err(frame) => {
                    self.ended = true;
                    fail(frame.trailers_ref().and_then(Status::from_header_map))?;
                }
            },
        }
        Ok(None)
    }
}

fn fail(status: Option<Status>) -> Result<(), Status> {
    match status {
        Some(status) if status.code() != Code::Ok => Err(error::explain(status)),
        _ => Ok(()),
    }
}

/// Takes the next whole gRPC message off `data`.
fn next<B: bytes::Buf>(data: &mut B) -> Result<Option<Bytes>, Status> {
    let head = data.chunk();
    let Some((&flag, length)) = head.split_first() else { return Ok(None) };
    let Some(length) = length.first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length) as usize;
    if flag != 0 {
        return Err(internal("the answer is compressed though nobody asked for it"));
    }
    if data.remaining() < 5 + length {
        return Ok(None);
    }
    data.advance(5);
    Ok(Some(data.copy_to_bytes(length)))
}

fn json(kind: &MessageDescriptor, message: Bytes) -> Result<Vec<u8>, Status> {
    let message = DynamicMessage::decode(kind.clone(), message).map_err(|fault| internal(&fault.to_string()))?;
    let mut text = Vec::with_capacity(256);
    let options = SerializeOptions::new().skip_default_fields(false);
    message
        .serialize_with_options(&mut serde_json::Serializer::new(&mut text), &options)
        .map_err(|fault| internal(&fault.to_string()))?;
    Ok(text)
}

fn internal(why: &str) -> Status {
    error::status(Reason::Internal, format!("the JSON twin: {why}"), [])
}

/// The HTTP answer that tells of `status`; `kind` describes google.rpc.Status.
pub(super) fn refusal(kind: &MessageDescriptor, status: &Status) -> Response<Body> {
    let code = http_status(status);
    let mut response = Response::new(Body::new(Full::from(status_json(kind, status))));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, JSON);
    // What is not there may be in a moment.
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    if code == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(after) = status.get_details_retry_info().and_then(|retry| retry.retry_delay) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_millis().div_ceil(1000).max(1) as u64));
    }
    let allow = status.get_details_error_info().and_then(|info| info.metadata.get("allow")?.parse().ok());
    if let Some(allow) = allow {
        headers.insert(header::ALLOW, allow);
    }
    response
}

/// As google.rpc.Code maps codes, but for what HTTP itself has better words for.
fn http_status(status: &Status) -> StatusCode {
    match error::reason_of(status) {
        Some(Reason::UnknownMethod) => StatusCode::NOT_FOUND,
        Some(Reason::WrongVerb) => StatusCode::METHOD_NOT_ALLOWED,
        Some(Reason::MessageTooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
        Some(Reason::UnsupportedContent) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        _ => error::http_status(status.code()),
    }
}

/// A google.rpc.Status as JSON. Details of a kind that we do not know are left out.
fn status_json(kind: &MessageDescriptor, status: &Status) -> Vec<u8> {
    let full = (!status.details().is_empty()).then(|| json_of_details(kind, status)).flatten();
    full.unwrap_or_else(|| {
        let bare = serde_json::json!({ "code": status.code() as i32, "message": status.message(), "details": [] });
        bare.to_string().into_bytes()
    })
}

fn json_of_details(kind: &MessageDescriptor, status: &Status) -> Option<Vec<u8>> {
    let message = DynamicMessage::decode(kind.clone(), status.details()).ok()?;
    debug_assert!(message.encoded_len() > 0, "details hold the status itself");
    serde_json::to_vec(&message).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(name: &str) -> MessageDescriptor {
        proto::descriptor_pool().expect("readable").get_message_by_name(name).expect("known")
    }

    #[test]
    fn a_refusal_is_the_status_with_its_details() {
        let status = error::status(Reason::OutOfStock, "sold out", [("sku", "A".to_owned())]);
        let json: serde_json::Value =
            serde_json::from_slice(&status_json(&kind("google.rpc.Status"), &status)).expect("JSON");
        assert_eq!(json["code"], 9);
        assert_eq!(json["message"], "sold out");
        assert_eq!(json["details"][0]["@type"], "type.googleapis.com/google.rpc.ErrorInfo");
        assert_eq!(json["details"][0]["reason"], "OUT_OF_STOCK");
        assert_eq!(json["details"][0]["metadata"]["sku"], "A");
    }

    #[test]
    fn refusals_have_the_http_status_and_headers_that_http_clients_look_at() {
        let answer = |reason, metadata: [(&'static str, String); 1]| {
            let response = refusal(&kind("google.rpc.Status"), &error::status(reason, "no", metadata));
            let header = |name: &str| response.headers().get(name).map(|v| v.to_str().expect("text").to_owned());
            (
                response.status().as_u16(),
                header("allow").or_else(|| header("retry-after")).or_else(|| header("www-authenticate")),
            )
        };
        let none = || [("x", String::new())];
        assert_eq!(answer(Reason::UnknownMethod, none()), (404, None));
        assert_eq!(answer(Reason::WrongVerb, [("allow", "GET, PUT".to_owned())]), (405, Some("GET, PUT".to_owned())));
        assert_eq!(answer(Reason::MessageTooLarge, none()), (413, None));
        assert_eq!(answer(Reason::EtagMismatch, none()), (409, None));
        assert_eq!(answer(Reason::Overloaded, none()), (503, Some("1".to_owned())));
        assert_eq!(answer(Reason::TokenExpired, none()), (401, Some("Bearer".to_owned())));
    }

    #[test]
    fn zeros_are_written_and_large_numbers_are_text() {
        let stock =
            json(&kind("cartulary.v1.WatchStockResponse"), Bytes::from_static(&[0x0a, 0, 0x10, 5])).expect("JSON");
        let stock: serde_json::Value = serde_json::from_slice(&stock).expect("JSON");
        assert_eq!(stock["position"], "5");
        assert_eq!(stock["stock"]["available"], 0);
        assert_eq!(stock["stock"]["warehouses"], serde_json::json!([]));
    }

    #[test]
    fn messages_are_cut_where_they_end_however_the_bytes_arrive() {
        let whole = [&[0, 0, 0, 0, 2][..], b"ab", &[0, 0, 0, 0, 0], &[0, 0, 0, 0, 1], b"c"].concat();
        for cut in 0..whole.len() {
            let mut data = BytesMut::from(&whole[..cut]);
            let mut found = Vec::new();
            while let Some(message) = next(&mut data).expect("plain") {
                found.push(message);
            }
            data.extend_from_slice(&whole[cut..]);
            while let Some(message) = next(&mut data).expect("plain") {
                found.push(message);
            }
            assert_eq!(found, ["ab", "", "c"], "cut at {cut}");
        }
    }
}

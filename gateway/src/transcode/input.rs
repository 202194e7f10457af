//! From an HTTP request to a protobuf message.
//!
//! Body, path and query are put together as one JSON object, which prost-reflect then reads by the proto3 JSON mapping:
//! `lowerCamelCase` and `snake_case` names, 64-bit integers as strings or numbers, timestamps as RFC 3339. Whatever does
//! not fit is refused with the name of the field; nothing is dropped silently.

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message as _;
use prost_reflect::{DeserializeOptions, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value};
use tonic::Status;

use super::template::{Capture, decode};
use crate::error::{self, Reason};

/// Which part of the request the body fills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BodyFills {
    Nothing,
    Everything,
    Field(String),
}

/// The gRPC frame of the message that body, path and query describe.
///
/// # Errors
/// `INVALID_JSON` or `INVALID_FIELD`.
pub(super) fn message(
    input: &MessageDescriptor,
    fills: &BodyFills,
    body: &[u8],
    captures: &[Capture<'_>],
    query: Option<&str>,
) -> Result<Bytes, Status> {
    let mut object = from_body(input, fills, body)?;
    if let Some(query) = query.filter(|query| !query.is_empty()) {
        if *fills == BodyFills::Everything {
            return Err(error::invalid("query", "is not read here: everything belongs into the body"));
        }
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, text) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(name), Some(text)) = (decode(name, true), decode(text, true)) else {
                return Err(error::invalid("query", "is not valid UTF-8 in percent encoding"));
            };
            let path: Vec<String> = name.split('.').map(str::to_owned).collect();
            put(input, &mut object, &path, &text, Origin::Query)?;
        }
    }
    for (path, text) in captures {
        put(input, &mut object, path, text, Origin::Path)?;
    }
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    let message = DynamicMessage::deserialize_with_options(input.clone(), Value::Object(object), &options)
        .map_err(|fault| error::status(Reason::InvalidJson, fault.to_string(), []))?;
    frame(&message)
}

fn frame(message: &DynamicMessage) -> Result<Bytes, Status> {
    let length = u32::try_from(message.encoded_len())
        .map_err(|_| error::status(Reason::MessageTooLarge, "the request is too large", []))?;
    let mut frame = BytesMut::with_capacity(5 + length as usize);
    frame.put_u8(0);
    frame.put_u32(length);
    message.encode(&mut frame).map_err(|fault| error::status(Reason::Internal, fault.to_string(), []))?;
    Ok(frame.freeze())
}

fn from_body(input: &MessageDescriptor, fills: &BodyFills, body: &[u8]) -> Result<Map<String, Value>, Status> {
    let invalid = |why: String| error::status(Reason::InvalidJson, why, []);
    if *fills == BodyFills::Nothing || body.is_empty() {
        return Ok(Map::new());
    }
    let value: Value = serde_json::from_slice(body).map_err(|fault| invalid(format!("the body: {fault}")))?;
    match (fills, value) {
        (BodyFills::Field(field), value) => Ok(Map::from_iter([(field.clone(), value)])),
        (_, Value::Object(object)) => Ok(object),
        _ => Err(invalid(format!("the body must be an object: a {}", input.full_name()))),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Path,
    Query,
}

/// Puts `text` into the field at `path`.
fn put(
    message: &MessageDescriptor,
    object: &mut Map<String, Value>,
    path: &[String],
    text: &str,
    origin: Origin,
) -> Result<(), Status> {
    let unknown = || error::invalid(&path.join("."), format!("is no field of {}", message.full_name()));
    let (name, rest) = path.split_first().ok_or_else(unknown)?;
    let field = field(message, name).ok_or_else(unknown)?;
    let key = [field.json_name(), field.name()].into_iter().find(|key| object.contains_key(*key));
    let key = key.unwrap_or(field.name()).to_owned();
    if rest.is_empty() {
        return put_leaf(&field, object, key, text, origin);
    }
    let Kind::Message(inner) = field.kind() else { return Err(unknown()) };
    match object.entry(key).or_insert_with(|| Value::Object(Map::new())) {
        Value::Object(object) if !field.is_list() => put(&inner, object, rest, text, origin),
        _ => Err(unknown()),
    }
}

fn put_leaf(
    field: &FieldDescriptor,
    object: &mut Map<String, Value>,
    key: String,
    text: &str,
    origin: Origin,
) -> Result<(), Status> {
    let value = leaf(field, text)?;
    if field.is_list() {
        match object.entry(key).or_insert_with(|| Value::Array(Vec::new())) {
            Value::Array(values) => values.push(value),
            _ => return Err(error::invalid(field.name(), "must be a list")),
        }
        return Ok(());
    }
    match object.get(&key) {
        Some(Value::Null) | None => {}
        Some(there) if *there == value => {}
        Some(_) if origin == Origin::Path => {
            return Err(error::invalid(field.name(), "is not the same in the body as in the path"));
        }
        Some(_) => return Err(error::invalid(field.name(), "is given more than once")),
    }
    object.insert(key, value);
    Ok(())
}

/// Text as the JSON value that the field's kind expects. Numbers may stay text in the proto3 mapping.
fn leaf(field: &FieldDescriptor, text: &str) -> Result<Value, Status> {
    match field.kind() {
        Kind::Bool => match text {
            "true" | "" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => Err(error::invalid(field.name(), "must be true or false")),
        },
        Kind::Enum(_) => Ok(text.parse::<i32>().map_or_else(|_| Value::from(text), Value::from)),
        kind if !matches!(kind, Kind::String | Kind::Bytes | Kind::Message(_)) && !is_number(text) => {
            Err(error::invalid(field.name(), "must be a number"))
        }
        _ => Ok(Value::from(text)),
    }
}

fn is_number(text: &str) -> bool {
    text.parse::<i128>().is_ok() || text.parse::<f64>().is_ok()
}

/// A field by either of its names.
pub(super) fn field(message: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    message.get_field_by_name(name).or_else(|| message.get_field_by_json_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(
        kind: &str,
        fills: &BodyFills,
        body: &str,
        path: &[(&[&str], &str)],
        query: &str,
    ) -> Result<String, String> {
        let pool = proto::descriptor_pool().expect("readable");
        let input = pool.get_message_by_name(&format!("cartulary.v1.{kind}")).expect("known");
        let fields: Vec<(Vec<String>, String)> = path
            .iter()
            .map(|(field, text)| (field.iter().map(|&part| part.to_owned()).collect(), (*text).to_owned()))
            .collect();
        let captures: Vec<Capture<'_>> = fields.iter().map(|(field, text)| (field.as_slice(), text.clone())).collect();
        let query = (!query.is_empty()).then_some(query);
        let frame = message(&input, fills, body.as_bytes(), &captures, query).map_err(|status| {
            format!("{} {}", error::reason_of(&status).map_or("none", Reason::name), status.message())
        })?;
        let message = DynamicMessage::decode(input, &frame[5..]).expect("what was encoded decodes");
        Ok(serde_json::to_string(&message).expect("JSON"))
    }

    const ALL: BodyFills = BodyFills::Everything;
    const NONE: BodyFills = BodyFills::Nothing;

    #[test]
    fn both_spellings_and_both_forms_of_numbers_are_read() {
        for body in [r#"{"sku":"A","warehouseId":"w","receive":5}"#, r#"{"sku":"A","warehouse_id":"w","receive":"5"}"#]
        {
            let read = read("ChangeInventoryCountRequest", &ALL, body, &[], "");
            assert_eq!(read.as_deref(), Ok(r#"{"sku":"A","warehouseId":"w","receive":5}"#));
        }
    }

    #[test]
    fn path_and_query_fill_fields_lists_and_enums() {
        let read = read(
            "ListOrdersRequest",
            &NONE,
            "",
            &[(&["buyer_id"], "b 1")],
            "pageSize=7&states=ORDER_STATE_PAID&states=8&min_position=18446744073709551615",
        );
        let expected = r#"{"pageSize":7,"buyerId":"b 1","states":["ORDER_STATE_PAID","ORDER_STATE_DELIVERED"],"minPosition":"18446744073709551615"}"#;
        assert_eq!(read.as_deref(), Ok(expected));
    }

    #[test]
    fn nested_fields_have_dotted_names() {
        let read = read("RefundPaymentRequest", &NONE, "", &[], "amount.currencyCode=GBP&amount.units=3");
        assert_eq!(read.as_deref(), Ok(r#"{"amount":{"currencyCode":"GBP","units":"3"}}"#));
    }

    #[test]
    fn a_path_may_repeat_what_the_body_says_but_not_contradict_it() {
        let path: &[(&[&str], &str)] = &[(&["order_id"], "1")];
        assert!(read("CancelOrderRequest", &ALL, r#"{"orderId":"1"}"#, path, "").is_ok());
        assert!(read("CancelOrderRequest", &ALL, "", path, "").is_ok());
        let refused = read("CancelOrderRequest", &ALL, r#"{"orderId":"2"}"#, path, "").expect_err("contradiction");
        assert!(refused.starts_with("INVALID_FIELD order_id"), "{refused}");
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        for (body, query, expected) in [
            ("{", "", "INVALID_JSON the body: EOF"),
            ("[]", "", "INVALID_JSON the body must be an object"),
            (r#"{"nonsense":1}"#, "", "INVALID_JSON unrecognized field name 'nonsense'"),
            (r#"{"sku":1}"#, "", "INVALID_JSON invalid type"),
            (r#"{"receive":-1}"#, "", "INVALID_JSON"),
            (r#"{"receive":1,"count":2}"#, "", "INVALID_JSON"),
            ("", "sku=A", "INVALID_FIELD query"),
        ] {
            let refused = read("ChangeInventoryCountRequest", &ALL, body, &[], query).expect_err(body);
            assert!(refused.starts_with(expected), "{body}: {refused}");
        }
        for (query, expected) in [
            ("nonsense=1", "INVALID_FIELD nonsense"),
            ("page_size=x", "INVALID_FIELD page_size must be a number"),
            ("page_size=1&pageSize=2", "INVALID_FIELD page_size is given more than once"),
            ("page_size.x=1", "INVALID_FIELD"),
            ("include_delisted=maybe", "INVALID_FIELD include_delisted"),
            ("page_token=%zz", "INVALID_FIELD query"),
        ] {
            let refused = read("ListProductsRequest", &NONE, "", &[], query).expect_err(query);
            assert!(refused.starts_with(expected), "{query}: {refused}");
        }
    }
}

//! The JSON twin's description, as OpenAPI 3.1: made from the same descriptors and routes that serve it, so it is never
//! behind. Its words are the comments of the .proto files.

mod schema;

use std::collections::BTreeMap;

use prost_reflect::{DescriptorPool, FieldDescriptor, MessageDescriptor, MethodDescriptor};
use proto::v1::Role;
use serde_json::{Map, Value, json};

use self::schema::{Comments, Schemas};
use super::{Route, input::BodyFills};
use crate::auth;

/// How deep a query names fields within fields: `amount.units`.
const QUERY_DEPTH: usize = 2;

/// The document for everything that `routes` serve.
pub(super) fn document(pool: &DescriptorPool, routes: &[Route]) -> Value {
    let comments = Comments::of(pool);
    let mut schemas = Schemas::new(&comments);
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    let mut tags = BTreeMap::new();
    for route in routes {
        let method = &route.method;
        let service = method.parent_service();
        let about = comments.of_element(service.parent_file().name(), service.path());
        tags.insert(service.name().to_owned(), json!({ "name": service.name(), "description": about }));
        let operation = operation(route, &comments, &mut schemas);
        paths
            .entry(route.template.text().to_owned())
            .or_default()
            .insert(route.verb.as_str().to_lowercase(), operation);
    }
    schemas.refusal();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Cartulary",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The shop over JSON; the same methods as over gRPC. 64-bit integers are text in answers, and text or \
                numbers in requests. A request that changes something has a request_id: sent again, it has its effect once.",
        },
        "servers": [{ "url": "/" }],
        "tags": tags.into_values().collect::<Vec<_>>(),
        "paths": paths,
        "components": {
            "schemas": schemas.done(),
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" } },
            "responses": { "Refusal": {
                "description": "Why not: the code and the reason in ErrorInfo are for programs, the message is for people.",
                "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Status" } } },
            } },
        },
    })
}

fn operation(route: &Route, comments: &Comments, schemas: &mut Schemas<'_>) -> Value {
    let method = &route.method;
    let service = method.parent_service();
    let about = comments.of_element(service.parent_file().name(), method.path());
    let summary = about.split_inclusive(". ").next().unwrap_or_default().split('\n').next().unwrap_or_default().trim();
    let policy = proto::policy(route.grpc.path());
    let roles = policy.map_or(&[][..], |policy| policy.roles);
    let names = |roles: &[Role]| roles.iter().map(|role| auth::name(*role)).collect::<Vec<_>>();
    let token = json!({ "token": [] });
    let security = if roles.contains(&Role::Anyone) { json!([{}, token]) } else { json!([token]) };
    let mut operation = json!({
        "operationId": format!("{}_{}", service.name(), method.name()),
        "tags": [service.name()],
        "summary": summary,
        "description": about,
        "security": security,
        "x-roles": names(roles),
        "x-only-their-own": names(policy.map_or(&[][..], |policy| policy.own)),
        "parameters": parameters(route, comments, schemas),
        "responses": {
            "200": { "description": "It is so.", "content": answers(method, schemas) },
            "default": { "$ref": "#/components/responses/Refusal" },
        },
    });
    if route.verb == http::Method::GET && !method.is_server_streaming() {
        operation["responses"]["304"] = json!({ "description": "It is what If-None-Match says the caller has." });
    }
    if let Some(body) = body(route, schemas) {
        // Without a body every field is empty.
        operation["requestBody"] = json!({ "required": false, "content": { "application/json": { "schema": body } } });
    }
    operation
}

/// A stream is a message a line, or an event each.
fn answers(method: &MethodDescriptor, schemas: &mut Schemas<'_>) -> Value {
    let schema = schemas.message(&method.output());
    if method.is_server_streaming() {
        let failure = json!({
            "type": "object", "required": ["error"], "additionalProperties": false,
            "properties": { "error": { "$ref": "#/components/schemas/Status" } },
        });
        let line = json!({ "oneOf": [schema, failure] });
        json!({ "application/x-ndjson": { "schema": line }, "text/event-stream": { "schema": { "type": "string" } } })
    } else {
        json!({ "application/json": { "schema": schema } })
    }
}

fn body(route: &Route, schemas: &mut Schemas<'_>) -> Option<Value> {
    match &route.fills {
        BodyFills::Nothing => None,
        BodyFills::Everything => Some(schemas.message(&route.input)),
        BodyFills::Field(name) => route.input.get_field_by_name(name).map(|field| schemas.field(&field)),
    }
}

fn parameters(route: &Route, comments: &Comments, schemas: &mut Schemas<'_>) -> Vec<Value> {
    let in_path: Vec<String> = route.template.variables().map(|variable| variable.join(".")).collect();
    let mut parameters = Vec::new();
    for name in &in_path {
        let about = route.input.get_field_by_name(name).map(|field| comments.of_field(&field)).unwrap_or_default();
        // No segment of a path is empty.
        let schema = json!({ "type": "string", "minLength": 1 });
        parameters
            .push(json!({ "name": name, "in": "path", "required": true, "description": about, "schema": schema }));
    }
    if route.fills != BodyFills::Everything {
        let in_body = |name: &str| matches!(&route.fills, BodyFills::Field(field) if field == name);
        let mut leaves = Vec::new();
        collect(&route.input, "", QUERY_DEPTH, &mut leaves);
        for (name, field) in leaves {
            if !in_path.contains(&name) && !in_body(name.split('.').next().unwrap_or_default()) {
                let (about, schema) = (comments.of_field(&field), schemas.field(&field));
                parameters.push(json!({ "name": name, "in": "query", "description": about, "schema": schema }));
            }
        }
    }
    parameters
}

/// The fields that a query can name: those with a value that is one word, and lists of them.
fn collect(message: &MessageDescriptor, before: &str, depth: usize, leaves: &mut Vec<(String, FieldDescriptor)>) {
    for field in message.fields() {
        let name = format!("{before}{}", field.name());
        match field.kind().as_message() {
            Some(inner) if !schema::is_word(inner) => {
                if depth > 1 && !field.is_list() && !field.is_map() {
                    collect(inner, &format!("{name}."), depth - 1, leaves);
                }
            }
            _ => leaves.push((name, field)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcode::Transcoder;

    fn whole() -> Value {
        let pool = proto::descriptor_pool().expect("readable");
        document(&pool, &Transcoder::new(&pool, |_| true).expect("servable").routes)
    }

    #[test]
    fn every_method_is_told_of_with_its_words_and_who_may_call_it() {
        let document = whole();
        let paths = document["paths"].as_object().expect("paths");
        let operations: Vec<&Value> =
            paths.values().flat_map(|path| path.as_object().expect("verbs").values()).collect();
        assert_eq!(operations.len(), proto::POLICIES.len());
        for operation in operations {
            let name = &operation["operationId"];
            assert!(operation["summary"].as_str().is_some_and(|text| text.len() > 8), "{name} is not described");
            assert!(operation["x-roles"].as_array().is_some_and(|roles| !roles.is_empty()), "{name} is for nobody");
        }
        let cancel = &paths["/order/orders/{order_id}:cancel"]["post"];
        assert_eq!(cancel["parameters"][0]["name"], "order_id");
        assert_eq!(
            cancel["requestBody"]["content"]["application/json"]["schema"]["$ref"],
            "#/components/schemas/CancelOrderRequest"
        );
        let list = paths["/order/orders"]["get"]["parameters"].as_array().expect("a list");
        let names: Vec<&str> = list.iter().filter_map(|parameter| parameter["name"].as_str()).collect();
        assert_eq!(names, ["page_size", "page_token", "buyer_id", "states", "min_position"]);
    }

    #[test]
    fn whatever_is_referred_to_is_there_and_has_its_words() {
        let document = whole();
        let mut found = 0;
        let mut left = vec![&document];
        while let Some(value) = left.pop() {
            match value {
                Value::Object(object) => {
                    if let Some(name) = object.get("$ref").and_then(Value::as_str) {
                        assert!(document.pointer(name.trim_start_matches('#')).is_some(), "{name} is nowhere");
                        found += 1;
                    }
                    left.extend(object.values());
                }
                Value::Array(values) => left.extend(values),
                _ => {}
            }
        }
        assert!(found > 50, "{found}");
        let order = &document["components"]["schemas"]["Order"]["properties"];
        assert!(order["orderId"]["description"].is_string() && order["total"]["$ref"].is_string(), "{order}");
    }
}

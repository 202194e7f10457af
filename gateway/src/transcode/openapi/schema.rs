//! Messages as JSON Schemas, by the proto3 JSON mapping.

use std::collections::{BTreeMap, HashMap};

use prost_reflect::{DescriptorPool, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

/// What the .proto files say above each thing in them.
pub(super) struct Comments(HashMap<(String, Vec<i32>), String>);

impl Comments {
    pub(super) fn of(pool: &DescriptorPool) -> Self {
        let mut comments = HashMap::new();
        for file in pool.file_descriptor_protos() {
            for location in file.source_code_info.iter().flat_map(|info| &info.location) {
                let text = location.leading_comments().lines().map(str::trim).collect::<Vec<_>>().join("\n");
                if !text.trim().is_empty() {
                    comments.insert((file.name().to_owned(), location.path.clone()), text.trim().to_owned());
                }
            }
        }
        Self(comments)
    }

    /// The comment above the thing at a path in a file.
    pub(super) fn of_element(&self, file: &str, path: &[i32]) -> &str {
        self.0.get(&(file.to_owned(), path.to_vec())).map_or("", String::as_str)
    }

    pub(super) fn of_field(&self, field: &FieldDescriptor) -> &str {
        self.of_element(field.parent_file().name(), field.path())
    }
}

/// The schemas that were asked for, and those which they need.
pub(super) struct Schemas<'c> {
    comments: &'c Comments,
    known: BTreeMap<String, Value>,
}

/// Whether a message is a single word in JSON.
pub(super) fn is_word(message: &MessageDescriptor) -> bool {
    word(message).is_some()
}

fn word(message: &MessageDescriptor) -> Option<Value> {
    match message.full_name() {
        "google.protobuf.Timestamp" => Some(json!({ "type": "string", "format": "date-time" })),
        "google.protobuf.FieldMask" => Some(json!({ "type": "string", "examples": ["name,description"] })),
        _ => None,
    }
}

impl<'c> Schemas<'c> {
    pub(super) const fn new(comments: &'c Comments) -> Self {
        Self { comments, known: BTreeMap::new() }
    }

    pub(super) fn done(self) -> BTreeMap<String, Value> {
        self.known
    }

    /// The schema of a message, by its name.
    pub(super) fn message(&mut self, message: &MessageDescriptor) -> Value {
        if let Some(word) = word(message) {
            return word;
        }
        let name = message.name().to_owned();
        if !self.known.contains_key(&name) {
            // A message may hold itself.
            self.known.insert(name.clone(), Value::Null);
            let mut properties = Map::new();
            for field in message.fields() {
                let (schema, about) = (self.field(&field), self.comments.of_field(&field));
                properties.insert(field.json_name().to_owned(), described(schema, about));
            }
            let about = self.comments.of_element(message.parent_file().name(), message.path());
            let schema = json!({ "type": "object", "additionalProperties": false, "properties": properties });
            self.known.insert(name.clone(), described(schema, about));
        }
        json!({ "$ref": format!("#/components/schemas/{name}") })
    }

    /// The schema of a field's value.
    pub(super) fn field(&mut self, field: &FieldDescriptor) -> Value {
        if field.is_list() {
            return json!({ "type": "array", "items": self.value(&field.kind()) });
        }
        if let Kind::Message(entry) = field.kind()
            && field.is_map()
        {
            return json!({ "type": "object", "additionalProperties": self.value(&entry.map_entry_value_field().kind()) });
        }
        self.value(&field.kind())
    }

    fn value(&mut self, kind: &Kind) -> Value {
        match kind {
            Kind::String => json!({ "type": "string" }),
            Kind::Bytes => json!({ "type": "string", "contentEncoding": "base64" }),
            Kind::Bool => json!({ "type": "boolean" }),
            Kind::Double | Kind::Float => json!({ "type": "number" }),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
                json!({ "type": "integer", "format": "int32", "minimum": i32::MIN, "maximum": i32::MAX })
            }
            Kind::Uint32 | Kind::Fixed32 => json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
                json!({ "type": ["string", "integer"], "format": "int64", "pattern": "^-?[0-9]{1,19}$" })
            }
            Kind::Uint64 | Kind::Fixed64 => {
                json!({ "type": ["string", "integer"], "format": "uint64", "pattern": "^[0-9]{1,20}$", "minimum": 0 })
            }
            Kind::Message(message) => self.message(message),
            Kind::Enum(kind) => self.names(kind),
        }
    }

    fn names(&mut self, kind: &EnumDescriptor) -> Value {
        let names: Vec<String> = kind.values().map(|value| value.name().to_owned()).collect();
        let about = self.comments.of_element(kind.parent_file().name(), kind.path());
        let schema = described(json!({ "type": "string", "enum": names }), about);
        self.known.insert(kind.name().to_owned(), schema);
        json!({ "$ref": format!("#/components/schemas/{}", kind.name()) })
    }

    /// google.rpc.Status, with details of any kind.
    pub(super) fn refusal(&mut self) {
        let detail =
            json!({ "type": "object", "properties": { "@type": { "type": "string" } }, "required": ["@type"] });
        let status = json!({
            "type": "object",
            "description": "google.rpc.Status. The first of the details is a google.rpc.ErrorInfo with the reason.",
            "required": ["code", "message", "details"],
            "properties": {
                "code": { "type": "integer", "description": "google.rpc.Code" },
                "message": { "type": "string" },
                "details": { "type": "array", "items": detail },
            },
        });
        self.known.insert("Status".to_owned(), status);
    }
}

/// A schema with its words; beside a reference they stand as they are.
fn described(mut schema: Value, about: &str) -> Value {
    if !about.is_empty() {
        schema["description"] = Value::String(about.to_owned());
    }
    schema
}

//! The stored contract: what was once written can be read for ever.
//!
//! One golden file per event type and schema version, `golden/<type>.v<schema>.json`, written by hand and never
//! edited afterwards: a log somewhere holds those bytes. A changed body needs a new schema version, a new
//! file, and an upcast of the old one.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, fs, path::PathBuf};

use domain::{
    decider::{EncodeError, Stored},
    event::Event,
};
use serde_json::{Value, json};

/// Every golden body by type and schema version.
fn golden() -> BTreeMap<(String, u32), Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let (kind, schema) = name
            .strip_suffix(".json")
            .and_then(|stem| stem.rsplit_once(".v"))
            .unwrap_or_else(|| panic!("{name} is not named <type>.v<schema>.json"));
        ((kind.to_owned(), schema.parse().unwrap()), fs::read(&path).unwrap())
    };
    fs::read_dir(folder).unwrap().map(read).collect()
}

fn encode(event: &Event) -> Result<Vec<u8>, EncodeError> {
    match event {
        Event::Product(event) => event.encode(),
        Event::Stock(event) => event.encode(),
        Event::Order(event) => event.encode(),
        Event::Campaign(event) => event.encode(),
        Event::Claim(event) => event.encode(),
        Event::Payment(event) => event.encode(),
        Event::Delivery(event) => event.encode(),
        Event::Return(event) => event.encode(),
    }
}

#[test]
fn every_golden_body_decodes_and_the_newest_writes_the_same_json_again() {
    let newest: BTreeMap<&str, u32> = Event::kinds().into_iter().collect();
    for ((kind, schema), body) in golden() {
        let event = Event::decode(&kind, schema, &body).unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(event.kind(), kind, "a body decodes as its own type");
        if newest.get(kind.as_str()) == Some(&schema) {
            let written: Value = serde_json::from_slice(&encode(&event).unwrap()).unwrap();
            let stored: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(written, stored, "{kind} v{schema} is written as it was stored");
        }
    }
}

#[test]
fn every_event_type_has_a_golden_file_for_every_schema_it_ever_had() {
    let golden = golden();
    let missing: Vec<String> = Event::kinds()
        .into_iter()
        .flat_map(|(kind, newest)| (1..=newest).map(move |schema| (kind.to_owned(), schema)))
        .filter(|version| !golden.contains_key(version))
        .map(|(kind, schema)| format!("{kind}.v{schema}.json"))
        .collect();
    assert_eq!(missing, Vec::<String>::new(), "these golden files are missing");
}

#[test]
fn every_golden_file_belongs_to_an_event_type() {
    let newest: BTreeMap<&str, u32> = Event::kinds().into_iter().collect();
    for (kind, schema) in golden().into_keys() {
        let known = newest.get(kind.as_str()).is_some_and(|newest| (1..=*newest).contains(&schema));
        assert!(known, "{kind}.v{schema}.json belongs to no event type: a stored type is never given up");
    }
}

#[test]
fn a_field_that_a_newer_version_added_does_not_stop_an_older_reader() {
    for ((kind, schema), body) in golden() {
        let mut value: Value = serde_json::from_slice(&body).unwrap();
        value.as_object_mut().unwrap().insert("added_later".into(), json!({"n": 1}));
        let wider = serde_json::to_vec(&value).unwrap();
        assert_eq!(
            Event::decode(&kind, schema, &wider).unwrap_or_else(|why| panic!("{why}")),
            Event::decode(&kind, schema, &body).unwrap_or_else(|why| panic!("{why}")),
        );
    }
}

#[test]
fn types_are_unique_and_begin_with_their_category() {
    let kinds = Event::kinds();
    let unique: BTreeMap<&str, u32> = kinds.iter().copied().collect();
    assert_eq!(unique.len(), kinds.len(), "two events share a stored type");
    for (kind, schema) in kinds {
        let (category, name) = kind.split_once('.').unwrap();
        assert!(!name.is_empty() && schema >= 1, "{kind}");
        let unknown = Event::decode(&format!("{category}.no_such_event"), schema, b"{}");
        assert!(unknown.is_err(), "an unknown type of {category} is an error, not a guess");
    }
}

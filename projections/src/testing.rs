//! What the tests of views and engine share: facts as data, and a small shop that tells random but
//! possible histories.

mod scenes;
mod shop;
mod stores;
mod told;

pub use shop::Shop;
pub use stores::{FaultyViews, Outcome};
pub use told::IntoEvent;

use domain::{
    decider::Stored,
    event::{Actor, Event, Metadata},
    ids::{EventId, MemberId, RequestId},
    money::{Currency, Money},
};
use jiff::Timestamp;
use ports::store::{NewEvent, Position};
use serde::{Serialize, de::DeserializeOwned};
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

use crate::{
    event::{Category, Fact},
    verify::Fresh,
    view::{Fault, View},
};

/// A word id such as a SKU; the tests' words are all well-formed.
pub fn word<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

pub fn gbp(amount: i64) -> Money {
    Money::new(amount, Currency::GBP)
}

/// Noon of a day of December 2010.
pub fn december(day: i64) -> Timestamp {
    let midnight: Timestamp = "2010-12-01T12:00:00Z".parse().unwrap();
    midnight + jiff::SignedDuration::from_hours(24 * (day - 1))
}

/// An event's place in a story: its stream and the day of December on which it happened.
pub type Told = (String, i64, Event);

pub fn told(stream: impl std::fmt::Display, day: i64, event: impl IntoEvent) -> Told {
    (stream.to_string(), day, event.into_event())
}

/// A story as a view meets it.
pub fn facts(story: &[Told]) -> Vec<Fact> {
    let mut revisions: HashMap<&str, u64> = HashMap::new();
    let mut facts = Vec::new();
    for ((stream, day, event), n) in story.iter().zip(1_u64..) {
        let revision = revisions.entry(stream).or_default();
        facts.push(Fact {
            position: Position(n),
            stream: stream.clone(),
            revision: *revision,
            id: EventId::from_u128(n.into()),
            recorded_at: december(*day),
            occurred_at: december(*day),
            actor: Actor::Member(MemberId::from_u128(1)),
            correlation: Uuid::from_u128(1),
            event: event.clone(),
        });
        *revision += 1;
    }
    facts
}

/// The rows that a story yields, in the order of their keys; each must survive its stored form, and lead to
/// the same index entries then.
pub fn rows<V: View<Row: Clone + PartialEq + std::fmt::Debug>>(story: &[Told]) -> Result<Vec<V::Row>, Fault> {
    let mut fresh = Fresh::<V>::default();
    for fact in facts(story) {
        let category = Category::of(&fact.stream).unwrap();
        if V::READS.contains(&category) {
            fresh.fold(&fact).map_err(|stopped| stopped.fault)?;
        }
    }
    let ordered: BTreeMap<_, _> = fresh.rows.iter().map(|(name, row)| (crate::key::key(name), row.clone())).collect();
    for row in ordered.values() {
        let again: V::Row = stored(row);
        assert_eq!(&again, row);
        assert_eq!(V::indexes(&again), V::indexes(row));
        assert!(V::indexes(row).iter().all(|(index, _)| V::INDEXES.contains(index)), "an undeclared index");
    }
    Ok(ordered.into_values().collect())
}

fn stored<T: Serialize + DeserializeOwned>(value: &T) -> T {
    serde_json::from_slice(&serde_json::to_vec(value).unwrap()).unwrap()
}

/// The one row that a story yields.
pub fn row<V: View<Row: Clone + PartialEq + std::fmt::Debug>>(story: &[Told]) -> V::Row {
    let mut rows = rows::<V>(story).unwrap();
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows.remove(0)
}

/// The fault at which a story's view stops.
pub fn fault<V: View<Row: Clone + PartialEq + std::fmt::Debug>>(story: &[Told]) -> Fault {
    rows::<V>(story).unwrap_err()
}

/// An event as the log takes it.
pub fn new_event(n: u64, day: i64, event: &Event) -> NewEvent {
    fn parts<E: Stored>(event: &E) -> (&'static str, u32, Vec<u8>) {
        (event.kind(), event.schema(), event.encode().unwrap())
    }
    let (kind, schema, data) = match event {
        Event::Product(event) => parts(event),
        Event::Stock(event) => parts(event),
        Event::Order(event) => parts(event),
        Event::Campaign(event) => parts(event),
        Event::Claim(event) => parts(event),
        Event::Payment(event) => parts(event),
        Event::Delivery(event) => parts(event),
        Event::Return(event) => parts(event),
    };
    let metadata = Metadata {
        schema,
        request_id: RequestId::from_u128(n.into()),
        body_hash: n,
        actor: Actor::Process,
        correlation_id: Uuid::from_u128(n.into()),
        causation_id: None,
        occurred_at: december(day),
    };
    NewEvent {
        id: Uuid::from_u128(n.into()),
        kind: kind.into(),
        data: data.into(),
        metadata: serde_json::to_vec(&metadata).unwrap().into(),
    }
}

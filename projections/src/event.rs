//! What a view sees of the log: an event with the facts around it, decoded once for all views.
//!
//! The log holds bytes and may hold streams that are none of ours: whatever is not a stream of a known
//! [`Category`] is passed over in silence, because a foreign writer must not be able to stop a view.
//! Whatever *is* ours and does not decode is an [`Unreadable`] entry: it stops the views that read its
//! category and no others.

use std::fmt;

use domain::{
    event::{Actor, Event, Metadata},
    ids::EventId,
};
use jiff::{Timestamp, civil::Date, tz::Offset};
use ports::store::{Position, Recorded, Revision};
use uuid::Uuid;

macro_rules! categories {
    ($($(#[$meta:meta])* $variant:ident = $name:literal),+ $(,)?) => {
        /// The kinds of streams the shop writes: the word before the first `-` of a stream's name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Category {
            $($(#[$meta])* $variant,)+
        }

        impl Category {
            /// The word in stream names and event types.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The category of a stream, or `None` for one that is not ours.
            #[must_use]
            pub fn of(stream: &str) -> Option<Self> {
                match stream.split_once('-')?.0 {
                    $($name => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

categories! {
    /// Products of the catalogue.
    Product = "product",
    /// Stock of a SKU.
    Stock = "stock",
    /// Orders.
    Order = "order",
    /// Coupon campaigns.
    Campaign = "campaign",
    /// Claims on campaigns.
    Claim = "claim",
    /// Payments.
    Payment = "payment",
    /// Deliveries.
    Delivery = "delivery",
    /// Returns.
    Return = "return",
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An event and what stands around it.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// Its place in the log.
    pub position: Position,
    /// The stream's name, `<category>-<id>`.
    pub stream: String,
    /// Its place in the stream.
    pub revision: Revision,
    /// Its id.
    pub id: EventId,
    /// When the store wrote it.
    pub recorded_at: Timestamp,
    /// When it happened in the world; reports use it.
    pub occurred_at: Timestamp,
    /// Who asked for it.
    pub actor: Actor,
    /// What one outside request set in motion shares this.
    pub correlation: Uuid,
    /// What happened.
    pub event: Event,
}

impl Fact {
    /// The id in the stream's name.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.stream.split_once('-').map_or("", |(_, id)| id)
    }

    /// The day (UTC) on which it happened in the world.
    #[must_use]
    pub fn day(&self) -> Date {
        day(self.occurred_at)
    }
}

/// The day (UTC) of a time.
#[must_use]
pub fn day(at: Timestamp) -> Date {
    Offset::UTC.to_datetime(at).date()
}

/// An event of ours that cannot be read: damaged, or written by newer code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The stream's name.
    pub stream: String,
    /// The stored type.
    pub kind: String,
    /// Why it cannot be read.
    pub cause: String,
}

/// One place in a batch of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Where in the log.
    pub position: Position,
    /// Of which category, known even when the event cannot be read.
    pub category: Category,
    /// What stands there.
    pub fact: Result<Fact, Unreadable>,
}

impl Entry {
    /// Reads a stored event, or answers `None` when its category is not among `wanted`.
    #[must_use]
    pub fn read(recorded: Recorded, wanted: &[Category]) -> Option<Self> {
        let category = Category::of(&recorded.stream).filter(|category| wanted.contains(category))?;
        let position = recorded.position;
        Some(Self { position, category, fact: fact(category, recorded) })
    }
}

fn fact(category: Category, recorded: Recorded) -> Result<Fact, Unreadable> {
    match decode(category, &recorded) {
        Ok((metadata, event)) => Ok(Fact {
            position: recorded.position,
            stream: recorded.stream,
            revision: recorded.revision,
            id: EventId(recorded.id),
            recorded_at: recorded.recorded_at,
            occurred_at: metadata.occurred_at,
            actor: metadata.actor,
            correlation: metadata.correlation_id,
            event,
        }),
        Err(cause) => Err(Unreadable { stream: recorded.stream, kind: recorded.kind, cause }),
    }
}

fn decode(category: Category, recorded: &Recorded) -> Result<(Metadata, Event), String> {
    let kind = recorded.kind.as_str();
    if kind.split_once('.').map(|(first, _)| first) != Some(category.name()) {
        return Err(format!("event type {kind} does not belong in stream {}", recorded.stream));
    }
    let metadata: Metadata =
        serde_json::from_slice(&recorded.metadata).map_err(|cause| format!("its metadata does not decode: {cause}"))?;
    let event = Event::decode(kind, metadata.schema, &recorded.data).map_err(|cause| cause.to_string())?;
    Ok((metadata, event))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(stream: &str, kind: &str, data: &str, metadata: &str) -> Recorded {
        Recorded {
            position: Position(7),
            stream: stream.into(),
            revision: 0,
            id: Uuid::from_u128(1),
            kind: kind.into(),
            recorded_at: Timestamp::UNIX_EPOCH,
            data: bytes::Bytes::copy_from_slice(data.as_bytes()),
            metadata: bytes::Bytes::copy_from_slice(metadata.as_bytes()),
        }
    }

    const META: &str = r#"{"schema":1,"request_id":"00000000-0000-0000-0000-000000000001","body_hash":1,
        "actor":"process","$correlationId":"00000000-0000-0000-0000-000000000002","occurred_at":"2010-12-01T08:26:00Z"}"#;
    const RECEIVED: &str = r#"{"warehouse":"main","quantity":3}"#;

    fn read(stream: &str, kind: &str, data: &str, metadata: &str) -> Option<Entry> {
        Entry::read(recorded(stream, kind, data, metadata), &[Category::Stock])
    }

    #[test]
    fn an_event_is_read_with_the_facts_around_it() {
        let entry = read("stock-a-b", "stock.received", RECEIVED, META).unwrap();
        let fact = entry.fact.unwrap();
        assert_eq!((entry.position, entry.category, fact.subject()), (Position(7), Category::Stock, "a-b"));
        assert_eq!((fact.day().to_string().as_str(), fact.actor), ("2010-12-01", Actor::Process));
        assert!(matches!(fact.event, Event::Stock(_)));
    }

    #[test]
    fn what_is_not_ours_or_not_wanted_is_passed_over() {
        for stream in ["x-stock-1", "stocks-1", "stock", "$system", "", "order-1"] {
            assert_eq!(read(stream, "stock.received", RECEIVED, META), None, "{stream}");
        }
    }

    #[test]
    fn what_is_ours_and_does_not_decode_says_why() {
        let cases = [
            ("stock.received", "{", META, "does not decode"),
            ("stock.received", RECEIVED, "{", "metadata"),
            ("stock.unheard", RECEIVED, META, "unknown event type"),
            ("order.placed", RECEIVED, META, "does not belong"),
        ];
        for (kind, data, metadata, says) in cases {
            let unreadable = read("stock-1", kind, data, metadata).unwrap().fact.unwrap_err();
            assert_eq!((unreadable.stream.as_str(), unreadable.kind.as_str()), ("stock-1", kind));
            assert!(unreadable.cause.contains(says), "{}", unreadable.cause);
        }
    }

    #[test]
    fn every_event_type_of_the_domain_belongs_to_a_known_category() {
        for (kind, _) in Event::kinds() {
            let (category, _) = kind.split_once('.').unwrap();
            assert_eq!(Category::of(&format!("{category}-1")).map(Category::name), Some(category), "{kind}");
        }
    }
}

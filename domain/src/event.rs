//! What the log holds: every event of every aggregate, and the envelope around it.
//!
//! The write side appends one aggregate's events; readers of the whole log (views, process runner, relay)
//! meet all of them and decode with [`Event::decode`]. The metadata is JSON with the names that
//! EventStoreDB's tools expect for correlation and causation.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    coupon,
    decider::{DecodeError, Stored},
    delivery,
    ids::{EventId, MemberId, RequestId},
    order, payment,
    personal::Sealable,
    product, returns, stock,
};

macro_rules! every {
    ($($variant:ident($event:ty) = $category:literal),+ $(,)?) => {
        /// An event of any aggregate.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Event {
            $(
                #[doc = concat!("An event of a `", $category, "-…` stream.")]
                $variant($event),
            )+
        }

        $(
            impl From<$event> for Event {
                fn from(event: $event) -> Self {
                    Self::$variant(event)
                }
            }
        )+

        impl Event {
            /// Every stored type of the shop with its newest schema version.
            #[must_use]
            pub fn kinds() -> Vec<(&'static str, u32)> {
                [$(<$event>::KINDS),+].concat()
            }

            /// Reads a stored body of any type and version.
            ///
            /// # Errors
            /// [`DecodeError`] when the type is unknown or the body does not match it.
            pub fn decode(kind: &str, schema: u32, body: &[u8]) -> Result<Self, DecodeError> {
                match kind.split('.').next() {
                    $( Some($category) => <$event>::decode(kind, schema, body).map(Self::$variant), )+
                    _ => Err(DecodeError::Unknown { kind: kind.to_owned(), schema }),
                }
            }

            /// The stored type, e.g. `order.placed`.
            #[must_use]
            pub fn kind(&self) -> &'static str {
                match self { $( Self::$variant(event) => event.kind(), )+ }
            }

            /// Every personal field, in a fixed order.
            pub fn personal(&mut self) -> Vec<&mut dyn Sealable> {
                match self { $( Self::$variant(event) => event.personal(), )+ }
            }
        }
    };
}

every! {
    Product(product::Event) = "product",
    Stock(stock::Event) = "stock",
    Order(order::Event) = "order",
    Campaign(coupon::campaign::Event) = "campaign",
    Claim(coupon::claim::Event) = "claim",
    Payment(payment::Event) = "payment",
    Delivery(delivery::Event) = "delivery",
    Return(returns::Event) = "return",
}

/// What stands beside an event's body: who asked for what, when, and because of what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// The body's schema version.
    pub schema: u32,
    /// The caller's request that caused the event.
    pub request_id: RequestId,
    /// A hash of the command, so that the same id with another body is recognised.
    pub body_hash: u64,
    /// Who asked.
    pub actor: Actor,
    /// The id shared by everything that one outside request set in motion.
    #[serde(rename = "$correlationId")]
    pub correlation_id: Uuid,
    /// The event that led to this one, if no person did.
    #[serde(rename = "$causationId", default, skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<EventId>,
    /// Business time: when it happened in the world. An importer may set it; rankings and reports use it.
    pub occurred_at: Timestamp,
}

/// Who asked for a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// A member, whatever their role.
    Member(MemberId),
    /// One of the shop's own processes.
    Process,
    /// The outside world answering through a port: a payment provider or a carrier.
    Provider,
}

impl Actor {
    /// The actor's share of an id derived from their request: the same request id from two callers is
    /// two requests.
    #[must_use]
    pub fn scope(&self) -> [u8; 17] {
        let mut bytes = [0; 17];
        match self {
            Self::Member(id) => bytes[1..].copy_from_slice(id.0.as_bytes()),
            Self::Process => bytes[0] = 1,
            Self::Provider => bytes[0] = 2,
        }
        bytes
    }
}

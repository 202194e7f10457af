//! One delivery of an order's goods, as the carrier tells it.
//!
//! The booking's key is stored before the carrier is asked. Its notices come late, twice and in any order:
//! *delivered* is believed even if *dispatched* was never heard, and after the end nothing is.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    decider::Decider,
    ids::{DeliveryId, OrderId, Region},
    personal::Personal,
};

/// The longest tracking number kept, in characters.
pub const TRACKING_MAX: usize = 200;
/// The longest reason kept of what a carrier says, in characters; the rest is cut off.
pub const REASON_MAX: usize = 200;
/// The longest address, in characters.
pub const ADDRESS_MAX: usize = 1_000;

crate::events! {
    /// What happens to a delivery.
    Event {
        /// The goods are to be brought; the carrier is asked next.
        Requested = "delivery.requested" 1 personal [address],
        /// The carrier will bring them.
        Booked = "delivery.booked" 1,
        /// They are on their way.
        Dispatched = "delivery.dispatched" 1,
        /// They are in the buyer's hands.
        Delivered = "delivery.delivered" 1,
        /// The carrier gave up.
        Failed = "delivery.failed" 1,
    }
}

/// The goods are to be brought; the carrier is asked next, under `key`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Requested {
    /// Whose goods.
    pub order: OrderId,
    /// The destination's region code.
    pub region: Region,
    /// Where to, sealed under the buyer's key; none when the goods are collected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Personal<String>>,
    /// How many units in all; at least 1.
    pub units: u64,
    /// The idempotency key of the booking.
    pub key: Uuid,
}

/// The carrier will bring them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Booked {
    /// The carrier's tracking number.
    pub tracking: String,
}

/// The goods left the warehouse.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dispatched {
    /// When, by the carrier's clock.
    pub at: Timestamp,
}

/// The goods are in the buyer's hands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Delivered {
    /// When, by the carrier's clock.
    pub at: Timestamp,
}

/// The carrier gave up; the goods come back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failed {
    /// The carrier's reason.
    pub reason: String,
    /// When, by the carrier's clock.
    pub at: Timestamp,
}

/// What can be asked of a delivery, and what a carrier reports about it.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Let the goods be brought.
    Request {
        /// Whose goods.
        order: OrderId,
        /// The destination's region code.
        region: Region,
        /// Where to; none when the goods are collected.
        address: Option<Personal<String>>,
        /// How many units in all.
        units: u64,
        /// The idempotency key of the booking.
        key: Uuid,
    },
    /// The carrier accepted the booking.
    RecordBooked {
        /// Its tracking number.
        tracking: String,
    },
    /// The carrier has the goods.
    RecordDispatched {
        /// When, by the carrier's clock.
        at: Timestamp,
    },
    /// The buyer has the goods.
    RecordDelivered {
        /// When, by the carrier's clock.
        at: Timestamp,
    },
    /// The carrier refused the booking or gave up.
    RecordFailed {
        /// Its reason.
        reason: String,
        /// When, by the carrier's clock.
        at: Timestamp,
    },
}

/// Why a wish about a delivery was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// No such delivery was requested.
    #[error("the delivery was never requested")]
    NotRequested,
    /// The delivery was requested with other contents.
    #[error("the delivery is for order {order} over {units} units already")]
    AlreadyRequested {
        /// The order it is for.
        order: OrderId,
        /// How many units it is over.
        units: u64,
    },
    /// A delivery of nothing.
    #[error("a delivery has at least one unit")]
    NoUnits,
    /// An address beyond [`ADDRESS_MAX`].
    #[error("the address has {found} characters, at most {ADDRESS_MAX} are allowed")]
    AddressTooLong {
        /// Its length in characters.
        found: usize,
    },
    /// A tracking number that is empty or beyond [`TRACKING_MAX`].
    #[error("a tracking number has 1 to {TRACKING_MAX} characters, not {found}")]
    InvalidTracking {
        /// Its length in characters.
        found: usize,
    },
}

/// What a decision about a delivery needs to know.
///
/// The address is not in it, because no decision asks for it: the order remembers it, and the carrier's label is
/// read there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub enum State {
    /// Nobody requested it.
    #[default]
    Unrequested,
    /// It was requested.
    Requested(Details),
}

/// A delivery that was requested, and where it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Details {
    /// Whose goods.
    pub order: OrderId,
    /// The destination's region code.
    pub region: Region,
    /// How many units in all.
    pub units: u64,
    /// The idempotency key of the booking.
    pub key: Uuid,
    /// The carrier's tracking number, once it said one; it may come after the goods are on their way.
    pub tracking: Option<String>,
    /// Where it stands.
    pub situation: Situation,
}

/// Where a delivery stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Situation {
    /// The carrier is asked, or will be.
    Requested,
    /// The carrier will bring the goods.
    Booked,
    /// The goods are on their way.
    Dispatched,
    /// The buyer has the goods: the end.
    Delivered {
        /// When, by the carrier's clock.
        at: Timestamp,
    },
    /// The carrier gave up: the end.
    Failed {
        /// Its reason.
        reason: String,
    },
}

impl Situation {
    /// True once nothing more can happen.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Delivered { .. } | Self::Failed { .. })
    }
}

impl State {
    /// The delivery, once it was requested.
    #[must_use]
    pub const fn details(&self) -> Option<&Details> {
        match self {
            Self::Unrequested => None,
            Self::Requested(details) => Some(details),
        }
    }
}

/// The delivery aggregate.
#[derive(Debug)]
pub struct Delivery;

impl Decider for Delivery {
    const CATEGORY: &'static str = "delivery";
    const FOLD: u32 = 1;
    type Id = DeliveryId;
    type State = State;
    type Command = Command;
    type Event = Event;
    type Rejection = Rejection;

    fn decide(state: &State, command: &Command) -> Result<Vec<Event>, Rejection> {
        match (command, state.details()) {
            (Command::Request { order, region, address, units, key }, known) => {
                let (order, units, key) = (*order, *units, *key);
                request(known, Requested { order, region: region.clone(), address: address.clone(), units, key })
            }
            (_, None) => Err(Rejection::NotRequested),
            (_, Some(delivery)) if delivery.situation.is_final() => Ok(vec![]),
            (Command::RecordBooked { tracking }, Some(delivery)) => booked(delivery, tracking),
            (Command::RecordDispatched { at }, Some(delivery)) => Ok(match delivery.situation {
                Situation::Requested | Situation::Booked => vec![Dispatched { at: *at }.into()],
                _ => vec![],
            }),
            (Command::RecordDelivered { at }, Some(_)) => Ok(vec![Delivered { at: *at }.into()]),
            (Command::RecordFailed { reason, at }, Some(_)) => {
                Ok(vec![Failed { reason: reason.chars().take(REASON_MAX).collect(), at: *at }.into()])
            }
        }
    }

    fn evolve(state: State, event: &Event) -> State {
        match (state, event) {
            (_, Event::Requested(Requested { order, region, address: _, units, key })) => State::Requested(Details {
                order: *order,
                region: region.clone(),
                units: *units,
                key: *key,
                tracking: None,
                situation: Situation::Requested,
            }),
            (State::Requested(mut delivery), event) => {
                change(&mut delivery, event);
                State::Requested(delivery)
            }
            (State::Unrequested, _) => State::Unrequested,
        }
    }
}

fn change(delivery: &mut Details, event: &Event) {
    match event {
        Event::Requested(_) => {}
        Event::Booked(Booked { tracking }) => {
            delivery.tracking = Some(tracking.clone());
            if delivery.situation == Situation::Requested {
                delivery.situation = Situation::Booked;
            }
        }
        Event::Dispatched(_) => delivery.situation = Situation::Dispatched,
        Event::Delivered(Delivered { at }) => delivery.situation = Situation::Delivered { at: *at },
        Event::Failed(Failed { reason, .. }) => {
            delivery.situation = Situation::Failed { reason: reason.clone() };
        }
    }
}

fn request(known: Option<&Details>, wish: Requested) -> Result<Vec<Event>, Rejection> {
    if let Some(known) = known {
        let same =
            (known.order, &known.region, known.units, known.key) == (wish.order, &wish.region, wish.units, wish.key);
        let already = Rejection::AlreadyRequested { order: known.order, units: known.units };
        return if same { Ok(vec![]) } else { Err(already) };
    }
    if wish.units == 0 {
        return Err(Rejection::NoUnits);
    }
    let address = wish.address.as_ref().and_then(Personal::value);
    match address.map(|text| text.chars().count()) {
        Some(found) if found > ADDRESS_MAX => Err(Rejection::AddressTooLong { found }),
        _ => Ok(vec![wish.into()]),
    }
}

/// The tracking number is worth recording even when the goods are already on their way.
fn booked(delivery: &Details, tracking: &str) -> Result<Vec<Event>, Rejection> {
    if delivery.tracking.is_some() {
        return Ok(vec![]);
    }
    match tracking.chars().count() {
        1..=TRACKING_MAX => Ok(vec![Booked { tracking: tracking.to_owned() }.into()]),
        found => Err(Rejection::InvalidTracking { found }),
    }
}

#[cfg(test)]
mod tests;

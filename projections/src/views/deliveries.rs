//! Deliveries: a row per delivery, where the goods are.

use domain::{
    delivery,
    event::Event,
    ids::{DeliveryId, OrderId, Region},
};
use jiff::Timestamp;
use ports::views::Key;
use serde::{Deserialize, Serialize};

use crate::{
    event::{Category, Fact},
    key::key,
    reader::Query,
    sealed::Sealed,
    view::{Fault, Touched, View},
};

const BY_ORDER: &str = "by_order";

/// The view of deliveries.
#[derive(Debug)]
pub struct Deliveries;

/// The status of a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Which delivery.
    pub delivery: DeliveryId,
    /// Whose goods.
    pub order: OrderId,
    /// The destination's region code.
    pub region: Region,
    /// Where to; sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Sealed>,
    /// How many units in all.
    pub units: u64,
    /// Where the goods are.
    pub state: State,
    /// The carrier's tracking number, once it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracking: Option<String>,
    /// When they left, by the carrier's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dispatched_at: Option<Timestamp>,
    /// When they arrived or the carrier gave up, by the carrier's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// When the delivery was requested.
    pub requested_at: Timestamp,
    /// The revision of its newest event: its etag.
    pub revision: u64,
}

/// Where goods are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// The carrier is being asked.
    Requested,
    /// The carrier will bring them.
    Booked,
    /// They are on their way.
    Dispatched,
    /// They are in the buyer's hands.
    Delivered,
    /// The carrier gave up.
    Failed {
        /// The carrier's reason.
        reason: String,
    },
}

/// The deliveries of an order, the newest first.
#[must_use]
pub fn of_order(order: OrderId) -> Query<Deliveries> {
    Query::index(BY_ORDER).under(&(order,)).backward()
}

impl View for Deliveries {
    const NAME: &'static str = "deliveries";
    const VERSION: u32 = 1;
    const READS: &'static [Category] = &[Category::Delivery];
    const INDEXES: &'static [&'static str] = &[BY_ORDER];
    type Key = DeliveryId;
    type Row = Delivery;
    type Change<'a> = &'a delivery::Event;

    fn touch<'a>(fact: &'a Fact, touched: &mut Touched<'a, Self>) -> Result<(), Fault> {
        if let Event::Delivery(event) = &fact.event {
            touched.own(fact.subject().parse()?, event, fact);
        }
        Ok(())
    }

    fn apply(
        key: &DeliveryId,
        row: Option<Delivery>,
        change: &delivery::Event,
        fact: &Fact,
    ) -> Result<Option<Delivery>, Fault> {
        let mut row = match (row, change) {
            (None, delivery::Event::Requested(requested)) => Delivery {
                delivery: *key,
                order: requested.order,
                region: requested.region.clone(),
                address: Sealed::first(fact.id, requested.address.as_ref()),
                units: requested.units,
                state: State::Requested,
                tracking: None,
                dispatched_at: None,
                ended_at: None,
                requested_at: fact.occurred_at,
                revision: fact.revision,
            },
            (Some(row), _) => row,
            (None, _) => return Err(Fault::missing("delivery", key)),
        };
        row.revision = fact.revision;
        match change {
            delivery::Event::Requested(_) => {}
            delivery::Event::Booked(booked) => {
                row.tracking = Some(booked.tracking.clone());
                row.state = State::Booked;
            }
            delivery::Event::Dispatched(dispatched) => {
                row.dispatched_at = Some(dispatched.at);
                row.state = State::Dispatched;
            }
            delivery::Event::Delivered(delivered) => {
                row.ended_at = Some(delivered.at);
                row.state = State::Delivered;
            }
            delivery::Event::Failed(failed) => {
                row.ended_at = Some(failed.at);
                row.state = State::Failed { reason: failed.reason.clone() };
            }
        }
        Ok(Some(row))
    }

    fn indexes(row: &Delivery) -> Vec<(&'static str, Key)> {
        vec![(BY_ORDER, key(&(row.order, row.requested_at)))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{IntoEvent, Told, december, fault, row, told, word};
    use domain::{
        delivery::{Booked, Delivered, Dispatched, Failed, Requested},
        ids::{EventId, MemberId},
        personal::Personal,
    };
    use uuid::Uuid;

    const DELIVERY: DeliveryId = DeliveryId::from_u128(1);

    fn happens(event: impl IntoEvent) -> Told {
        told(format!("delivery-{DELIVERY}"), 1, event)
    }

    fn sealed() -> Personal<String> {
        Personal::Sealed { member: MemberId::from_u128(4), ciphertext: vec![1, 2, 3] }
    }

    fn requested() -> Told {
        let (order, address, key) = (OrderId::from_u128(3), Some(sealed()), Uuid::from_u128(5));
        happens(Requested { order, region: word("GB"), address, units: 2, key })
    }

    fn check(history: &[Told], state: &State, tracking: Option<&str>, dispatched: bool, ended: bool) {
        let mut story = vec![requested()];
        story.extend_from_slice(history);
        let row = row::<Deliveries>(&story);
        assert_eq!((&row.state, row.tracking.as_deref()), (state, tracking));
        assert_eq!((row.dispatched_at.is_some(), row.ended_at.is_some()), (dispatched, ended));
        assert_eq!((row.units, row.revision), (2, story.len() as u64 - 1));
    }

    #[test]
    fn a_delivery_shows_where_the_goods_are() {
        let booked = happens(Booked { tracking: "T1".into() });
        let dispatched = happens(Dispatched { at: december(2) });
        let delivered = happens(Delivered { at: december(3) });
        let failed = happens(Failed { reason: "lost".into(), at: december(3) });
        check(&[], &State::Requested, None, false, false);
        check(std::slice::from_ref(&booked), &State::Booked, Some("T1"), false, false);
        check(&[booked.clone(), dispatched], &State::Dispatched, Some("T1"), true, false);
        check(&[booked.clone(), delivered], &State::Delivered, Some("T1"), false, true);
        check(&[booked, failed], &State::Failed { reason: "lost".into() }, Some("T1"), false, true);
    }

    #[test]
    fn the_address_stays_sealed_and_keeps_what_opens_it() {
        let row = row::<Deliveries>(&[requested()]);
        assert_eq!(row.address, Some(Sealed { event: EventId::from_u128(1), field: 0, value: sealed() }));
    }

    #[test]
    fn a_delivery_that_was_never_requested_is_missing() {
        let booked = happens(Booked { tracking: "T1".into() });
        assert_eq!(fault::<Deliveries>(&[booked]), Fault::missing("delivery", &DELIVERY));
    }
}

//! The delivery process: book with the carrier, then wait for its news.
//!
//! News can be lost on the way. Whoever has waited long, or has just started, *chases* a delivery: books it again
//! under the same key, which a carrier answers with what it knows.

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::Next;
use crate::{
    delivery::{Situation, State},
    ids::{OrderId, Region},
};

/// One call to the carrier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Book the delivery. The label's address is the order's.
    Book {
        /// The idempotency key.
        key: Uuid,
        /// Whose goods.
        order: OrderId,
        /// The destination's region.
        region: Region,
        /// How many units.
        units: u64,
    },
}

/// How long to wait for news of a delivery before it is chased.
pub const CHASE_AFTER: SignedDuration = SignedDuration::from_hours(1);

/// Names what is due next for a delivery; `chase` asks the carrier again for one that is under way.
#[must_use]
pub fn next(state: &State, now: Timestamp, chase: bool) -> Next<Step> {
    let Some(delivery) = state.details() else {
        return Next::Done;
    };
    if delivery.situation == Situation::Requested || (chase && !delivery.situation.is_final()) {
        return Next::Do(Step::Book {
            key: delivery.key,
            order: delivery.order,
            region: delivery.region.clone(),
            units: delivery.units,
        });
    }
    if delivery.situation.is_final() { Next::Done } else { Next::Await { until: now.checked_add(CHASE_AFTER).ok() } }
}

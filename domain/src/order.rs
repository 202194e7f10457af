//! An order, from the buyer's wish to goods in hand, or to everything undone.
//!
//! The order's stream is also the memory of the order process ([`crate::process::order`]): each step that the
//! process completes is recorded here, so the state alone says what is due next, and a crash between
//! any two steps is finished from the log. Lines carry frozen facts (name, seller, price): no later change of
//! the catalogue reaches an order, and no view needs another row to show one.
//!
//! The largest aggregate, so its parts have files of their own: what happened ([`Event`] and its structs), what
//! can be asked ([`Command`], [`Rejection`]), where it stands ([`State`]), what it costs, what comes back.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;

use crate::{
    decider::Decider,
    ids::{DeliveryId, OrderId, PaymentId, Sku},
    money::Money,
    personal::Personal,
};

mod command;
mod event;
mod pricing;
mod returning;
mod situation;

pub use command::{Command, Place, Rejection};
pub use event::*;
pub use pricing::Wanted;
pub use returning::ReturnWish;
pub use situation::{Reason, Situation, State, Undo};

/// The most lines of one order.
pub const LINES_MAX: usize = 2_000;

/// The order aggregate.
#[derive(Debug)]
pub struct Order;

impl Decider for Order {
    const CATEGORY: &'static str = "order";
    const FOLD: u32 = 2;
    type Id = OrderId;
    type State = State;
    type Command = Command;
    type Event = Event;
    type Rejection = Rejection;

    fn decide(state: &State, command: &Command) -> Result<Vec<Event>, Rejection> {
        let Some(placed) = state.placed() else {
            return match command {
                Command::Place(place) => Ok(vec![pricing::price(place)?.into()]),
                _ => Err(Rejection::Unknown),
            };
        };
        let event = match command {
            Command::Place(place) => return placed_before(placed, place),
            Command::RecordReserved { allocations } => reserved(state, allocations),
            Command::RecordCouponHeld => coupon_held(state),
            Command::Refuse { why, claimed } => refused(state, why, claimed),
            Command::RequestPayment { payment, method, now } => {
                payment_requested(state, placed, *payment, method, *now)
            }
            Command::RecordPaymentFailed { payment, why } => Ok(payment_failed(state, *payment, why)),
            Command::RecordPaid { payment, amount } => paid(state, placed, *payment, *amount),
            Command::Confirm => confirmed(state, placed),
            Command::RecordDeliveryRequested { delivery } => delivery_requested(state, *delivery),
            Command::RecordDelivered => delivered(state),
            Command::RecordUndeliverable { why } => undeliverable(state, placed, why),
            Command::Expire { now } => Ok(expired(state, placed, *now)),
            Command::Cancel { why } => cancelled(state, placed, why),
            Command::Close => closed(state),
            Command::OpenReturn { return_id, wishes, why, backdated } => {
                let opened = returning::open(state, placed, *return_id, wishes)?;
                let why = Personal::words(placed.buyer, why);
                Ok(opened.map(|opened| ReturnOpened { why, backdated: *backdated, ..opened }.into()))
            }
            Command::RecordReturned { return_id } => Ok(returning::finish(state, placed, *return_id)),
        };
        Ok(event?.into_iter().collect())
    }

    fn creates(command: &Command) -> bool {
        matches!(command, Command::Place(_))
    }

    fn evolve(state: State, event: &Event) -> State {
        state.after(event)
    }
}

/// One event, or none because it is already so, or a rejection.
type Decision = Result<Option<Event>, Rejection>;

fn placed_before(placed: &Placed, place: &Place) -> Result<Vec<Event>, Rejection> {
    if pricing::price(place)? == *placed { Ok(vec![]) } else { Err(Rejection::AlreadyPlaced) }
}

fn reserved(state: &State, allocations: &Arc<[SkuAllocation]>) -> Decision {
    match state.situation() {
        Situation::Placed | Situation::Reviving => Ok(Some(Reserved { allocations: Arc::clone(allocations) }.into())),
        _ if state.allocations() == Some(&**allocations) => Ok(None),
        _ => Err(state.not_now("reserving")),
    }
}

fn coupon_held(state: &State) -> Decision {
    match state.situation() {
        Situation::Reserved => Ok(Some(CouponHeld {}.into())),
        _ if state.coupon_held() => Ok(None),
        _ => Err(state.not_now("holding a coupon")),
    }
}

fn refused(state: &State, why: &Refusal, claimed: &[SkuAllocation]) -> Decision {
    match state.situation() {
        Situation::Placed | Situation::Reserved | Situation::Reviving | Situation::Paid => {
            Ok(Some(Refused { why: why.clone(), claimed: claimed.to_vec() }.into()))
        }
        Situation::Ending { .. } | Situation::Closed { .. } => Ok(None),
        _ => Err(state.not_now("refusing")),
    }
}

fn payment_requested(state: &State, placed: &Placed, payment: PaymentId, method: &str, now: Timestamp) -> Decision {
    match state.situation() {
        Situation::Paying { payment: current } if *current == payment => Ok(None),
        Situation::Paying { payment: current } => Err(Rejection::AlreadyPaying { payment: *current }),
        Situation::Unpaid if now >= placed.expires_at => Err(Rejection::Expired),
        Situation::Unpaid => Ok(Some(PaymentRequested { payment, method: method.to_owned() }.into())),
        _ => Err(state.not_now("paying")),
    }
}

fn payment_failed(state: &State, payment: PaymentId, why: &str) -> Option<Event> {
    match state.situation() {
        Situation::Paying { payment: current } if *current == payment => {
            Some(PaymentFailed { payment, why: why.to_owned() }.into())
        }
        _ => None,
    }
}

fn paid(state: &State, placed: &Placed, payment: PaymentId, amount: Money) -> Decision {
    if state.captured().is_some_and(|(known, _)| known == payment) {
        return Ok(None);
    }
    if amount != placed.total {
        return Err(Rejection::WrongAmount { owed: placed.total, captured: amount });
    }
    match state.situation() {
        // Whatever was captured before was given back when the order closed.
        Situation::Closed { .. } => Ok(Some(PaidLate { payment, amount }.into())),
        _ if state.captured().is_some() => Err(Rejection::PaidAlready),
        Situation::Ending { .. } => Ok(Some(PaidLate { payment, amount }.into())),
        Situation::Paying { .. } | Situation::Unpaid => Ok(Some(Paid { payment, amount }.into())),
        _ => Err(state.not_now("recording a payment")),
    }
}

fn confirmed(state: &State, placed: &Placed) -> Decision {
    match state.situation() {
        Situation::Paid => {
            let (buyer, region) = (placed.buyer, placed.region.clone());
            Ok(Some(Confirmed { buyer, sold: pricing::sold(placed), region }.into()))
        }
        Situation::Confirmed | Situation::Delivering { .. } | Situation::Delivered => Ok(None),
        _ => Err(state.not_now("confirming")),
    }
}

fn delivery_requested(state: &State, delivery: DeliveryId) -> Decision {
    match state.situation() {
        Situation::Confirmed => Ok(Some(DeliveryRequested { delivery }.into())),
        Situation::Delivering { .. } | Situation::Delivered => Ok(None),
        _ => Err(state.not_now("requesting a delivery")),
    }
}

fn delivered(state: &State) -> Decision {
    match state.situation() {
        Situation::Delivering { .. } => Ok(Some(Delivered {}.into())),
        Situation::Delivered => Ok(None),
        _ => Err(state.not_now("recording a delivery")),
    }
}

fn undeliverable(state: &State, placed: &Placed, why: &str) -> Decision {
    match state.situation() {
        Situation::Delivering { .. } => {
            let (buyer, region) = (placed.buyer, placed.region.clone());
            let why = why.to_owned();
            Ok(Some(Undeliverable { why, buyer, sold: pricing::sold(placed), region }.into()))
        }
        Situation::Ending { .. } | Situation::Closed { .. } => Ok(None),
        _ => Err(state.not_now("recording a delivery")),
    }
}

fn expired(state: &State, placed: &Placed, now: Timestamp) -> Option<Event> {
    (state.situation().unpaid() && now >= placed.expires_at).then(|| Expired {}.into())
}

fn cancelled(state: &State, placed: &Placed, why: &str) -> Decision {
    match state.situation() {
        Situation::Ending { reason: Reason::Cancelled } | Situation::Closed { reason: Reason::Cancelled } => Ok(None),
        // Once it is paid its goods may be leaving the shelf at this moment: from then on they come back by a return.
        situation if situation.unpaid() => Ok(Some(Cancelled { why: Personal::words(placed.buyer, why) }.into())),
        _ => Err(state.not_now("cancelling")),
    }
}

fn closed(state: &State) -> Decision {
    match state.situation() {
        Situation::Ending { .. } => Ok(Some(Closed {}.into())),
        Situation::Closed { .. } => Ok(None),
        _ => Err(state.not_now("closing")),
    }
}

/// Sums units per SKU, in SKU order: two lines on one SKU are one reservation.
#[must_use]
pub fn units_per_sku(lines: &[Line]) -> BTreeMap<Sku, u32> {
    let mut units = BTreeMap::new();
    for line in lines {
        let sum: &mut u32 = units.entry(line.sku.clone()).or_default();
        *sum = sum.saturating_add(line.quantity);
    }
    units
}

#[cfg(test)]
mod tests;

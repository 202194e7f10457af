//! Order history: a row per order with everything that its page shows.
//!
//! The row says where the order stands in the words of the order itself, so a support desk, a buyer and the
//! order process speak of the same situations. Lines are the frozen facts of the order; the
//! timeline is the stream's own history in business time.

use std::sync::Arc;

use domain::{
    event::Event,
    ids::{DeliveryId, EventId, MemberId, OrderId, PaymentId, Region, ReturnId},
    money::Money,
    order::{self, Coupon, Line, Refusal, Sold},
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

const BY_BUYER: &str = "by_buyer";
const BY_STATE: &str = "by_state";
const BY_AGE: &str = "by_age";

/// The view of orders.
#[derive(Debug)]
pub struct Orders;

/// An order as its page shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Which order.
    pub order: OrderId,
    /// Who buys.
    pub buyer: MemberId,
    /// Where it goes, for reports.
    pub region: Region,
    /// Where it goes, for the label; sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ship_to: Option<Sealed>,
    /// What was bought.
    pub lines: Arc<[Line]>,
    /// The sum of quantity × unit price.
    pub subtotal: Money,
    /// What the coupon takes off.
    pub discount: Money,
    /// What the buyer pays.
    pub total: Money,
    /// The coupon it uses, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coupon: Option<Coupon>,
    /// Where it stands.
    pub state: State,
    /// Why it ended, or is ending, without a sale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
    /// Its newest payment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment: Option<PaymentId>,
    /// Why the newest payment came to nothing, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_failure: Option<String>,
    /// All the money that was captured for it.
    pub paid: Money,
    /// All the money that was given back.
    pub refunded: Money,
    /// Its delivery, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<DeliveryId>,
    /// What was sent back, in the order of asking.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub returns: Vec<Return>,
    /// When it was placed.
    pub placed_at: Timestamp,
    /// When it ends unless it is paid.
    pub expires_at: Timestamp,
    /// Everything that happened to it, in order.
    pub timeline: Vec<Moment>,
    /// The revision of its newest event: its etag.
    pub revision: u64,
}

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Placed; stock is being reserved.
    Placed,
    /// Stock is reserved; the coupon is being held.
    Reserved,
    /// Everything is held and the order waits for a payment.
    Unpaid,
    /// A payment is under way.
    Paying,
    /// Paid; stock is being claimed.
    Paid,
    /// The sale is made.
    Confirmed,
    /// A delivery is under way.
    Delivering,
    /// The goods are in the buyer's hands.
    Delivered,
    /// Paid after it had ended; stock is being reserved again.
    Reviving,
    /// It has failed; what it holds is being let go.
    Ending,
    /// It has ended without a sale and holds nothing.
    Closed,
}

impl State {
    /// The state in a word, as rows and indexes have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Placed => "placed",
            Self::Reserved => "reserved",
            Self::Unpaid => "unpaid",
            Self::Paying => "paying",
            Self::Paid => "paid",
            Self::Confirmed => "confirmed",
            Self::Delivering => "delivering",
            Self::Delivered => "delivered",
            Self::Reviving => "reviving",
            Self::Ending => "ending",
            Self::Closed => "closed",
        }
    }
}

/// Why an order ended without a sale.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// It could not be had.
    Refused(Refusal),
    /// Nobody paid in time.
    Expired,
    /// It was called off, in the caller's words, if they said any.
    Cancelled(Option<Sealed>),
    /// The carrier gave up, in its words.
    Undeliverable(String),
}

/// Goods of an order that are sent back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Return {
    /// Which return.
    pub return_id: ReturnId,
    /// What comes back.
    pub lines: Vec<Sold>,
    /// What the buyer gets back.
    pub refund: Money,
    /// Whether the goods are back and the money too.
    pub completed: bool,
}

/// Something that happened to an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// What: the event's type without its category, e.g. `delivery_requested`.
    pub what: String,
    /// When, in business time.
    pub at: Timestamp,
}

/// A buyer's orders, the newest first.
#[must_use]
pub fn of_buyer(buyer: MemberId) -> Query<Orders> {
    Query::index(BY_BUYER).under(&(buyer,)).backward()
}

/// Orders that stand so, the newest first.
#[must_use]
pub fn in_state(state: State) -> Query<Orders> {
    Query::index(BY_STATE).under(&(state.name(),)).backward()
}

/// All orders, the newest first.
#[must_use]
pub fn newest() -> Query<Orders> {
    Query::index(BY_AGE).backward()
}

impl View for Orders {
    const NAME: &'static str = "orders";
    const VERSION: u32 = 3;
    const READS: &'static [Category] = &[Category::Order];
    const INDEXES: &'static [&'static str] = &[BY_BUYER, BY_STATE, BY_AGE];
    type Key = OrderId;
    type Row = Order;
    type Change<'a> = &'a order::Event;

    fn touch<'a>(fact: &'a Fact, touched: &mut Touched<'a, Self>) -> Result<(), Fault> {
        if let Event::Order(event) = &fact.event {
            touched.own(fact.subject().parse()?, event, fact);
        }
        Ok(())
    }

    fn apply(key: &OrderId, row: Option<Order>, change: &order::Event, fact: &Fact) -> Result<Option<Order>, Fault> {
        let mut row = match (row, change) {
            (None, order::Event::Placed(placed)) => Order::placed(*key, placed, fact),
            (Some(row), _) => row,
            (None, _) => return Err(Fault::missing("order", key)),
        };
        row.advance(change, fact.id)?;
        let kind = fact.event.kind();
        let what = kind.split_once('.').map_or(kind, |(_, what)| what).to_owned();
        row.timeline.push(Moment { what, at: fact.occurred_at });
        row.revision = fact.revision;
        Ok(Some(row))
    }

    fn indexes(row: &Order) -> Vec<(&'static str, Key)> {
        vec![
            (BY_BUYER, key(&(row.buyer, row.placed_at))),
            (BY_STATE, key(&(row.state.name(), row.placed_at))),
            (BY_AGE, key(&(row.placed_at,))),
        ]
    }
}

impl Order {
    fn placed(order: OrderId, placed: &order::Placed, fact: &Fact) -> Self {
        let nothing = Money::zero(placed.total.currency);
        Self {
            order,
            buyer: placed.buyer,
            region: placed.region.clone(),
            ship_to: Sealed::first(fact.id, placed.ship_to.as_ref()),
            lines: Arc::clone(&placed.lines),
            subtotal: placed.subtotal,
            discount: placed.discount,
            total: placed.total,
            coupon: placed.coupon.clone(),
            state: State::Placed,
            ended: None,
            payment: None,
            payment_failure: None,
            paid: nothing,
            refunded: nothing,
            delivery: None,
            returns: Vec::new(),
            placed_at: fact.occurred_at,
            expires_at: placed.expires_at,
            timeline: Vec::new(),
            revision: fact.revision,
        }
    }

    /// Whether it is paid for: money was captured and is still the shop's, or there is nothing to pay and it was.
    fn paid_for(&self) -> bool {
        self.paid.amount > self.refunded.amount || self.total.amount == 0 && self.payment.is_some()
    }

    fn advance(&mut self, event: &order::Event, id: EventId) -> Result<(), Fault> {
        self.state = match event {
            order::Event::Placed(_) => State::Placed,
            order::Event::Reserved(_) if self.coupon.is_some() => State::Reserved,
            order::Event::Reserved(_) | order::Event::CouponHeld(_) if self.paid_for() => State::Paid,
            order::Event::Reserved(_) | order::Event::CouponHeld(_) => State::Unpaid,
            order::Event::PaymentRequested(requested) => {
                self.payment = Some(requested.payment);
                self.payment_failure = None;
                State::Paying
            }
            order::Event::PaymentFailed(failed) => {
                self.payment_failure = Some(failed.why.clone());
                State::Unpaid
            }
            order::Event::Paid(paid) => {
                self.payment = Some(paid.payment);
                self.paid = self.paid.plus(paid.amount)?;
                State::Paid
            }
            order::Event::Confirmed(_) => {
                self.ended = None;
                State::Confirmed
            }
            order::Event::DeliveryRequested(requested) => {
                self.delivery = Some(requested.delivery);
                State::Delivering
            }
            order::Event::Delivered(_) => State::Delivered,
            order::Event::ReturnOpened(_) | order::Event::Returned(_) => {
                return self.take_back(event);
            }
            order::Event::Refused(_)
            | order::Event::Undeliverable(_)
            | order::Event::Expired(_)
            | order::Event::Cancelled(_)
            | order::Event::PaidLate(_)
            | order::Event::Closed(_) => return self.end(event, id),
        };
        Ok(())
    }

    fn end(&mut self, event: &order::Event, id: EventId) -> Result<(), Fault> {
        self.state = State::Ending;
        match event {
            order::Event::Refused(refused) => {
                self.ended = Some(Ended::Refused(refused.why.clone()));
            }
            order::Event::Undeliverable(failed) => {
                self.ended = Some(Ended::Undeliverable(failed.why.clone()));
            }
            order::Event::Expired(_) => self.ended = Some(Ended::Expired),
            order::Event::Cancelled(cancelled) => {
                self.ended = Some(Ended::Cancelled(Sealed::first(id, cancelled.why.as_ref())));
            }
            order::Event::PaidLate(late) => {
                self.payment = Some(late.payment);
                self.payment_failure = None;
                self.paid = self.paid.plus(late.amount)?;
                if self.ended == Some(Ended::Expired) {
                    self.state = State::Reviving;
                }
            }
            _ => {
                // An order closes only when all that was captured for it has been given back.
                self.refunded = self.paid;
                self.state = State::Closed;
            }
        }
        Ok(())
    }

    fn take_back(&mut self, event: &order::Event) -> Result<(), Fault> {
        match event {
            order::Event::ReturnOpened(opened) => self.returns.push(Return {
                return_id: opened.return_id,
                lines: opened.lines.clone(),
                refund: opened.refund,
                completed: false,
            }),
            order::Event::Returned(returned) => {
                let found = self.returns.iter_mut().find(|known| known.return_id == returned.return_id);
                found.ok_or_else(|| Fault::missing("return", &returned.return_id))?.completed = true;
                self.refunded = self.refunded.plus(returned.refund)?;
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

//! An order, from the buyer's wish to goods in hand, or to everything undone.
//!
//! The order's stream is also the memory of the order process ([`crate::process::order`]): each step that the
//! process completes is recorded here, so the state alone says what is due next, and a crash between
//! any two steps is finished from the log. Lines carry frozen facts (name, seller, price): no later change of
//! the catalogue reaches an order, and no view needs another row to show one.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    coupon,
    decider::Decider,
    events,
    ids::{
        CampaignId, CategoryId, ClaimId, DeliveryId, MemberId, OrderId, PaymentId, ProductId,
        Region, ReturnId, SellerId, Sku,
    },
    money::Money,
    personal::Personal,
    stock,
};

mod pricing;
mod returning;
mod situation;

pub use pricing::Wanted;
pub use returning::ReturnWish;
pub use situation::{Reason, Situation, State, Undo};

/// The most lines of one order.
pub const LINES_MAX: usize = 2_000;

events! {
    /// What happened to an order.
    Event {
        /// The buyer committed to it.
        Placed = "order.placed" 1 personal [ship_to],
        /// Stock is set aside for every line.
        Reserved = "order.reserved" 1,
        /// The buyer's coupon is held for it.
        CouponHeld = "order.coupon_held" 1,
        /// It cannot be had: what was held so far is let go.
        Refused = "order.refused" 1,
        /// A payment was begun.
        PaymentRequested = "order.payment_requested" 1,
        /// A payment came to nothing; the buyer may try another method until the order expires.
        PaymentFailed = "order.payment_failed" 1,
        /// The money is there.
        Paid = "order.paid" 1,
        /// The money is there and the goods have left the shelf: the sale is made.
        Confirmed = "order.confirmed" 1,
        /// A delivery was begun.
        DeliveryRequested = "order.delivery_requested" 1,
        /// The goods are in the buyer's hands.
        Delivered = "order.delivered" 1,
        /// The carrier gave up: the sale is undone.
        Undeliverable = "order.undeliverable" 1,
        /// Nobody paid in time.
        Expired = "order.expired" 1,
        /// The buyer or the shop called it off.
        Cancelled = "order.cancelled" 1,
        /// Money came after the order had ended; it is revived if stock allows, else refunded.
        PaidLate = "order.paid_late" 1,
        /// Everything that was held is let go: the order has ended without a sale.
        Closed = "order.closed" 1,
        /// The buyer wants to send goods back.
        ReturnOpened = "order.return_opened" 1,
        /// Goods came back and their money was refunded.
        Returned = "order.returned" 1,
    }
}

/// See [`Event::Placed`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// Who buys.
    pub buyer: MemberId,
    /// What, with frozen facts; 1 to [`LINES_MAX`].
    pub lines: Arc<[Line]>,
    /// The sum of quantity × unit price.
    pub subtotal: Money,
    /// What the coupon takes off.
    pub discount: Money,
    /// What the buyer pays: `subtotal - discount`.
    pub total: Money,
    /// The coupon to use, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coupon: Option<Coupon>,
    /// Where it goes, for reports.
    pub region: Region,
    /// Where it goes, for the carrier's label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ship_to: Option<Personal<String>>,
    /// The provider's token to pay with at once; without one the order waits for a payment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_method: Option<String>,
    /// When the order ends unless it is paid.
    pub expires_at: Timestamp,
    /// When it was bought, if an importer says so; what follows from the order happened then, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backdated: Option<Timestamp>,
}

/// One line of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The product.
    pub product: ProductId,
    /// The variant.
    pub sku: Sku,
    /// The product's name at the time.
    pub name: Arc<str>,
    /// The product's own category at the time, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<CategoryId>,
    /// Who sells it.
    pub seller: SellerId,
    /// The price of one unit.
    pub unit_price: Money,
    /// Units, at least 1.
    pub quantity: u32,
    /// What the buyer pays for the line: quantity × unit price less its share of the discount.
    pub amount: Money,
}

/// The coupon an order uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coupon {
    /// The campaign.
    pub campaign: CampaignId,
    /// The member's claim on it.
    pub claim: ClaimId,
}

/// See [`Event::Reserved`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reserved {
    /// Where each SKU's units come from.
    pub allocations: Arc<[SkuAllocation]>,
}

/// Where the units of one SKU come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkuAllocation {
    /// The SKU.
    pub sku: Sku,
    /// From which warehouses.
    pub from: Vec<stock::Allocation>,
}

/// See [`Event::CouponHeld`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CouponHeld {}

/// See [`Event::Refused`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Why.
    pub why: Refusal,
    /// What had already left the shelf for it, to be put back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claimed: Vec<SkuAllocation>,
}

/// Why an order cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Refusal {
    /// A SKU is short.
    OutOfStock {
        /// Which.
        sku: Sku,
        /// What the order wants of it.
        requested: u32,
        /// What was free.
        available: u32,
    },
    /// A SKU is not kept in stock.
    NotKept {
        /// Which.
        sku: Sku,
    },
    /// The coupon cannot be used.
    Coupon {
        /// Why, in the coupon's words.
        detail: String,
    },
}

/// See [`Event::PaymentRequested`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentRequested {
    /// The attempt.
    pub payment: PaymentId,
    /// The provider's token it pays with.
    pub method: String,
}

/// See [`Event::PaymentFailed`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentFailed {
    /// The attempt.
    pub payment: PaymentId,
    /// The provider's reason.
    pub why: String,
}

/// See [`Event::Paid`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paid {
    /// The payment that was captured.
    pub payment: PaymentId,
    /// What was captured.
    pub amount: Money,
}

/// See [`Event::Confirmed`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmed {
    /// Who bought.
    pub buyer: MemberId,
    /// What was sold.
    pub sold: Vec<Sold>,
    /// Where it goes.
    pub region: Region,
}

/// Units of a line that were sold, or came back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sold {
    /// The line's place in the order, from 0.
    pub line: u32,
    /// The product.
    pub product: ProductId,
    /// The variant.
    pub sku: Sku,
    /// Units.
    pub quantity: u32,
    /// What the buyer paid for them, or got back.
    pub amount: Money,
}

/// See [`Event::DeliveryRequested`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryRequested {
    /// The delivery.
    pub delivery: DeliveryId,
}

/// See [`Event::Delivered`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivered {}

/// See [`Event::Undeliverable`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undeliverable {
    /// The carrier's reason.
    pub why: String,
    /// Who had bought.
    pub buyer: MemberId,
    /// What is no longer sold.
    pub sold: Vec<Sold>,
    /// Where it was to go.
    pub region: Region,
}

/// See [`Event::Expired`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expired {}

/// See [`Event::Cancelled`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancelled {
    /// Why, in the caller's words.
    pub why: String,
}

/// See [`Event::PaidLate`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaidLate {
    /// The payment that was captured.
    pub payment: PaymentId,
    /// What was captured.
    pub amount: Money,
}

/// See [`Event::Closed`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {}

/// See [`Event::ReturnOpened`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReturnOpened {
    /// The return.
    pub return_id: ReturnId,
    /// What comes back.
    pub lines: Vec<Sold>,
    /// The money to give back: the sum of the lines.
    pub refund: Money,
    /// Why, in the buyer's words.
    pub why: String,
    /// When it was sent back, if an importer says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backdated: Option<Timestamp>,
}

/// See [`Event::Returned`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Returned {
    /// The return.
    pub return_id: ReturnId,
    /// Who had bought.
    pub buyer: MemberId,
    /// What came back.
    pub lines: Vec<Sold>,
    /// The money given back.
    pub refund: Money,
    /// Where it had gone.
    pub region: Region,
}

/// What can be asked of an order.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Place it. What the lines cost is decided here, from the frozen facts supplied.
    Place(Place),
    /// Record that every line is reserved.
    RecordReserved {
        /// Where each SKU's units come from.
        allocations: Arc<[SkuAllocation]>,
    },
    /// Record that the coupon is held.
    RecordCouponHeld,
    /// Record that it cannot be had.
    Refuse {
        /// Why.
        why: Refusal,
        /// What has already left the shelf for it.
        claimed: Vec<SkuAllocation>,
    },
    /// Begin a payment.
    RequestPayment {
        /// The new attempt.
        payment: PaymentId,
        /// The provider's token to pay with.
        method: String,
        /// The time now.
        now: Timestamp,
    },
    /// Record that a payment came to nothing.
    RecordPaymentFailed {
        /// The attempt.
        payment: PaymentId,
        /// The provider's reason.
        why: String,
    },
    /// Record that money was captured, in time or late.
    RecordPaid {
        /// The payment.
        payment: PaymentId,
        /// What was captured.
        amount: Money,
    },
    /// Record that all stock is claimed and the coupon redeemed.
    Confirm,
    /// Record that a delivery was begun.
    RecordDeliveryRequested {
        /// The delivery.
        delivery: DeliveryId,
    },
    /// Record that the carrier delivered.
    RecordDelivered,
    /// Record that the carrier gave up.
    RecordUndeliverable {
        /// The carrier's reason.
        why: String,
    },
    /// End it if it is unpaid and its time is over.
    Expire {
        /// The time now.
        now: Timestamp,
    },
    /// Call it off, while it is not yet confirmed.
    Cancel {
        /// Why, in the caller's words.
        why: String,
    },
    /// Record that everything held is let go.
    Close,
    /// Send goods back.
    OpenReturn {
        /// The new return.
        return_id: ReturnId,
        /// Which goods.
        wishes: Vec<ReturnWish>,
        /// Why, in the buyer's words.
        why: String,
        /// When it was sent back, if an importer says so.
        backdated: Option<Timestamp>,
    },
    /// Record that a return is complete.
    RecordReturned {
        /// The return.
        return_id: ReturnId,
    },
}

/// See [`Command::Place`].
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// Who buys.
    pub buyer: MemberId,
    /// What, with the facts of now.
    pub lines: Vec<Wanted>,
    /// The coupon to use and its terms.
    pub coupon: Option<(Coupon, coupon::Terms)>,
    /// What the buyer was told it costs; another price is refused.
    pub expected_total: Option<Money>,
    /// Where it goes, for reports.
    pub region: Region,
    /// Where it goes, for the label.
    pub ship_to: Option<Personal<String>>,
    /// The provider's token to pay with at once.
    pub payment_method: Option<String>,
    /// When the order ends unless it is paid.
    pub expires_at: Timestamp,
    /// When it was bought, if an importer says so.
    pub backdated: Option<Timestamp>,
}

/// Why a wish about an order was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// There is no such order.
    #[error("there is no such order")]
    Unknown,
    /// An order with this id exists, with another content.
    #[error("the order is already placed")]
    AlreadyPlaced,
    /// An order without lines.
    #[error("an order needs at least one line")]
    NoLines,
    /// Too many lines.
    #[error("an order may have {LINES_MAX} lines, not {found}")]
    TooManyLines {
        /// How many were given.
        found: usize,
    },
    /// A quantity of zero or too many.
    #[error(
        "line {line}: a quantity must be between 1 and {}, not {found}",
        stock::UNITS_MAX
    )]
    Quantity {
        /// The line, from 0.
        line: usize,
        /// What was asked.
        found: u64,
    },
    /// A negative price.
    #[error("line {line}: a price must not be negative")]
    Price {
        /// The line, from 0.
        line: usize,
    },
    /// Two currencies in one order, or a sum beyond all bounds.
    #[error("{0}")]
    Money(#[from] crate::money::MoneyError),
    /// The total is not what the buyer was told.
    #[error("the order costs {actual}, not {expected}")]
    PriceChanged {
        /// What the buyer was told.
        expected: Money,
        /// What it costs.
        actual: Money,
    },
    /// The coupon does not apply.
    #[error("the coupon does not apply: {detail}")]
    Coupon {
        /// Why.
        detail: String,
    },
    /// The order's time is over.
    #[error("the order has expired")]
    Expired,
    /// Not in the order's situation.
    #[error("the order is {situation}: {wish} is not possible")]
    NotNow {
        /// What was asked.
        wish: &'static str,
        /// Where the order stands.
        situation: &'static str,
    },
    /// A payment is already under way or done.
    #[error("payment {payment} is already under way")]
    AlreadyPaying {
        /// Which.
        payment: PaymentId,
    },
    /// Another payment has paid it; this one is to be refunded.
    #[error("the order is paid by another payment")]
    PaidAlready,
    /// More is sent back than was bought.
    #[error("{remaining} units of {sku} can be returned, not {requested}")]
    NothingToReturn {
        /// The SKU.
        sku: Sku,
        /// What was asked.
        requested: u32,
        /// What is left of it.
        remaining: u32,
    },
}

/// The order aggregate.
#[derive(Debug)]
pub struct Order;

impl Decider for Order {
    const CATEGORY: &'static str = "order";
    const FOLD: u32 = 1;
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
        match command {
            Command::Place(place) => {
                if pricing::price(place)? == *placed {
                    Ok(vec![])
                } else {
                    Err(Rejection::AlreadyPlaced)
                }
            }
            Command::RequestPayment { .. }
            | Command::RecordPaymentFailed { .. }
            | Command::RecordPaid { .. }
            | Command::Confirm => paying(state, placed, command),
            Command::OpenReturn {
                return_id,
                wishes,
                why,
                backdated,
            } => {
                let lines = returning::open(state, placed, *return_id, wishes)?;
                Ok(lines
                    .map(|opened| {
                        ReturnOpened {
                            why: why.clone(),
                            backdated: *backdated,
                            ..opened
                        }
                        .into()
                    })
                    .into_iter()
                    .collect())
            }
            Command::RecordReturned { return_id } => {
                Ok(returning::finish(state, placed, *return_id))
            }
            _ => moving(state, placed, command),
        }
    }

    fn creates(command: &Command) -> bool {
        matches!(command, Command::Place(_))
    }

    fn evolve(state: State, event: &Event) -> State {
        state.after(event)
    }
}

/// Decides what is about money.
fn paying(state: &State, placed: &Placed, command: &Command) -> Result<Vec<Event>, Rejection> {
    let situation = state.situation();
    let event = match (command, situation) {
        (Command::RequestPayment { payment, .. }, Situation::Paying { payment: current }) => {
            return if payment == current {
                Ok(vec![])
            } else {
                Err(Rejection::AlreadyPaying { payment: *current })
            };
        }
        (
            Command::RequestPayment {
                payment,
                method,
                now,
            },
            Situation::Unpaid,
        ) => {
            if *now >= placed.expires_at {
                return Err(Rejection::Expired);
            }
            PaymentRequested {
                payment: *payment,
                method: method.clone(),
            }
            .into()
        }
        (Command::RecordPaymentFailed { payment, why }, Situation::Paying { payment: current })
            if payment == current =>
        {
            PaymentFailed {
                payment: *payment,
                why: why.clone(),
            }
            .into()
        }
        (Command::RecordPaymentFailed { .. }, _) => return Ok(vec![]),
        (Command::RecordPaid { payment, .. }, _)
            if state.captured().is_some_and(|(known, _)| known == *payment) =>
        {
            return Ok(vec![]);
        }
        (Command::RecordPaid { .. }, situation)
            if !matches!(situation, Situation::Closed { .. }) && state.captured().is_some() =>
        {
            return Err(Rejection::PaidAlready);
        }
        (Command::RecordPaid { payment, amount }, Situation::Paying { .. } | Situation::Unpaid) => {
            Paid {
                payment: *payment,
                amount: *amount,
            }
            .into()
        }
        (
            Command::RecordPaid { payment, amount },
            Situation::Ending { .. } | Situation::Closed { .. },
        ) => PaidLate {
            payment: *payment,
            amount: *amount,
        }
        .into(),
        (Command::Confirm, Situation::Paid) => Confirmed {
            buyer: placed.buyer,
            sold: pricing::sold(placed),
            region: placed.region.clone(),
        }
        .into(),
        (
            Command::Confirm,
            Situation::Confirmed | Situation::Delivering { .. } | Situation::Delivered,
        ) => {
            return Ok(vec![]);
        }
        _ => return Err(state.not_now(command)),
    };
    Ok(vec![event])
}

/// Decides what is about goods, time and the end.
fn moving(state: &State, placed: &Placed, command: &Command) -> Result<Vec<Event>, Rejection> {
    let event = match (command, state.situation()) {
        (Command::RecordReserved { allocations }, Situation::Placed | Situation::Reviving) => {
            Reserved {
                allocations: Arc::clone(allocations),
            }
            .into()
        }
        (Command::RecordReserved { allocations }, _)
            if state.allocations() == Some(&**allocations) =>
        {
            return Ok(vec![]);
        }
        (Command::RecordCouponHeld, Situation::Reserved) => CouponHeld {}.into(),
        (Command::RecordCouponHeld, _) if state.coupon_held() => return Ok(vec![]),
        (
            Command::Refuse { why, claimed },
            Situation::Placed | Situation::Reserved | Situation::Reviving | Situation::Paid,
        ) => Refused {
            why: why.clone(),
            claimed: claimed.clone(),
        }
        .into(),
        (Command::Refuse { .. }, Situation::Ending { .. } | Situation::Closed { .. }) => {
            return Ok(vec![]);
        }
        (Command::RecordDeliveryRequested { delivery }, Situation::Confirmed) => {
            DeliveryRequested {
                delivery: *delivery,
            }
            .into()
        }
        (Command::RecordDelivered, Situation::Delivering { .. }) => Delivered {}.into(),
        (Command::RecordUndeliverable { why }, Situation::Delivering { .. }) => Undeliverable {
            why: why.clone(),
            buyer: placed.buyer,
            sold: pricing::sold(placed),
            region: placed.region.clone(),
        }
        .into(),
        (
            Command::RecordDeliveryRequested { .. },
            Situation::Delivering { .. } | Situation::Delivered,
        )
        | (Command::RecordDelivered, Situation::Delivered)
        | (
            Command::RecordUndeliverable { .. },
            Situation::Ending { .. } | Situation::Closed { .. },
        ) => return Ok(vec![]),
        (Command::Expire { now }, situation) => {
            return Ok(if situation.unpaid() && *now >= placed.expires_at {
                vec![Expired {}.into()]
            } else {
                vec![]
            });
        }
        (
            Command::Cancel { .. },
            Situation::Ending {
                reason: Reason::Cancelled,
            }
            | Situation::Closed {
                reason: Reason::Cancelled,
            },
        ) => {
            return Ok(vec![]);
        }
        (Command::Cancel { why }, situation)
            if situation.unpaid() || matches!(situation, Situation::Paid) =>
        {
            Cancelled { why: why.clone() }.into()
        }
        (Command::Close, Situation::Ending { .. }) => Closed {}.into(),
        (Command::Close, Situation::Closed { .. }) => return Ok(vec![]),
        _ => return Err(state.not_now(command)),
    };
    Ok(vec![event])
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

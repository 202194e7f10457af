//! What can be asked of an order, and why it may be refused.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Coupon, LINES_MAX, Refusal, ReturnWish, SkuAllocation, Wanted};
use crate::{
    coupon,
    ids::{DeliveryId, MemberId, PaymentId, Region, ReturnId, Sku},
    money::Money,
    personal::Personal,
    stock,
};

/// What can be asked of an order.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Place it. What the lines cost is decided here, from the frozen facts supplied.
    Place(Box<Place>),
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
    /// Call it off, while it is not yet paid.
    Cancel {
        /// Why, in the caller's words; may be empty. Sealed as the buyer's.
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
        /// Why, in the buyer's words; may be empty. Sealed as theirs.
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
    #[error("line {line}: a quantity must be between 1 and {}, not {found}", stock::UNITS_MAX)]
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
    /// Another amount than the order costs was captured: it pays nothing, and is given back.
    #[error("the order costs {owed}, not {captured}")]
    WrongAmount {
        /// What the order costs.
        owed: Money,
        /// What was captured.
        captured: Money,
    },
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

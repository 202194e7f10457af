//! What happened to an order: the stored contract.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    events,
    ids::{
        CampaignId, CategoryId, ClaimId, DeliveryId, MemberId, PaymentId, ProductId, Region, ReturnId, SellerId, Sku,
    },
    money::Money,
    personal::Personal,
    stock,
};

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
        Cancelled = "order.cancelled" 1 personal [why],
        /// Money came after the order had ended; it is revived if stock allows, else refunded.
        PaidLate = "order.paid_late" 1,
        /// Everything that was held is let go: the order has ended without a sale.
        Closed = "order.closed" 1,
        /// The buyer wants to send goods back.
        ReturnOpened = "order.return_opened" 1 personal [why],
        /// Goods came back and their money was refunded.
        Returned = "order.returned" 1,
    }
}

/// See [`Event::Placed`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// Who buys.
    pub buyer: MemberId,
    /// What, with frozen facts; 1 to [`super::LINES_MAX`].
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
    /// Why, in the caller's words, if they said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<Personal<String>>,
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
    /// Why, in the buyer's words, if they said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<Personal<String>>,
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

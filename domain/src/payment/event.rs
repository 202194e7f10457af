//! What happened to a payment: the stored contract.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    events,
    ids::{MemberId, OrderId, RefundId},
    money::Money,
    personal::Personal,
};

events! {
    /// What happens to a payment.
    Event {
        /// The shop wants money; the provider is asked next.
        Requested = "payment.requested" 1,
        /// The money is set aside.
        Authorized = "payment.authorized" 1,
        /// The money is taken.
        Captured = "payment.captured" 1,
        /// The provider refused.
        Declined = "payment.declined" 1,
        /// The order no longer wants it.
        Cancelled = "payment.cancelled" 1,
        /// What was set aside was let go.
        Voided = "payment.voided" 1,
        /// The shop wants to give money back; the provider is asked next.
        RefundRequested = "payment.refund_requested" 1 personal [why],
        /// The money was given back.
        Refunded = "payment.refunded" 1,
        /// The provider refused to give it back.
        RefundFailed = "payment.refund_failed" 1,
    }
}

/// The shop wants `amount` for `order`; the provider is asked next, under `key`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Requested {
    /// The order to be paid.
    pub order: OrderId,
    /// Who pays.
    pub buyer: MemberId,
    /// How much; positive.
    pub amount: Money,
    /// The provider's token for the buyer's method; never a card number.
    pub method: String,
    /// The idempotency key of the authorization; the capture's key derives from it ([`super::Details::capture_key`]).
    pub key: Uuid,
}

/// The money is set aside on the buyer's method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Authorized {
    /// The provider's reference for the authorization.
    pub reference: String,
}

/// The money is taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Captured {
    /// How much was taken, by the provider's word.
    pub amount: Money,
    /// The provider's reference for the capture; refunds name it.
    pub reference: String,
    /// When, by the provider's clock.
    pub at: Timestamp,
}

/// The provider refused for good.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Declined {
    /// The provider's reason code.
    pub reason: String,
}

/// The order no longer wants the money; whether any was set aside may be unknown until it is voided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cancelled {}

/// Whatever was set aside was let go; no money moved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Voided {}

/// The shop wants to give money back; the provider is asked next, under `key`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RefundRequested {
    /// Which refund.
    pub refund: RefundId,
    /// How much; positive.
    pub amount: Money,
    /// The idempotency key of this attempt at it.
    pub key: Uuid,
    /// Why, in the words of the one who asked for it, if they said any: about the buyer, so sealed as theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<Personal<String>>,
}

/// The money was given back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refunded {
    /// Which refund.
    pub refund: RefundId,
    /// How much.
    pub amount: Money,
}

/// The provider refused to give the money back; it no longer counts as refunded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RefundFailed {
    /// Which refund.
    pub refund: RefundId,
    /// The provider's reason code.
    pub reason: String,
}

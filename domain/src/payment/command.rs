//! What can be asked of a payment or reported about it, and why it may be refused.

use jiff::Timestamp;
use uuid::Uuid;

use super::{METHOD_MAX, REFUNDS_MAX};
use crate::{
    ids::{MemberId, OrderId, RefundId},
    money::{Currency, Money},
};

/// What can be asked of a payment, and what a provider reports about it.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Let the buyer pay this.
    Request {
        /// The order to be paid.
        order: OrderId,
        /// Who pays.
        buyer: MemberId,
        /// How much.
        amount: Money,
        /// The provider's token for the buyer's method.
        method: String,
        /// The idempotency key of the authorization.
        key: Uuid,
    },
    /// The provider set the money aside.
    RecordAuthorized {
        /// The provider's reference for it.
        reference: String,
    },
    /// The provider took the money.
    RecordCaptured {
        /// How much, by the provider's word.
        amount: Money,
        /// The provider's reference for it.
        reference: String,
        /// When, by the provider's clock.
        at: Timestamp,
    },
    /// The provider refused to authorize or to capture.
    RecordDeclined {
        /// The provider's reason code.
        reason: String,
    },
    /// Let nothing be taken.
    Cancel,
    /// Let nothing be taken, though nobody has asked for it yet: whoever is still about to ask finds it called off.
    Forestall {
        /// The order that is not to be paid.
        order: OrderId,
        /// Who would have paid.
        buyer: MemberId,
        /// How much.
        amount: Money,
        /// The provider's token for the buyer's method.
        method: String,
        /// The idempotency key of the authorization.
        key: Uuid,
    },
    /// The provider let go of what was set aside.
    RecordVoided,
    /// Let this much be given back. A refund that failed may be asked for again under another key.
    Refund {
        /// Which refund.
        refund: RefundId,
        /// How much.
        amount: Money,
        /// The idempotency key of this attempt.
        key: Uuid,
        /// Why, in the caller's words; may be empty. Sealed as the buyer's.
        why: String,
    },
    /// The provider gave the money back.
    RecordRefunded {
        /// Which refund.
        refund: RefundId,
        /// The key of the attempt that the provider speaks of.
        key: Uuid,
    },
    /// The provider refused to give the money back.
    RecordRefundFailed {
        /// Which refund.
        refund: RefundId,
        /// The key of the attempt that the provider speaks of.
        key: Uuid,
        /// The provider's reason code.
        reason: String,
    },
}

/// Why a wish about a payment was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// No such payment was requested.
    #[error("the payment was never requested")]
    NotRequested,
    /// The payment was requested with other contents.
    #[error("the payment is for order {order} over {amount} already")]
    AlreadyRequested {
        /// The order it is for.
        order: OrderId,
        /// How much it is over.
        amount: Money,
    },
    /// An amount of nothing or less.
    #[error("an amount must be positive, not {found}")]
    InvalidAmount {
        /// What was given.
        found: Money,
    },
    /// Another currency than the payment's.
    #[error("the payment is in {expected}, not in {found}")]
    CurrencyMismatch {
        /// The payment's currency.
        expected: Currency,
        /// What was given.
        found: Currency,
    },
    /// No method, or one that is too long to be a token.
    #[error("a payment method is a token of 1 to {METHOD_MAX} characters, not {found}")]
    InvalidMethod {
        /// Its length in characters.
        found: usize,
    },
    /// A card number instead of a token. It is not repeated here: it must not reach a log.
    #[error("a payment method is the provider's token, never a card number")]
    CardNumber,
    /// The money is taken: refund it instead.
    #[error("{captured} is captured already; it can only be refunded")]
    AlreadyCaptured {
        /// How much was taken.
        captured: Money,
    },
    /// No money was taken that could be given back.
    #[error("nothing is captured that could be refunded")]
    NotCaptured,
    /// The refund was requested over another amount.
    #[error("refund {refund} is over {amount} already")]
    RefundChanged {
        /// Which refund.
        refund: RefundId,
        /// How much it is over.
        amount: Money,
    },
    /// More refunds than [`REFUNDS_MAX`].
    #[error("a payment has at most {REFUNDS_MAX} refunds")]
    TooManyRefunds,
    /// Refunds would pass what was captured.
    #[error("{requested} cannot be refunded: of {captured} captured, {refunded_or_pending} is refunded or pending")]
    RefundExceedsCapture {
        /// How much was taken.
        captured: Money,
        /// How much is given back or being given back.
        refunded_or_pending: Money,
        /// How much more was asked for.
        requested: Money,
    },
}

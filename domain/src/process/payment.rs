//! The payment process: what to ask the provider for next.
//!
//! | situation | step |
//! |---|---|
//! | requested | authorize |
//! | authorized | capture |
//! | cancelled, outcome unknown | void |
//! | captured, with a pending refund | refund |
//!
//! Each step names the idempotency key that is already stored, so asking twice is asking once.

use uuid::Uuid;

use super::Next;
use crate::{
    ids::RefundId,
    money::Money,
    payment::{Details, Situation, State},
};

/// One call to the payment provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Set the money aside.
    Authorize {
        /// The idempotency key.
        key: Uuid,
        /// How much.
        amount: Money,
        /// The provider's token.
        method: String,
    },
    /// Take what was set aside.
    Capture {
        /// The idempotency key.
        key: Uuid,
        /// How much.
        amount: Money,
        /// The provider's reference of the authorization.
        authorization: String,
    },
    /// Let go of what was set aside.
    Void {
        /// The authorization's idempotency key.
        key: Uuid,
        /// How much.
        amount: Money,
    },
    /// Give money back.
    Refund {
        /// Which refund.
        refund: RefundId,
        /// The idempotency key of this attempt.
        key: Uuid,
        /// How much.
        amount: Money,
        /// The provider's reference of the capture.
        capture: String,
    },
}

/// Names what is due next for a payment.
#[must_use]
pub fn next(state: &State) -> Next<Step> {
    let Some(payment) = state.details() else {
        return Next::Done;
    };
    let (key, amount) = (payment.key, payment.amount);
    match &payment.situation {
        Situation::Requested => Next::Do(Step::Authorize {
            key,
            amount,
            method: payment.method.clone(),
        }),
        Situation::Authorized { reference } => Next::Do(Step::Capture {
            key: payment.capture_key(),
            amount,
            authorization: reference.clone(),
        }),
        Situation::Cancelled => Next::Do(Step::Void { key, amount }),
        Situation::Captured { reference, .. } => refund(payment, reference),
        Situation::Declined { .. } | Situation::Voided => Next::Done,
    }
}

fn refund(payment: &Details, capture: &str) -> Next<Step> {
    payment
        .pending_refunds()
        .next()
        .map_or(Next::Done, |(refund, pending)| {
            Next::Do(Step::Refund {
                refund,
                key: pending.key,
                amount: pending.amount,
                capture: capture.to_owned(),
            })
        })
}

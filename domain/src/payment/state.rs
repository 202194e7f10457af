//! What is remembered of a payment: where it stands and what was given back.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::REFUND_ATTEMPTS_MAX;
use crate::{
    ids::{MemberId, OrderId, RefundId, derive},
    money::Money,
};

/// What a decision about a payment needs to know.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub enum State {
    /// Nobody requested it.
    #[default]
    Unrequested,
    /// It was requested.
    Requested(Box<Details>),
}

/// A payment that was requested, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Details {
    /// The order to be paid.
    pub order: OrderId,
    /// Who pays.
    pub buyer: MemberId,
    /// How much was asked for.
    pub amount: Money,
    /// The provider's token for the buyer's method.
    pub method: String,
    /// The idempotency key of the authorization; a void names it too.
    pub key: Uuid,
    /// Where it stands.
    pub situation: Situation,
    /// Every refund that was ever asked for.
    pub refunds: BTreeMap<RefundId, Refund>,
}

/// Where a payment stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Situation {
    /// The provider is asked to set the money aside, or will be.
    Requested,
    /// The money is set aside.
    Authorized {
        /// The provider's reference for it; the capture names it.
        reference: String,
    },
    /// The money is taken.
    Captured {
        /// How much.
        amount: Money,
        /// The provider's reference for it; refunds name it.
        reference: String,
        /// When, by the provider's clock.
        at: Timestamp,
    },
    /// The provider refused.
    Declined {
        /// The provider's reason code.
        reason: String,
    },
    /// The order no longer wants the money; what the provider did may be unknown until it is voided.
    Cancelled {
        /// The provider's reference of what was set aside, if it was: a capture may have been under way.
        authorization: Option<String>,
    },
    /// Nothing is set aside and nothing was taken.
    Voided,
}

/// One refund, by its newest attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refund {
    /// How much.
    pub amount: Money,
    /// The idempotency key of the newest attempt.
    pub key: Uuid,
    /// What became of it.
    pub outcome: Outcome,
    /// How often the provider was asked.
    pub attempts: u32,
}

impl Refund {
    /// True when the money was given back or is still to be.
    const fn is_owed(&self) -> bool {
        !matches!(self.outcome, Outcome::Failed) || self.attempts < REFUND_ATTEMPTS_MAX
    }
}

/// What became of a refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The provider is asked, or will be.
    Pending,
    /// The money was given back.
    Refunded,
    /// The provider refused.
    Failed,
}

impl State {
    /// The payment, once it was requested.
    #[must_use]
    pub const fn details(&self) -> Option<&Details> {
        match self {
            Self::Unrequested => None,
            Self::Requested(details) => Some(details),
        }
    }
}

impl Details {
    /// The idempotency key of the capture. It derives from the authorization's key, which is stored before
    /// any call, so it needs no event of its own to be the same after a crash.
    #[must_use]
    pub fn capture_key(&self) -> Uuid {
        derive(self.key, "capture", &[])
    }

    /// The refund of a capture of another amount than was asked for. Like [`Self::capture_key`] it needs no event of
    /// its own to be the same after a crash.
    #[must_use]
    pub fn wrong_amount_refund(&self) -> RefundId {
        RefundId::derived(self.key, &[super::WRONG_AMOUNT.as_bytes()])
    }

    /// How much was taken and the provider's reference for it, once it was.
    #[must_use]
    pub fn captured(&self) -> Option<(Money, &str)> {
        match &self.situation {
            Situation::Captured { amount, reference, .. } => Some((*amount, reference)),
            _ => None,
        }
    }

    /// The refunds that the provider has not answered yet.
    pub fn pending_refunds(&self) -> impl Iterator<Item = (RefundId, Refund)> + '_ {
        self.refunds.iter().filter(|(_, refund)| refund.outcome == Outcome::Pending).map(|(id, refund)| (*id, *refund))
    }

    /// A refund that the provider refused, though not for good yet: fewer than `attempts` times.
    #[must_use]
    pub fn failed_refund(&self, attempts: u32) -> Option<(RefundId, Refund)> {
        let failed = |refund: &Refund| refund.outcome == Outcome::Failed && refund.attempts < attempts;
        self.refunds.iter().find(|(_, refund)| failed(refund)).map(|(id, refund)| (*id, *refund))
    }

    /// How much was given back.
    #[must_use]
    pub fn refunded(&self) -> Money {
        self.sum_of(|_, refund| refund.outcome == Outcome::Refunded)
    }

    /// How much was given back, is being given back, or was refused and will be asked for again: what no further
    /// refund may take.
    #[must_use]
    pub fn refunded_or_pending(&self) -> Money {
        self.sum_of(|_, refund| refund.is_owed())
    }

    /// The same of every refund but this one.
    #[must_use]
    pub(super) fn owed_beside(&self, but: RefundId) -> Money {
        self.sum_of(|id, refund| id != but && refund.is_owed())
    }

    /// The sum saturates: decisions keep it below the captured amount, and a fold never fails.
    fn sum_of(&self, counts: impl Fn(RefundId, &Refund) -> bool) -> Money {
        let counted = self.refunds.iter().filter(|(id, refund)| counts(**id, refund));
        let amounts = counted.map(|(_, refund)| refund.amount.amount);
        Money::new(amounts.fold(0, i64::saturating_add), self.amount.currency)
    }
}

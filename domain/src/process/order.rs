//! The order process: the heart of the shop, as one table from situation to step.
//!
//! | situation | step | recorded as | undone by |
//! |---|---|---|---|
//! | placed | reserve every line, or none | reserved / refused | release |
//! | reserved, with a coupon | hold the coupon | coupon held / refused | restore |
//! | unpaid, with a method | request a payment | payment requested | cancel, refund |
//! | paying | see what became of it | paid / payment failed | refund |
//! | paid | claim stock, redeem the coupon | confirmed / refused | restock, restore |
//! | confirmed | request a delivery | delivery requested | |
//! | delivering | see what became of it | delivered / undeliverable | |
//! | delivered | carry open returns on | returned | |
//! | ending | undo whatever is held | closed | |
//! | paid late | reserve anew | reserved / refused | release |
//!
//! A payment method that fails leaves the order unpaid, and the buyer may try another until it expires.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};

use super::Next;
use crate::{
    delivery,
    ids::{CampaignId, ClaimId, DeliveryId, MemberId, PaymentId, Region, Sku},
    money::Money,
    order::{Command, ReturnOpened, Situation, State, Undo, units_per_sku},
    payment,
    personal::Personal,
};

/// How long an order that was paid late holds its stock while it goes on.
pub const REVIVAL_HOLD: SignedDuration = SignedDuration::from_mins(30);

/// One step of the order process.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Reserve all of these units, or none.
    Reserve {
        /// Units per SKU.
        units: BTreeMap<Sku, u32>,
        /// When the holds end.
        expires_at: Timestamp,
    },
    /// Hold the buyer's coupon for this order.
    HoldCoupon {
        /// The campaign.
        campaign: CampaignId,
        /// The claim.
        claim: ClaimId,
        /// The buyer.
        member: MemberId,
        /// What it takes off.
        discount: Money,
    },
    /// Begin a payment with the method given at placing.
    Pay {
        /// The provider's token.
        method: String,
    },
    /// The order costs nothing: it is paid by nobody.
    Waive {
        /// Nothing, in the order's currency.
        amount: Money,
    },
    /// See what became of a payment.
    Settle {
        /// Which.
        payment: PaymentId,
    },
    /// Take the reserved units of these SKUs off the shelf, then redeem the coupon.
    Claim {
        /// The SKUs.
        skus: Vec<Sku>,
        /// The claim to redeem.
        coupon: Option<ClaimId>,
    },
    /// Request a delivery.
    Deliver {
        /// The destination's region.
        region: Region,
        /// The label, sealed.
        address: Option<Personal<String>>,
        /// How many units.
        units: u64,
    },
    /// See what became of a delivery.
    Follow {
        /// Which.
        delivery: DeliveryId,
    },
    /// Carry returns on.
    Return {
        /// Those under way.
        open: Vec<ReturnOpened>,
        /// The payment that pays back.
        payment: PaymentId,
        /// Who bought.
        buyer: MemberId,
        /// Where it had gone.
        region: Region,
    },
    /// Its time is over.
    Expire,
    /// Let go of everything it holds, then close it.
    Undo {
        /// What to let go.
        held: Vec<Undo>,
        /// The SKUs it may hold units of.
        skus: Vec<Sku>,
    },
}

impl Step {
    /// The step in a word; part of its request ids.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Reserve { .. } => "reserve",
            Self::HoldCoupon { .. } => "hold-coupon",
            Self::Pay { .. } => "pay",
            Self::Waive { .. } => "waive",
            Self::Settle { .. } => "settle",
            Self::Claim { .. } => "claim",
            Self::Deliver { .. } => "deliver",
            Self::Follow { .. } => "follow",
            Self::Return { .. } => "return",
            Self::Expire => "expire",
            Self::Undo { .. } => "undo",
        }
    }
}

/// Names what is due next for an order.
#[must_use]
pub fn next(state: &State, now: Timestamp) -> Next<Step> {
    let Some(placed) = state.placed() else {
        return Next::Done;
    };
    let skus = || units_per_sku(&placed.lines).into_keys().collect::<Vec<_>>();
    let over = now >= placed.expires_at;
    Next::Do(match state.situation() {
        Situation::Absent => return Next::Done,
        Situation::Placed | Situation::Reserved | Situation::Unpaid if over && state.captured().is_none() => {
            Step::Expire
        }
        Situation::Placed => Step::Reserve { units: units_per_sku(&placed.lines), expires_at: placed.expires_at },
        Situation::Reviving => Step::Reserve {
            units: units_per_sku(&placed.lines),
            expires_at: now.checked_add(REVIVAL_HOLD).unwrap_or(now),
        },
        Situation::Reserved => match &placed.coupon {
            Some(coupon) => Step::HoldCoupon {
                campaign: coupon.campaign,
                claim: coupon.claim,
                member: placed.buyer,
                discount: placed.discount,
            },
            None => return Next::Done,
        },
        Situation::Unpaid if placed.total.amount == 0 => Step::Waive { amount: placed.total },
        Situation::Unpaid => match state.untried_method() {
            Some(method) => Step::Pay { method: method.to_owned() },
            None => {
                return Next::Await { until: Some(placed.expires_at) };
            }
        },
        Situation::Paying { payment } => Step::Settle { payment: *payment },
        Situation::Paid => Step::Claim { skus: skus(), coupon: placed.coupon.as_ref().map(|coupon| coupon.claim) },
        Situation::Confirmed => Step::Deliver {
            region: placed.region.clone(),
            address: placed.ship_to.clone(),
            units: placed.lines.iter().map(|line| u64::from(line.quantity)).sum(),
        },
        Situation::Delivering { delivery } => Step::Follow { delivery: *delivery },
        Situation::Delivered => return returning(state),
        Situation::Ending { .. } => Step::Undo { held: state.undo(), skus: skus() },
        Situation::Closed { .. } => match state.pending_payment() {
            Some(payment) => Step::Settle { payment },
            None => return Next::Done,
        },
    })
}

fn returning(state: &State) -> Next<Step> {
    let open: Vec<_> = state.open_returns().cloned().collect();
    match (state.placed(), state.captured()) {
        (Some(placed), Some((payment, _))) if !open.is_empty() => {
            Next::Do(Step::Return { open, payment, buyer: placed.buyer, region: placed.region.clone() })
        }
        _ => Next::Done,
    }
}

/// What a payment's outcome means for the order that asked for it; `None` while it means nothing yet. Another amount
/// than the order costs is no payment: whatever was taken is the payment's to give back.
#[must_use]
pub fn settle(payment: PaymentId, seen: &payment::State, order: &State, now: Timestamp) -> Option<Command> {
    use payment::Situation as Seen;
    let over = order.situation().unpaid() && order.expires_at().is_some_and(|at| now >= at);
    match &seen.details()?.situation {
        Seen::Captured { amount, .. } if order.placed().is_some_and(|placed| placed.total != *amount) => {
            Some(Command::RecordPaymentFailed { payment, why: payment::WRONG_AMOUNT.into() })
        }
        Seen::Captured { amount, .. } => Some(Command::RecordPaid { payment, amount: *amount }),
        Seen::Declined { reason } => Some(Command::RecordPaymentFailed { payment, why: reason.clone() }),
        Seen::Cancelled { .. } | Seen::Voided => {
            Some(Command::RecordPaymentFailed { payment, why: "cancelled".into() })
        }
        Seen::Requested | Seen::Authorized { .. } => over.then_some(Command::Expire { now }),
    }
}

/// What a delivery's outcome means for its order; `None` while it is under way.
#[must_use]
pub fn follow(seen: &delivery::State) -> Option<Command> {
    use delivery::Situation as Seen;
    match &seen.details()?.situation {
        Seen::Delivered { .. } => Some(Command::RecordDelivered),
        Seen::Failed { reason } => Some(Command::RecordUndeliverable { why: reason.clone() }),
        Seen::Requested | Seen::Booked | Seen::Dispatched => None,
    }
}

/// The allocations of all SKUs, in the order's own form.
pub fn allocations(
    parts: impl IntoIterator<Item = (Sku, Vec<crate::stock::Allocation>)>,
) -> Arc<[crate::order::SkuAllocation]> {
    parts.into_iter().map(|(sku, from)| crate::order::SkuAllocation { sku, from }).collect()
}

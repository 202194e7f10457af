//! Where an order stands, and what it still holds that an unhappy end must give back.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Coupon, Event, Placed, Rejection, ReturnOpened, SkuAllocation};
use crate::{
    ids::{ClaimId, DeliveryId, PaymentId, ReturnId},
    money::Money,
};

/// The situations of an order; each names what is due next.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Situation {
    /// There is no order.
    #[default]
    Absent,
    /// Placed: stock is to be reserved.
    Placed,
    /// Stock is reserved and a coupon is to be held.
    Reserved,
    /// Everything is held and no payment is under way.
    Unpaid,
    /// A payment is under way.
    Paying {
        /// Which.
        payment: PaymentId,
    },
    /// Paid: stock is to be claimed, the coupon redeemed.
    Paid,
    /// The sale is made: a delivery is to be requested.
    Confirmed,
    /// A delivery is under way.
    Delivering {
        /// Which.
        delivery: DeliveryId,
    },
    /// The goods are in the buyer's hands. The happy end.
    Delivered,
    /// Paid after it had expired: stock is to be reserved again, or the money given back.
    Reviving,
    /// It has failed; what it holds is to be let go.
    Ending {
        /// Why.
        reason: Reason,
    },
    /// It has ended and holds nothing. The other end.
    Closed {
        /// Why.
        reason: Reason,
    },
}

/// Why an order ended without a sale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// Stock or coupon could not be had.
    Refused,
    /// Nobody paid in time.
    Expired,
    /// It was called off.
    Cancelled,
    /// The carrier gave up.
    Undeliverable,
}

impl Situation {
    /// True while nothing has been paid and the order may still expire.
    #[must_use]
    pub const fn unpaid(&self) -> bool {
        matches!(self, Self::Placed | Self::Reserved | Self::Unpaid | Self::Paying { .. })
    }

    /// True when nothing is left to do, returns aside.
    #[must_use]
    pub const fn terminal(&self) -> bool {
        matches!(self, Self::Delivered | Self::Closed { .. })
    }

    /// The situation in a word.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Placed => "placed",
            Self::Reserved => "reserved",
            Self::Unpaid => "unpaid",
            Self::Paying { .. } => "paying",
            Self::Paid => "paid",
            Self::Confirmed => "confirmed",
            Self::Delivering { .. } => "delivering",
            Self::Delivered => "delivered",
            Self::Reviving => "paid late",
            Self::Ending { .. } => "ending",
            Self::Closed { .. } => "closed",
        }
    }
}

/// Something that an order still holds when it ends: the compensation of one step each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undo {
    /// Call off a payment that is under way.
    CancelPayment(PaymentId),
    /// Give back what was captured.
    Refund(PaymentId, Money),
    /// Let go of reserved units.
    ReleaseStock,
    /// Put claimed units back on the shelf.
    Restock(Arc<[SkuAllocation]>),
    /// Give the coupon back.
    RestoreCoupon(ClaimId),
}

/// What a decision about an order needs to know.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    placed: Option<Box<Placed>>,
    situation: Situation,
    allocations: Option<Arc<[SkuAllocation]>>,
    coupon_held: bool,
    /// What has left the shelf for it.
    claimed: Arc<[SkuAllocation]>,
    /// A payment whose outcome the order does not know.
    pending: Option<PaymentId>,
    captured: Option<(PaymentId, Money)>,
    /// The method of the newest payment; until there is one, the method given at placing is to be tried.
    method: Option<String>,
    /// Units sent back or on their way back, per line.
    pub(super) returned: BTreeMap<u32, u32>,
    /// Money given back or promised back, per line.
    pub(super) refunded: BTreeMap<u32, Money>,
    pub(super) returns: BTreeMap<ReturnId, ReturnOpened>,
}

impl State {
    /// Where the order stands.
    #[must_use]
    pub const fn situation(&self) -> &Situation {
        &self.situation
    }

    /// The order as it was placed, if it was.
    #[must_use]
    pub fn placed(&self) -> Option<&Placed> {
        self.placed.as_deref()
    }

    /// What is reserved or claimed for it.
    #[must_use]
    pub fn allocations(&self) -> Option<&[SkuAllocation]> {
        self.allocations.as_deref()
    }

    /// Whether its coupon is held for it.
    #[must_use]
    pub const fn coupon_held(&self) -> bool {
        self.coupon_held
    }

    /// The payment that was captured for it, and how much.
    #[must_use]
    pub const fn captured(&self) -> Option<(PaymentId, Money)> {
        self.captured
    }

    /// The payment method given at placing, until it was tried.
    #[must_use]
    pub fn untried_method(&self) -> Option<&str> {
        if self.method.is_some() { None } else { self.placed()?.payment_method.as_deref() }
    }

    /// The method of the newest payment.
    #[must_use]
    pub fn payment_method(&self) -> Option<&str> {
        self.method.as_deref()
    }

    /// When it ends unless it is paid.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.placed().map(|placed| placed.expires_at)
    }

    /// Returns that are under way.
    pub fn open_returns(&self) -> impl Iterator<Item = &ReturnOpened> {
        self.returns.values()
    }

    /// A payment whose outcome the order does not know yet, though it may have ended.
    #[must_use]
    pub const fn pending_payment(&self) -> Option<PaymentId> {
        self.pending
    }

    /// What must be undone before an order that failed may close.
    #[must_use]
    pub fn undo(&self) -> Vec<Undo> {
        let mut undo = Vec::new();
        if let Some(payment) = self.pending {
            undo.push(Undo::CancelPayment(payment));
        }
        if let Some((payment, amount)) = self.captured {
            undo.push(Undo::Refund(payment, amount));
        }
        // Holds may exist that were never recorded: release by order, whatever is held.
        undo.push(Undo::ReleaseStock);
        if !self.claimed.is_empty() {
            undo.push(Undo::Restock(Arc::clone(&self.claimed)));
        }
        if let Some(Coupon { claim, .. }) = self.placed().and_then(|placed| placed.coupon.as_ref()) {
            undo.push(Undo::RestoreCoupon(*claim));
        }
        undo
    }

    pub(super) const fn not_now(&self, wish: &'static str) -> Rejection {
        Rejection::NotNow { wish, situation: self.situation.name() }
    }

    /// The state after one more event.
    pub(super) fn after(mut self, event: &Event) -> Self {
        match event {
            Event::Placed(placed) => {
                self.placed = Some(Box::new(placed.clone()));
                self.situation = Situation::Placed;
            }
            Event::Reserved(reserved) => {
                self.allocations = Some(Arc::clone(&reserved.allocations));
                let wants_coupon = self.placed().is_some_and(|placed| placed.coupon.is_some());
                self.situation = match (wants_coupon, self.captured) {
                    (true, _) => Situation::Reserved,
                    (false, Some(_)) => Situation::Paid,
                    (false, None) => Situation::Unpaid,
                };
            }
            Event::CouponHeld(_) => {
                self.coupon_held = true;
                self.situation = if self.captured.is_some() { Situation::Paid } else { Situation::Unpaid };
            }
            Event::Refused(refused) => {
                self.claimed = Arc::from(refused.claimed.as_slice());
                self.situation = Situation::Ending { reason: Reason::Refused };
            }
            Event::PaymentRequested(requested) => {
                self.method = Some(requested.method.clone());
                self.pending = Some(requested.payment);
                self.situation = Situation::Paying { payment: requested.payment };
            }
            Event::PaymentFailed(_) => {
                self.pending = None;
                self.situation = Situation::Unpaid;
            }
            Event::Paid(paid) => {
                self.pending = self.pending.filter(|pending| *pending != paid.payment);
                self.captured = Some((paid.payment, paid.amount));
                self.situation = Situation::Paid;
            }
            Event::Confirmed(_) => {
                self.claimed = self.allocations.clone().unwrap_or_default();
                self.situation = Situation::Confirmed;
            }
            Event::DeliveryRequested(requested) => {
                self.situation = Situation::Delivering { delivery: requested.delivery };
            }
            Event::Delivered(_) => self.situation = Situation::Delivered,
            Event::ReturnOpened(opened) => self.open_return(opened),
            Event::Returned(returned) => {
                self.returns.remove(&returned.return_id);
            }
            Event::Undeliverable(_)
            | Event::Expired(_)
            | Event::Cancelled(_)
            | Event::PaidLate(_)
            | Event::Closed(_) => self.end(event),
        }
        self
    }

    fn end(&mut self, event: &Event) {
        let reason = match &self.situation {
            Situation::Ending { reason } | Situation::Closed { reason } => *reason,
            _ => Reason::Refused,
        };
        match event {
            Event::Undeliverable(_) => self.situation = Situation::Ending { reason: Reason::Undeliverable },
            Event::Expired(_) => self.situation = Situation::Ending { reason: Reason::Expired },
            Event::Cancelled(_) => self.situation = Situation::Ending { reason: Reason::Cancelled },
            Event::PaidLate(late) => {
                self.pending = self.pending.filter(|pending| *pending != late.payment);
                self.captured = Some((late.payment, late.amount));
                // What was held before is gone or going: it must be had anew, or the money goes back.
                self.allocations = None;
                self.coupon_held = false;
                self.situation = match reason {
                    Reason::Expired => Situation::Reviving,
                    other => Situation::Ending { reason: other },
                };
            }
            Event::Closed(_) => {
                self.allocations = None;
                self.claimed = Arc::default();
                self.coupon_held = false;
                self.situation = Situation::Closed { reason };
            }
            _ => {}
        }
    }

    fn open_return(&mut self, opened: &ReturnOpened) {
        for line in &opened.lines {
            let units = self.returned.entry(line.line).or_default();
            *units = units.saturating_add(line.quantity);
            let money = self.refunded.entry(line.line).or_insert_with(|| Money::zero(line.amount.currency));
            money.amount = money.amount.saturating_add(line.amount.amount);
        }
        self.returns.insert(opened.return_id, opened.clone());
    }
}

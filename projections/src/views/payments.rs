//! Payments: a row per payment with what was asked, taken and given back.

use domain::{
    event::Event,
    ids::{MemberId, OrderId, PaymentId, RefundId},
    money::Money,
    payment,
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

const BY_ORDER: &str = "by_order";
const BY_BUYER: &str = "by_buyer";

/// The view of payments.
#[derive(Debug)]
pub struct Payments;

/// The status of a payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// Which payment.
    pub payment: PaymentId,
    /// The order it pays.
    pub order: OrderId,
    /// Who pays.
    pub buyer: MemberId,
    /// What was asked for.
    pub amount: Money,
    /// Where it stands.
    pub state: State,
    /// What was taken; nothing while or unless it was captured.
    pub captured: Money,
    /// What was given back, sure and done.
    pub refunded: Money,
    /// Every refund that was asked for, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refunds: Vec<Refund>,
    /// When it was requested.
    pub requested_at: Timestamp,
    /// When it last changed.
    pub changed_at: Timestamp,
    /// The revision of its newest event: its etag.
    pub revision: u64,
}

/// Where a payment stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// The provider is being asked.
    Requested,
    /// The money is set aside.
    Authorized,
    /// The money is taken.
    Captured,
    /// The provider refused.
    Declined {
        /// The provider's reason code.
        reason: String,
    },
    /// The order no longer wants it.
    Cancelled,
    /// What was set aside was let go.
    Voided,
}

/// Money that goes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refund {
    /// Which refund.
    pub refund: RefundId,
    /// How much.
    pub amount: Money,
    /// Why, in the words of the one who asked for it, if they said any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<Sealed>,
    /// When it was first asked for.
    pub requested_at: Timestamp,
    /// Where it stands.
    pub state: RefundState,
}

/// Where a refund stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum RefundState {
    /// The provider is being asked.
    Requested,
    /// The money is back.
    Refunded,
    /// The provider refused.
    Failed {
        /// The provider's reason code.
        reason: String,
    },
}

/// The payments of an order, the newest first.
#[must_use]
pub fn of_order(order: OrderId) -> Query<Payments> {
    Query::index(BY_ORDER).under(&(order,)).backward()
}

/// A buyer's payments, the newest first.
#[must_use]
pub fn of_buyer(buyer: MemberId) -> Query<Payments> {
    Query::index(BY_BUYER).under(&(buyer,)).backward()
}

impl View for Payments {
    const NAME: &'static str = "payments";
    const VERSION: u32 = 2;
    const READS: &'static [Category] = &[Category::Payment];
    const INDEXES: &'static [&'static str] = &[BY_ORDER, BY_BUYER];
    type Key = PaymentId;
    type Row = Payment;
    type Change<'a> = &'a payment::Event;

    fn touch<'a>(fact: &'a Fact, touched: &mut Touched<'a, Self>) -> Result<(), Fault> {
        if let Event::Payment(event) = &fact.event {
            touched.own(fact.subject().parse()?, event, fact);
        }
        Ok(())
    }

    fn apply(
        key: &PaymentId,
        row: Option<Payment>,
        change: &payment::Event,
        fact: &Fact,
    ) -> Result<Option<Payment>, Fault> {
        let mut row = match (row, change) {
            (None, payment::Event::Requested(requested)) => Payment {
                payment: *key,
                order: requested.order,
                buyer: requested.buyer,
                amount: requested.amount,
                state: State::Requested,
                captured: Money::zero(requested.amount.currency),
                refunded: Money::zero(requested.amount.currency),
                refunds: Vec::new(),
                requested_at: fact.occurred_at,
                changed_at: fact.occurred_at,
                revision: fact.revision,
            },
            (Some(row), _) => row,
            (None, _) => return Err(Fault::missing("payment", key)),
        };
        row.changed_at = fact.occurred_at;
        row.revision = fact.revision;
        match change {
            payment::Event::Requested(_) => {}
            payment::Event::Authorized(_) => row.state = State::Authorized,
            payment::Event::Captured(captured) => {
                row.captured = captured.amount;
                row.state = State::Captured;
            }
            payment::Event::Declined(declined) => row.state = State::Declined { reason: declined.reason.clone() },
            payment::Event::Cancelled(_) => row.state = State::Cancelled,
            payment::Event::Voided(_) => row.state = State::Voided,
            payment::Event::RefundRequested(requested) => row.refund(requested, fact),
            payment::Event::Refunded(refunded) => {
                row.known(refunded.refund)?.state = RefundState::Refunded;
                row.refunded = row.refunded.plus(refunded.amount)?;
            }
            payment::Event::RefundFailed(failed) => {
                row.known(failed.refund)?.state = RefundState::Failed { reason: failed.reason.clone() };
            }
        }
        Ok(Some(row))
    }

    fn indexes(row: &Payment) -> Vec<(&'static str, Key)> {
        vec![(BY_ORDER, key(&(row.order, row.requested_at))), (BY_BUYER, key(&(row.buyer, row.requested_at)))]
    }
}

impl Payment {
    /// A refund is asked for, perhaps again after it had failed.
    fn refund(&mut self, requested: &payment::RefundRequested, fact: &Fact) {
        let why = Sealed::first(fact.id, requested.why.as_ref());
        let (refund, amount, state) = (requested.refund, requested.amount, RefundState::Requested);
        match self.refunds.iter_mut().find(|known| known.refund == refund) {
            Some(known) => {
                known.state = state;
                // Whoever tries again by themselves has nothing to add.
                known.why = why.or_else(|| known.why.take());
            }
            None => self.refunds.push(Refund { refund, amount, why, requested_at: fact.occurred_at, state }),
        }
    }

    fn known(&mut self, refund: RefundId) -> Result<&mut Refund, Fault> {
        self.refunds.iter_mut().find(|known| known.refund == refund).ok_or_else(|| Fault::missing("refund", &refund))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{IntoEvent, Told, december, fault, gbp, row, told};
    use domain::{
        ids::EventId,
        payment::{
            Authorized, Cancelled, Captured, Declined, RefundFailed, RefundRequested, Refunded, Requested, Voided,
        },
        personal::Personal,
    };
    use uuid::Uuid;

    const PAYMENT: PaymentId = PaymentId::from_u128(1);
    const REFUND: RefundId = RefundId::from_u128(2);

    fn happens(event: impl IntoEvent) -> Told {
        told(format!("payment-{PAYMENT}"), 1, event)
    }

    fn requested() -> Told {
        let (order, buyer) = (OrderId::from_u128(3), MemberId::from_u128(4));
        happens(Requested { order, buyer, amount: gbp(900), method: "tok".into(), key: Uuid::from_u128(5) })
    }

    fn captured() -> Told {
        happens(Captured { amount: gbp(900), reference: "c".into(), at: december(1) })
    }

    fn refund(amount: i64) -> Told {
        happens(RefundRequested { refund: REFUND, amount: gbp(amount), key: Uuid::from_u128(6), why: None })
    }

    fn refunded(amount: i64) -> Told {
        happens(Refunded { refund: REFUND, amount: gbp(amount) })
    }

    /// What follows the request, and where it leads: state, captured, refunded, refunds.
    fn check(history: &[Told], expected: &str) {
        let mut story = vec![requested()];
        story.extend_from_slice(history);
        let row = row::<Payments>(&story);
        let refunds: Vec<_> = row.refunds.iter().map(|refund| (refund.amount.amount, &refund.state)).collect();
        let shown = format!("{:?} {} {} {refunds:?}", row.state, row.captured.amount, row.refunded.amount);
        assert_eq!(shown, expected);
        assert_eq!((row.payment, row.amount, row.revision), (PAYMENT, gbp(900), story.len() as u64 - 1));
    }

    #[test]
    fn a_payment_shows_what_was_asked_taken_and_given_back() {
        check(&[], "Requested 0 0 []");
        check(&[happens(Authorized { reference: "a".into() })], "Authorized 0 0 []");
        check(&[captured()], "Captured 900 0 []");
        check(&[happens(Declined { reason: "poor".into() })], "Declined { reason: \"poor\" } 0 0 []");
        check(&[happens(Cancelled {})], "Cancelled 0 0 []");
        check(&[happens(Cancelled {}), happens(Voided {})], "Voided 0 0 []");
        check(&[captured(), refund(300)], "Captured 900 0 [(300, Requested)]");
        check(&[captured(), refund(300), refunded(300)], "Captured 900 300 [(300, Refunded)]");
    }

    #[test]
    fn a_refund_that_failed_and_is_tried_again_is_one_refund() {
        let failed = happens(RefundFailed { refund: REFUND, reason: "no".into() });
        let story = [captured(), refund(300), failed];
        check(&story, "Captured 900 0 [(300, Failed { reason: \"no\" })]");
        let [captured, first, failed] = story;
        check(&[captured, first, failed, refund(300), refunded(300)], "Captured 900 300 [(300, Refunded)]");
    }

    #[test]
    fn a_refund_keeps_why_and_when_it_was_first_asked_for() {
        let value = Personal::Sealed { member: MemberId::from_u128(4), ciphertext: vec![1, 2, 3] };
        let (amount, key) = (gbp(300), Uuid::from_u128(6));
        let asked = RefundRequested { refund: REFUND, amount, key, why: Some(value.clone()) };
        let failed = happens(RefundFailed { refund: REFUND, reason: "no".into() });
        let again = told(format!("payment-{PAYMENT}"), 5, RefundRequested { refund: REFUND, amount, key, why: None });
        let row =
            row::<Payments>(&[requested(), captured(), told(format!("payment-{PAYMENT}"), 2, asked), failed, again]);
        let Refund { why, requested_at, state, .. } = row.refunds[0].clone();
        assert_eq!(why, Some(Sealed { event: EventId::from_u128(3), field: 0, value }));
        assert_eq!((requested_at, state), (december(2), RefundState::Requested));
    }

    #[test]
    fn what_cannot_be_folded_names_what_is_missing() {
        assert_eq!(fault::<Payments>(&[captured()]), Fault::missing("payment", &PAYMENT));
        assert_eq!(fault::<Payments>(&[requested(), refunded(1)]), Fault::missing("refund", &REFUND));
    }
}

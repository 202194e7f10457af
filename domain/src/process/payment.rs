//! The payment process: what to ask the provider for next.
//!
//! | situation | step |
//! |---|---|
//! | requested | authorize |
//! | authorized | capture |
//! | cancelled, outcome unknown | void |
//! | captured, with a pending refund | refund |
//! | captured, with a refund that was refused | ask for it again, a few times, under a new key |
//!
//! Each step names the idempotency key that is already stored, so asking twice is asking once.

use uuid::Uuid;

use super::Next;
use crate::{
    ids::{RefundId, derive},
    money::Money,
    payment::{Details, REFUND_ATTEMPTS_MAX, Situation, State},
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
        /// The capture that may have been under way, by its idempotency key and the authorization it names: where
        /// the void is refused, asking for it again tells what was taken.
        capture: Option<(Uuid, String)>,
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
    /// Ask for a refused refund again.
    RefundAgain {
        /// Which refund.
        refund: RefundId,
        /// The new attempt's idempotency key.
        key: Uuid,
        /// How much.
        amount: Money,
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
        Situation::Requested => Next::Do(Step::Authorize { key, amount, method: payment.method.clone() }),
        Situation::Authorized { reference } => {
            Next::Do(Step::Capture { key: payment.capture_key(), amount, authorization: reference.clone() })
        }
        Situation::Cancelled { authorization } => {
            let capture = authorization.clone().map(|authorization| (payment.capture_key(), authorization));
            Next::Do(Step::Void { key, amount, capture })
        }
        Situation::Captured { reference, .. } => refund(payment, reference),
        Situation::Declined { .. } | Situation::Voided => Next::Done,
    }
}

fn refund(payment: &Details, capture: &str) -> Next<Step> {
    if let Some((refund, pending)) = payment.pending_refunds().next() {
        let (key, amount, capture) = (pending.key, pending.amount, capture.to_owned());
        return Next::Do(Step::Refund { refund, key, amount, capture });
    }
    payment.failed_refund(REFUND_ATTEMPTS_MAX).map_or(Next::Done, |(refund, failed)| {
        let key = derive(failed.key, "again", &[]);
        Next::Do(Step::RefundAgain { refund, key, amount: failed.amount })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        decider::fold,
        ids::{MemberId, OrderId},
        money::Currency,
        payment::{Authorized, Cancelled, Captured, Event, Payment, RefundFailed, RefundRequested, Requested},
    };

    fn captured() -> Vec<Event> {
        let amount = Money::new(500, Currency::GBP);
        let (order, buyer, key) = (OrderId::from_u128(1), MemberId::from_u128(2), Uuid::from_u128(3));
        let at = jiff::Timestamp::UNIX_EPOCH;
        vec![
            Requested { order, buyer, amount, method: "tok".into(), key }.into(),
            Captured { amount, reference: "cap".into(), at }.into(),
        ]
    }

    #[test]
    fn a_void_names_the_capture_that_may_have_been_under_way() {
        let requested = captured().swap_remove(0);
        let void = |history: Vec<Event>| match next(&fold::<Payment>(&history)) {
            Next::Do(Step::Void { capture, .. }) => capture,
            other => panic!("{other:?}"),
        };
        let cancelled = || Cancelled {}.into();
        assert_eq!(void(vec![requested.clone(), cancelled()]), None, "nothing was set aside: nothing can be taken");
        let authorized = Authorized { reference: "auth".into() }.into();
        let history = vec![requested, authorized];
        let Next::Do(Step::Capture { key, authorization, .. }) = next(&fold::<Payment>(&history)) else {
            panic!("what is set aside is taken");
        };
        assert_eq!(void([history, vec![cancelled()]].concat()), Some((key, authorization)));
    }

    #[test]
    fn a_refused_refund_is_asked_for_again_under_new_keys_and_then_left_to_an_operator() {
        let (refund, amount) = (RefundId::from_u128(4), Money::new(500, Currency::GBP));
        let mut history = captured();
        let mut keys = vec![Uuid::from_u128(5)];
        history.push(RefundRequested { refund, amount, key: keys[0], why: None }.into());
        loop {
            history.push(RefundFailed { refund, reason: "no".into() }.into());
            match next(&fold::<Payment>(&history)) {
                Next::Do(Step::RefundAgain { key, .. }) => {
                    assert!(!keys.contains(&key), "the same key again is the same refusal again");
                    keys.push(key);
                    history.push(RefundRequested { refund, amount, key, why: None }.into());
                }
                Next::Done => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(keys.len(), REFUND_ATTEMPTS_MAX as usize);
    }
}

//! The return process: goods back on the shelf, then money back, then done.

use super::Next;
use crate::{
    ids::{RefundId, ReturnId, WarehouseId},
    money::Money,
    payment::{self, Outcome},
    returns::{Line, State},
};

/// One step of a return.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Put the goods on the shelf and ask for the refund.
    RestockAndRefund {
        /// Where they came in.
        warehouse: WarehouseId,
        /// What came back.
        lines: Vec<Line>,
        /// What to give back; with nothing to give back the return is complete at once.
        refund: Money,
    },
    /// Goods and money are back: complete the return.
    Complete,
}

/// The refund that a return asks for.
#[must_use]
pub fn refund_id(id: ReturnId) -> RefundId {
    RefundId::derived(id.0, &[b"refund"])
}

/// Names what is due next for a return, given the payment that pays it back.
#[must_use]
pub fn next(id: ReturnId, state: &State, payment: &payment::State) -> Next<Step> {
    let State::Received(requested, warehouse) = state else {
        return match state {
            State::Requested(_) => Next::Await { until: None },
            // The order may not know yet that it is complete; completing again tells it.
            State::Completed(..) => Next::Do(Step::Complete),
            _ => Next::Done,
        };
    };
    let refund = payment.details().and_then(|details| details.refunds.get(&refund_id(id)));
    match refund.map(|refund| refund.outcome) {
        Some(Outcome::Refunded) => Next::Do(Step::Complete),
        // A pending refund is the payment process's to finish, a failed one its to try again.
        Some(Outcome::Pending | Outcome::Failed) => Next::Await { until: None },
        None => Next::Do(Step::RestockAndRefund {
            warehouse: warehouse.clone(),
            lines: requested.lines.clone(),
            refund: due(requested.refund, payment),
        }),
    }
}

/// What a return gives back: what was promised, but never more than is left of its payment, of which an operator
/// may have given back a part already.
fn due(promised: Money, payment: &payment::State) -> Money {
    let left = payment.details().and_then(|details| {
        let (captured, _) = details.captured()?;
        captured.minus(details.refunded_or_pending()).ok()
    });
    left.map_or(promised, |left| Money::new(promised.amount.min(left.amount.max(0)), promised.currency))
}

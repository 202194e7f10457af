//! Drives one payment: ask the provider, record its answer, look again.

use domain::{
    ids::{OrderId, PaymentId},
    money::Money,
    payment::Command,
    process::{Next, payment as process, payment::Step},
};
use ports::payment::{Act, Answer, Charge, Error};
use uuid::Uuid;

use super::{Due, Failure, Steps};

/// The most calls to the provider in one drive of a payment.
const CALLS_MAX: usize = 64;

impl Steps {
    /// Drives a payment as far as it goes and answers whose order it is.
    ///
    /// # Errors
    /// [`Failure`] when the provider did not answer; drive again later, with the same stored keys.
    pub async fn drive_payment(&self, id: PaymentId) -> Result<Option<OrderId>, Failure> {
        for _ in 0..CALLS_MAX {
            let now = self.shop.clock.now();
            let (next, due) = self
                .shop
                .payment
                .inspect(&id, move |seen| {
                    let order = seen.state.details().map(|details| details.order);
                    let due = order.map(|order| Due {
                        id: id.0,
                        order,
                        revision: seen.revision,
                        cause: seen.cause,
                        now,
                        occurred_at: now,
                    });
                    (process::next(seen.state), due)
                })
                .await?;
            match (next, due) {
                (Next::Do(step), Some(due)) => self.call_provider(id, due, step).await?,
                (_, due) => return Ok(due.map(|due| due.order)),
            }
        }
        Err(Failure(format!("payment {id} did not settle within {CALLS_MAX} calls")))
    }

    async fn call_provider(&self, id: PaymentId, due: Due, step: Step) -> Result<(), Failure> {
        let charge = |key: Uuid, amount: Money| Charge {
            key,
            payment: id.0,
            amount: amount.amount,
            currency: amount.currency.code().to_owned(),
        };
        if let Step::RefundAgain { refund, key, amount } = step {
            let again = Command::Refund { refund, amount, key, why: String::new() };
            self.shop.payment.execute(&id, again, due.request("again", key.as_bytes())).await?;
            return Ok(());
        }
        let (provider, unknown) = (&self.provider, Error::Timeout);
        let (act, key, amount, answer) = match &step {
            Step::Authorize { key, amount, method } => {
                let answer = self.in_time(provider.authorize(&charge(*key, *amount), method), unknown).await;
                (Act::Authorize, *key, *amount, answer)
            }
            Step::Capture { key, amount, authorization } => {
                let answer = self.in_time(provider.capture(&charge(*key, *amount), authorization), unknown).await;
                (Act::Capture, *key, *amount, answer)
            }
            Step::Void { key, amount, capture } => {
                let answer = self.in_time(provider.void(&charge(*key, *amount)), unknown.clone()).await;
                match (&answer, capture) {
                    // Too late: the money was taken, and a crash has swallowed the answer. Asked again under its own
                    // key, the provider tells.
                    (Ok(Answer::Declined { .. }), Some((capture, authorization))) => {
                        let again = charge(*capture, *amount);
                        let answer = self.in_time(provider.capture(&again, authorization), unknown).await;
                        (Act::Capture, *capture, *amount, answer)
                    }
                    _ => (Act::Void, *key, *amount, answer),
                }
            }
            Step::Refund { key, amount, capture, .. } => {
                let answer = self.in_time(provider.refund(&charge(*key, *amount), capture), unknown).await;
                (Act::Refund, *key, *amount, answer)
            }
            Step::RefundAgain { .. } => return Ok(()),
        };
        let answer = answer.map_err(|error| Failure(error.to_string()))?;
        let refund = match &step {
            Step::Refund { refund, .. } => Some(*refund),
            _ => None,
        };
        if let Some(command) = record(act, key, amount, refund, answer, self.shop.clock.now()) {
            self.shop.payment.execute(&id, command, due.request("provider", key.as_bytes())).await?;
        }
        Ok(())
    }
}

/// What a provider's answer is to the payment; `None` when it changes nothing.
pub(super) fn record(
    act: Act,
    key: Uuid,
    amount: Money,
    refund: Option<domain::ids::RefundId>,
    answer: Answer,
    at: jiff::Timestamp,
) -> Option<Command> {
    Some(match (act, answer) {
        (Act::Authorize, Answer::Approved { reference }) => Command::RecordAuthorized { reference },
        (Act::Capture, Answer::Approved { reference }) => Command::RecordCaptured { amount, reference, at },
        (Act::Authorize | Act::Capture, Answer::Declined { reason }) => Command::RecordDeclined { reason },
        (Act::Void, Answer::Approved { .. }) => Command::RecordVoided,
        // Too late to void: the capture's own answer or notice will say what was taken.
        (Act::Void, Answer::Declined { .. }) => return None,
        (Act::Refund, Answer::Approved { .. }) => Command::RecordRefunded { refund: refund?, key },
        (Act::Refund, Answer::Declined { reason }) => Command::RecordRefundFailed { refund: refund?, key, reason },
    })
}

//! Money's way between an order and its payments: begin, settle, cancel, give back.

use domain::{
    ids::{OrderId, PaymentId, RefundId, derive},
    money::Money,
    order::{Command, Rejection},
    payment,
    process::order as process,
};

use super::{Due, Failure, Progress, Steps, order::due};
use crate::{
    desk::{Error, Outcome},
    request::Request,
};

/// Why a payment could not be begun.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PayError {
    /// The order refuses it.
    #[error(transparent)]
    Order(#[from] Error<Rejection>),
    /// The payment itself is refused; the order knows.
    #[error(transparent)]
    Payment(#[from] Error<payment::Rejection>),
}

impl Steps {
    /// Begins a payment of an order. The order records it first: from then on it waits for this payment,
    /// and a crash before the payment's own first event is repaired when the order is next looked at.
    ///
    /// # Errors
    /// The order's or the payment's refusal.
    pub async fn begin_payment(
        &self,
        order: OrderId,
        payment: PaymentId,
        method: String,
        request: Request,
    ) -> Result<Outcome<domain::order::Event>, PayError> {
        let part = request.part("payment", payment.0.as_bytes());
        let begin = Command::RequestPayment { payment, method, now: self.shop.clock.now() };
        let outcome = self.shop.order.execute(&order, begin, request).await?;
        self.ask_payment(order, payment, part).await?;
        Ok(outcome)
    }

    /// Begins the payment that an order was placed with. A refusal is the order's to know, not a failure.
    pub(super) async fn pay(
        &self,
        order: OrderId,
        payment: PaymentId,
        method: String,
        request: Request,
    ) -> Result<Progress, Failure> {
        match self.begin_payment(order, payment, method, request).await {
            Ok(_) | Err(PayError::Payment(Error::Rejected(_))) => Ok(Progress::Moved),
            Err(error) => Err(Failure(error.to_string())),
        }
    }

    /// Writes the payment's first event, if the order waits for it. If the payment refuses, it must wait no longer.
    async fn ask_payment(&self, order: OrderId, payment: PaymentId, request: Request) -> Result<(), PayError> {
        let facts = self.shop.order.inspect(&order, move |seen| {
            let placed = seen.state.placed().map(|placed| (placed.buyer, placed.total));
            let waiting = seen.state.pending_payment() == Some(payment);
            placed.zip(seen.state.payment_method().map(str::to_owned)).filter(|_| waiting)
        });
        // A repeated request whose payment has long been answered must not begin it again.
        let Some(((buyer, amount), method)) = facts.await? else { return Ok(()) };
        let key = derive(payment.0, "authorize", &[]);
        let refused = request.part("refused", b"");
        let ask = payment::Command::Request { order, buyer, amount, method, key };
        match self.shop.payment.execute(&payment, ask, request).await {
            Ok(_) => Ok(()),
            Err(Error::Rejected(why)) => {
                let failed = Command::RecordPaymentFailed { payment, why: why.to_string() };
                self.shop.order.execute(&order, failed, refused).await?;
                Err(Error::Rejected(why).into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Tells an order what became of one of its payments.
    ///
    /// # Errors
    /// [`Failure`] when it could not be told now.
    pub async fn settle(&self, order: OrderId, payment: PaymentId) -> Result<Progress, Failure> {
        let now = self.shop.clock.now();
        let payment_state = self.shop.payment.inspect(&payment, |seen| seen.state.clone()).await?;
        let requested = payment_state.details().is_some();
        let look = move |seen: crate::desk::Seen<'_, domain::order::Order>| {
            let command = process::settle(payment, &payment_state, seen.state, now);
            (command, due(order, &seen, now), seen.state.expires_at())
        };
        let (command, due, expires_at) = self.shop.order.inspect(&order, look).await?;
        if !requested {
            return match self.ask_payment(order, payment, due.request("settle", b"ask")).await {
                Ok(()) | Err(PayError::Payment(Error::Rejected(_))) => Ok(Progress::Moved),
                Err(error) => Err(Failure(error.to_string())),
            };
        }
        let Some(command) = command else {
            return Ok(Progress::Waiting { until: expires_at });
        };
        let captured = match &command {
            Command::RecordPaid { amount, .. } => Some(*amount),
            _ => None,
        };
        match (self.shop.order.execute(&order, command, due.request("settle", payment.0.as_bytes())).await, captured) {
            (Ok(outcome), _) if outcome.events.is_empty() => Ok(Progress::Waiting { until: None }),
            (Ok(_), _) => Ok(Progress::Moved),
            (Err(Error::Rejected(Rejection::PaidAlready)), Some(amount)) => {
                self.give_back(due, payment, amount).await?;
                Ok(Progress::Waiting { until: None })
            }
            (Err(error), _) => Err(error.into()),
        }
    }

    /// Calls off a payment that an ended order no longer wants. `Moved` when it was too late for that.
    pub(super) async fn cancel_payment(&self, due: Due, payment: PaymentId) -> Result<Progress, Failure> {
        let facts = self.shop.order.inspect(&due.order, |seen| {
            let placed = seen.state.placed().map(|placed| (placed.buyer, placed.total));
            placed.zip(seen.state.payment_method().map(str::to_owned))
        });
        // Whoever recorded the payment on the order may have died before asking for it, or may be about to: it is
        // called off all the same, or a closed order could still be charged.
        let command = facts.await?.map_or(payment::Command::Cancel, |((buyer, amount), method)| {
            let key = derive(payment.0, "authorize", &[]);
            payment::Command::Forestall { order: due.order, buyer, amount, method, key }
        });
        match self.shop.payment.execute(&payment, command, due.request("undo", payment.0.as_bytes())).await {
            Ok(_) => Ok(Progress::Waiting { until: None }),
            Err(Error::Rejected(payment::Rejection::AlreadyCaptured { .. })) => self.settle(due.order, payment).await,
            // What cannot be asked for is never taken.
            Err(Error::Rejected(_)) => Ok(Progress::Waiting { until: None }),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives back what is left of a captured payment, once.
    pub(super) async fn give_back(&self, due: Due, payment: PaymentId, captured: Money) -> Result<(), Failure> {
        if payment == PaymentId::NONE {
            return Ok(());
        }
        let given = |seen: crate::desk::Seen<'_, payment::Payment>| {
            seen.state.details().map(payment::Details::refunded_or_pending)
        };
        let given = self.shop.payment.inspect(&payment, given).await?.unwrap_or(Money::zero(captured.currency));
        let amount = captured.minus(given).map_err(|error| Failure(error.to_string()))?;
        if amount.amount <= 0 {
            return Ok(());
        }
        let refund = RefundId::derived(payment.0, &[b"undo"]);
        let key = derive(refund.0, "refund", &[]);
        let ask = payment::Command::Refund { refund, amount, key, why: String::new() };
        self.shop.payment.execute(&payment, ask, due.request("refund", payment.0.as_bytes())).await?;
        Ok(())
    }
}

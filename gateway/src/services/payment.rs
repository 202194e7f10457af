//! Payments and refunds.

use std::sync::Arc;

use commands::steps::PayError;
use domain::{
    ids::{OrderId, PaymentId, RefundId, derive},
    money::Money,
    payment::{Command, Details, Event, Payment, Rejection},
};
use projections::views::payments as view;
use proto::v1::{self, PaymentState, RefundState, payment_service_server::PaymentService};
use tonic::{Request, Response, Status};

use super::{
    Context, convert,
    envelope::{self, Asked},
    order as orders, refusal,
    views::unread,
};
use crate::{
    auth::caller,
    error::{Reason, invalid, missing, status},
};

pub(super) struct Payments(pub(super) Arc<Context>);

#[tonic::async_trait]
impl PaymentService for Payments {
    async fn process_payment(
        &self,
        request: Request<v1::ProcessPaymentRequest>,
    ) -> Result<Response<v1::ProcessPaymentResponse>, Status> {
        let asked = envelope::open(&self.0, request)?;
        pay(&self.0, asked).await.map(Response::new)
    }

    async fn get_payment(&self, request: Request<v1::GetPaymentRequest>) -> Result<Response<v1::Payment>, Status> {
        let (caller, deadline) = (caller(&request), envelope::deadline(&self.0, &request));
        let asked = request.into_inner();
        let id: PaymentId = convert::id("payment_id", &asked.payment_id)?;
        self.0.views.reached::<view::Payments>(asked.min_position, deadline).await?;
        let row = self.0.views.payments.get(&id).await.map_err(|error| unread(&error))?;
        let row = row.filter(|row| caller.may_reach(row.buyer).is_ok()).ok_or_else(|| not_found(id))?;
        let mut payment = shown(&row);
        for (shown, refund) in payment.refunds.iter_mut().zip(&row.refunds) {
            shown.reason = self.0.words(&caller, row.buyer, refund.why.as_ref()).await?;
        }
        Ok(Response::new(payment))
    }

    async fn refund_payment(
        &self,
        request: Request<v1::RefundPaymentRequest>,
    ) -> Result<Response<v1::RefundPaymentResponse>, Status> {
        let asked = envelope::open(&self.0, request)?;
        refund(&self.0, asked).await.map(Response::new)
    }
}

async fn pay(context: &Context, asked: Asked<v1::ProcessPaymentRequest>) -> Result<v1::ProcessPaymentResponse, Status> {
    let payment = envelope::derived(&asked, PaymentId::derived);
    let Asked { caller, request, body, .. } = asked;
    let order: OrderId = convert::id("order_id", &body.order_id)?;
    let method = orders::method(&body.payment_method)?.ok_or_else(|| missing("payment_method"))?;
    orders::reach(context, &caller, order).await?;
    context.steps.begin_payment(order, payment, method, request).await.map_err(|error| match error {
        PayError::Order(error) => refusal::of(error, |why| orders::rejected(&why, order, Reason::OrderNotPayable)),
        PayError::Payment(error) => refusal::of(error, |why| rejected(&why, payment)),
    })?;
    // The payment's own first event is what the caller waits for, and the same for every retry.
    let begun = context.past::<Payment>(&payment, |past| past.revision == 1).await?;
    let Some(details) = begun.state.details() else {
        return Err(refusal::internal("a payment left no trace", &payment));
    };
    Ok(v1::ProcessPaymentResponse {
        payment_id: payment.to_string(),
        order_id: order.to_string(),
        state: PaymentState::Requested.into(),
        amount: Some(convert::to_money(details.amount)),
        etag: envelope::etag(begun.revision),
        position: begun.position,
    })
}

async fn refund(
    context: &Context,
    asked: Asked<v1::RefundPaymentRequest>,
) -> Result<v1::RefundPaymentResponse, Status> {
    let refund = envelope::derived(&asked, RefundId::derived);
    let Asked { request, body, .. } = asked;
    let id: PaymentId = convert::id("payment_id", &body.payment_id)?;
    let why = convert::reason(&body.reason)?;
    let amount = match convert::optional_money("amount", body.amount.as_ref())? {
        Some(amount) if amount.amount <= 0 => return Err(invalid("amount", "must be more than zero")),
        Some(amount) => amount,
        None => left(context, id).await?,
    };
    let command = Command::Refund { refund, amount, key: derive(refund.0, "refund", &[]), why: why.clone() };
    let outcome = context.shop.payment.execute(&id, command, request.clone()).await;
    let outcome = outcome.map_err(|error| refusal::of(error, |why| rejected(&why, id)))?;
    let asked = outcome.events.iter().find_map(|event| match event {
        Event::RefundRequested(requested) => Some(requested.amount),
        _ => None,
    });
    let at = context.when::<Payment>(&id, &request, &outcome).await?;
    Ok(v1::RefundPaymentResponse {
        refund: Some(v1::Refund {
            refund_id: refund.to_string(),
            amount: Some(convert::to_money(asked.unwrap_or(amount))),
            state: RefundState::Requested.into(),
            reason: why,
            failure: String::new(),
            create_time: Some(convert::to_moment(at)),
        }),
        payment_id: id.to_string(),
        etag: envelope::etag(outcome.revision),
        position: outcome.position.0,
    })
}

/// What can still be given back; nothing, for a payment that holds no money.
async fn left(context: &Context, id: PaymentId) -> Result<Money, Status> {
    let left = |details: &Details| {
        let nothing = Money::zero(details.amount.currency);
        details
            .captured()
            .map_or(nothing, |(captured, _)| captured.minus(details.refunded_or_pending()).unwrap_or(nothing))
    };
    let looked = context.shop.payment.inspect(&id, move |seen| seen.state.details().map(left)).await;
    looked.map_err(|error| refusal::of(error, |why| rejected(&why, id)))?.ok_or_else(|| not_found(id))
}

/// The payment without what was said about its refunds, which is sealed.
fn shown(row: &view::Payment) -> v1::Payment {
    let (state, reason) = match &row.state {
        view::State::Requested => (PaymentState::Requested, ""),
        view::State::Authorized => (PaymentState::Authorized, ""),
        view::State::Captured => (PaymentState::Captured, ""),
        view::State::Declined { reason } => (PaymentState::Declined, reason.as_str()),
        view::State::Cancelled => (PaymentState::Cancelled, ""),
        view::State::Voided => (PaymentState::Voided, ""),
    };
    v1::Payment {
        payment_id: row.payment.to_string(),
        order_id: row.order.to_string(),
        buyer_id: row.buyer.to_string(),
        state: state.into(),
        amount: Some(convert::to_money(row.amount)),
        refunded: Some(convert::to_money(row.refunded)),
        refunds: row.refunds.iter().map(shown_refund).collect(),
        reason: reason.to_owned(),
        create_time: Some(convert::to_moment(row.requested_at)),
        update_time: Some(convert::to_moment(row.changed_at)),
        etag: envelope::row_etag(row.revision),
    }
}

fn shown_refund(refund: &view::Refund) -> v1::Refund {
    let (state, failure) = match &refund.state {
        view::RefundState::Requested => (RefundState::Requested, ""),
        view::RefundState::Refunded => (RefundState::Refunded, ""),
        view::RefundState::Failed { reason } => (RefundState::Failed, reason.as_str()),
    };
    v1::Refund {
        refund_id: refund.refund.to_string(),
        amount: Some(convert::to_money(refund.amount)),
        state: state.into(),
        reason: String::new(),
        failure: failure.to_owned(),
        create_time: Some(convert::to_moment(refund.requested_at)),
    }
}

fn not_found(id: PaymentId) -> Status {
    status(Reason::PaymentNotFound, format!("there is no payment {id}"), [("payment_id", id.to_string())])
}

/// What a rejection means outside.
pub(super) fn rejected(why: &Rejection, id: PaymentId) -> Status {
    let say = |reason, metadata: &[(&'static str, String)]| {
        let payment = std::iter::once(("payment_id", id.to_string()));
        status(reason, why.to_string(), payment.chain(metadata.iter().cloned()))
    };
    match why {
        Rejection::NotRequested => not_found(id),
        Rejection::AlreadyRequested { .. } | Rejection::RefundChanged { .. } => say(Reason::RequestIdReused, &[]),
        // "All that is left" of a payment that is refunded already is nothing.
        Rejection::InvalidAmount { .. } => say(Reason::RefundExceedsCapture, &[("left", "0".to_owned())]),
        Rejection::CurrencyMismatch { expected, found } => {
            say(Reason::CurrencyMismatch, &[("left", expected.to_string()), ("right", found.to_string())])
        }
        Rejection::InvalidMethod { .. } | Rejection::CardNumber => {
            invalid("payment_method", format!("cannot be so: {why}"))
        }
        Rejection::AlreadyCaptured { .. } => refusal::unexpected(why),
        Rejection::NotCaptured => say(Reason::PaymentNotCaptured, &[]),
        Rejection::TooManyRefunds => say(Reason::RefundExceedsCapture, &[]),
        Rejection::RefundExceedsCapture { captured, refunded_or_pending, .. } => {
            let left = captured.minus(*refunded_or_pending).map(|left| left.to_string()).unwrap_or_default();
            say(Reason::RefundExceedsCapture, &[("captured", captured.to_string()), ("left", left)])
        }
    }
}

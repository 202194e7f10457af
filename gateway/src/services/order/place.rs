//! Placing an order: freeze the facts, write it down, drive it until its stock is held or refused.
//!
//! From `order.placed` on the order lives by itself. If this call ends early (a crash, a deadline, a caller that
//! hangs up), the process runner reserves or refuses in its place, and the same request sent again hears what
//! came of it. The answer is therefore read off the order's stream, at the event that decided it: it is the
//! same answer whenever it is asked for.

use std::time::Duration;

use commands::{
    desk::{Error, Seen},
    steps::{Look, Until},
};
use domain::{
    decider::Decider as _,
    ids::{MemberId, OrderId, PaymentId, Region},
    money::{Currency, Money},
    order::{self, Command, Order, Place, Placed, Refusal, Situation},
    payment,
};
use proto::v1;
use tokio::time::{Instant, timeout_at};
use tonic::Status;
use uuid::Uuid;

use super::{
    facts::{facts, wanted_coupon, wishes},
    rejected, show,
};
use crate::{
    auth::Caller,
    error::{Reason, status},
    services::{
        Context, address, convert,
        envelope::{self, Asked},
        past::Past,
        refusal,
    },
};

/// How long before the deadline no further attempt is begun, so that the answer still arrives.
const MARGIN: Duration = Duration::from_millis(100);
/// How long to wait before a drive that failed is tried again.
const AGAIN_AFTER: Duration = Duration::from_millis(20);

pub(super) async fn place(
    context: &Context,
    asked: Asked<v1::ProcessOrderRequest>,
) -> Result<v1::ProcessOrderResponse, Status> {
    let order = envelope::derived(&asked, OrderId::derived);
    let Asked { caller, request, deadline, backdated, body } = asked;
    let request = commands::request::Request { correlation: order.0, ..request };
    let buyer = buyer(&caller, &body)?;
    let wishes = wishes(&caller, &body.lines, context.limits.order_lines_max)?;
    let region: Region = convert::id("region", &body.region)?;
    let ship_to = body.ship_to.as_ref().map(|ship_to| address::label("ship_to", ship_to, buyer)).transpose()?;
    let payment_method = method(&body.payment_method)?;
    let expected_total = convert::optional_money("expected_total", body.expected_total.as_ref())?;
    let coupon = wanted_coupon(body.coupon.as_ref())?;

    let mut place = Place {
        buyer,
        lines: Vec::new(),
        coupon: None,
        expected_total,
        region,
        ship_to,
        payment_method,
        expires_at: context.now().checked_add(context.rules.order_ttl).unwrap_or(jiff::Timestamp::MAX),
        backdated,
    };
    let sealed_for = place.ship_to.is_some().then_some(buyer);
    let (facts, ()) = tokio::join!(facts(context, buyer, &wishes, coupon), make_key(context, sealed_for));
    let refused = match facts {
        Ok((lines, coupon)) => {
            (place.lines, place.coupon) = (lines, coupon);
            None
        }
        // Goods may have gone since the order was placed, and this may be a retry: an order without lines is
        // refused by its rules unless the same request has placed one before.
        Err(status) => Some(status),
    };
    let (place, now) = (Command::Place(Box::new(place)), context.now());
    let look = move |seen: Seen<'_, Order>| Look::at(order, now, &seen, move |seen| reserved(order, seen));
    let first = match (context.shop.order.execute_and_look(&order, place, request, look).await, refused) {
        (Ok((_, first)), _) => first,
        (Err(Error::Rejected(order::Rejection::NoLines)), Some(status)) => return Err(status),
        (Err(error), _) => {
            return Err(refusal::of(error, |why| rejected(&why, order, Reason::OrderNotPayable)));
        }
    };
    match drive(context, order, first, deadline).await? {
        Some(response) => Ok(response),
        None => answer(context, order).await,
    }
}

/// Sees to it that this member has a key. A new key waits for the disk: here one order does, in the desk's lane every order
/// behind it would. What goes wrong is the desk's to say: it asks again if the command has something to seal, and a repeat
/// has not.
async fn make_key(context: &Context, member: Option<MemberId>) {
    let Some(member) = member else { return };
    if let Err(error) = context.keys.key(member.0).await {
        tracing::debug!(%error, "a key could not be made ahead");
    }
}

/// Whom the order is for.
fn buyer(caller: &Caller, body: &v1::ProcessOrderRequest) -> Result<MemberId, Status> {
    match convert::optional_id("buyer_id", &body.buyer_id)? {
        Some(buyer) if buyer != caller.member => {
            caller.may_set("buyer_id", v1::Role::Operator)?;
            Ok(buyer)
        }
        Some(_) | None => Ok(caller.member),
    }
}

/// The payment method, checked as the payment itself would: a bad one must not cost the buyer their reservation,
/// and a card number must not get into the log.
pub(in crate::services) fn method(method: &str) -> Result<Option<String>, Status> {
    if method.is_empty() {
        return Ok(None);
    }
    let nobody = payment::Command::Request {
        order: OrderId(Uuid::nil()),
        buyer: MemberId(Uuid::nil()),
        amount: Money::new(1, Currency::GBP),
        method: method.to_owned(),
        key: Uuid::nil(),
    };
    match payment::Payment::decide(&payment::State::default(), &nobody) {
        Ok(_) => Ok(Some(method.to_owned())),
        Err(why) => Err(crate::services::payment::rejected(&why, PaymentId::NONE)),
    }
}

/// Reserves, or lets it be refused. What cannot be done now is tried again while there is time. Answers what
/// [`reserved`] says of the order at last.
async fn drive(
    context: &Context,
    order: OrderId,
    first: Look<Option<v1::ProcessOrderResponse>>,
    deadline: Instant,
) -> Result<Option<v1::ProcessOrderResponse>, Status> {
    let until = envelope::before(deadline, MARGIN);
    let look = move |seen: &Seen<'_, Order>| reserved(order, seen);
    let mut driven = timeout_at(until, context.steps.drive_order_on(order, Until::Reserved, first, look)).await;
    loop {
        match driven {
            Ok(Ok((_, response))) => return Ok(response),
            Ok(Err(failure)) => tracing::debug!(%failure, %order, "a step will be tried again"),
            Err(_elapsed) => return Err(pending(order)),
        }
        if Instant::now() + AGAIN_AFTER >= until {
            return Err(pending(order));
        }
        tokio::time::sleep(AGAIN_AFTER).await;
        let again = timeout_at(until, context.steps.drive_order(order, Until::Reserved)).await;
        driven = again.map(|driven| driven.map(|progress| (progress, None)));
    }
}

fn pending(order: OrderId) -> Status {
    let message = format!("order {order} is placed; whether its stock is held is not known yet");
    status(Reason::OrderPending, message, [("order_id", order.to_string())])
}

/// The answer, if nothing has happened since everything was held.
fn reserved(order: OrderId, seen: &Seen<'_, Order>) -> Option<v1::ProcessOrderResponse> {
    match (seen.state.situation(), seen.state.placed()) {
        (Situation::Unpaid, Some(placed)) if seen.revision == decided_at(placed) => {
            Some(response(order, placed, seen.revision, seen.position.0))
        }
        _ => None,
    }
}

/// What the order came to when its stock was held or refused, whatever has happened to it since.
async fn answer(context: &Context, order: OrderId) -> Result<v1::ProcessOrderResponse, Status> {
    let past = context.past::<Order>(&order, |past| !undecided(past)).await?;
    match (past.state.placed(), &past.last) {
        (Some(placed), Some(order::Event::Reserved(_) | order::Event::CouponHeld(_))) if !undecided(&past) => {
            Ok(response(order, placed, past.revision, past.position))
        }
        (_, Some(order::Event::Refused(refused))) => Err(refused_status(order, &refused.why, past.position)),
        (_, Some(order::Event::Expired(_) | order::Event::Cancelled(_))) => {
            let message = format!("order {order} had ended before its stock was held");
            let metadata = [("order_id", order.to_string()), ("situation", past.state.situation().name().to_owned())];
            Err(status(Reason::OrderNotPayable, message, metadata))
        }
        _ => Err(pending(order)),
    }
}

/// How many events an order has when everything is held: placed, reserved, and the coupon held.
const fn decided_at(placed: &Placed) -> u64 {
    if placed.coupon.is_some() { 3 } else { 2 }
}

fn undecided(past: &Past<Order>) -> bool {
    matches!(past.state.situation(), Situation::Absent | Situation::Placed | Situation::Reserved)
}

fn response(order: OrderId, placed: &Placed, revision: u64, position: u64) -> v1::ProcessOrderResponse {
    v1::ProcessOrderResponse {
        order_id: order.to_string(),
        state: v1::OrderState::Reserved.into(),
        total: Some(convert::to_money(placed.total)),
        lines: placed.lines.iter().map(show::line).collect(),
        expire_time: Some(convert::to_moment(placed.expires_at)),
        etag: envelope::etag(revision),
        position,
    }
}

fn refused_status(order: OrderId, why: &Refusal, position: u64) -> Status {
    let (reason, message, facts) = match why {
        Refusal::OutOfStock { sku, requested, available } => (
            Reason::OutOfStock,
            format!("{available} of {sku} can be had, not {requested}"),
            vec![("sku", sku.to_string()), ("requested", requested.to_string()), ("available", available.to_string())],
        ),
        Refusal::NotKept { sku } => {
            (Reason::OutOfStock, format!("{sku} is not kept in stock"), vec![("sku", sku.to_string())])
        }
        Refusal::Coupon { detail } => (Reason::CouponNotUsable, detail.clone(), vec![]),
    };
    let order = [("order_id", order.to_string()), ("position", position.to_string())];
    status(reason, message, facts.into_iter().chain(order))
}

//! Placing an order: freeze the facts, write it down, drive it until its stock is held or refused.
//!
//! From `order.placed` on the order lives by itself. If this call ends early (a crash, a deadline, a caller that
//! hangs up), the process runner reserves or refuses in its place, and the same request sent again hears what
//! came of it. The answer is therefore read off the order's stream, at the event that decided it: it is the
//! same answer whenever it is asked for.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use commands::{desk::Error, steps::Until};
use domain::{
    coupon::Terms,
    decider::Decider as _,
    ids::{CampaignId, ClaimId, MemberId, OrderId, PaymentId, ProductId, Region, Sku},
    money::{Currency, Money},
    order::{self, Command, Coupon, Order, Place, Placed, Refusal, Situation, Wanted},
    payment,
    stock::UNITS_MAX,
};
use futures::future::try_join_all;
use proto::v1;
use tokio::time::Instant;
use tonic::Status;
use uuid::Uuid;

use super::{rejected, show};
use crate::{
    auth::Caller,
    error::{Reason, invalid, missing, status},
    services::{
        Context, address, convert, coupon,
        envelope::{self, Asked},
        past::Past,
        refusal,
    },
};

/// How long before the deadline no further attempt is begun, so that the answer still arrives.
const MARGIN: Duration = Duration::from_millis(100);
/// How long to wait before a drive that failed is tried again.
const AGAIN_AFTER: Duration = Duration::from_millis(20);

/// A line as it was asked for; lines of the same goods at the same price are one.
struct Wish {
    product: ProductId,
    sku: Sku,
    quantity: u32,
    /// An operator's price.
    negotiated: Option<Money>,
    /// Which line of the request it was first asked for in.
    line: usize,
}

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
    let refused = match facts(context, buyer, &wishes, coupon).await {
        Ok((lines, coupon)) => {
            (place.lines, place.coupon) = (lines, coupon);
            None
        }
        // Goods may have gone since the order was placed, and this may be a retry: an order without lines is
        // refused by its rules unless the same request has placed one before.
        Err(status) => Some(status),
    };
    match (context.shop.order.execute(&order, Command::Place(Box::new(place)), request).await, refused) {
        (Ok(_), _) => {}
        (Err(Error::Rejected(order::Rejection::NoLines)), Some(status)) => return Err(status),
        (Err(error), _) => {
            return Err(refusal::of(error, |why| rejected(&why, order, Reason::OrderNotPayable)));
        }
    }
    drive(context, order, deadline).await?;
    answer(context, order).await
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

fn wishes(caller: &Caller, lines: &[v1::ProcessOrderLine], max: usize) -> Result<Vec<Wish>, Status> {
    if lines.is_empty() {
        return Err(missing("lines"));
    }
    if lines.len() > max {
        let message = format!("an order may have {max} lines, not {}", lines.len());
        return Err(status(Reason::TooManyLines, message, [("order_lines_max", max.to_string())]));
    }
    let mut wishes: Vec<Wish> = Vec::with_capacity(lines.len());
    let mut known: BTreeMap<(Sku, ProductId, Option<(Currency, i64)>), usize> = BTreeMap::new();
    for (n, line) in lines.iter().enumerate() {
        let product: ProductId = convert::id(format_args!("lines[{n}].product_id"), &line.product_id)?;
        let sku: Sku = convert::id(format_args!("lines[{n}].sku"), &line.sku)?;
        if !(1..=UNITS_MAX).contains(&line.quantity) {
            return Err(invalid(&format!("lines[{n}].quantity"), format!("must be between 1 and {UNITS_MAX}")));
        }
        let negotiated = convert::optional_money(format_args!("lines[{n}].unit_price"), line.unit_price.as_ref())?;
        if let Some(price) = negotiated {
            caller.may_set("unit_price", v1::Role::Operator)?;
            if price.amount < 0 {
                return Err(invalid(&format!("lines[{n}].unit_price"), "must not be negative"));
            }
        }
        let key = (sku.clone(), product.clone(), negotiated.map(|price| (price.currency, price.amount)));
        match known.get(&key) {
            Some(&at) => {
                let sum = wishes[at].quantity.saturating_add(line.quantity);
                if sum > UNITS_MAX {
                    let why = format!("adds up to more than {UNITS_MAX} units of {sku}");
                    return Err(invalid(&format!("lines[{n}].quantity"), why));
                }
                wishes[at].quantity = sum;
            }
            None => {
                known.insert(key, wishes.len());
                wishes.push(Wish { product, sku, quantity: line.quantity, negotiated, line: n });
            }
        }
    }
    Ok(wishes)
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

fn wanted_coupon(coupon: Option<&v1::OrderCoupon>) -> Result<Option<(CampaignId, ClaimId)>, Status> {
    let Some(coupon) = coupon else { return Ok(None) };
    let campaign = convert::id("coupon.campaign_id", &coupon.campaign_id)?;
    Ok(Some((campaign, convert::id("coupon.claim_id", &coupon.claim_id)?)))
}

type Facts = (Vec<Wanted>, Option<(Coupon, Terms)>);

/// What the catalogue and the campaign say now: asked at once, each product once.
async fn facts(
    context: &Context,
    buyer: MemberId,
    wishes: &[Wish],
    coupon: Option<(CampaignId, ClaimId)>,
) -> Result<Facts, Status> {
    let mut by_product: BTreeMap<&ProductId, Vec<(usize, Sku)>> = BTreeMap::new();
    for (n, wish) in wishes.iter().enumerate() {
        by_product.entry(&wish.product).or_default().push((n, wish.sku.clone()));
    }
    let products = try_join_all(by_product.into_iter().map(|(product, skus)| offers(context, product, skus, wishes)));
    let terms = async {
        match coupon {
            Some((campaign, claim)) => coupon::terms(context, campaign, claim, buyer).await.map(Some),
            None => Ok(None),
        }
    };
    let (products, terms) = tokio::join!(products, terms);
    let mut lines: Vec<(usize, Wanted)> = products?.into_iter().flatten().collect();
    lines.sort_unstable_by_key(|(n, _)| *n);
    let coupon = coupon.zip(terms?).map(|((campaign, claim), terms)| (Coupon { campaign, claim }, terms));
    Ok((lines.into_iter().map(|(_, line)| line).collect(), coupon))
}

/// The frozen facts of all lines of one product.
async fn offers(
    context: &Context,
    product: &ProductId,
    skus: Vec<(usize, Sku)>,
    wishes: &[Wish],
) -> Result<Vec<(usize, Wanted)>, Status> {
    let id = product.clone();
    let looked = context.shop.product.inspect(product, move |seen| {
        let listed = seen.state.contents().map(|_| seen.state.is_listed());
        let lines = skus.into_iter().map(|(n, sku)| {
            let wanted = seen.state.offer(&sku).map(|offer| Wanted {
                product: id.clone(),
                name: Arc::from(offer.name),
                category: offer.category.cloned(),
                seller: offer.seller.clone(),
                unit_price: offer.price,
                quantity: 0,
                sku,
            });
            (n, wanted)
        });
        (listed, lines.collect::<Vec<_>>())
    });
    let (listed, lines) = looked.await.map_err(|error| {
        refusal::of(error, |why| refusal::internal("a product cannot be looked at", &why))
    })?;
    let known = lines.into_iter().map(|(n, wanted)| {
        let wish = &wishes[n];
        let wanted = wanted.ok_or_else(|| not_offered(wish, listed))?;
        let unit_price = wish.negotiated.unwrap_or(wanted.unit_price);
        Ok((n, Wanted { unit_price, quantity: wish.quantity, ..wanted }))
    });
    known.collect()
}

fn not_offered(wish: &Wish, listed: Option<bool>) -> Status {
    let (product, sku, line) = (&wish.product, &wish.sku, wish.line);
    let (reason, message) = match listed {
        None => (Reason::ProductNotFound, format!("lines[{line}]: there is no product {product}")),
        Some(false) => (Reason::ProductDelisted, format!("lines[{line}]: {product} is withdrawn")),
        Some(true) => (Reason::SkuNotFound, format!("lines[{line}]: {product} has no SKU {sku}")),
    };
    let line = ("line", line.to_string());
    status(reason, message, [line, ("product_id", product.to_string()), ("sku", sku.to_string())])
}

/// Reserves, or lets it be refused. What cannot be done now is tried again while there is time.
async fn drive(context: &Context, order: OrderId, deadline: Instant) -> Result<(), Status> {
    let until = deadline.checked_sub(MARGIN).unwrap_or(deadline);
    loop {
        let driven = tokio::time::timeout_at(until, context.steps.drive_order(order, Until::Reserved)).await;
        match driven {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(failure)) => tracing::debug!(%failure, %order, "a step will be tried again"),
            Err(_elapsed) => return Err(pending(order)),
        }
        if Instant::now() + AGAIN_AFTER >= until {
            return Err(pending(order));
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

fn pending(order: OrderId) -> Status {
    let message = format!("order {order} is placed; whether its stock is held is not known yet");
    status(Reason::OrderPending, message, [("order_id", order.to_string())])
}

/// What the order came to when its stock was held or refused, whatever has happened to it since.
async fn answer(context: &Context, order: OrderId) -> Result<v1::ProcessOrderResponse, Status> {
    let look = move |seen: commands::desk::Seen<'_, Order>| match (seen.state.situation(), seen.state.placed()) {
        (Situation::Unpaid, Some(placed)) if seen.revision == decided_at(placed) => {
            Some(response(order, placed, seen.revision, seen.position.0))
        }
        _ => None,
    };
    let looked = context.shop.order.inspect(&order, look).await;
    if let Some(response) = looked.map_err(|error| refusal::of(error, |why| refusal::unexpected(&why)))? {
        return Ok(response);
    }
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
            vec![
                ("sku", sku.to_string()),
                ("requested", requested.to_string()),
                ("available", available.to_string()),
            ],
        ),
        Refusal::NotKept { sku } => {
            (Reason::OutOfStock, format!("{sku} is not kept in stock"), vec![("sku", sku.to_string())])
        }
        Refusal::Coupon { detail } => (Reason::CouponNotUsable, detail.clone(), vec![]),
    };
    let order = [("order_id", order.to_string()), ("position", position.to_string())];
    status(reason, message, facts.into_iter().chain(order))
}

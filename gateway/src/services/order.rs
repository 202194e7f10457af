//! Orders: place, show, list, cancel, follow.
//!
//! Somebody else's order is answered like one that does not exist: whether it does is nobody's business.

mod facts;
mod place;
mod show;

use std::sync::Arc;

use domain::{
    ids::{MemberId, OrderId},
    order::{Command, Rejection},
};
use projections::views::{deliveries, orders as view};
use proto::v1::{self, OrderState, order_service_server::OrderService};
use tonic::{Request, Response, Status};

use super::{
    Context, convert,
    envelope::{self, Asked},
    refusal,
    views::{Listing, unread},
    watch::{self, Answers, Look},
};
use crate::{
    auth::{Caller, caller},
    error::{Reason, invalid, missing, status},
};

pub(super) use place::method;

pub(super) struct Orders(pub(super) Arc<Context>);

#[tonic::async_trait]
impl OrderService for Orders {
    async fn process_order(
        &self,
        request: Request<v1::ProcessOrderRequest>,
    ) -> Result<Response<v1::ProcessOrderResponse>, Status> {
        let asked = envelope::open(&self.0, request)?;
        place::place(&self.0, asked).await.map(Response::new)
    }

    async fn get_order(&self, request: Request<v1::GetOrderRequest>) -> Result<Response<v1::Order>, Status> {
        let (caller, deadline) = (caller(&request), envelope::deadline(&self.0, &request));
        let asked = request.into_inner();
        let id: OrderId = convert::id("order_id", &asked.order_id)?;
        self.0.views.reached::<view::Orders>(asked.min_position, deadline).await?;
        look(&self.0, &caller, id).await.map(Response::new)
    }

    async fn list_orders(
        &self,
        request: Request<v1::ListOrdersRequest>,
    ) -> Result<Response<v1::ListOrdersResponse>, Status> {
        let (caller, deadline) = (caller(&request), envelope::deadline(&self.0, &request));
        let asked = request.into_inner();
        list(&self.0, &caller, deadline, asked).await.map(Response::new)
    }

    async fn cancel_order(
        &self,
        request: Request<v1::CancelOrderRequest>,
    ) -> Result<Response<v1::CancelOrderResponse>, Status> {
        let asked = envelope::open(&self.0, request)?;
        cancel(&self.0, asked).await.map(Response::new)
    }

    type WatchOrderStream = Answers<v1::WatchOrderResponse>;

    async fn watch_order(
        &self,
        request: Request<v1::WatchOrderRequest>,
    ) -> Result<Response<Self::WatchOrderStream>, Status> {
        let (caller, deadline) = (caller(&request), envelope::deadline(&self.0, &request));
        let asked = request.into_inner();
        let id: OrderId = convert::id("order_id", &asked.order_id)?;
        self.0.views.reached::<view::Orders>(asked.min_position, deadline).await?;
        // An order that is not there, or not theirs, is refused before the stream begins.
        look(&self.0, &caller, id).await?;
        let shared = Arc::clone(&self.0);
        let follow = watch::follow::<view::Orders, _, _, _>(Arc::clone(&self.0), move |position| {
            let context = Arc::clone(&shared);
            async move {
                let order = look(&context, &caller, id).await?;
                // The delivery's own steps do not change the order's revision, only how far it is.
                let etag = format!("{} {}", order.etag, order.state);
                let last = show::is_final(order.state());
                Ok(Look { message: v1::WatchOrderResponse { order: Some(order), position }, etag, last })
            }
        });
        Ok(Response::new(follow))
    }
}

/// The order as this caller may see it.
async fn look(context: &Context, caller: &Caller, id: OrderId) -> Result<v1::Order, Status> {
    let row = context.views.orders.get(&id).await.map_err(|error| unread(&error))?;
    let row = row.filter(|row| caller.may_reach(row.buyer).is_ok()).ok_or_else(|| not_found(id))?;
    let delivery = match row.delivery {
        Some(delivery) => context.views.deliveries.get(&delivery).await.map_err(|error| unread(&error))?,
        None => None,
    };
    let mut order = show::full(&row, delivery.as_ref());
    if caller.may_read(row.buyer) {
        order.ship_to = context.open_address(row.ship_to.as_ref()).await?;
    }
    if let Some(view::Ended::Cancelled(words)) = &row.ended {
        show::why_cancelled(&mut order, &context.words(caller, row.buyer, words.as_ref()).await?);
    }
    Ok(order)
}

async fn list(
    context: &Context,
    caller: &Caller,
    deadline: tokio::time::Instant,
    asked: v1::ListOrdersRequest,
) -> Result<v1::ListOrdersResponse, Status> {
    let mut buyer: Option<MemberId> = convert::optional_id("buyer_id", &asked.buyer_id)?;
    match buyer {
        Some(buyer) => caller.may_reach(buyer)?,
        None if caller.own_only => buyer = Some(caller.member),
        None => {}
    }
    let states: Vec<OrderState> = asked.states().collect();
    if states.contains(&OrderState::Unspecified) {
        return Err(invalid("states", "hold a state that no order has"));
    }
    context.views.reached::<view::Orders>(asked.min_position, deadline).await?;
    let query = match (buyer, show::stored(&states)) {
        (Some(buyer), _) => view::of_buyer(buyer),
        (None, Some(state)) => view::in_state(state),
        (None, None) => view::newest(),
    };
    let whose = buyer.map(|buyer| buyer.to_string()).unwrap_or_default();
    let wanted: Vec<String> = states.iter().map(|state| i32::from(*state).to_string()).collect();
    let listing = Listing {
        query: &["ListOrders", &whose, &wanted.join(",")],
        page_size: asked.page_size,
        page_token: &asked.page_token,
    };
    let keep = |row: &view::Order| states.is_empty() || show::may_be_in(row, &states);
    let (rows, next_page_token) = context.page(&context.views.orders, &query, listing, keep).await?;
    let orders = with_deliveries(context, &rows).await?;
    // How far a delivery is says its own row; what the filter let through on suspicion is checked here.
    let orders = orders.into_iter().filter(|order| states.is_empty() || states.contains(&order.state()));
    Ok(v1::ListOrdersResponse { orders: orders.collect(), next_page_token })
}

async fn with_deliveries(context: &Context, rows: &[view::Order]) -> Result<Vec<v1::Order>, Status> {
    let ids: Vec<_> = rows.iter().filter_map(|row| row.delivery).collect();
    let found = context.views.deliveries.get_many(&ids).await.map_err(|error| unread(&error))?;
    let found: std::collections::HashMap<_, deliveries::Delivery> =
        found.into_iter().flatten().map(|delivery| (delivery.delivery, delivery)).collect();
    let order = |row: &view::Order| show::brief(row, row.delivery.and_then(|delivery| found.get(&delivery)));
    Ok(rows.iter().map(order).collect())
}

async fn cancel(context: &Context, asked: Asked<v1::CancelOrderRequest>) -> Result<v1::CancelOrderResponse, Status> {
    let Asked { caller, request, body, .. } = asked;
    let id: OrderId = convert::id("order_id", &body.order_id)?;
    let why = convert::reason(&body.reason)?;
    reach(context, &caller, id).await?;
    let outcome = context.shop.order.execute(&id, Command::Cancel { why }, request).await;
    let outcome = outcome.map_err(|error| refusal::of(error, |why| rejected(&why, id, Reason::OrderNotCancellable)))?;
    Ok(v1::CancelOrderResponse {
        order_id: id.to_string(),
        state: OrderState::Cancelled.into(),
        etag: envelope::etag(outcome.revision),
        position: outcome.position.0,
    })
}

/// Passes when the order exists and the caller may reach it, and answers who bought it.
pub(super) async fn reach(context: &Context, caller: &Caller, id: OrderId) -> Result<MemberId, Status> {
    let buyer = context.shop.order.inspect(&id, |seen| seen.state.placed().map(|placed| placed.buyer)).await;
    let buyer = buyer.map_err(|error| refusal::of(error, |why| rejected(&why, id, Reason::Internal)))?;
    buyer.filter(|buyer| caller.may_reach(*buyer).is_ok()).ok_or_else(|| not_found(id))
}

pub(super) fn not_found(id: OrderId) -> Status {
    status(Reason::OrderNotFound, format!("there is no order {id}"), [("order_id", id.to_string())])
}

/// What a rejection means outside; `not_now` is the reason when the order is too far, or not far enough.
pub(super) fn rejected(why: &Rejection, id: OrderId, not_now: Reason) -> Status {
    let say = |reason, metadata: &[(&'static str, String)]| {
        let order = std::iter::once(("order_id", id.to_string()));
        status(reason, why.to_string(), order.chain(metadata.iter().cloned()))
    };
    match why {
        Rejection::Unknown => not_found(id),
        Rejection::AlreadyPlaced => say(Reason::RequestIdReused, &[]),
        Rejection::NoLines => missing("lines"),
        Rejection::TooManyLines { .. } => {
            say(Reason::TooManyLines, &[("order_lines_max", domain::order::LINES_MAX.to_string())])
        }
        Rejection::Quantity { .. } | Rejection::Price { .. } => invalid("lines", format!("cannot be so: {why}")),
        Rejection::Money(error) => refusal::of_money(error, "lines"),
        Rejection::PriceChanged { expected, actual } => {
            say(Reason::PriceChanged, &[("expected_total", expected.to_string()), ("total", actual.to_string())])
        }
        Rejection::Coupon { .. } => say(Reason::CouponNotUsable, &[]),
        Rejection::Expired | Rejection::PaidAlready | Rejection::WrongAmount { .. } => say(not_now, &[]),
        Rejection::NotNow { situation, .. } => say(not_now, &[("situation", (*situation).to_owned())]),
        Rejection::AlreadyPaying { payment } => say(Reason::PaymentInProgress, &[("payment_id", payment.to_string())]),
        Rejection::NothingToReturn { sku, requested, remaining } => say(
            Reason::ReturnExceedsOrder,
            &[("sku", sku.to_string()), ("requested", requested.to_string()), ("returnable", remaining.to_string())],
        ),
    }
}

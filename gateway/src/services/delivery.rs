//! Deliveries: what carriers report, and where the goods are.

use std::sync::Arc;

use domain::{
    delivery::{Command, Rejection, Situation, State},
    ids::{DeliveryId, OrderId},
    order::{self, Order},
};
use projections::views::deliveries as view;
use proto::v1::{
    self, DeliveryAction, DeliveryState, delivery_service_server::DeliveryService, process_delivery_request::Target,
};
use tonic::{Request, Response, Status};

use super::{
    Context, convert,
    envelope::{self, Asked},
    order as orders, refusal,
    views::unread,
};
use crate::{
    auth::caller,
    error::{Reason, missing, status},
};

pub(super) struct Deliveries(pub(super) Arc<Context>);

#[tonic::async_trait]
impl DeliveryService for Deliveries {
    async fn process_delivery(
        &self,
        request: Request<v1::ProcessDeliveryRequest>,
    ) -> Result<Response<v1::ProcessDeliveryResponse>, Status> {
        let asked = envelope::open(&self.0, request)?;
        process(&self.0, asked).await.map(Response::new)
    }

    async fn get_delivery(&self, request: Request<v1::GetDeliveryRequest>) -> Result<Response<v1::Delivery>, Status> {
        let (caller, deadline) = (caller(&request), envelope::deadline(&self.0, &request));
        let asked = request.into_inner();
        let id: DeliveryId = convert::id("delivery_id", &asked.delivery_id)?;
        self.0.views.reached::<view::Deliveries>(asked.min_position, deadline).await?;
        let row = self.0.views.deliveries.get(&id).await.map_err(|error| unread(&error))?;
        let row = row.ok_or_else(|| not_found(id))?;
        // Only the order knows whose goods these are.
        let order = self.0.views.orders.get(&row.order).await.map_err(|error| unread(&error))?;
        let buyer = order.map(|order| order.buyer).filter(|buyer| caller.may_reach(*buyer).is_ok());
        let buyer = buyer.ok_or_else(|| not_found(id))?;
        let ship_to = self.0.open_address(row.address.as_ref()).await?;
        Ok(Response::new(v1::Delivery { ship_to, ..shown(&row, buyer.to_string()) }))
    }
}

async fn process(
    context: &Context,
    asked: Asked<v1::ProcessDeliveryRequest>,
) -> Result<v1::ProcessDeliveryResponse, Status> {
    let Asked { request, body, .. } = asked;
    let at = request.occurred_at;
    let reason = convert::reason(&body.reason)?;
    let (command, reached) = match body.action() {
        DeliveryAction::Dispatch => (Command::RecordDispatched { at }, DeliveryState::Dispatched),
        DeliveryAction::Deliver => (Command::RecordDelivered { at }, DeliveryState::Delivered),
        DeliveryAction::Fail => (Command::RecordFailed { reason, at }, DeliveryState::Failed),
        DeliveryAction::Unspecified => return Err(missing("action")),
    };
    let id = match &body.target {
        Some(Target::DeliveryId(id)) => convert::id("delivery_id", id)?,
        Some(Target::OrderId(order)) => of_order(context, convert::id("order_id", order)?).await?,
        None => return Err(missing("delivery_id or order_id")),
    };
    let outcome = context.shop.delivery.execute(&id, command, request).await;
    let outcome = outcome.map_err(|error| refusal::of(error, |why| rejected(&why, id)))?;
    let look = |state: &State| state.details().map(|details| (details.order, state_of(&details.situation)));
    let Some((order, now)) = context.after(&context.shop.delivery, &id, &outcome, None, look).await? else {
        return Err(not_found(id));
    };
    if outcome.events.is_empty() && !fits(now, reached) {
        let message = format!("delivery {id} has already ended as {}", now.as_str_name());
        return Err(status(Reason::DeliveryFinished, message, [("delivery_id", id.to_string())]));
    }
    Ok(v1::ProcessDeliveryResponse {
        delivery_id: id.to_string(),
        order_id: order.to_string(),
        state: now.into(),
        etag: envelope::etag(outcome.revision),
        position: outcome.position.0,
    })
}

/// Whether a delivery in `now` has come past `reported`, so that the report says nothing new.
fn fits(now: DeliveryState, reported: DeliveryState) -> bool {
    now == reported || (now == DeliveryState::Delivered && reported == DeliveryState::Dispatched)
}

/// The newest delivery of an order. An order that is delivered remembers it in its log only.
async fn of_order(context: &Context, order: OrderId) -> Result<DeliveryId, Status> {
    let mut newest = None;
    let past = context
        .past::<Order>(&order, |past| {
            if let Some(order::Event::DeliveryRequested(requested)) = &past.last {
                newest = Some(requested.delivery);
            }
            false
        })
        .await?;
    if past.state.placed().is_none() {
        return Err(orders::not_found(order));
    }
    newest.ok_or_else(|| {
        let message = format!("order {order} has no delivery yet");
        let metadata = [("order_id", order.to_string()), ("situation", past.state.situation().name().to_owned())];
        status(Reason::DeliveryNotReady, message, metadata)
    })
}

const fn state_of(situation: &Situation) -> DeliveryState {
    match situation {
        Situation::Requested => DeliveryState::Requested,
        Situation::Booked => DeliveryState::Booked,
        Situation::Dispatched => DeliveryState::Dispatched,
        Situation::Delivered { .. } => DeliveryState::Delivered,
        Situation::Failed { .. } => DeliveryState::Failed,
    }
}

fn shown(row: &view::Delivery, buyer_id: String) -> v1::Delivery {
    let (state, reason) = match &row.state {
        view::State::Requested => (DeliveryState::Requested, ""),
        view::State::Booked => (DeliveryState::Booked, ""),
        view::State::Dispatched => (DeliveryState::Dispatched, ""),
        view::State::Delivered => (DeliveryState::Delivered, ""),
        view::State::Failed { reason } => (DeliveryState::Failed, reason.as_str()),
    };
    let changed = row.ended_at.or(row.dispatched_at).unwrap_or(row.requested_at);
    v1::Delivery {
        delivery_id: row.delivery.to_string(),
        order_id: row.order.to_string(),
        buyer_id,
        state: state.into(),
        tracking_number: row.tracking.clone().unwrap_or_default(),
        ship_to: None,
        reason: reason.to_owned(),
        create_time: Some(convert::to_moment(row.requested_at)),
        update_time: Some(convert::to_moment(changed)),
        etag: envelope::row_etag(row.revision),
    }
}

fn not_found(id: DeliveryId) -> Status {
    status(Reason::DeliveryNotFound, format!("there is no delivery {id}"), [("delivery_id", id.to_string())])
}

/// What a rejection means outside.
fn rejected(why: &Rejection, id: DeliveryId) -> Status {
    match why {
        Rejection::NotRequested => not_found(id),
        Rejection::AlreadyRequested { .. }
        | Rejection::NoUnits
        | Rejection::AddressTooLong { .. }
        | Rejection::InvalidTracking { .. } => refusal::unexpected(why),
    }
}

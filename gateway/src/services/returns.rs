//! Returns: goods come back, and so does the money.

use std::{collections::BTreeSet, sync::Arc};

use commands::steps::Until;
use domain::{
    ids::{OrderId, ReturnId, Sku, WarehouseId},
    order::{self, ReturnWish},
    returns::{Command, Line, Rejection, Return, State},
};
use projections::views::returns as view;
use proto::v1::{self, ReturnState, return_service_server::ReturnService};
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

pub(super) struct Returns(pub(super) Arc<Context>);

#[tonic::async_trait]
impl ReturnService for Returns {
    async fn request_return(
        &self,
        request: Request<v1::RequestReturnRequest>,
    ) -> Result<Response<v1::RequestReturnResponse>, Status> {
        let asked = envelope::open(&self.0, request)?;
        open(&self.0, asked).await.map(Response::new)
    }

    async fn receive_return(
        &self,
        request: Request<v1::ReceiveReturnRequest>,
    ) -> Result<Response<v1::ReceiveReturnResponse>, Status> {
        let asked = envelope::open(&self.0, request)?;
        let id: ReturnId = convert::id("return_id", &asked.body.return_id)?;
        let warehouse: WarehouseId = convert::id("warehouse_id", &asked.body.warehouse_id)?;
        let outcome = self.0.shop.returns.execute(&id, Command::Receive { warehouse }, asked.request).await;
        let outcome = outcome.map_err(|error| refusal::of(error, |why| rejected(&why, id)))?;
        let state = self.0.after(&self.0.shop.returns, &id, &outcome, None, state_of).await?;
        Ok(Response::new(v1::ReceiveReturnResponse {
            return_id: id.to_string(),
            state: state.into(),
            etag: envelope::etag(outcome.revision),
            position: outcome.position.0,
        }))
    }

    async fn get_return(&self, request: Request<v1::GetReturnRequest>) -> Result<Response<v1::Return>, Status> {
        let (caller, deadline) = (caller(&request), envelope::deadline(&self.0, &request));
        let asked = request.into_inner();
        let id: ReturnId = convert::id("return_id", &asked.return_id)?;
        self.0.views.reached::<view::Returns>(asked.min_position, deadline).await?;
        let row = self.0.views.returns.get(&id).await.map_err(|error| unread(&error))?;
        let row = row.filter(|row| caller.may_reach(row.buyer).is_ok()).ok_or_else(|| not_found(id))?;
        let reason = self.0.words(&caller, row.buyer, row.reason.as_ref()).await?;
        Ok(Response::new(v1::Return { reason, ..shown(&row) }))
    }
}

async fn open(context: &Context, asked: Asked<v1::RequestReturnRequest>) -> Result<v1::RequestReturnResponse, Status> {
    let id = envelope::derived(&asked, ReturnId::derived);
    let Asked { caller, request, backdated, body, .. } = asked;
    let order: OrderId = convert::id("order_id", &body.order_id)?;
    let why = convert::reason(&body.reason)?;
    let wishes = wishes(&body.lines, context.limits.order_lines_max)?;
    orders::reach(context, &caller, order).await?;
    let command = order::Command::OpenReturn { return_id: id, wishes, why, backdated };
    let outcome = context.shop.order.execute(&order, command, request).await;
    let outcome =
        outcome.map_err(|error| refusal::of(error, |why| orders::rejected(&why, order, Reason::OrderNotReturnable)))?;
    let opened = outcome.events.iter().find_map(|event| match event {
        order::Event::ReturnOpened(opened) => Some(opened.refund),
        _ => None,
    });
    let refund = opened.ok_or_else(|| refusal::internal("a return left no trace", &id))?;
    if let Err(failure) = context.steps.drive_order(order, Until::Settled).await {
        // The order knows of it: the process runner opens it as soon as it can.
        tracing::debug!(%failure, return_id = %id, "a return will be opened by the process runner");
    }
    let begun = context.past::<Return>(&id, |past| past.revision == 1).await?;
    Ok(v1::RequestReturnResponse {
        return_id: id.to_string(),
        order_id: order.to_string(),
        state: ReturnState::Requested.into(),
        refund: Some(convert::to_money(refund)),
        etag: envelope::etag(1),
        position: begun.position.max(outcome.position.0),
    })
}

fn wishes(lines: &[v1::ReturnLine], max: usize) -> Result<Vec<ReturnWish>, Status> {
    if lines.is_empty() {
        return Err(missing("lines"));
    }
    if lines.len() > max {
        let message = format!("a return may have {max} lines, not {}", lines.len());
        return Err(status(Reason::TooManyLines, message, [("order_lines_max", max.to_string())]));
    }
    let mut known = BTreeSet::new();
    let wishes = lines.iter().enumerate().map(|(n, line)| {
        let sku: Sku = convert::id(format_args!("lines[{n}].sku"), &line.sku)?;
        if line.quantity == 0 {
            return Err(invalid(&format!("lines[{n}].quantity"), "must be at least 1"));
        }
        let unit_price = convert::optional_money(format_args!("lines[{n}].unit_price"), line.unit_price.as_ref())?;
        if !known.insert((sku.clone(), unit_price.map(|price| (price.currency, price.amount)))) {
            return Err(invalid(&format!("lines[{n}].sku"), "is given twice"));
        }
        Ok(ReturnWish { sku, quantity: line.quantity, unit_price })
    });
    wishes.collect()
}

const fn state_of(state: &State) -> ReturnState {
    match state {
        State::Unrequested => ReturnState::Unspecified,
        State::Requested(_) => ReturnState::Requested,
        State::Received(..) => ReturnState::Received,
        State::Completed(..) => ReturnState::Completed,
    }
}

/// The return without what was said about it, which is sealed.
fn shown(row: &view::Return) -> v1::Return {
    let state = match row.state {
        view::State::Requested => ReturnState::Requested,
        view::State::Received => ReturnState::Received,
        view::State::Completed => ReturnState::Completed,
    };
    let lines = row.lines.iter();
    let line = |line: &Line| v1::ReturnLine { sku: line.sku.to_string(), quantity: line.quantity, unit_price: None };
    v1::Return {
        return_id: row.return_id.to_string(),
        order_id: row.order.to_string(),
        buyer_id: row.buyer.to_string(),
        state: state.into(),
        lines: lines.map(line).collect(),
        refund: Some(convert::to_money(row.refund)),
        reason: String::new(),
        warehouse_id: row.warehouse.as_ref().map(ToString::to_string).unwrap_or_default(),
        create_time: Some(convert::to_moment(row.requested_at)),
        update_time: Some(convert::to_moment(row.completed_at.unwrap_or(row.requested_at))),
        etag: envelope::row_etag(row.revision),
    }
}

fn not_found(id: ReturnId) -> Status {
    status(Reason::ReturnNotFound, format!("there is no return {id}"), [("return_id", id.to_string())])
}

/// What a rejection means outside.
fn rejected(why: &Rejection, id: ReturnId) -> Status {
    match why {
        Rejection::NotRequested => not_found(id),
        Rejection::AlreadyReceived { warehouse } => {
            let metadata = [("return_id", id.to_string()), ("warehouse_id", warehouse.to_string())];
            status(Reason::ReturnFinished, why.to_string(), metadata)
        }
        Rejection::AlreadyRequested { .. }
        | Rejection::NoLines
        | Rejection::TooManyLines { .. }
        | Rejection::InvalidQuantity { .. }
        | Rejection::InvalidAmount { .. }
        | Rejection::RefundMismatch { .. }
        | Rejection::Money(_)
        | Rejection::ReasonTooLong { .. }
        | Rejection::NotReceived => refusal::unexpected(why),
    }
}

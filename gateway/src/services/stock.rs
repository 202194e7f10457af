//! Stock: receive, count, show, follow. The calls are CatalogService's; see [`super::catalog`].

use std::sync::Arc;

use domain::{
    ids::{ProductId, Sku, WarehouseId},
    stock::{Command, Rejection, State},
};
use projections::{reader::Query, views::stock as view};
use proto::v1::{self, change_inventory_count_request::Change};
use tonic::Status;

use super::{
    Context, convert,
    envelope::{self, Asked},
    refusal,
    views::{Listing, unread},
    watch::{self, Answers, Look},
};
use crate::error::{Reason, invalid, missing, status};

pub(super) async fn change(
    context: &Context,
    asked: Asked<v1::ChangeInventoryCountRequest>,
) -> Result<v1::ChangeInventoryCountResponse, Status> {
    let Asked { caller, request, body, .. } = asked;
    let sku: Sku = convert::id("sku", &body.sku)?;
    let warehouse: WarehouseId = convert::id("warehouse_id", &body.warehouse_id)?;
    let (field, command) = match body.change {
        Some(Change::Receive(quantity)) => ("receive", Command::Receive { warehouse, quantity }),
        Some(Change::Count(on_hand)) => ("count", Command::Count { warehouse, on_hand }),
        None => return Err(missing("receive or count")),
    };
    if caller.own_only {
        let product = context.shop.stock.inspect(&sku, |seen| seen.state.product().cloned()).await;
        let product = product.map_err(|error| refusal::of(error, |why| rejected(&why, &sku, field)))?;
        let product = product.ok_or_else(|| rejected(&Rejection::NotKept, &sku, field))?;
        super::catalog::own(context, &caller, &product).await?;
    }
    let done = context.shop.stock.execute_and_keep(&sku, command, request, levels).await;
    let (outcome, kept) = done.map_err(|error| refusal::of(error, |why| rejected(&why, &sku, field)))?;
    let levels = context.after(&context.shop.stock, &sku, &outcome, kept, levels).await?;
    let stock = levels.message(&sku, envelope::etag(outcome.revision));
    Ok(v1::ChangeInventoryCountResponse { stock: Some(stock), position: outcome.position.0 })
}

/// What a state of the desk can say about levels. Units that have left the shelf are the view's to count.
struct Levels {
    product: Option<ProductId>,
    warehouses: Vec<v1::WarehouseStock>,
}

fn levels(state: &State) -> Levels {
    let warehouses = state.levels().map(|(warehouse, on_hand, reserved)| v1::WarehouseStock {
        warehouse_id: warehouse.to_string(),
        on_hand,
        reserved,
        claimed: 0,
        available: on_hand.saturating_sub(reserved),
    });
    Levels { product: state.product().cloned(), warehouses: warehouses.collect() }
}

impl Levels {
    fn message(self, sku: &Sku, etag: String) -> v1::Stock {
        let product = self.product.map(|product| product.to_string()).unwrap_or_default();
        message(sku, product, self.warehouses, etag)
    }
}

/// The message, with the sums over the warehouses in it.
fn message(sku: &Sku, product_id: String, warehouses: Vec<v1::WarehouseStock>, etag: String) -> v1::Stock {
    let sum = |units: fn(&v1::WarehouseStock) -> u32| {
        warehouses.iter().fold(0_u32, |sum, warehouse| sum.saturating_add(units(warehouse)))
    };
    v1::Stock {
        sku: sku.to_string(),
        product_id,
        on_hand: sum(|warehouse| warehouse.on_hand),
        reserved: sum(|warehouse| warehouse.reserved),
        claimed: sum(|warehouse| warehouse.claimed),
        available: sum(|warehouse| warehouse.available),
        warehouses,
        etag,
    }
}

/// A row as clients read it, perhaps of one warehouse only.
fn shown(row: &view::SkuStock, only: Option<&WarehouseId>) -> v1::Stock {
    let warehouses = row.levels.iter().filter(|(warehouse, _)| only.is_none_or(|only| only == *warehouse));
    let warehouses = warehouses.map(|(warehouse, level)| v1::WarehouseStock {
        warehouse_id: warehouse.to_string(),
        on_hand: convert::count(level.on_hand),
        reserved: convert::count(level.reserved),
        claimed: convert::count(level.claimed),
        available: convert::count(level.available()),
    });
    message(&row.sku, row.product.to_string(), warehouses.collect(), envelope::row_etag(row.revision))
}

pub(super) async fn get(context: &Context, message: tonic::Request<v1::GetStockRequest>) -> Result<v1::Stock, Status> {
    let deadline = envelope::deadline(context, &message);
    let asked = message.into_inner();
    let sku: Sku = convert::id("sku", &asked.sku)?;
    context.views.reached::<view::Stock>(asked.min_position, deadline).await?;
    look(context, &sku).await
}

async fn look(context: &Context, sku: &Sku) -> Result<v1::Stock, Status> {
    let row = context.views.stock.get(sku).await.map_err(|error| unread(&error))?;
    row.map(|row| shown(&row, None)).ok_or_else(|| not_found(sku))
}

pub(super) async fn list(
    context: &Context,
    message: tonic::Request<v1::ListStockRequest>,
) -> Result<v1::ListStockResponse, Status> {
    let deadline = envelope::deadline(context, &message);
    let asked = message.into_inner();
    let product: Option<ProductId> = convert::optional_id("product_id", &asked.product_id)?;
    let warehouse: Option<WarehouseId> = convert::optional_id("warehouse_id", &asked.warehouse_id)?;
    context.views.reached::<view::Stock>(asked.min_position, deadline).await?;
    let query = match (&product, &warehouse) {
        (Some(product), _) => view::of_product(product),
        (None, Some(warehouse)) => view::in_warehouse(warehouse),
        (None, None) => Query::rows(),
    };
    let listing = Listing {
        query: &["ListStock", &asked.product_id, &asked.warehouse_id],
        page_size: asked.page_size,
        page_token: &asked.page_token,
    };
    let held = |row: &view::SkuStock| warehouse.as_ref().is_none_or(|only| row.levels.contains_key(only));
    let (rows, next_page_token) = context.page(&context.views.stock, &query, listing, held).await?;
    let stock = rows.iter().map(|row| shown(row, warehouse.as_ref())).collect();
    Ok(v1::ListStockResponse { stock, next_page_token })
}

pub(super) async fn watch(
    context: &Arc<Context>,
    message: tonic::Request<v1::WatchStockRequest>,
) -> Result<Answers<v1::WatchStockResponse>, Status> {
    let deadline = envelope::deadline(context, &message);
    let asked = message.into_inner();
    let sku: Sku = convert::id("sku", &asked.sku)?;
    context.views.reached::<view::Stock>(asked.min_position, deadline).await?;
    // A SKU that is not there is refused before the stream begins.
    look(context, &sku).await?;
    let shared = Arc::clone(context);
    Ok(watch::follow::<view::Stock, _, _, _>(Arc::clone(context), move |position| {
        let (context, sku) = (Arc::clone(&shared), sku.clone());
        async move {
            let stock = look(&context, &sku).await?;
            let etag = stock.etag.clone();
            Ok(Look { message: v1::WatchStockResponse { stock: Some(stock), position }, etag, last: false })
        }
    }))
}

fn not_found(sku: &Sku) -> Status {
    status(Reason::SkuNotFound, format!("there is no SKU {sku}"), [("sku", sku.to_string())])
}

/// What a rejection means outside; `field` is where the request said how many.
pub(super) fn rejected(why: &Rejection, sku: &Sku, field: &str) -> Status {
    let with_sku = |reason, metadata: Vec<(&'static str, String)>| {
        status(reason, why.to_string(), std::iter::once(("sku", sku.to_string())).chain(metadata))
    };
    match why {
        Rejection::NotKept => not_found(sku),
        Rejection::Taken { product, .. } => with_sku(Reason::AlreadyExists, vec![("product_id", product.to_string())]),
        Rejection::Quantity { .. } => invalid(field, why.to_string()),
        Rejection::BelowReserved { reserved, .. } => {
            with_sku(Reason::CountBelowReserved, vec![("reserved", reserved.to_string())])
        }
        Rejection::OutOfStock { requested, available } => with_sku(
            Reason::OutOfStock,
            vec![("requested", requested.to_string()), ("available", available.to_string())],
        ),
        Rejection::HeldOtherwise { .. } | Rejection::NotReserved { .. } => refusal::unexpected(why),
    }
}

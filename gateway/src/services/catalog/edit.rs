//! Listing, updating and delisting products.

use commands::{
    desk::{Error, Seen},
    request::Request,
};
use domain::{
    decider::Decider as _,
    ids::{ProductId, SellerId, Sku},
    product::{Command, Contents, Description, Event, Product, Rejection, State},
    stock,
};
use futures::future::try_join_all;
use proto::v1;
use tonic::Status;

use super::show;
use crate::{
    auth::Caller,
    error::{Reason, invalid, missing, status},
    services::{
        Context, convert,
        envelope::{self, Asked},
        past::Past,
        refusal,
        stock::rejected as stock_rejected,
    },
};

/// The parts of a product that an update may name, in the order of the message.
const PARTS: [&str; 8] =
    ["name", "description", "keywords", "image_urls", "category_path", "attributes", "variants", "state"];

/// How often an update looks again when somebody else changed the product in between.
const ROUNDS_MAX: u32 = 8;

pub(super) async fn create(
    context: &Context,
    asked: Asked<v1::CreateProductRequest>,
) -> Result<v1::CreateProductResponse, Status> {
    let Asked { caller, request, body, .. } = asked;
    let wish = body.product.ok_or_else(|| missing("product"))?;
    let id: ProductId = convert::id("product.product_id", &wish.product_id)?;
    let seller = seller(&caller, &wish.seller_id)?;
    let (description, variants) = (show::description(&wish)?, show::variants(&wish.variants)?);
    let skus: Vec<_> = variants.iter().map(|variant| variant.sku.clone()).collect();
    let list = Command::List { product: id.clone(), seller, description, variants };
    let known = context.shop.product.inspect(&id, |seen| seen.state.contents().is_some()).await;
    if !known.map_err(|error| refusal::of(error, |why| rejected(&why, &id)))? {
        // A listing that makes no sense must not leave SKUs behind.
        Product::decide(&State::default(), &list).map_err(|why| rejected(&why, &id))?;
        keep(context, &request, &id, &skus).await?;
    }
    let outcome = context.shop.product.execute(&id, list, request).await;
    let outcome = outcome.map_err(|error| refusal::of(error, |why| rejected(&why, &id)))?;
    let product = as_of(context, &id, outcome.revision).await?;
    Ok(v1::CreateProductResponse { product, position: outcome.position.0 })
}

/// Opens the stock of every SKU: a SKU that another product has is refused before anything is listed.
async fn keep(context: &Context, request: &Request, product: &ProductId, skus: &[Sku]) -> Result<(), Status> {
    try_join_all(skus.iter().map(|sku| async move {
        let open = stock::Command::Open { sku: sku.clone(), product: product.clone() };
        let part = request.part("open", sku.as_str().as_bytes());
        let opened = context.shop.stock.execute(sku, open, part).await;
        opened.map_err(|error| refusal::of(error, |why| stock_rejected(&why, sku, "product.variants")))
    }))
    .await?;
    Ok(())
}

pub(super) async fn update(
    context: &Context,
    asked: Asked<v1::UpdateProductRequest>,
) -> Result<v1::UpdateProductResponse, Status> {
    let Asked { caller, request, body, .. } = asked;
    let id: ProductId = convert::id("product_id", &body.product_id)?;
    let wish = body.product.ok_or_else(|| missing("product"))?;
    if !wish.product_id.is_empty() && wish.product_id != body.product_id {
        return Err(invalid("product.product_id", "must be empty or the same as product_id"));
    }
    let named = body.update_mask.map(|mask| mask.paths).unwrap_or_default();
    if let Some(stray) = named.iter().find(|path| !PARTS.contains(&path.as_str())) {
        return Err(invalid("update_mask", format!("names {stray:?}, which is not a part that can change")));
    }
    let mut asked_again = 0;
    let outcome = loop {
        let look = |seen: Seen<'_, Product>| (seen.state.contents().cloned(), seen.revision);
        let looked = context.shop.product.inspect(&id, look).await;
        let (known, revision) = looked.map_err(|error| refusal::of(error, |why| rejected(&why, &id)))?;
        let known = known.ok_or_else(|| not_found(&id))?;
        check_seller(&caller, &known.seller)?;
        let (command, skus) = changes(&known, &wish, &named)?;
        if !skus.is_empty() {
            // An update that makes no sense must not leave SKUs behind.
            Product::decide(&State::Listed(Box::new(known)), &command).map_err(|why| rejected(&why, &id))?;
            keep(context, &request, &id, &skus).await?;
        }
        // What the mask does not name is taken from what was seen: it must still be so.
        let seen = Request { if_match: request.if_match.or(Some(revision)), ..request.clone() };
        match context.shop.product.execute(&id, command, seen).await {
            Err(Error::Stale { .. }) if request.if_match.is_none() && asked_again < ROUNDS_MAX => asked_again += 1,
            Err(error) => return Err(refusal::of(error, |why| rejected(&why, &id))),
            Ok(outcome) => break outcome,
        }
    };
    let product = as_of(context, &id, outcome.revision).await?;
    Ok(v1::UpdateProductResponse { product, position: outcome.position.0 })
}

/// What an update means to a product as it is known, and which SKUs would be new.
fn changes(known: &Contents, wish: &v1::Product, named: &[String]) -> Result<(Command, Vec<Sku>), Status> {
    let is_named = |part: &str| if named.is_empty() { part != "state" } else { named.iter().any(|path| path == part) };
    if !wish.seller_id.is_empty() && wish.seller_id != known.seller.as_str() {
        return Err(invalid("product.seller_id", "cannot be changed"));
    }
    let description = merged(&known.description, wish, is_named)?;
    let variants = if is_named("variants") { Some(show::variants(&wish.variants)?) } else { None };
    let listed = if is_named("state") { Some(listed(wish.state)?) } else { None };
    let wanted = variants.iter().flatten().map(|variant| &variant.sku);
    let new = wanted.filter(|sku| !known.variants.contains_key(sku)).cloned().collect();
    Ok((Command::Update { description: Some(description), variants, listed }, new))
}

/// The product as its first `revision` events made it, its variants in the seller's order.
async fn as_of(context: &Context, id: &ProductId, revision: u64) -> Result<Option<v1::Product>, Status> {
    let mut order: Vec<Sku> = Vec::new();
    let enough = |past: &Past<Product>| {
        match &past.last {
            Some(Event::Listed(listed)) => order = listed.variants.iter().map(|variant| variant.sku.clone()).collect(),
            Some(Event::VariantAdded(added)) => order.push(added.variant.sku.clone()),
            _ => {}
        }
        past.revision == revision
    };
    let past = context.past::<Product>(id, enough).await?;
    let times = (past.began_at, past.changed_at);
    let listed = past.state.is_listed();
    Ok(past.state.contents().map(|contents| {
        let variants = order.iter().filter_map(|sku| contents.variants.get(sku));
        show::state(id, contents, variants, listed, envelope::etag(past.revision), times)
    }))
}

/// The known description with the named parts replaced.
fn merged(known: &Description, wish: &v1::Product, is_named: impl Fn(&str) -> bool) -> Result<Description, Status> {
    let mut merged = known.clone();
    if is_named("name") {
        merged.name.clone_from(&wish.name);
    }
    if is_named("description") {
        merged.text.clone_from(&wish.description);
    }
    if is_named("keywords") {
        merged.keywords.clone_from(&wish.keywords);
    }
    if is_named("image_urls") {
        merged.images.clone_from(&wish.image_urls);
    }
    if is_named("category_path") {
        merged.categories = show::categories(&wish.category_path)?;
    }
    if is_named("attributes") {
        merged.attributes = show::attributes(&wish.attributes)?;
    }
    Ok(merged)
}

fn listed(state: i32) -> Result<bool, Status> {
    match v1::ProductState::try_from(state) {
        Ok(v1::ProductState::Listed) => Ok(true),
        Ok(v1::ProductState::Delisted) => Ok(false),
        Ok(v1::ProductState::Unspecified) | Err(_) => Err(missing("product.state")),
    }
}

pub(super) async fn delist(
    context: &Context,
    asked: Asked<v1::DeleteProductRequest>,
) -> Result<v1::DeleteProductResponse, Status> {
    let Asked { caller, request, body, .. } = asked;
    let id: ProductId = convert::id("product_id", &body.product_id)?;
    if caller.own_only {
        own(context, &caller, &id).await?;
    }
    let outcome = context.shop.product.execute(&id, Command::Delist, request).await;
    let outcome = outcome.map_err(|error| refusal::of(error, |why| rejected(&why, &id)))?;
    Ok(v1::DeleteProductResponse { etag: envelope::etag(outcome.revision), position: outcome.position.0 })
}

/// Passes when the product is the caller's to change.
pub(in crate::services) async fn own(context: &Context, caller: &Caller, product: &ProductId) -> Result<(), Status> {
    let seller =
        context.shop.product.inspect(product, |seen| seen.state.contents().map(|contents| contents.seller.clone()));
    let seller = seller.await.map_err(|error| refusal::of(error, |why| rejected(&why, product)))?;
    check_seller(caller, &seller.ok_or_else(|| not_found(product))?)
}

/// Products are public, so there is no harm in saying that one is another seller's.
fn check_seller(caller: &Caller, seller: &SellerId) -> Result<(), Status> {
    if caller.own_only && seller.as_str() != caller.member.to_string() {
        return Err(status(Reason::NotYours, "this product belongs to another seller", []));
    }
    Ok(())
}

/// A seller sells for themselves; an operator may name anyone.
fn seller(caller: &Caller, named: &str) -> Result<SellerId, Status> {
    let own = caller.member.to_string();
    if named.is_empty() || named == own {
        return convert::id("product.seller_id", &own);
    }
    caller.may_set("product.seller_id", v1::Role::Operator)?;
    convert::id("product.seller_id", named)
}

pub(super) fn not_found(id: &ProductId) -> Status {
    status(Reason::ProductNotFound, format!("there is no product {id}"), [("product_id", id.to_string())])
}

/// What a rejection means outside.
fn rejected(why: &Rejection, id: &ProductId) -> Status {
    match why {
        Rejection::NotListed => not_found(id),
        Rejection::AlreadyListed { .. } => {
            status(Reason::AlreadyExists, why.to_string(), [("product_id", id.to_string())])
        }
        Rejection::NoVariants => missing("product.variants"),
        Rejection::DuplicateSku { .. }
        | Rejection::VariantLeftOut { .. }
        | Rejection::OptionsChanged { .. }
        | Rejection::InvalidPrice { .. } => invalid("product.variants", format!("cannot be so: {why}")),
        Rejection::UnknownSku { sku } => status(Reason::SkuNotFound, why.to_string(), [("sku", sku.to_string())]),
        Rejection::CurrencyMismatch { sku, .. } => {
            status(Reason::CurrencyMismatch, why.to_string(), [("sku", sku.to_string())])
        }
        Rejection::Missing { field } => missing(path(field)),
        Rejection::TooLong { field, found, limit } => {
            invalid(path(field), format!("has {found} characters, at most {limit} are allowed"))
        }
        Rejection::TooMany { field, found, limit } => {
            invalid(path(field), format!("has {found} entries, at most {limit} are allowed"))
        }
        Rejection::ControlCharacter { field } => invalid(path(field), "holds a control character"),
        Rejection::InvalidImage { url } => invalid("product.image_urls", format!("hold {url:?}, which is no URL")),
        Rejection::InvalidNumber { attribute, .. } => {
            invalid("product.attributes", format!("hold {attribute:?}, whose number is no decimal"))
        }
    }
}

/// Where the message says what the domain calls `field`.
fn path(field: &str) -> &'static str {
    match field {
        "name" => "product.name",
        "text" => "product.description",
        "keyword" | "keywords" => "product.keywords",
        "image" | "images" => "product.image_urls",
        "categories" => "product.category_path",
        "attribute" | "attributes" | "attribute name" | "unit" => "product.attributes",
        "option" | "options" | "option name" | "variants" => "product.variants",
        _ => "product",
    }
}

//! The facts that an order freezes: what the catalogue and the campaign say at the moment it is placed.
//!
//! They are asked at the desks, not at a view: a price that was changed a moment ago must not be sold at the old one.

use std::{collections::BTreeMap, sync::Arc};

use domain::{
    coupon::Terms,
    ids::{CampaignId, ClaimId, MemberId, ProductId, Sku},
    money::{Currency, Money},
    order::{Coupon, Wanted},
    stock::UNITS_MAX,
};
use futures::future::try_join_all;
use proto::v1;
use tonic::Status;

use crate::{
    auth::Caller,
    error::{Reason, invalid, missing, status},
    services::{Context, convert, coupon, refusal},
};

/// A line as it was asked for; lines of the same goods at the same price are one.
pub(super) struct Wish {
    product: ProductId,
    sku: Sku,
    quantity: u32,
    /// An operator's price.
    negotiated: Option<Money>,
    /// Which line of the request it was first asked for in.
    line: usize,
}

/// What makes two lines one: SKU, product, and an operator's price.
type Same = (Sku, ProductId, Option<(Currency, i64)>);

/// Reads the lines, and adds up those of the same goods at the same price.
pub(super) fn wishes(caller: &Caller, lines: &[v1::ProcessOrderLine], max: usize) -> Result<Vec<Wish>, Status> {
    if lines.is_empty() {
        return Err(missing("lines"));
    }
    if lines.len() > max {
        let message = format!("an order may have {max} lines, not {}", lines.len());
        return Err(status(Reason::TooManyLines, message, [("order_lines_max", max.to_string())]));
    }
    let mut wishes: Vec<Wish> = Vec::with_capacity(lines.len());
    let mut known: BTreeMap<Same, usize> = BTreeMap::new();
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

/// Which claim on which campaign the order is to use.
pub(super) fn wanted_coupon(coupon: Option<&v1::OrderCoupon>) -> Result<Option<(CampaignId, ClaimId)>, Status> {
    let Some(coupon) = coupon else { return Ok(None) };
    let campaign = convert::id("coupon.campaign_id", &coupon.campaign_id)?;
    Ok(Some((campaign, convert::id("coupon.claim_id", &coupon.claim_id)?)))
}

type Facts = (Vec<Wanted>, Option<(Coupon, Terms)>);

/// What the catalogue and the campaign say now: asked at once, each product once.
pub(super) async fn facts(
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
    let (listed, lines) = looked
        .await
        .map_err(|error| refusal::of(error, |why| refusal::internal("a product cannot be looked at", &why)))?;
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

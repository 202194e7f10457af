//! What an order costs: frozen prices, the coupon's share split so that the lines always add up.

use std::sync::Arc;

use super::{LINES_MAX, Line, Place, Placed, Rejection, Sold};
use crate::{
    ids::{CategoryId, ProductId, SellerId, Sku},
    money::Money,
    stock::UNITS_MAX,
};

/// A line as it is wanted, with the product's facts of now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The product.
    pub product: ProductId,
    /// The variant.
    pub sku: Sku,
    /// The product's name.
    pub name: Arc<str>,
    /// The product's own category.
    pub category: Option<CategoryId>,
    /// Who sells it.
    pub seller: SellerId,
    /// What one unit costs the buyer: the listed price, or one an operator negotiated.
    pub unit_price: Money,
    /// Units.
    pub quantity: u32,
}

/// Prices an order.
pub(super) fn price(place: &Place) -> Result<Placed, Rejection> {
    let subtotal = subtotal(&place.lines)?;
    let discount = match &place.coupon {
        None => Money::zero(subtotal.currency),
        Some((_, terms)) => terms.off(subtotal).map_err(|why| Rejection::Coupon { detail: why.to_string() })?,
    };
    let total = subtotal.minus(discount)?;
    if let Some(expected) = place.expected_total.filter(|expected| *expected != total) {
        return Err(Rejection::PriceChanged { expected, actual: total });
    }
    Ok(Placed {
        buyer: place.buyer,
        lines: lines(place, discount)?,
        subtotal,
        discount,
        total,
        coupon: place.coupon.as_ref().map(|(coupon, _)| coupon.clone()),
        region: place.region.clone(),
        ship_to: place.ship_to.clone(),
        payment_method: place.payment_method.clone(),
        expires_at: place.expires_at,
        backdated: place.backdated,
    })
}

fn subtotal(lines: &[Wanted]) -> Result<Money, Rejection> {
    let first = lines.first().ok_or(Rejection::NoLines)?;
    if lines.len() > LINES_MAX {
        return Err(Rejection::TooManyLines { found: lines.len() });
    }
    let mut sum = Money::zero(first.unit_price.currency);
    for (index, line) in lines.iter().enumerate() {
        if !(1..=UNITS_MAX).contains(&line.quantity) {
            return Err(Rejection::Quantity { line: index, found: line.quantity.into() });
        }
        if line.unit_price.amount < 0 {
            return Err(Rejection::Price { line: index });
        }
        sum = sum.plus(line.unit_price.times(line.quantity)?)?;
    }
    Ok(sum)
}

fn lines(place: &Place, discount: Money) -> Result<Arc<[Line]>, Rejection> {
    let mut gross = Vec::with_capacity(place.lines.len());
    for line in &place.lines {
        gross.push(line.unit_price.times(line.quantity)?);
    }
    // Without a coupon there is nothing to split; an import of 700 lines should not pay for it.
    let shares = if discount.amount == 0 {
        vec![discount; gross.len()]
    } else {
        discount.split(&gross.iter().map(|amount| amount.amount.unsigned_abs()).collect::<Vec<_>>())
    };
    let priced = place.lines.iter().zip(gross.iter().zip(shares)).map(|(line, (gross, share))| {
        Ok(Line {
            product: line.product.clone(),
            sku: line.sku.clone(),
            name: Arc::clone(&line.name),
            category: line.category.clone(),
            seller: line.seller.clone(),
            unit_price: line.unit_price,
            quantity: line.quantity,
            amount: gross.minus(share)?,
        })
    });
    priced.collect::<Result<Vec<_>, Rejection>>().map(Arc::from)
}

/// Every line of the order as sold.
pub(super) fn sold(placed: &Placed) -> Vec<Sold> {
    (0_u32..)
        .zip(placed.lines.iter())
        .map(|(index, line)| Sold {
            line: index,
            product: line.product.clone(),
            sku: line.sku.clone(),
            quantity: line.quantity,
            amount: line.amount,
        })
        .collect()
}

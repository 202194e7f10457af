//! Sending goods back: never more than was bought, never more money than was paid for it.

use super::{Event, Line, Placed, Rejection, ReturnOpened, Returned, Situation, Sold, State};
use crate::{
    ids::{ReturnId, Sku},
    money::Money,
};

/// Goods that a buyer wants to send back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReturnWish {
    /// The SKU.
    pub sku: Sku,
    /// Units, at least 1.
    pub quantity: u32,
    /// Only from lines bought at this unit price; any line of the SKU otherwise.
    pub unit_price: Option<Money>,
}

impl ReturnWish {
    fn matches(&self, line: &Line) -> bool {
        line.sku == self.sku && self.unit_price.is_none_or(|price| price == line.unit_price)
    }
}

/// Decides what a new return takes back, `None` if it is open already; why and when are the caller's to add.
pub(super) fn open(
    state: &State,
    placed: &Placed,
    return_id: ReturnId,
    wishes: &[ReturnWish],
) -> Result<Option<ReturnOpened>, Rejection> {
    if state.returns.contains_key(&return_id) {
        return Ok(None);
    }
    if *state.situation() != Situation::Delivered {
        return Err(Rejection::NotNow { wish: "returning", situation: state.situation().name() });
    }
    if wishes.is_empty() {
        return Err(Rejection::NoLines);
    }
    let mut taken = state.returned.clone();
    let mut refunded = state.refunded.clone();
    let mut lines = Vec::new();
    for wish in wishes {
        take(placed, wish, &mut taken, &mut refunded, &mut lines)?;
    }
    let mut refund = Money::zero(placed.total.currency);
    for line in &lines {
        refund = refund.plus(line.amount)?;
    }
    Ok(Some(ReturnOpened { return_id, lines, refund, why: None, backdated: None }))
}

/// Takes one wish's units from the order's lines, in their order.
fn take(
    placed: &Placed,
    wish: &ReturnWish,
    taken: &mut std::collections::BTreeMap<u32, u32>,
    refunded: &mut std::collections::BTreeMap<u32, Money>,
    lines: &mut Vec<Sold>,
) -> Result<(), Rejection> {
    let mut missing = wish.quantity;
    for (index, line) in (0_u32..).zip(placed.lines.iter()).filter(|(_, line)| wish.matches(line)) {
        let before = taken.get(&index).copied().unwrap_or(0);
        let units = missing.min(line.quantity.saturating_sub(before));
        if units == 0 {
            continue;
        }
        missing -= units;
        let after = before.saturating_add(units);
        taken.insert(index, after);
        // The share of all units sent back so far, less what was given back before: however a line is
        // returned in parts, the parts add up to exactly what was paid for it.
        let due = line.amount.fraction(after.into(), line.quantity.into());
        let given = refunded.insert(index, due).unwrap_or_else(|| Money::zero(due.currency));
        lines.push(Sold {
            line: index,
            product: line.product.clone(),
            sku: line.sku.clone(),
            quantity: units,
            amount: due.minus(given)?,
        });
    }
    if missing == 0 && wish.quantity > 0 {
        return Ok(());
    }
    let remaining = wish.quantity - missing;
    Err(Rejection::NothingToReturn { sku: wish.sku.clone(), requested: wish.quantity, remaining })
}

/// Records a complete return; one that is not open is complete already.
pub(super) fn finish(state: &State, placed: &Placed, return_id: ReturnId) -> Option<Event> {
    let opened = state.returns.get(&return_id)?;
    let (buyer, region) = (placed.buyer, placed.region.clone());
    Some(Returned { return_id, buyer, lines: opened.lines.clone(), refund: opened.refund, region }.into())
}

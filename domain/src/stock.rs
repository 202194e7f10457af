//! Stock of one SKU: what lies in each warehouse, what is reserved for whom, what has been claimed.
//!
//! A stream per SKU makes "never oversold" a local rule: every reservation of a SKU is decided against one
//! state, in one order. Goods are *reserved* at order time, *claimed* at capture (they leave the shelf) and
//! *released* when the order ends otherwise. A hold that its order forgot lapses: the next buyer who would
//! be refused sweeps holds that are long past their expiry.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    decider::Decider,
    ids::{OrderId, ProductId, Sku, WarehouseId},
};

mod command;
mod event;

pub use command::{Command, Rejection};
pub use event::*;

/// The most units any one number of a SKU may say.
pub const UNITS_MAX: u32 = 1_000_000_000;

/// How long after its expiry a hold may be swept. The order process releases holds itself, on time; the sweep
/// only catches what a lost process left behind.
pub const LAPSE_GRACE: SignedDuration = SignedDuration::from_mins(15);

/// The most lapsed holds swept by one decision: they are one write, and a wish that is refused all the same has looked
/// at no more of them than this.
pub const LAPSE_SWEEP_MAX: usize = 1_024;

/// What a decision about stock needs to know.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Kept")]
pub struct State {
    product: Option<ProductId>,
    levels: BTreeMap<WarehouseId, Level>,
    holds: BTreeMap<OrderId, Hold>,
    /// Holds by expiry, so that the oldest is found without looking at all of a hot SKU's.
    #[serde(skip)]
    by_expiry: BTreeSet<(Timestamp, OrderId)>,
}

/// A state as a snapshot keeps it: without what follows from the rest.
#[derive(Deserialize)]
struct Kept {
    product: Option<ProductId>,
    levels: BTreeMap<WarehouseId, Level>,
    holds: BTreeMap<OrderId, Hold>,
}

impl From<Kept> for State {
    fn from(Kept { product, levels, holds }: Kept) -> Self {
        let by_expiry = holds.iter().map(|(order, hold)| (hold.expires_at, *order)).collect();
        Self { product, levels, holds, by_expiry }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Level {
    on_hand: u32,
    /// Part of `on_hand`.
    reserved: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Hold {
    allocations: Vec<Allocation>,
    expires_at: Timestamp,
}

impl State {
    /// The product this SKU belongs to, once it is kept.
    #[must_use]
    pub const fn product(&self) -> Option<&ProductId> {
        self.product.as_ref()
    }

    /// Units free to reserve, over all warehouses.
    #[must_use]
    pub fn available(&self) -> u32 {
        self.levels.values().fold(0, |sum, level| sum.saturating_add(level.available()))
    }

    /// Units on the shelf and units of them reserved, over all warehouses.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        self.levels.values().fold((0, 0), |(on_hand, reserved), level| {
            (on_hand + u64::from(level.on_hand), reserved + u64::from(level.reserved))
        })
    }

    /// Units on the shelf and units of them reserved, per warehouse.
    pub fn levels(&self) -> impl Iterator<Item = (&WarehouseId, u32, u32)> {
        self.levels.iter().map(|(warehouse, level)| (warehouse, level.on_hand, level.reserved))
    }

    /// What the order has reserved here.
    #[must_use]
    pub fn held_by(&self, order: OrderId) -> Option<&[Allocation]> {
        self.holds.get(&order).map(|hold| hold.allocations.as_slice())
    }

    /// The `count` holders whose holds end last: the newest.
    pub fn newest_holders(&self, count: usize) -> impl Iterator<Item = OrderId> + '_ {
        self.by_expiry.iter().rev().take(count).map(|(_, order)| *order)
    }

    fn level(&mut self, warehouse: &WarehouseId) -> &mut Level {
        self.levels.entry(warehouse.clone()).or_default()
    }

    fn end_hold(&mut self, order: OrderId) {
        if let Some(hold) = self.holds.remove(&order) {
            self.by_expiry.remove(&(hold.expires_at, order));
        }
    }
}

impl Level {
    const fn available(&self) -> u32 {
        self.on_hand.saturating_sub(self.reserved)
    }
}

/// The stock aggregate.
#[derive(Debug)]
pub struct Stock;

impl Decider for Stock {
    const CATEGORY: &'static str = "stock";
    const FOLD: u32 = 2;
    type Id = Sku;
    type State = State;
    type Command = Command;
    type Event = Event;
    type Rejection = Rejection;

    fn decide(state: &State, command: &Command) -> Result<Vec<Event>, Rejection> {
        let event = match command {
            Command::Open { sku, product } => return open(state, sku, product),
            _ if state.product.is_none() => return Err(Rejection::NotKept),
            Command::Receive { warehouse, quantity } => {
                room(state, warehouse, *quantity)?;
                Received { warehouse: warehouse.clone(), quantity: *quantity }.into()
            }
            Command::Count { warehouse, on_hand } => return count(state, warehouse, *on_hand),
            Command::Reserve { order, quantity, expires_at, now } => {
                return reserve(state, *order, *quantity, *expires_at, *now);
            }
            Command::Claim { order } => {
                let hold = state.holds.get(order).ok_or(Rejection::NotReserved { order: *order })?;
                Claimed { order: *order, allocations: hold.allocations.clone() }.into()
            }
            Command::Release { order } => match state.holds.get(order) {
                None => return Ok(vec![]),
                Some(hold) => release(*order, hold, false),
            },
            Command::Restock { source, warehouse, quantity } => {
                room(state, warehouse, *quantity)?;
                Restocked { source: *source, warehouse: warehouse.clone(), quantity: *quantity }.into()
            }
        };
        Ok(vec![event])
    }

    fn evolve(mut state: State, event: &Event) -> State {
        match event {
            Event::Opened(opened) => state.product = Some(opened.product.clone()),
            Event::Received(Received { warehouse, quantity })
            | Event::Restocked(Restocked { warehouse, quantity, .. }) => {
                let level = state.level(warehouse);
                level.on_hand = level.on_hand.saturating_add(*quantity);
            }
            Event::Counted(counted) => state.level(&counted.warehouse).on_hand = counted.on_hand,
            Event::Reserved(reserved) => {
                for Allocation { warehouse, quantity } in &reserved.allocations {
                    let level = state.level(warehouse);
                    level.reserved = level.reserved.saturating_add(*quantity);
                }
                state.by_expiry.insert((reserved.expires_at, reserved.order));
                let hold = Hold { allocations: reserved.allocations.clone(), expires_at: reserved.expires_at };
                state.holds.insert(reserved.order, hold);
            }
            Event::Claimed(claimed) => {
                for Allocation { warehouse, quantity } in &claimed.allocations {
                    let level = state.level(warehouse);
                    level.reserved = level.reserved.saturating_sub(*quantity);
                    level.on_hand = level.on_hand.saturating_sub(*quantity);
                }
                state.end_hold(claimed.order);
            }
            Event::Released(released) => {
                for Allocation { warehouse, quantity } in &released.allocations {
                    let level = state.level(warehouse);
                    level.reserved = level.reserved.saturating_sub(*quantity);
                }
                state.end_hold(released.order);
            }
        }
        state
    }
}

fn open(state: &State, sku: &Sku, product: &ProductId) -> Result<Vec<Event>, Rejection> {
    match &state.product {
        None => Ok(vec![Opened { sku: sku.clone(), product: product.clone() }.into()]),
        Some(owner) if owner == product => Ok(vec![]),
        Some(owner) => Err(Rejection::Taken { sku: sku.clone(), product: owner.clone() }),
    }
}

fn units(quantity: u32) -> Result<(), Rejection> {
    if (1..=UNITS_MAX).contains(&quantity) { Ok(()) } else { Err(Rejection::Quantity { found: quantity.into() }) }
}

/// Checks that `quantity` more units may lie in `warehouse`.
fn room(state: &State, warehouse: &WarehouseId, quantity: u32) -> Result<(), Rejection> {
    units(quantity)?;
    let on_hand = state.levels.get(warehouse).map_or(0, |level| level.on_hand);
    let sum = u64::from(on_hand) + u64::from(quantity);
    if sum <= u64::from(UNITS_MAX) { Ok(()) } else { Err(Rejection::Quantity { found: sum }) }
}

fn count(state: &State, warehouse: &WarehouseId, on_hand: u32) -> Result<Vec<Event>, Rejection> {
    if on_hand > UNITS_MAX {
        return Err(Rejection::Quantity { found: on_hand.into() });
    }
    let level = state.levels.get(warehouse).cloned().unwrap_or_default();
    if on_hand < level.reserved {
        let warehouse = warehouse.clone();
        return Err(Rejection::BelowReserved { warehouse, reserved: level.reserved, counted: on_hand });
    }
    if state.levels.contains_key(warehouse) && on_hand == level.on_hand {
        return Ok(vec![]);
    }
    Ok(vec![Counted { warehouse: warehouse.clone(), on_hand }.into()])
}

fn reserve(
    state: &State,
    order: OrderId,
    quantity: u32,
    expires_at: Timestamp,
    now: Timestamp,
) -> Result<Vec<Event>, Rejection> {
    units(quantity)?;
    if let Some(hold) = state.holds.get(&order) {
        let held = hold.allocations.iter().map(|allocation| allocation.quantity).sum();
        return if held == quantity { Ok(vec![]) } else { Err(Rejection::HeldOtherwise { held, requested: quantity }) };
    }
    if state.available() >= quantity {
        return Ok(vec![Reserved { order, allocations: allocate(state, &Freed::new(), quantity), expires_at }.into()]);
    }
    let missing = quantity - state.available();
    let swept = lapsed(state, missing, now);
    if swept.units < u64::from(missing) {
        return Err(Rejection::OutOfStock { requested: quantity, available: state.available() });
    }
    let released = swept.holds.iter().map(|(order, hold)| release(*order, hold, true));
    let reserved = Reserved { order, allocations: allocate(state, &swept.freed, quantity), expires_at };
    Ok(released.chain([reserved.into()]).collect())
}

/// Holds that a buyer's wish ends, and what they free.
#[derive(Default)]
struct Swept<'a> {
    holds: Vec<(OrderId, &'a Hold)>,
    freed: Freed<'a>,
    units: u64,
}

/// Units that a sweep frees, per warehouse.
type Freed<'a> = BTreeMap<&'a WarehouseId, u32>;

/// The holds that are longest past their expiry: as many as free `missing` units, or all that may be swept.
fn lapsed(state: &State, missing: u32, now: Timestamp) -> Swept<'_> {
    let due = |at: &Timestamp| at.checked_add(LAPSE_GRACE).is_ok_and(|end| end < now);
    let oldest = state.by_expiry.iter().take_while(|(at, _)| due(at)).take(LAPSE_SWEEP_MAX);
    let mut swept = Swept::default();
    for (order, hold) in oldest.filter_map(|(_, order)| Some((*order, state.holds.get(order)?))) {
        if swept.units >= u64::from(missing) {
            break;
        }
        for Allocation { warehouse, quantity } in &hold.allocations {
            let freed = swept.freed.entry(warehouse).or_default();
            *freed = freed.saturating_add(*quantity);
            swept.units += u64::from(*quantity);
        }
        swept.holds.push((order, hold));
    }
    swept
}

fn release(order: OrderId, hold: &Hold, lapsed: bool) -> Event {
    Released { order, allocations: hold.allocations.clone(), lapsed }.into()
}

/// Takes `quantity` units, those that a sweep has `freed` among them: from one warehouse if any has enough, else from
/// as few as the order of their ids allows. The caller has checked that enough is available.
fn allocate(state: &State, freed: &Freed<'_>, quantity: u32) -> Vec<Allocation> {
    let free = |warehouse: &WarehouseId, level: &Level| {
        level.available().saturating_add(freed.get(warehouse).copied().unwrap_or(0))
    };
    if let Some((warehouse, _)) = state.levels.iter().find(|(warehouse, level)| free(warehouse, level) >= quantity) {
        return vec![Allocation { warehouse: warehouse.clone(), quantity }];
    }
    let mut missing = quantity;
    let mut allocations = Vec::new();
    for (warehouse, level) in &state.levels {
        let taken = free(warehouse, level).min(missing);
        if taken > 0 {
            allocations.push(Allocation { warehouse: warehouse.clone(), quantity: taken });
            missing -= taken;
        }
    }
    allocations
}

#[cfg(test)]
mod tests;

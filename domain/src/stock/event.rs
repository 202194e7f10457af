//! What happened to a SKU's stock: the stored contract.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    events,
    ids::{OrderId, ProductId, Sku, WarehouseId},
};

events! {
    /// What happened to a SKU's stock.
    Event {
        /// The SKU is kept from now on.
        Opened = "stock.opened" 1,
        /// Goods came in.
        Received = "stock.received" 1,
        /// Somebody counted the shelf.
        Counted = "stock.counted" 1,
        /// Units were set aside for an order.
        Reserved = "stock.reserved" 1,
        /// Reserved units left the shelf: they are sold.
        Claimed = "stock.claimed" 1,
        /// Reserved units are free again.
        Released = "stock.released" 1,
        /// Sold units came back to the shelf.
        Restocked = "stock.restocked" 1,
    }
}

/// See [`Event::Opened`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// The SKU.
    pub sku: Sku,
    /// The product it is a variant of.
    pub product: ProductId,
}

/// See [`Event::Received`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// Where.
    pub warehouse: WarehouseId,
    /// Units that came in.
    pub quantity: u32,
}

/// See [`Event::Counted`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Where.
    pub warehouse: WarehouseId,
    /// Units that lie there, reserved ones included.
    pub on_hand: u32,
}

/// See [`Event::Reserved`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reserved {
    /// For which order.
    pub order: OrderId,
    /// From which warehouses.
    pub allocations: Vec<Allocation>,
    /// When the hold ends unless the order claims it.
    pub expires_at: Timestamp,
}

/// See [`Event::Claimed`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claimed {
    /// For which order.
    pub order: OrderId,
    /// From which warehouses.
    pub allocations: Vec<Allocation>,
}

/// See [`Event::Released`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// Whose hold.
    pub order: OrderId,
    /// Where the units lie.
    pub allocations: Vec<Allocation>,
    /// True when nobody asked for it: the hold was long past its expiry.
    pub lapsed: bool,
}

/// See [`Event::Restocked`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restocked {
    /// The return or delivery that brought them back.
    pub source: Uuid,
    /// Where to.
    pub warehouse: WarehouseId,
    /// Units that came back.
    pub quantity: u32,
}

/// Units of a SKU in one warehouse.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allocation {
    /// Where.
    pub warehouse: WarehouseId,
    /// How many.
    pub quantity: u32,
}

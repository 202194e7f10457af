//! What can be asked of a SKU's stock, and why it may be refused.

use jiff::Timestamp;
use uuid::Uuid;

use super::UNITS_MAX;
use crate::ids::{OrderId, ProductId, Sku, WarehouseId};

/// What can be asked of a SKU's stock.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Keep this SKU, for this product.
    Open {
        /// The SKU, as in the stream's name.
        sku: Sku,
        /// The product it belongs to.
        product: ProductId,
    },
    /// Add what came in. Adds up: a retry is known by its request id.
    Receive {
        /// Where.
        warehouse: WarehouseId,
        /// Units, at least 1.
        quantity: u32,
    },
    /// Set the shelf to what was counted.
    Count {
        /// Where.
        warehouse: WarehouseId,
        /// Units that lie there.
        on_hand: u32,
    },
    /// Set units aside for an order.
    Reserve {
        /// For which order.
        order: OrderId,
        /// Units, at least 1.
        quantity: u32,
        /// When the hold ends.
        expires_at: Timestamp,
        /// The time now.
        now: Timestamp,
    },
    /// Take what the order has reserved.
    Claim {
        /// The order.
        order: OrderId,
    },
    /// Let go of what the order has reserved, if anything.
    Release {
        /// The order.
        order: OrderId,
    },
    /// Put sold units back. Adds up: a retry is known by its request id.
    Restock {
        /// The return or delivery that brought them back.
        source: Uuid,
        /// Where to.
        warehouse: WarehouseId,
        /// Units, at least 1.
        quantity: u32,
    },
}

/// Why a wish about stock was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The SKU is not kept.
    #[error("the SKU is not kept in stock")]
    NotKept,
    /// Another product has this SKU.
    #[error("SKU {sku} belongs to product {product}")]
    Taken {
        /// The SKU.
        sku: Sku,
        /// Whose it is.
        product: ProductId,
    },
    /// A quantity of zero, or beyond [`UNITS_MAX`].
    #[error("a quantity must be between 1 and {UNITS_MAX}, not {found}")]
    Quantity {
        /// What was asked.
        found: u64,
    },
    /// Fewer counted than are promised to orders.
    #[error("{reserved} units are reserved in {warehouse}; release their orders before counting {counted}")]
    BelowReserved {
        /// Where.
        warehouse: WarehouseId,
        /// Promised to orders.
        reserved: u32,
        /// Counted.
        counted: u32,
    },
    /// Not enough is available.
    #[error("{available} available, {requested} requested")]
    OutOfStock {
        /// What was asked for.
        requested: u32,
        /// What is free.
        available: u32,
    },
    /// The order holds another quantity already.
    #[error("the order already holds {held} units, not {requested}")]
    HeldOtherwise {
        /// What it holds.
        held: u32,
        /// What was asked for.
        requested: u32,
    },
    /// The order has nothing reserved.
    #[error("order {order} has nothing reserved")]
    NotReserved {
        /// The order.
        order: OrderId,
    },
}

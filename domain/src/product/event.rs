//! What happened to a product: the stored contract.
//!
//! Descriptions and variants, the values in these events, are in [`super::description`].

use serde::{Deserialize, Serialize};

use super::{Description, Variant};
use crate::{
    events,
    ids::{ProductId, SellerId, Sku},
    money::Money,
};

events! {
    /// What happens to a product.
    Event {
        /// It entered the catalogue.
        Listed = "product.listed" 1,
        /// Its description was replaced.
        Revised = "product.revised" 1,
        /// It can be bought in one more form.
        VariantAdded = "product.variant_added" 1,
        /// A variant costs something else from now on.
        Repriced = "product.repriced" 1,
        /// It can no longer be bought.
        Delisted = "product.delisted" 1,
        /// It can be bought again.
        Relisted = "product.relisted" 1,
    }
}

/// The product entered the catalogue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Listed {
    /// Which product.
    pub product: ProductId,
    /// Who sells it.
    pub seller: SellerId,
    /// What it is.
    pub description: Description,
    /// What can be bought of it, at least one, in the seller's order.
    pub variants: Vec<Variant>,
}

/// The whole description was replaced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Revised {
    /// The description from now on.
    pub description: Description,
}

/// The product can be bought in one more form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VariantAdded {
    /// The new variant.
    pub variant: Variant,
}

/// A variant costs something else from now on; orders placed before keep their price.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Repriced {
    /// Which variant.
    pub sku: Sku,
    /// The price of one unit from now on.
    pub price: Money,
}

/// The product can no longer be bought.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Delisted {}

/// The product can be bought again, as it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Relisted {}

//! What can be asked of a product, and why it may be refused.

use super::{Description, Variant};
use crate::{
    ids::{ProductId, SellerId, Sku},
    money::{Currency, Money},
};

/// What a seller can ask of a product.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Let it be in the catalogue.
    List {
        /// Which product.
        product: ProductId,
        /// Who sells it.
        seller: SellerId,
        /// What it is.
        description: Description,
        /// What can be bought of it.
        variants: Vec<Variant>,
    },
    /// Let it be described so.
    Revise {
        /// The whole new description.
        description: Description,
    },
    /// Let it be bought in this form too.
    AddVariant {
        /// The new variant.
        variant: Variant,
    },
    /// Let a variant cost this much.
    Reprice {
        /// Which variant.
        sku: Sku,
        /// The price of one unit.
        price: Money,
    },
    /// Let all of this be so, in one decision: whoever edits a whole product sees all of it done or none.
    Update {
        /// The whole new description; none leaves it.
        description: Option<Description>,
        /// Every variant, known ones with their options; none leaves them. Nothing can be left out.
        variants: Option<Vec<Variant>>,
        /// Whether it is on sale; none leaves it.
        listed: Option<bool>,
    },
    /// Take it off sale.
    Delist,
    /// Put it back on sale.
    Relist,
}

/// Why a wish about a product was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// No such product was ever listed.
    #[error("the product is not listed")]
    NotListed,
    /// It is listed with other contents, or was delisted.
    #[error("product {product} is listed already, with other contents or delisted")]
    AlreadyListed {
        /// Which product.
        product: ProductId,
    },
    /// A product without anything to buy.
    #[error("a product needs at least one variant")]
    NoVariants,
    /// The product has this SKU already.
    #[error("SKU {sku} is given twice")]
    DuplicateSku {
        /// Which SKU.
        sku: Sku,
    },
    /// The product has no such SKU.
    #[error("the product has no SKU {sku}")]
    UnknownSku {
        /// Which SKU.
        sku: Sku,
    },
    /// A variant of the product is not among those it is to have. Orders refer to it, so it cannot go.
    #[error("SKU {sku} cannot be taken out of the product")]
    VariantLeftOut {
        /// Which SKU.
        sku: Sku,
    },
    /// A variant is to have other options: that would be another thing under the same SKU.
    #[error("the options of SKU {sku} cannot be changed")]
    OptionsChanged {
        /// Which SKU.
        sku: Sku,
    },
    /// A price of nothing or less.
    #[error("the price of {sku} must be positive, not {price}")]
    InvalidPrice {
        /// Which SKU.
        sku: Sku,
        /// What was given.
        price: Money,
    },
    /// A price in another currency than the product's.
    #[error("{sku} is priced in {found}, the product in {expected}")]
    CurrencyMismatch {
        /// Which SKU.
        sku: Sku,
        /// The product's currency.
        expected: Currency,
        /// What was given.
        found: Currency,
    },
    /// A text that must say something says nothing.
    #[error("{field} must not be empty")]
    Missing {
        /// Which text.
        field: &'static str,
    },
    /// A text beyond its limit.
    #[error("{field} has {found} characters, at most {limit} are allowed")]
    TooLong {
        /// Which text.
        field: &'static str,
        /// Its length in characters.
        found: usize,
        /// The most allowed.
        limit: usize,
    },
    /// A list beyond its limit.
    #[error("{found} {field} are given, at most {limit} are allowed")]
    TooMany {
        /// Which list.
        field: &'static str,
        /// Its length.
        found: usize,
        /// The most allowed.
        limit: usize,
    },
    /// A text with a character that no page can show.
    #[error("{field} holds a control character")]
    ControlCharacter {
        /// Which text.
        field: &'static str,
    },
    /// An image that is not an absolute http or https URL.
    #[error("{url:?} is not an http or https URL")]
    InvalidImage {
        /// What was given.
        url: String,
    },
    /// An attribute's number that is no decimal.
    #[error("attribute {attribute} has {value:?}, which is not a decimal number")]
    InvalidNumber {
        /// The attribute's name.
        attribute: String,
        /// What was given (its beginning).
        value: String,
    },
}

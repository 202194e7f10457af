//! A product as the catalogue lists it: one description, one seller, one or more variants with a price each.
//!
//! Stock is not here: it is counted per SKU in its own streams, so that a flash sale never waits for a
//! seller who edits a text. A product is never deleted, only delisted, because orders refer to it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    decider::Decider,
    ids::{CategoryId, ProductId, SellerId, Sku},
    money::{Currency, Money},
};

mod command;
pub mod description;
mod event;

pub use command::{Command, Rejection};
use description::VARIANTS_MAX;
pub use description::{Attribute, Description, Variant};
pub use event::*;

/// What a decision about a product needs to know.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub enum State {
    /// Nobody ever listed it.
    #[default]
    Unlisted,
    /// It can be bought.
    Listed(Box<Contents>),
    /// It was taken off sale.
    Delisted(Box<Contents>),
}

/// What a product is and costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Contents {
    /// Who sells it.
    pub seller: SellerId,
    /// What it is.
    pub description: Description,
    /// What can be bought of it.
    pub variants: BTreeMap<Sku, Variant>,
}

/// What an order line freezes: an order shows for ever what was bought, whatever becomes of the product.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Offer<'a> {
    /// The product's name.
    pub name: &'a str,
    /// Its place in the category tree.
    pub category: Option<&'a CategoryId>,
    /// Who sells it.
    pub seller: &'a SellerId,
    /// The price of one unit.
    pub price: Money,
}

impl State {
    /// What buying `sku` now means; `None` when it is not on sale.
    #[must_use]
    pub fn offer(&self, sku: &Sku) -> Option<Offer<'_>> {
        let Self::Listed(contents) = self else {
            return None;
        };
        let variant = contents.variants.get(sku)?;
        Some(Offer {
            name: &contents.description.name,
            category: contents.description.leaf(),
            seller: &contents.seller,
            price: variant.price,
        })
    }

    /// True while the product can be bought.
    #[must_use]
    pub const fn is_listed(&self) -> bool {
        matches!(self, Self::Listed(_))
    }

    /// The product, on sale or not; `None` when nobody ever listed it.
    #[must_use]
    pub const fn contents(&self) -> Option<&Contents> {
        match self {
            Self::Unlisted => None,
            Self::Listed(contents) | Self::Delisted(contents) => Some(contents),
        }
    }
}

impl Contents {
    /// The currency of all its prices.
    #[must_use]
    pub fn currency(&self) -> Option<Currency> {
        self.variants.values().next().map(|variant| variant.price.currency)
    }

    /// True when listing these would say nothing new; the order of variants is no matter.
    fn equals(&self, seller: &SellerId, description: &Description, variants: &[Variant]) -> bool {
        self.seller == *seller
            && self.description == *description
            && self.variants.len() == variants.len()
            && variants.iter().all(|variant| self.variants.get(&variant.sku) == Some(variant))
    }
}

/// The product aggregate.
#[derive(Debug)]
pub struct Product;

impl Decider for Product {
    const CATEGORY: &'static str = "product";
    const FOLD: u32 = 1;
    type Id = ProductId;
    type State = State;
    type Command = Command;
    type Event = Event;
    type Rejection = Rejection;

    fn decide(state: &State, command: &Command) -> Result<Vec<Event>, Rejection> {
        match (command, state.contents()) {
            (Command::List { product, seller, description, variants }, _) => {
                list(state, product, seller, description, variants)
            }
            (_, None) => Err(Rejection::NotListed),
            (Command::Revise { description }, Some(contents)) => revise(contents, description),
            (Command::AddVariant { variant }, Some(contents)) => add_variant(contents, variant),
            (Command::Reprice { sku, price }, Some(contents)) => reprice(contents, sku, *price),
            (Command::Update { description, variants, listed }, Some(contents)) => {
                update(state, contents, description.as_ref(), variants.as_deref(), *listed)
            }
            (Command::Delist, _) => Ok(if state.is_listed() { vec![Delisted {}.into()] } else { vec![] }),
            (Command::Relist, _) => Ok(if state.is_listed() { vec![] } else { vec![Relisted {}.into()] }),
        }
    }

    fn evolve(state: State, event: &Event) -> State {
        match (state, event) {
            (_, Event::Listed(Listed { product: _, seller, description, variants })) => {
                State::Listed(Box::new(Contents {
                    seller: seller.clone(),
                    description: description.clone(),
                    variants: variants.iter().map(|variant| (variant.sku.clone(), variant.clone())).collect(),
                }))
            }
            (State::Listed(contents), Event::Delisted(_)) => State::Delisted(contents),
            (State::Delisted(contents), Event::Relisted(_)) => State::Listed(contents),
            (State::Listed(contents), event) => State::Listed(changed(contents, event)),
            (State::Delisted(contents), event) => State::Delisted(changed(contents, event)),
            (State::Unlisted, _) => State::Unlisted,
        }
    }
}

/// Folds what changes a product's contents; everything else leaves them as they are.
fn changed(mut contents: Box<Contents>, event: &Event) -> Box<Contents> {
    match event {
        Event::Revised(Revised { description }) => contents.description = description.clone(),
        Event::VariantAdded(VariantAdded { variant }) => {
            contents.variants.insert(variant.sku.clone(), variant.clone());
        }
        Event::Repriced(Repriced { sku, price }) => {
            if let Some(variant) = contents.variants.get_mut(sku) {
                variant.price = *price;
            }
        }
        Event::Listed(_) | Event::Delisted(_) | Event::Relisted(_) => {}
    }
    contents
}

fn list(
    state: &State,
    product: &ProductId,
    seller: &SellerId,
    description: &Description,
    variants: &[Variant],
) -> Result<Vec<Event>, Rejection> {
    match state {
        State::Listed(contents) if contents.equals(seller, description, variants) => {
            return Ok(vec![]);
        }
        State::Listed(_) | State::Delisted(_) => {
            return Err(Rejection::AlreadyListed { product: product.clone() });
        }
        State::Unlisted => {}
    }
    description.check()?;
    let Some(first) = variants.first() else {
        return Err(Rejection::NoVariants);
    };
    description::few("variants", variants.len(), VARIANTS_MAX)?;
    let mut seen = std::collections::BTreeSet::new();
    for variant in variants {
        variant.check()?;
        same_currency(first.price.currency, &variant.sku, variant.price)?;
        if !seen.insert(&variant.sku) {
            return Err(Rejection::DuplicateSku { sku: variant.sku.clone() });
        }
    }
    Ok(vec![
        Listed {
            product: product.clone(),
            seller: seller.clone(),
            description: description.clone(),
            variants: variants.to_vec(),
        }
        .into(),
    ])
}

fn revise(contents: &Contents, description: &Description) -> Result<Vec<Event>, Rejection> {
    if contents.description == *description {
        return Ok(vec![]);
    }
    description.check()?;
    Ok(vec![Revised { description: description.clone() }.into()])
}

fn add_variant(contents: &Contents, variant: &Variant) -> Result<Vec<Event>, Rejection> {
    match contents.variants.get(&variant.sku) {
        Some(known) if known == variant => return Ok(vec![]),
        Some(_) => {
            return Err(Rejection::DuplicateSku { sku: variant.sku.clone() });
        }
        None => {}
    }
    description::few("variants", contents.variants.len() + 1, VARIANTS_MAX)?;
    variant.check()?;
    if let Some(currency) = contents.currency() {
        same_currency(currency, &variant.sku, variant.price)?;
    }
    Ok(vec![VariantAdded { variant: variant.clone() }.into()])
}

fn reprice(contents: &Contents, sku: &Sku, price: Money) -> Result<Vec<Event>, Rejection> {
    let Some(variant) = contents.variants.get(sku) else {
        return Err(Rejection::UnknownSku { sku: sku.clone() });
    };
    if variant.price == price {
        return Ok(vec![]);
    }
    description::positive(sku, price)?;
    same_currency(variant.price.currency, sku, price)?;
    Ok(vec![Repriced { sku: sku.clone(), price }.into()])
}

fn update(
    state: &State,
    contents: &Contents,
    description: Option<&Description>,
    variants: Option<&[Variant]>,
    listed: Option<bool>,
) -> Result<Vec<Event>, Rejection> {
    let mut events = description.map_or(Ok(vec![]), |description| revise(contents, description))?;
    if let Some(variants) = variants {
        events.extend(have(contents, variants)?);
    }
    match listed {
        Some(true) if !state.is_listed() => events.push(Relisted {}.into()),
        Some(false) if state.is_listed() => events.push(Delisted {}.into()),
        Some(_) | None => {}
    }
    Ok(events)
}

/// Adds the variants that are new and reprices the others.
fn have(contents: &Contents, variants: &[Variant]) -> Result<Vec<Event>, Rejection> {
    let mut given = std::collections::BTreeSet::new();
    if let Some(twice) = variants.iter().find(|variant| !given.insert(&variant.sku)) {
        return Err(Rejection::DuplicateSku { sku: twice.sku.clone() });
    }
    if let Some(sku) = contents.variants.keys().find(|sku| !given.contains(sku)) {
        return Err(Rejection::VariantLeftOut { sku: sku.clone() });
    }
    description::few("variants", variants.len(), VARIANTS_MAX)?;
    let mut events = Vec::new();
    for variant in variants {
        events.extend(match contents.variants.get(&variant.sku) {
            Some(known) if known.options != variant.options => {
                return Err(Rejection::OptionsChanged { sku: variant.sku.clone() });
            }
            Some(_) => reprice(contents, &variant.sku, variant.price)?,
            None => add_variant(contents, variant)?,
        });
    }
    Ok(events)
}

fn same_currency(expected: Currency, sku: &Sku, price: Money) -> Result<(), Rejection> {
    if price.currency == expected {
        Ok(())
    } else {
        Err(Rejection::CurrencyMismatch { sku: sku.clone(), expected, found: price.currency })
    }
}

#[cfg(test)]
mod tests;

//! A product as a message, from a row or from the desk's state, and back into domain values.

use std::collections::BTreeMap;

use domain::{
    ids::{CategoryId, ProductId, SellerId, Sku},
    product::{Attribute, Contents, Description, Variant},
};
use jiff::Timestamp;
use projections::views::catalog as view;
use proto::v1::{self, attribute::Value};
use tonic::Status;

use crate::{
    error::{invalid, missing},
    services::{convert, envelope},
};

/// A row of the catalogue.
pub(super) fn row(row: &view::Product) -> v1::Product {
    let times = (Some(row.listed_at), Some(row.changed_at));
    let etag = envelope::row_etag(row.revision);
    message(&row.product, &row.seller, &row.description, row.variants.iter(), row.listed, etag, times)
}

/// A state of the desk, its variants in the order given.
pub(super) fn state<'a>(
    product: &ProductId,
    contents: &'a Contents,
    variants: impl Iterator<Item = &'a Variant>,
    listed: bool,
    etag: String,
    times: (Option<Timestamp>, Option<Timestamp>),
) -> v1::Product {
    message(product, &contents.seller, &contents.description, variants, listed, etag, times)
}

fn message<'a>(
    product: &ProductId,
    seller: &SellerId,
    description: &Description,
    variants: impl Iterator<Item = &'a Variant>,
    listed: bool,
    etag: String,
    (created, updated): (Option<Timestamp>, Option<Timestamp>),
) -> v1::Product {
    let state = if listed { v1::ProductState::Listed } else { v1::ProductState::Delisted };
    v1::Product {
        product_id: product.to_string(),
        name: description.name.clone(),
        description: description.text.clone(),
        keywords: description.keywords.clone(),
        image_urls: description.images.clone(),
        category_path: description.categories.iter().map(ToString::to_string).collect(),
        attributes: description.attributes.iter().map(|(name, value)| attribute(name, value)).collect(),
        seller_id: seller.to_string(),
        variants: variants.map(variant).collect(),
        state: state.into(),
        etag,
        create_time: created.map(convert::to_moment),
        update_time: updated.map(convert::to_moment),
    }
}

fn attribute(name: &str, value: &Attribute) -> v1::Attribute {
    let value = match value {
        Attribute::Text(text) => Value::Text(text.clone()),
        Attribute::Number { value, unit } => {
            Value::Number(v1::Measure { value: value.clone(), unit: unit.clone().unwrap_or_default() })
        }
        Attribute::Flag(flag) => Value::Flag(*flag),
    };
    v1::Attribute { name: name.to_owned(), value: Some(value) }
}

fn variant(variant: &Variant) -> v1::Variant {
    let options = variant.options.iter();
    v1::Variant {
        sku: variant.sku.to_string(),
        options: options.map(|(name, value)| v1::VariantOption { name: name.clone(), value: value.clone() }).collect(),
        price: Some(convert::to_money(variant.price)),
    }
}

/// What a message says about a product in words and pictures. Lengths are the domain's to check.
pub(super) fn description(product: &v1::Product) -> Result<Description, Status> {
    Ok(Description {
        name: product.name.clone(),
        text: product.description.clone(),
        keywords: product.keywords.clone(),
        images: product.image_urls.clone(),
        categories: categories(&product.category_path)?,
        attributes: attributes(&product.attributes)?,
    })
}

pub(super) fn categories(path: &[String]) -> Result<Vec<CategoryId>, Status> {
    let steps = path.iter().enumerate();
    steps.map(|(n, step)| convert::id(format_args!("product.category_path[{n}]"), step)).collect()
}

pub(super) fn attributes(attributes: &[v1::Attribute]) -> Result<BTreeMap<String, Attribute>, Status> {
    let mut read = BTreeMap::new();
    for (n, attribute) in attributes.iter().enumerate() {
        let field = || format!("product.attributes[{n}]");
        let value = match &attribute.value {
            Some(Value::Text(text)) => Attribute::Text(text.clone()),
            Some(Value::Number(measure)) => {
                let unit = Some(measure.unit.clone()).filter(|unit| !unit.is_empty());
                Attribute::Number { value: measure.value.clone(), unit }
            }
            Some(Value::Flag(flag)) => Attribute::Flag(*flag),
            None => return Err(missing(&format!("{}.value", field()))),
        };
        if read.insert(attribute.name.clone(), value).is_some() {
            return Err(invalid(&format!("{}.name", field()), "is given twice"));
        }
    }
    Ok(read)
}

pub(super) fn variants(variants: &[v1::Variant]) -> Result<Vec<Variant>, Status> {
    let read = variants.iter().enumerate().map(|(n, variant)| {
        let mut options = BTreeMap::new();
        for option in &variant.options {
            if options.insert(option.name.clone(), option.value.clone()).is_some() {
                return Err(invalid(&format!("product.variants[{n}].options"), "hold a name twice"));
            }
        }
        let sku: Sku = convert::id(format_args!("product.variants[{n}].sku"), &variant.sku)?;
        let price = convert::money(format_args!("product.variants[{n}].price"), variant.price.as_ref())?;
        Ok(Variant { sku, options, price })
    });
    read.collect()
}

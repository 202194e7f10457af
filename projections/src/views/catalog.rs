//! The catalogue: a row per product, with everything its page shows except stock.
//!
//! Lists for shoppers hold listed products only; a seller's list and the way from a SKU to its product hold
//! every product, because orders and returns refer to delisted ones too. Stock is another view: it changes
//! with every order, a description hardly ever.

use domain::{
    event::Event,
    ids::{CategoryId, ProductId, SellerId, Sku},
    product::{self, Description, Variant},
};
use jiff::Timestamp;
use ports::views::Key;
use serde::{Deserialize, Serialize};

use crate::{
    event::{Category, Fact},
    key::key,
    reader::Query,
    view::{Fault, Touched, View},
};

const BY_CATEGORY: &str = "by_category";
const BY_SELLER: &str = "by_seller";
const BY_NAME: &str = "by_name";
const BY_AGE: &str = "by_age";
const BY_SKU: &str = "by_sku";

/// The view of the catalogue.
#[derive(Debug)]
pub struct Catalog;

/// A product as its page shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Product {
    /// Which product.
    pub product: ProductId,
    /// Who sells it.
    pub seller: SellerId,
    /// Whether it can be bought.
    pub listed: bool,
    /// What it is.
    pub description: Description,
    /// What can be bought of it, in the seller's order, at the prices of now.
    pub variants: Vec<Variant>,
    /// When it entered the catalogue.
    pub listed_at: Timestamp,
    /// When it last changed.
    pub changed_at: Timestamp,
    /// The revision of its newest event: its etag.
    pub revision: u64,
}

/// Listed products in a place of the category tree and everywhere below it, by name. `path` leads from the
/// root to that place.
#[must_use]
pub fn in_category(path: &[CategoryId]) -> Query<Catalog> {
    Query::index(BY_CATEGORY).under(&(joined(path),))
}

/// All products of a seller, delisted ones too, by name.
#[must_use]
pub fn of_seller(seller: &SellerId) -> Query<Catalog> {
    Query::index(BY_SELLER).under(&(seller,))
}

/// Listed products by name, letter case aside.
#[must_use]
pub fn by_name() -> Query<Catalog> {
    Query::index(BY_NAME)
}

/// Listed products, the newest first.
#[must_use]
pub fn newest() -> Query<Catalog> {
    Query::index(BY_AGE).backward()
}

/// The product that has a variant with this SKU.
#[must_use]
pub fn of_sku(sku: &Sku) -> Query<Catalog> {
    Query::index(BY_SKU).under(&(sku,))
}

/// A path as text. No category id holds a slash, so two paths never look the same.
fn joined(path: &[CategoryId]) -> String {
    path.iter().map(CategoryId::as_str).collect::<Vec<_>>().join("/")
}

impl View for Catalog {
    const NAME: &'static str = "catalog";
    const VERSION: u32 = 1;
    const READS: &'static [Category] = &[Category::Product];
    const INDEXES: &'static [&'static str] = &[BY_CATEGORY, BY_SELLER, BY_NAME, BY_AGE, BY_SKU];
    type Key = ProductId;
    type Row = Product;
    type Change<'a> = &'a product::Event;

    fn touch<'a>(fact: &'a Fact, touched: &mut Touched<'a, Self>) -> Result<(), Fault> {
        if let Event::Product(event) = &fact.event {
            touched.own(fact.subject().parse()?, event, fact);
        }
        Ok(())
    }

    fn apply(
        key: &ProductId,
        row: Option<Product>,
        change: &product::Event,
        fact: &Fact,
    ) -> Result<Option<Product>, Fault> {
        let mut row = match (row, change) {
            (None, product::Event::Listed(listed)) => Product {
                product: key.clone(),
                seller: listed.seller.clone(),
                listed: true,
                description: listed.description.clone(),
                variants: listed.variants.clone(),
                listed_at: fact.occurred_at,
                changed_at: fact.occurred_at,
                revision: fact.revision,
            },
            (Some(row), _) => row,
            (None, _) => return Err(Fault::missing("product", key)),
        };
        match change {
            product::Event::Listed(_) => {}
            product::Event::Revised(revised) => row.description = revised.description.clone(),
            product::Event::VariantAdded(added) => row.variants.push(added.variant.clone()),
            product::Event::Repriced(repriced) => {
                let variant = row.variants.iter_mut().find(|variant| variant.sku == repriced.sku);
                variant.ok_or_else(|| Fault::missing("variant", &repriced.sku))?.price = repriced.price;
            }
            product::Event::Delisted(_) => row.listed = false,
            product::Event::Relisted(_) => row.listed = true,
        }
        row.changed_at = fact.occurred_at;
        row.revision = fact.revision;
        Ok(Some(row))
    }

    fn indexes(row: &Product) -> Vec<(&'static str, Key)> {
        let name = row.description.name.to_lowercase();
        let mut entries = vec![(BY_SELLER, key(&(&row.seller, &name)))];
        entries.extend(row.variants.iter().map(|variant| (BY_SKU, key(&(&variant.sku,)))));
        if row.listed {
            let path = &row.description.categories;
            entries.extend((1..=path.len()).map(|depth| (BY_CATEGORY, key(&(joined(&path[..depth]), &name)))));
            entries.push((BY_NAME, key(&(&name,))));
            entries.push((BY_AGE, key(&(row.listed_at,))));
        }
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Told, fault, gbp, row, told, word};
    use domain::product::{Delisted, Listed, Relisted, Repriced, Revised, VariantAdded};

    const MUG: &str = "product-mug";

    fn description(name: &str, path: &[&str]) -> Description {
        Description {
            name: name.into(),
            text: String::new(),
            keywords: vec![],
            images: vec![],
            categories: path.iter().map(|step| word(step)).collect(),
            attributes: [].into(),
        }
    }

    fn variant(sku: &str, price: i64) -> Variant {
        Variant { sku: word(sku), options: [].into(), price: gbp(price) }
    }

    fn listed() -> Told {
        let description = description("Blue Mug", &["home", "mugs"]);
        let variants = vec![variant("M-1", 250)];
        told(MUG, 1, Listed { product: word("mug"), seller: word("acme"), description, variants })
    }

    /// A history of the mug, and how the row looks after it: name, prices, on sale?, when changed.
    fn check(history: &[Told], expected: &str) {
        let mut story = vec![listed()];
        story.extend_from_slice(history);
        let row = row::<Catalog>(&story);
        let prices: Vec<String> = row.variants.iter().map(|v| format!("{} {}", v.sku, v.price.amount)).collect();
        let shown = format!(
            "{}: {}, {}, r{} {}",
            row.description.name,
            prices.join(" "),
            if row.listed { "listed" } else { "delisted" },
            row.revision,
            &row.changed_at.to_string()[..10]
        );
        assert_eq!(shown, expected);
        assert_eq!((row.product.as_str(), row.seller.as_str()), ("mug", "acme"));
    }

    #[test]
    fn the_page_shows_the_product_as_it_is_now() {
        let added = VariantAdded { variant: variant("M-2", 300) };
        let revised = Revised { description: description("Red Mug", &["gifts"]) };
        check(&[], "Blue Mug: M-1 250, listed, r0 2010-12-01");
        check(&[told(MUG, 2, added.clone())], "Blue Mug: M-1 250 M-2 300, listed, r1 2010-12-02");
        check(&[told(MUG, 3, revised)], "Red Mug: M-1 250, listed, r1 2010-12-03");
        let repriced = Repriced { sku: word("M-2"), price: gbp(199) };
        check(&[told(MUG, 2, added), told(MUG, 4, repriced)], "Blue Mug: M-1 250 M-2 199, listed, r2 2010-12-04");
        check(&[told(MUG, 5, Delisted {})], "Blue Mug: M-1 250, delisted, r1 2010-12-05");
        check(&[told(MUG, 5, Delisted {}), told(MUG, 6, Relisted {})], "Blue Mug: M-1 250, listed, r2 2010-12-06");
    }

    #[test]
    fn shoppers_find_listed_products_at_every_step_of_the_tree_and_sellers_find_all() {
        let names = |history: &[Told]| {
            let mut story = vec![listed()];
            story.extend_from_slice(history);
            Catalog::indexes(&row::<Catalog>(&story)).into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(names(&[]), [BY_SELLER, BY_SKU, BY_CATEGORY, BY_CATEGORY, BY_NAME, BY_AGE]);
        assert_eq!(names(&[told(MUG, 2, Delisted {})]), [BY_SELLER, BY_SKU]);

        let entries = Catalog::indexes(&row::<Catalog>(&[listed()]));
        for path in [vec![word("home")], vec![word("home"), word("mugs")]] {
            assert!(entries.contains(&(BY_CATEGORY, key(&(joined(&path), "blue mug")))));
        }
    }

    #[test]
    fn what_cannot_be_folded_names_what_is_missing() {
        let repriced = || Repriced { sku: word("M-9"), price: gbp(1) };
        assert_eq!(fault::<Catalog>(&[told(MUG, 1, repriced())]), Fault::missing("product", "mug"));
        assert_eq!(fault::<Catalog>(&[listed(), told(MUG, 1, repriced())]), Fault::missing("variant", "M-9"));
        assert!(matches!(fault::<Catalog>(&[told("product-a/b", 1, Delisted {})]), Fault::Name(_)));
    }
}

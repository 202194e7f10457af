//! Stock: a row per SKU with its levels per warehouse.
//!
//! One row holds all warehouses of a SKU, because only the SKU's first event names its product and a fold never
//! reads another row; a SKU has few warehouses, and what a shopper asks is the sum over them.

use std::collections::BTreeMap;

use domain::{
    event::Event,
    ids::{ProductId, Sku, WarehouseId},
    stock::{self, Allocation},
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

const BY_PRODUCT: &str = "by_product";
const BY_WAREHOUSE: &str = "by_warehouse";

/// The view of stock.
#[derive(Debug)]
pub struct Stock;

/// The stock of a SKU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkuStock {
    /// The SKU.
    pub sku: Sku,
    /// The product it is a variant of.
    pub product: ProductId,
    /// What lies where.
    pub levels: BTreeMap<WarehouseId, Level>,
    /// When it last changed.
    pub changed_at: Timestamp,
    /// The revision of its newest event: its etag.
    pub revision: u64,
}

/// Units of a SKU, in one warehouse or over all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    /// Units on the shelf, reserved ones included.
    pub on_hand: u64,
    /// Units on the shelf that are promised to orders.
    pub reserved: u64,
    /// Units that ever left the shelf for orders.
    pub claimed: u64,
    /// Units that ever came back from orders.
    pub restocked: u64,
}

impl Level {
    /// Units that the next buyer can have.
    #[must_use]
    pub const fn available(&self) -> u64 {
        self.on_hand.saturating_sub(self.reserved)
    }
}

impl SkuStock {
    /// The sum over all warehouses.
    #[must_use]
    pub fn total(&self) -> Level {
        self.levels.values().fold(Level::default(), |sum, level| Level {
            on_hand: sum.on_hand.saturating_add(level.on_hand),
            reserved: sum.reserved.saturating_add(level.reserved),
            claimed: sum.claimed.saturating_add(level.claimed),
            restocked: sum.restocked.saturating_add(level.restocked),
        })
    }
}

/// The SKUs of a product.
#[must_use]
pub fn of_product(product: &ProductId) -> Query<Stock> {
    Query::index(BY_PRODUCT).under(&(product,))
}

/// The SKUs that a warehouse has or had.
#[must_use]
pub fn in_warehouse(warehouse: &WarehouseId) -> Query<Stock> {
    Query::index(BY_WAREHOUSE).under(&(warehouse,))
}

fn add(to: &mut u64, quantity: u32) -> Result<(), Fault> {
    *to = to.checked_add(quantity.into()).ok_or(Fault::Count { what: "stock" })?;
    Ok(())
}

fn take(from: &mut u64, quantity: u32) -> Result<(), Fault> {
    *from = from.checked_sub(quantity.into()).ok_or(Fault::Count { what: "stock" })?;
    Ok(())
}

impl View for Stock {
    const NAME: &'static str = "stock";
    const VERSION: u32 = 1;
    const READS: &'static [Category] = &[Category::Stock];
    const INDEXES: &'static [&'static str] = &[BY_PRODUCT, BY_WAREHOUSE];
    type Key = Sku;
    type Row = SkuStock;
    type Change<'a> = &'a stock::Event;

    fn touch<'a>(fact: &'a Fact, touched: &mut Touched<'a, Self>) -> Result<(), Fault> {
        if let Event::Stock(event) = &fact.event {
            touched.own(fact.subject().parse()?, event, fact);
        }
        Ok(())
    }

    fn apply(key: &Sku, row: Option<SkuStock>, change: &stock::Event, fact: &Fact) -> Result<Option<SkuStock>, Fault> {
        let mut row = match (row, change) {
            (None, stock::Event::Opened(opened)) => SkuStock {
                sku: key.clone(),
                product: opened.product.clone(),
                levels: BTreeMap::new(),
                changed_at: fact.occurred_at,
                revision: fact.revision,
            },
            (Some(row), _) => row,
            (None, _) => return Err(Fault::missing("stock of SKU", key)),
        };
        row.changed_at = fact.occurred_at;
        row.revision = fact.revision;
        let mut each = |allocations: &[Allocation], change: fn(&mut Level, u32) -> Result<(), Fault>| {
            allocations.iter().try_for_each(|Allocation { warehouse, quantity }| {
                change(row.levels.entry(warehouse.clone()).or_default(), *quantity)
            })
        };
        match change {
            stock::Event::Opened(_) => {}
            stock::Event::Received(received) => {
                add(&mut row.levels.entry(received.warehouse.clone()).or_default().on_hand, received.quantity)?;
            }
            stock::Event::Counted(counted) => {
                row.levels.entry(counted.warehouse.clone()).or_default().on_hand = counted.on_hand.into();
            }
            stock::Event::Reserved(reserved) => {
                each(&reserved.allocations, |level, quantity| add(&mut level.reserved, quantity))?;
            }
            stock::Event::Claimed(claimed) => each(&claimed.allocations, |level, quantity| {
                take(&mut level.reserved, quantity)?;
                take(&mut level.on_hand, quantity)?;
                add(&mut level.claimed, quantity)
            })?,
            stock::Event::Released(released) => {
                each(&released.allocations, |level, quantity| take(&mut level.reserved, quantity))?;
            }
            stock::Event::Restocked(restocked) => {
                let level = row.levels.entry(restocked.warehouse.clone()).or_default();
                add(&mut level.on_hand, restocked.quantity)?;
                add(&mut level.restocked, restocked.quantity)?;
            }
        }
        Ok(Some(row))
    }

    fn indexes(row: &SkuStock) -> Vec<(&'static str, Key)> {
        let mut entries = vec![(BY_PRODUCT, key(&(&row.product, &row.sku)))];
        entries.extend(row.levels.keys().map(|warehouse| (BY_WAREHOUSE, key(&(warehouse, &row.sku)))));
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Told, december, fault, row, told, word};
    use domain::{
        ids::OrderId,
        stock::{Claimed, Counted, Opened, Received, Released, Reserved, Restocked},
    };
    use uuid::Uuid;

    const MUG: &str = "stock-M-1";

    fn order() -> OrderId {
        OrderId::from_u128(1)
    }

    fn at(places: &[(&str, u32)]) -> Vec<Allocation> {
        places.iter().map(|(place, quantity)| Allocation { warehouse: word(place), quantity: *quantity }).collect()
    }

    fn received(warehouse: &str, quantity: u32) -> Told {
        told(MUG, 1, Received { warehouse: word(warehouse), quantity })
    }

    fn reserved(places: &[(&str, u32)]) -> Told {
        told(MUG, 2, Reserved { order: order(), allocations: at(places), expires_at: december(9) })
    }

    fn opened() -> Told {
        told(MUG, 1, Opened { sku: word("M-1"), product: word("mug") })
    }

    /// A history of a SKU with 5 units in `main`, and its levels after it: on hand/reserved/claimed/restocked.
    fn check(history: &[Told], expected: &str) {
        let mut story = vec![opened(), received("main", 5)];
        story.extend_from_slice(history);
        let row = row::<Stock>(&story);
        let show =
            |level: &Level| format!("{}/{}/{}/{}", level.on_hand, level.reserved, level.claimed, level.restocked);
        let levels: Vec<String> = row.levels.iter().map(|(place, level)| format!("{place} {}", show(level))).collect();
        let shown = format!("{} = {}, {} free", levels.join(" + "), show(&row.total()), row.total().available());
        assert_eq!(shown, expected);
        assert_eq!((row.sku.as_str(), row.product.as_str(), row.revision), ("M-1", "mug", story.len() as u64 - 1));
        assert_eq!(Stock::indexes(&row).len(), 1 + row.levels.len());
    }

    #[test]
    fn levels_follow_every_event_in_every_warehouse() {
        let both = &[("main", 2), ("north", 1)];
        let claimed = told(MUG, 3, Claimed { order: order(), allocations: at(both) });
        let released = told(MUG, 3, Released { order: order(), allocations: at(both), lapsed: true });
        let restocked = told(MUG, 4, Restocked { source: Uuid::from_u128(1), warehouse: word("north"), quantity: 2 });
        check(&[], "main 5/0/0/0 = 5/0/0/0, 5 free");
        check(&[received("main", 2)], "main 7/0/0/0 = 7/0/0/0, 7 free");
        check(&[told(MUG, 1, Counted { warehouse: word("main"), on_hand: 3 })], "main 3/0/0/0 = 3/0/0/0, 3 free");
        let held = [received("north", 4), reserved(both)];
        check(&held, "main 5/2/0/0 + north 4/1/0/0 = 9/3/0/0, 6 free");
        let [north, hold] = held;
        check(&[north.clone(), hold.clone(), claimed.clone()], "main 3/0/2/0 + north 3/0/1/0 = 6/0/3/0, 6 free");
        check(&[north.clone(), hold.clone(), released], "main 5/0/0/0 + north 4/0/0/0 = 9/0/0/0, 9 free");
        check(&[north, hold, claimed, restocked], "main 3/0/2/0 + north 5/0/1/2 = 8/0/3/2, 8 free");
    }

    #[test]
    fn what_cannot_be_folded_names_what_is_missing() {
        assert_eq!(fault::<Stock>(&[received("main", 1)]), Fault::missing("stock of SKU", "M-1"));
        let claimed = told(MUG, 1, Claimed { order: order(), allocations: at(&[("main", 1)]) });
        assert_eq!(fault::<Stock>(&[opened(), claimed]), Fault::Count { what: "stock" });
    }
}

//! The shelves, counted a second time: per SKU and warehouse, and hold by hold.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Fact, Findings,
    fact::{number, text},
};

/// What the shelves say, for the auditors of orders and returns.
#[derive(Debug, Default)]
pub(super) struct Stock {
    /// Units that left the shelf, by order and SKU.
    pub(super) claimed: BTreeMap<(String, String), i64>,
    /// Units that came back to the shelf, by what brought them and SKU.
    pub(super) restocked: BTreeMap<(String, String), i64>,
    /// Where they were put, by what brought them.
    pub(super) restocked_at: BTreeMap<String, BTreeSet<String>>,
}

/// One SKU.
#[derive(Default)]
struct Shelf {
    /// On hand and reserved, per warehouse.
    levels: BTreeMap<String, (i64, i64)>,
    /// Units per warehouse, by order.
    holds: BTreeMap<String, BTreeMap<String, i64>>,
    /// Everything that came in or was found, less what left or was missed.
    balance: i64,
}

/// Walks through every SKU's events, and expects that no hold is left.
pub(super) fn check(log: &[Fact], findings: &mut Findings) -> Stock {
    let mut stock = Stock::default();
    let shelves = walk(log, findings, &mut stock);
    for (sku, shelf) in &shelves {
        let stream = format!("stock-{sku}");
        findings.expect(shelf.holds.is_empty(), "every hold ends", &[&stream], || {
            format!("{sku} is still held for {:?}", shelf.holds)
        });
        findings.expect(shelf.on_hand() == shelf.balance, "units are conserved", &[&stream], || {
            format!("{} of {sku} are on hand, {} should be", shelf.on_hand(), shelf.balance)
        });
    }
    stock
}

/// The SKUs that are held for somebody, with all units that lie there.
pub(super) fn held(log: &[Fact], findings: &mut Findings) -> Vec<(String, u32)> {
    let shelves = walk(log, findings, &mut Stock::default());
    let held = shelves.into_iter().filter(|(_, shelf)| !shelf.holds.is_empty());
    held.map(|(sku, shelf)| (sku, u32::try_from(shelf.on_hand()).unwrap_or(0))).collect()
}

fn walk(log: &[Fact], findings: &mut Findings, stock: &mut Stock) -> BTreeMap<String, Shelf> {
    let mut shelves: BTreeMap<String, Shelf> = BTreeMap::new();
    for fact in log.iter().filter(|fact| fact.category() == "stock") {
        let sku = fact.subject().to_owned();
        let shelf = shelves.entry(sku.clone()).or_default();
        let (warehouse, quantity) = (fact.text("/warehouse"), fact.number("/quantity"));
        match fact.kind.as_str() {
            "stock.received" => shelf.arrive(warehouse, quantity),
            "stock.restocked" => {
                shelf.arrive(warehouse, quantity);
                let source = fact.text("/source").to_owned();
                stock.restocked_at.entry(source.clone()).or_default().insert(warehouse.to_owned());
                *stock.restocked.entry((source, sku)).or_default() += quantity;
            }
            "stock.counted" => {
                let level = shelf.levels.entry(warehouse.to_owned()).or_default();
                shelf.balance += fact.number("/on_hand") - level.0;
                level.0 = fact.number("/on_hand");
            }
            "stock.reserved" => shelf.reserve(fact, findings),
            "stock.claimed" => {
                shelf.end(fact, findings, true);
                *stock.claimed.entry((fact.text("/order").to_owned(), sku)).or_default() += units(fact);
            }
            "stock.released" => shelf.end(fact, findings, false),
            _ => {}
        }
        shelf.is_sound(fact, findings);
    }
    shelves
}

impl Shelf {
    fn on_hand(&self) -> i64 {
        self.levels.values().map(|(on_hand, _)| on_hand).sum()
    }

    fn arrive(&mut self, warehouse: &str, quantity: i64) {
        self.levels.entry(warehouse.to_owned()).or_default().0 += quantity;
        self.balance += quantity;
    }

    fn reserve(&mut self, fact: &Fact, findings: &mut Findings) {
        let hold = allocations(fact);
        for (warehouse, quantity) in &hold {
            self.levels.entry(warehouse.clone()).or_default().1 += quantity;
        }
        let before = self.holds.insert(fact.text("/order").to_owned(), hold);
        findings.expect(before.is_none(), "an order holds a SKU once", &[&fact.stream], || fact.line());
    }

    fn end(&mut self, fact: &Fact, findings: &mut Findings, claimed: bool) {
        let ended = allocations(fact);
        for (warehouse, quantity) in &ended {
            let level = self.levels.entry(warehouse.clone()).or_default();
            level.1 -= quantity;
            if claimed {
                level.0 -= quantity;
                self.balance -= quantity;
            }
        }
        let hold = self.holds.remove(fact.text("/order"));
        findings.expect(hold.as_ref() == Some(&ended), "a hold ends once, whole", &[&fact.stream], || {
            format!("{}, held was {hold:?}", fact.line())
        });
    }

    fn is_sound(&self, fact: &Fact, findings: &mut Findings) {
        for (warehouse, (on_hand, reserved)) in &self.levels {
            let what = || format!("{on_hand} on hand, {reserved} reserved in {warehouse} after {}", fact.line());
            findings.expect(*on_hand >= 0, "stock is never below zero", &[&fact.stream], what);
            findings.expect(*reserved >= 0, "no more is let go than was held", &[&fact.stream], what);
            findings.expect(reserved <= on_hand, "nothing is oversold", &[&fact.stream], what);
        }
    }
}

fn allocations(fact: &Fact) -> BTreeMap<String, i64> {
    let mut units = BTreeMap::new();
    for part in fact.list("/allocations") {
        *units.entry(text(part, "/warehouse").to_owned()).or_default() += number(part, "/quantity");
    }
    units
}

fn units(fact: &Fact) -> i64 {
    allocations(fact).values().sum()
}

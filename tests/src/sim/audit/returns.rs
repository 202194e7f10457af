//! Returns: no more comes back than was sold, for no more than was paid, and goods and money both arrive.

use std::collections::BTreeMap;

use serde_json::Value;
use uuid::Uuid;

use super::{
    Fact, Findings,
    fact::{number, units},
    orders::Orders,
    stock::Stock,
};

/// One return, by what its order and its own stream say.
#[derive(Debug, Default)]
struct Return {
    order: String,
    lines: Vec<Value>,
    refund: i64,
    /// How far its own stream has come: requested, received, completed.
    steps: Vec<String>,
    warehouse: String,
    /// How often its order has recorded its end.
    ends: u32,
}

/// Returns whose goods nobody has taken in.
pub(super) fn open(log: &[Fact]) -> Vec<Uuid> {
    let mut open: BTreeMap<&str, bool> = BTreeMap::new();
    for fact in log.iter().filter(|fact| fact.category() == "return") {
        *open.entry(fact.subject()).or_default() = fact.kind == "return.requested";
    }
    open.into_iter().filter(|(_, open)| *open).filter_map(|(id, _)| id.parse().ok()).collect()
}

/// Follows every return, and counts what came back of every order's line.
pub(super) fn check(log: &[Fact], orders: &Orders, stock: &Stock, findings: &mut Findings) {
    let returns = collect(log, findings);
    for (id, back) in &returns {
        back.has_ended(id, stock, findings);
    }
    for (id, order) in &orders.0 {
        let mut taken: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
        for line in returns.values().filter(|back| back.order == *id).flat_map(|back| &back.lines) {
            let (quantity, amount) = taken.entry(number(line, "/line")).or_default();
            *quantity += number(line, "/quantity");
            *amount += number(line, "/amount/amount");
        }
        for (line, (quantity, amount)) in taken {
            let stream = format!("order-{id}");
            let sold = usize::try_from(line).ok().and_then(|line| order.lines.get(line));
            let (bought, paid) =
                sold.map_or((0, 0), |sold| (number(sold, "/quantity"), number(sold, "/amount/amount")));
            let what = || format!("line {line}: {quantity} of {bought} for {amount} of {paid}");
            findings.expect(order.delivered, "only what was delivered comes back", &[&stream], what);
            findings.expect(quantity <= bought, "no more comes back than was sold", &[&stream], what);
            // A line's units cost the same, but for the odd penny; all of them cost just what was paid.
            let off = (amount * bought - paid * quantity).abs();
            let agreed = if quantity == bought { off == 0 } else { off < bought };
            findings.expect(agreed, "a return pays back its share", &[&stream], what);
        }
    }
    for ((source, sku), quantity) in &stock.restocked {
        let known = returns.contains_key(source) || orders.0.contains_key(source);
        findings.expect(known, "goods come back from an order or a return", &[&format!("stock-{sku}")], || {
            format!("{quantity} of {sku} from {source}")
        });
    }
}

fn collect(log: &[Fact], findings: &mut Findings) -> BTreeMap<String, Return> {
    let mut returns: BTreeMap<String, Return> = BTreeMap::new();
    for fact in log {
        let stream = [fact.stream.as_str()];
        match fact.kind.as_str() {
            "order.return_opened" => {
                let back = returns.entry(fact.text("/return_id").to_owned()).or_default();
                findings.expect(back.order.is_empty(), "a return is opened once", &stream, || fact.line());
                fact.subject().clone_into(&mut back.order);
                back.lines = fact.list("/lines").to_vec();
                back.refund = fact.number("/refund/amount");
                let sum: i64 = back.lines.iter().map(|line| number(line, "/amount/amount")).sum();
                findings.expect(sum == back.refund, "a return's lines add up", &stream, || fact.line());
                let positive = back.lines.iter().all(|line| number(line, "/quantity") > 0);
                findings.expect(positive, "a return brings something back", &stream, || fact.line());
            }
            "order.returned" => {
                let back = returns.entry(fact.text("/return_id").to_owned()).or_default();
                back.ends += 1;
                let same = back.refund == fact.number("/refund/amount") && back.lines == fact.list("/lines");
                findings.expect(same, "a return ends as it was opened", &stream, || fact.line());
                let completed = back.steps.last().is_some_and(|step| step == "return.completed");
                findings.expect(completed, "an order knows a return's end after it", &stream, || fact.line());
            }
            "return.requested" | "return.received" | "return.completed" => {
                let back = returns.entry(fact.subject().to_owned()).or_default();
                back.steps.push(fact.kind.clone());
                match fact.kind.as_str() {
                    "return.requested" => {
                        let same = back.order == fact.text("/order")
                            && back.refund == fact.number("/refund/amount")
                            && units(&back.lines) == units(fact.list("/lines"));
                        findings.expect(same, "a return asks for what was opened", &stream, || fact.line());
                    }
                    "return.received" => fact.text("/warehouse").clone_into(&mut back.warehouse),
                    _ => {}
                }
            }
            _ => {}
        }
    }
    returns
}

impl Return {
    fn has_ended(&self, id: &str, stock: &Stock, findings: &mut Findings) {
        let streams = [format!("return-{id}"), format!("order-{}", self.order)];
        let streams = [streams[0].as_str(), streams[1].as_str()];
        let whole = self.steps == ["return.requested", "return.received", "return.completed"];
        findings.expect(whole && self.ends == 1, "every return reaches its end once", &streams, || {
            format!("{:?}, {} ends", self.steps, self.ends)
        });
        let mut restocked: BTreeMap<String, i64> = BTreeMap::new();
        for ((source, sku), quantity) in &stock.restocked {
            if source == id {
                restocked.insert(sku.clone(), *quantity);
            }
        }
        findings.expect(restocked == units(&self.lines), "returned goods are on the shelf, once", &streams, || {
            format!("{restocked:?} for {:?}", self.lines)
        });
        let elsewhere = stock.restocked_at.get(id).into_iter().flatten().find(|place| **place != self.warehouse);
        findings.expect(elsewhere.is_none(), "returned goods are where they were taken in", &streams, || {
            format!("{elsewhere:?}, not {}", self.warehouse)
        });
    }
}

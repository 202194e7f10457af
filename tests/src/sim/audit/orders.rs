//! Every order from end to end: what may follow what, and that goods and money are where its end says.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    Fact, Findings,
    fact::{number, units},
    money::Money,
    stock::Stock,
};

/// What may come right before an event; nothing may come before a placing.
const BEFORE: [(&str, &[&str]); 17] = [
    ("placed", &[]),
    ("reserved", &["placed", "paid_late"]),
    ("coupon_held", &["reserved"]),
    ("refused", &["placed", "reserved", "coupon_held", "paid", "paid_late"]),
    ("payment_requested", &["reserved", "coupon_held", "payment_failed"]),
    ("payment_failed", &["payment_requested"]),
    ("paid", &["payment_requested", "payment_failed", "reserved", "coupon_held"]),
    ("confirmed", &["paid", "reserved", "coupon_held"]),
    ("expired", &["placed", "reserved", "coupon_held", "payment_requested", "payment_failed"]),
    ("cancelled", &["placed", "reserved", "coupon_held", "payment_requested", "payment_failed"]),
    ("paid_late", &["expired", "cancelled", "refused", "closed"]),
    ("closed", &["refused", "expired", "cancelled", "undeliverable", "paid_late"]),
    ("delivery_requested", &["confirmed"]),
    ("delivered", &["delivery_requested"]),
    ("undeliverable", &["delivery_requested"]),
    ("return_opened", &["delivered", "return_opened", "returned"]),
    ("returned", &["return_opened", "returned"]),
];

/// What the other auditors need to know of the orders.
#[derive(Debug, Default)]
pub(super) struct Orders(pub(super) BTreeMap<String, Order>);

/// One order.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// True when its goods have arrived.
    pub(super) delivered: bool,
    /// True when the sale was counted, whatever became of the delivery.
    pub(super) confirmed: bool,
    /// Its lines, as they were placed.
    pub(super) lines: Vec<Value>,
    /// The claim of the coupon it uses.
    pub(super) claim: Option<String>,
    /// The buyer.
    pub(super) buyer: String,
    /// What the coupon takes off.
    pub(super) discount: i64,
    total: i64,
    last: String,
    paid: Vec<(String, i64)>,
    returned: i64,
}

/// Follows every order, and expects each to have come to its end.
pub(super) fn check(log: &[Fact], stock: &Stock, money: &Money, findings: &mut Findings) -> Orders {
    let before: BTreeMap<&str, BTreeSet<&str>> =
        BEFORE.iter().map(|(kind, before)| (*kind, before.iter().copied().collect())).collect();
    let mut orders = Orders::default();
    for fact in log {
        if fact.kind == "payment.requested" {
            let closed = orders.0.get(fact.text("/order")).is_none_or(|order| order.last == "closed");
            findings.expect(!closed, "nothing is charged for an order that is over", &[&fact.stream], || fact.line());
        }
        if fact.category() != "order" {
            continue;
        }
        let order = orders.0.entry(fact.subject().to_owned()).or_default();
        let kind = fact.kind.trim_start_matches("order.");
        let fits = before.get(kind).is_some_and(|before| match order.last.as_str() {
            "" => kind == "placed",
            last => before.contains(last),
        });
        findings.expect(fits, "an order goes its way step by step", &[&fact.stream], || {
            format!("{kind} after {:?}", order.last)
        });
        kind.clone_into(&mut order.last);
        order.follow(kind, fact, findings);
    }
    for (id, order) in &orders.0 {
        order.has_ended(id, stock, money, findings);
    }
    for ((order, sku), units) in &stock.claimed {
        findings.expect(orders.0.contains_key(order), "goods leave for an order only", &[], || {
            format!("{units} of {sku} left for {order}")
        });
    }
    orders
}

impl Order {
    fn follow(&mut self, kind: &str, fact: &Fact, findings: &mut Findings) {
        let stream = [fact.stream.as_str()];
        match kind {
            "placed" => self.place(fact, findings),
            "paid" | "paid_late" => {
                let amount = fact.number("/amount/amount");
                findings.expect(amount == self.total, "an order is paid what it costs", &stream, || fact.line());
                self.paid.push((fact.text("/payment").to_owned(), amount));
            }
            "confirmed" => {
                self.confirmed = true;
                findings.expect(!self.paid.is_empty(), "nothing is sold unpaid", &stream, || fact.line());
                self.sold_is_placed(fact, findings);
            }
            "undeliverable" => self.sold_is_placed(fact, findings),
            "delivered" => self.delivered = true,
            "returned" => self.returned += fact.number("/refund/amount"),
            _ => {}
        }
    }

    fn place(&mut self, fact: &Fact, findings: &mut Findings) {
        self.lines = fact.list("/lines").to_vec();
        self.claim = fact.data.pointer("/coupon/claim").and_then(Value::as_str).map(str::to_owned);
        fact.text("/buyer").clone_into(&mut self.buyer);
        (self.total, self.discount) = (fact.number("/total/amount"), fact.number("/discount/amount"));
        let subtotal: i64 = self.lines.iter().map(gross).sum();
        let amounts: i64 = self.lines.iter().map(|line| number(line, "/amount/amount")).sum();
        let adds_up = subtotal == fact.number("/subtotal/amount")
            && subtotal - self.discount == self.total
            && amounts == self.total
            && (0..=subtotal).contains(&self.discount)
            && self.lines.iter().all(|line| (0..=gross(line)).contains(&number(line, "/amount/amount")));
        findings.expect(adds_up, "an order's lines add up", &[&fact.stream], || fact.line());
        let coupon = self.claim.is_some() || self.discount == 0;
        findings.expect(coupon, "nothing is taken off without a coupon", &[&fact.stream], || fact.line());
    }

    fn sold_is_placed(&self, fact: &Fact, findings: &mut Findings) {
        let sold = fact.list("/sold").iter().map(|line| (number(line, "/line"), number(line, "/amount/amount")));
        let placed = (0..).zip(self.lines.iter().map(|line| number(line, "/amount/amount")));
        let same = sold.eq(placed) && units(fact.list("/sold")) == units(&self.lines);
        findings.expect(same, "what is sold is what was placed", &[&fact.stream], || fact.line());
    }

    /// Compares goods and money with what the order's end says of them.
    fn has_ended(&self, id: &str, stock: &Stock, money: &Money, findings: &mut Findings) {
        let mut streams = vec![format!("order-{id}")];
        streams.extend(money.of(id).map(|(payment, _)| format!("payment-{payment}")));
        streams.extend(units(&self.lines).into_keys().map(|sku| format!("stock-{sku}")));
        let streams: Vec<&str> = streams.iter().map(String::as_str).collect();
        let what = || format!("order {id} ends with {:?}, money {:?}", self.last, money.moved(id));
        let ended = matches!(self.last.as_str(), "delivered" | "returned" | "closed");
        findings.expect(ended, "every order reaches an end", &streams, what);
        let (claimed, restocked) = (of(&stock.claimed, id), of(&stock.restocked, id));
        let goods = || format!("{}: {claimed:?} left, {restocked:?} came back", what());
        let (taken, given) = money.moved(id);
        if self.delivered {
            findings.expect(claimed == units(&self.lines), "what is delivered has left the shelf", &streams, goods);
            findings.expect(restocked.is_empty(), "what is delivered comes back by a return", &streams, goods);
            let by_hand: i64 = money.of(id).map(|(_, payment)| payment.given_by_hand()).sum();
            let exact = taken - given == self.total - self.returned;
            // What was given back by hand may be a part of what a return would have given back.
            let net = taken - given;
            let bounded =
                net <= self.total - by_hand.min(self.total) && net >= (self.total - self.returned - by_hand).max(0);
            findings.expect(
                exact || (by_hand > 0 && bounded),
                "what is delivered is paid, returns aside",
                &streams,
                || format!("{} of {}, {} returned, {by_hand} by hand", what(), self.total, self.returned),
            );
        } else {
            findings.expect(claimed == restocked, "what is not delivered is on the shelf", &streams, goods);
            findings.expect(taken == given, "what is not delivered costs nothing", &streams, what);
        }
        for (payment, amount) in self.paid.iter().filter(|(_, amount)| *amount > 0) {
            let books = money.payments.get(payment);
            let matches = books.is_some_and(|books| books.order == *id && books.captured == Some(*amount));
            findings.expect(matches, "what an order is paid was taken for it", &streams, || format!("{books:?}"));
        }
        for (payment, books) in money.of(id).filter(|(_, books)| books.captured.is_some()) {
            let told = self.paid.iter().any(|(paid, _)| paid == payment);
            findings.expect(told || books.captured == Some(books.given()), "no money is forgotten", &streams, what);
            findings.expect(books.asked == self.total, "an order is paid what it costs", &streams, what);
        }
    }
}

fn gross(line: &Value) -> i64 {
    number(line, "/unit_price/amount") * number(line, "/quantity")
}

/// Units per SKU that moved for one thing.
fn of(moved: &BTreeMap<(String, String), i64>, whose: &str) -> BTreeMap<String, i64> {
    moved.iter().filter(|((id, _), _)| id == whose).map(|((_, sku), units)| (sku.clone(), *units)).collect()
}

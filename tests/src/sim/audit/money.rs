//! The till: what the shop's books say of every payment, against what the provider really moved.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{Evidence, Fact, Findings};

/// Every payment by its id, as the shop's books have it.
#[derive(Debug, Default)]
pub(super) struct Money {
    pub(super) payments: BTreeMap<String, Payment>,
}

/// One payment.
#[derive(Debug, Default)]
pub(super) struct Payment {
    /// The order that is paid.
    pub(super) order: String,
    /// What was asked for.
    pub(super) asked: i64,
    /// What was taken, if anything was.
    pub(super) captured: Option<i64>,
    /// True once the provider declined or let go: nothing can be taken any more.
    ended: bool,
    refunds: BTreeMap<String, Refund>,
}

#[derive(Debug)]
struct Refund {
    amount: i64,
    outcome: Outcome,
    by_a_person: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Asked,
    Given,
    Declined,
}

impl Money {
    /// The payments of an order.
    pub(super) fn of<'a>(&'a self, order: &'a str) -> impl Iterator<Item = (&'a String, &'a Payment)> {
        self.payments.iter().filter(move |(_, payment)| payment.order == order)
    }

    /// What was taken for an order, and what was given back.
    pub(super) fn moved(&self, order: &str) -> (i64, i64) {
        self.of(order).fold((0, 0), |(taken, given), (_, payment)| {
            (taken + payment.captured.unwrap_or(0), given + payment.given())
        })
    }
}

impl Payment {
    /// What was given back.
    pub(super) fn given(&self) -> i64 {
        self.sum(|refund| refund.outcome == Outcome::Given)
    }

    /// What people have given back by hand.
    pub(super) fn given_by_hand(&self) -> i64 {
        self.sum(|refund| refund.outcome == Outcome::Given && refund.by_a_person)
    }

    fn sum(&self, which: impl Fn(&Refund) -> bool) -> i64 {
        self.refunds.values().filter(|refund| which(refund)).map(|refund| refund.amount).sum()
    }
}

/// Keeps the books, and compares them with the provider's.
pub(super) fn check(evidence: &Evidence, findings: &mut Findings) -> Money {
    let money = keep(&evidence.log, findings);
    for (id, payment) in &money.payments {
        let stream = format!("payment-{id}");
        let known = id.parse::<Uuid>().ok().and_then(|id| evidence.ledger.payments.get(&id));
        let moved = known.cloned().unwrap_or_default();
        let what = || format!("the books say {payment:?}, the provider {known:?}");
        findings.expect(payment.captured.unwrap_or(0) == moved.captured, "what is taken is known", &[&stream], what);
        findings.expect(payment.given() == moved.refunded, "what is given back is known", &[&stream], what);
        findings.expect(moved.refunded <= moved.captured, "no more is given back than taken", &[&stream], what);
        findings.expect(moved.captured <= payment.asked, "no more is taken than asked", &[&stream], what);
        let let_go = moved.authorized == 0 || moved.captured > 0 || moved.voided;
        findings.expect(let_go, "nothing stays set aside", &[&stream], what);
        findings.expect(payment.ended || payment.captured.is_some(), "every payment ends", &[&stream], what);
        let settled = payment.refunds.values().all(|refund| refund.outcome == Outcome::Given);
        findings.expect(settled, "every refund is given", &[&stream], what);
    }
    for (id, account) in &evidence.ledger.payments {
        findings.expect(money.payments.contains_key(&id.to_string()), "money moves for a payment only", &[], || {
            format!("{id}: {account:?}")
        });
    }
    findings.expect(evidence.ledger.forgotten == 0, "the provider's ledger is whole", &[], || {
        format!("{} payments were forgotten", evidence.ledger.forgotten)
    });
    money
}

/// Refunds whose newest attempt was declined: payment, refund, minor units.
pub(super) fn failed_refunds(log: &[Fact], findings: &mut Findings) -> Vec<(Uuid, Uuid, i64)> {
    let mut failed = Vec::new();
    for (payment, books) in keep(log, findings).payments {
        for (refund, Refund { amount, outcome, .. }) in books.refunds {
            if let (Outcome::Declined, Ok(payment), Ok(refund)) = (outcome, payment.parse(), refund.parse()) {
                failed.push((payment, refund, amount));
            }
        }
    }
    failed
}

fn keep(log: &[Fact], findings: &mut Findings) -> Money {
    let mut money = Money::default();
    for fact in log.iter().filter(|fact| fact.category() == "payment") {
        let payment = money.payments.entry(fact.subject().to_owned()).or_default();
        let (stream, what) = ([fact.stream.as_str()], || fact.line());
        let amount = fact.number("/amount/amount");
        match fact.kind.as_str() {
            "payment.requested" => {
                findings.expect(payment.order.is_empty(), "a payment is asked for once", &stream, what);
                (payment.order, payment.asked) = (fact.text("/order").to_owned(), amount);
            }
            "payment.captured" => {
                findings.expect(payment.captured.is_none(), "a payment is taken once", &stream, what);
                findings.expect(amount == payment.asked, "what is taken is what was asked", &stream, what);
                payment.captured = Some(amount);
            }
            "payment.declined" | "payment.voided" => payment.ended = true,
            "payment.refund_requested" => payment.ask_back(fact, findings),
            "payment.refunded" => {
                let was = payment.settle(fact, Outcome::Given);
                findings.expect(was == Some(Outcome::Asked), "a refund is given once", &stream, what);
            }
            "payment.refund_failed" => {
                let was = payment.settle(fact, Outcome::Declined);
                findings.expect(was == Some(Outcome::Asked), "what was not asked is not declined", &stream, what);
            }
            _ => {}
        }
    }
    money
}

impl Payment {
    fn ask_back(&mut self, fact: &Fact, findings: &mut Findings) {
        let (stream, amount) = ([fact.stream.as_str()], fact.number("/amount/amount"));
        let refund = Refund { amount, outcome: Outcome::Asked, by_a_person: fact.member().is_some() };
        let known = self.refunds.get(fact.text("/refund"));
        let again = known.is_none_or(|known| known.outcome == Outcome::Declined && known.amount == amount);
        findings.expect(again, "a refund is asked for once at a time", &stream, || fact.line());
        // Asked for again by hand, it is still the refund of whoever asked first.
        let by_a_person = known.map_or(refund.by_a_person, |known| known.by_a_person);
        self.refunds.insert(fact.text("/refund").to_owned(), Refund { by_a_person, ..refund });
        let promised = self.sum(|refund| refund.outcome != Outcome::Declined);
        findings.expect(amount > 0, "a refund gives something", &stream, || fact.line());
        findings.expect(promised <= self.captured.unwrap_or(0), "refunds never pass what was taken", &stream, || {
            format!("{promised} of {:?} after {}", self.captured, fact.line())
        });
    }

    fn settle(&mut self, fact: &Fact, outcome: Outcome) -> Option<Outcome> {
        let refund = self.refunds.get_mut(fact.text("/refund"))?;
        Some(std::mem::replace(&mut refund.outcome, outcome))
    }
}

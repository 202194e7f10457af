//! The auditor finds nothing in a sound log, and each broken rule in a broken one.

use domain::{event::Actor, ids::MemberId};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::sim::{
    record::{Answer, Effect},
    wish::{Request, Wish},
};

const BUYER: Uuid = Uuid::from_u128(1);
const ASKED: Uuid = Uuid::from_u128(2);

/// A log of these events, each the next of its stream, all by one request.
fn log(events: &[(&str, &str, Value)]) -> Vec<Fact> {
    let mut facts: Vec<Fact> = Vec::new();
    for (stream, kind, data) in events {
        let revision = facts.iter().filter(|fact| fact.stream == *stream).count() as u64;
        let position = facts.len() as u64 + 1;
        facts.push(Fact {
            position,
            stream: (*stream).to_owned(),
            revision,
            id: Uuid::from_u128(position.into()),
            kind: (*kind).to_owned(),
            at: Timestamp::UNIX_EPOCH,
            data: data.clone(),
            beside: json!({"request_id": Uuid::from_u128(1_000 + u128::from(position)), "actor": "process"}),
        });
    }
    facts
}

fn evidence(log: Vec<Fact>) -> Evidence {
    Evidence { log, ledger: Ledger::default(), asked: Vec::new(), calm_from_ms: 0 }
}

/// The rules that a log of these events breaks.
fn broken(events: &[(&str, &str, Value)]) -> Vec<&'static str> {
    rules(&evidence(log(events)))
}

fn rules(evidence: &Evidence) -> Vec<&'static str> {
    let mut rules: Vec<_> = audit(evidence).into_iter().map(|violation| violation.rule).collect();
    rules.dedup();
    rules
}

fn received(quantity: u32) -> (&'static str, &'static str, Value) {
    ("stock-x", "stock.received", json!({"warehouse": "main", "quantity": quantity}))
}

fn moved(kind: &'static str, order: &str, quantity: u32) -> (&'static str, &'static str, Value) {
    let allocations = json!([{"warehouse": "main", "quantity": quantity}]);
    ("stock-x", kind, json!({"order": order, "allocations": allocations}))
}

#[test]
fn a_hold_that_ends_is_sound_and_one_that_does_not_is_told() {
    let sound = [received(2), moved("stock.reserved", "a", 2), moved("stock.released", "a", 2)];
    assert_eq!(broken(&sound), [""; 0]);
    assert_eq!(broken(&sound[..2]), ["every hold ends"]);
    assert_eq!(loose(&log(&sound[..2])).held, [("x".to_owned(), 2)]);
}

#[test]
fn one_unit_too_many_is_told() {
    let oversold = [
        received(1),
        moved("stock.reserved", "a", 1),
        moved("stock.reserved", "b", 1),
        moved("stock.released", "a", 1),
        moved("stock.released", "b", 1),
    ];
    assert_eq!(broken(&oversold), ["nothing is oversold"]);
    let half = [received(2), moved("stock.reserved", "a", 2), moved("stock.released", "a", 1)];
    assert_eq!(broken(&half), ["a hold ends once, whole"]);
}

#[test]
fn an_order_without_an_end_and_money_without_an_order_are_told() {
    let line = json!({"sku": "x", "quantity": 1, "unit_price": {"amount": 5}, "amount": {"amount": 5}});
    let body = json!({"buyer": BUYER, "lines": [line], "subtotal": {"amount": 5}, "discount": {"amount": 0}, "total": {"amount": 5}});
    let placed = ("order-a", "order.placed", body);
    assert_eq!(broken(std::slice::from_ref(&placed)), ["every order reaches an end"]);
    let refused = ("order-a", "order.refused", json!({}));
    let closed = ("order-a", "order.closed", json!({}));
    assert_eq!(broken(&[placed.clone(), refused, closed.clone()]), [""; 0]);
    assert_eq!(broken(&[placed.clone(), closed.clone()]), ["an order goes its way step by step"]);
    let asked = ("payment-p", "payment.requested", json!({"order": "a", "amount": {"amount": 5}}));
    let taken = ("payment-p", "payment.captured", json!({"amount": {"amount": 5}}));
    let expired = ("order-a", "order.expired", json!({}));
    let kept = broken(&[placed, asked, taken, expired, closed]);
    assert_eq!(kept, ["what is taken is known", "what is not delivered costs nothing", "no money is forgotten"]);
}

/// A request to receive goods, with these answers in the order in which they were heard.
#[test]
fn words_in_the_open_are_told() {
    let told = |why: Value| broken(&[("order-a", "order.cancelled", json!({"why": why}))]);
    let rule = "what a person says is sealed";
    assert!(told(json!("too dear")).contains(&rule));
    assert!(!told(json!({"member": BUYER, "sealed": "AQID"})).contains(&rule));
}

fn asked(quantity: u32, at_ms: u64, answers: Vec<Answer>) -> Asked {
    let wish = Wish::Receive { sku: "x".into(), warehouse: "main".into(), quantity };
    let request = Request { id: ASKED, actor: Actor::Member(MemberId(BUYER)), wish };
    let sends = u32::try_from(answers.len()).unwrap();
    let answers = answers.into_iter().map(|answer| (at_ms + 1, answer)).collect();
    Asked { request, kind: "receive", at_ms, sends, answers }
}

fn done(revision: u64, replayed: bool) -> Answer {
    let (stream, kinds) = ("stock-x".to_owned(), vec!["stock.received".to_owned()]);
    Answer::Done(Effect { stream, revision, position: 1, kinds, replayed })
}

/// The rules that these answers break, when the goods were received once, or never.
fn told(there: bool, asked: Vec<Asked>) -> Vec<&'static str> {
    let mut log = log(&[received(2)]);
    log[0].beside = json!({"request_id": ASKED, "actor": {"member": BUYER}});
    if !there {
        log.clear();
    }
    rules(&Evidence { asked, ..evidence(log) })
}

#[test]
fn an_acknowledged_effect_must_be_there_where_it_was_told_and_stay_the_same() {
    assert_eq!(told(true, vec![asked(2, 0, vec![done(1, false), done(1, true)])]), [""; 0]);
    assert_eq!(told(false, vec![asked(2, 0, vec![done(1, false)])]), ["nothing acknowledged is lost"]);
    assert_eq!(told(true, vec![asked(2, 0, vec![done(2, false)])]), ["an effect is at the revision that was told"]);
    let refused = || Answer::Refused("no".into());
    assert_eq!(told(true, vec![asked(2, 0, vec![refused()])]), ["what was refused changes nothing"]);
    let later = told(true, vec![asked(2, 0, vec![done(1, false)]), asked(2, 9, vec![refused()])]);
    assert_eq!(later, ["a repeated request is answered as before"]);
}

#[test]
fn an_id_with_another_body_must_be_refused_and_everybody_answered() {
    let first = || asked(2, 0, vec![done(1, false)]);
    assert_eq!(told(true, vec![first(), asked(3, 9, vec![Answer::Reused])]), [""; 0]);
    let twice = told(true, vec![first(), asked(3, 9, vec![done(1, true)])]);
    assert_eq!(twice, ["an id has one body", "an id with another body is refused"]);
    let never = told(true, vec![first(), asked(2, 9, vec![Answer::Busy("no".into())])]);
    assert_eq!(never, ["everybody is answered once faults have stopped"]);
}

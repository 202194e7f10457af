//! The operators: they fill and count the shelves, change prices, take returned goods in and give money back.

use domain::{ids::PaymentId, ids::ReturnId};

use super::{Dice, Market, TASKS, WAREHOUSES, buyer_id, lock, look, operator_id, pause, price, request, skus};
use crate::sim::{
    audit::Loose,
    record::Answer,
    wish::{Cart, Request, Wish, product_of},
};

/// For how long an order lives that buys out a shelf, in seconds.
const BUY_OUT_LIFE: u32 = 60;

/// Does one thing after another, as the `n`-th operator.
pub(super) async fn run(market: Market, n: u32) {
    let dice = Dice::new(market.seed, &format!("operator {n}"));
    let me = operator_id(n);
    let mut done: Vec<Request> = Vec::new();
    for _ in 0..TASKS {
        pause_half(&dice).await;
        let wish = match dice.up_to(99) {
            0..35 => receive(&dice),
            35..55 => count(&dice),
            55..68 => reprice(&dice),
            68..82 => next_return(&market).map_or_else(|| receive(&dice), |id| take_in(id, &dice)),
            82..88 => refund(&market, &dice).unwrap_or_else(|| count(&dice)),
            88..94 => match dice.pick(&done).cloned() {
                Some(request) => {
                    market.network.ask(request, "repeat").await;
                    continue;
                }
                None => receive(&dice),
            },
            94..96 => match dice.pick(&done).and_then(other_body) {
                Some(request) => {
                    market.network.ask(request, "other body").await;
                    continue;
                }
                None => receive(&dice),
            },
            _ => {
                market.network.ask(request(&dice, me, nonsense(&dice)), "invalid").await;
                continue;
            }
        };
        let kind = wish.kind();
        let request = request(&dice, me, wish);
        done.push(request.clone());
        market.network.ask(request, kind).await;
    }
}

/// Operators are busier than buyers.
async fn pause_half(dice: &Dice) {
    if dice.chance(0.5) {
        pause(dice).await;
    }
}

fn a_sku(dice: &Dice) -> String {
    dice.pick(&skus()).cloned().unwrap_or_default()
}

fn a_warehouse(dice: &Dice) -> String {
    (*dice.pick(&WAREHOUSES).unwrap_or(&WAREHOUSES[0])).to_owned()
}

fn receive(dice: &Dice) -> Wish {
    Wish::Receive { sku: a_sku(dice), warehouse: a_warehouse(dice), quantity: 1 + dice.up_to(9) }
}

fn count(dice: &Dice) -> Wish {
    Wish::Count { sku: a_sku(dice), warehouse: a_warehouse(dice), on_hand: dice.up_to(25) }
}

fn reprice(dice: &Dice) -> Wish {
    let sku = a_sku(dice);
    let list = product_of(&sku).trim_start_matches('p').parse().map_or(100, price);
    Wish::Reprice { sku, price: list / 2 + i64::from(dice.up_to(1_000)) }
}

fn next_return(market: &Market) -> Option<ReturnId> {
    lock(&market.returns).pop()
}

fn take_in(id: ReturnId, dice: &Dice) -> Wish {
    Wish::ReceiveReturn { id, warehouse: a_warehouse(dice) }
}

/// Gives a part of a payment back, or all of it, or asks for more than there is.
fn refund(market: &Market, dice: &Dice) -> Option<Wish> {
    let (payment, most): (PaymentId, i64) = lock(&market.payments).pop()?;
    let amount = if dice.chance(0.3) { most } else { 1 + most / 10 };
    Some(Wish::Refund { payment, again: None, amount })
}

fn other_body(request: &Request) -> Option<Request> {
    let wish = match request.wish.clone() {
        Wish::Receive { sku, warehouse, quantity } => Wish::Receive { sku, warehouse, quantity: quantity + 1 },
        Wish::Count { sku, warehouse, on_hand } => Wish::Count { sku, warehouse, on_hand: on_hand + 1 },
        Wish::Reprice { sku, price } => Wish::Reprice { sku, price: price + 1 },
        _ => return None,
    };
    Some(Request { wish, ..request.clone() })
}

fn nonsense(dice: &Dice) -> Wish {
    match dice.up_to(4) {
        0 => Wish::Receive { sku: "p77-a".into(), warehouse: a_warehouse(dice), quantity: 1 },
        1 => Wish::Receive { sku: a_sku(dice), warehouse: a_warehouse(dice), quantity: 0 },
        2 => Wish::Count { sku: a_sku(dice), warehouse: String::new(), on_hand: 1 },
        3 => Wish::Refund { payment: PaymentId(dice.uuid()), again: None, amount: 100 },
        _ => Wish::Reprice { sku: a_sku(dice), price: -1 },
    }
}

/// Does what only people can do before everything is at rest: takes the goods of open returns in, and asks again for
/// refunds that were declined for good.
pub async fn tidy(market: &Market, loose: &Loose, dice: &Dice) {
    let me = operator_id(0);
    let returns = loose.returns.iter().map(|id| take_in(ReturnId(*id), dice));
    let refunds = loose.refunds.iter().map(|(payment, refund, amount)| Wish::Refund {
        payment: PaymentId(*payment),
        again: Some(*refund),
        amount: *amount,
    });
    for wish in returns.chain(refunds) {
        let kind = wish.kind();
        market.network.insist(request(dice, me, wish), kind).await;
    }
}

/// Buys every unit of the SKUs that are held for somebody who has gone. Answers what could not be had.
pub async fn buy_out(market: &Market, loose: &Loose, dice: &Dice) -> Vec<String> {
    let me = buyer_id(0);
    let mut refused = Vec::new();
    for (sku, units) in &loose.held {
        let cart = Cart {
            lines: vec![(sku.clone(), *units)],
            coupon: None,
            method: None,
            expected_total: None,
            seconds: BUY_OUT_LIFE,
        };
        let request = request(dice, me, Wish::Place(cart));
        let order = request.order_id();
        let answer = market.network.insist(request, "place").await;
        let found = look(&market.network, dice, me, order).await;
        let had =
            matches!(answer, Answer::Done(_)) && found.as_ref().is_some_and(|(situation, _)| situation == "unpaid");
        if !had {
            refused.push(format!("{units} of {sku} for order {order}: {answer:?}, {found:?}"));
        }
    }
    refused
}

//! Money after expiry, expiry after money: nothing is kept that is not owed.

use std::{collections::BTreeSet, time::Duration};

use futures::future::{join, join_all};
use gateway::config::Config;
use jiff::SignedDuration;
use proto::v1::{self, OrderState, PaymentState};
use tests::{client::Client, say, shop::TestShop};
use tokio::time::Instant;

use super::{head, log, outcome, rest};

/// How long the payment provider takes for each of its two calls.
const CALL: Duration = Duration::from_millis(100);
/// How long an order waits for its money.
const TTL: Duration = Duration::from_millis(600);
/// Orders of a round; each is paid a little later than the one before, the last ones too late.
const ORDERS: u32 = 16;
/// When the first of them is paid, and how much later each other one.
const FIRST: Duration = Duration::from_millis(300);
const LATER: Duration = Duration::from_millis(20);
/// Rounds after which a case that must come up should have.
const ROUNDS_MAX: usize = 8;
/// How long a competitor waits for goods to be let go.
const COMPETE: Duration = Duration::from_secs(3);

fn slow_money(config: &mut Config) {
    config.shop.order_ttl = SignedDuration::try_from(TTL).expect("short");
    config.payments.latency = (CALL, CALL);
}

fn pay(order_id: &str) -> v1::ProcessPaymentRequest {
    let (request_id, order_id) = (say::request_id(), order_id.to_owned());
    v1::ProcessPaymentRequest { request_id, order_id, payment_method: "tok_ok".into(), occurred_at: None }
}

/// Places an order and pays it after a while, perhaps too late.
async fn buy_late(mut buyer: Client, sku: String, n: u32) -> String {
    let placed = outcome(buyer.orders.process_order(say::order(&[(&sku, 1)])).await).expect("placed").order_id;
    tokio::time::sleep(FIRST + n * LATER).await;
    match outcome(buyer.payments.process_payment(pay(&placed)).await) {
        Ok(_) => {}
        Err(reason) => assert_eq!(reason, "ORDER_NOT_PAYABLE"),
    }
    placed
}

/// Tries to buy what somebody else holds, until it is let go.
async fn compete(mut buyer: Client, sku: String) -> Option<String> {
    let begun = Instant::now();
    while begun.elapsed() < COMPETE {
        match outcome(buyer.orders.process_order(say::paid_order(&[(&sku, 1)])).await) {
            Ok(placed) => return Some(placed.order_id),
            Err(reason) => assert_eq!(reason, "OUT_OF_STOCK"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    None
}

/// Sees that money was kept for delivered orders and for no others. Answers which orders were delivered.
async fn balance(shop: &TestShop, operator: &mut Client, orders: &[String]) -> BTreeSet<String> {
    let min_position = rest(shop).await;
    let mut delivered = BTreeSet::new();
    for order_id in orders {
        let ask = v1::GetOrderRequest { order_id: order_id.clone(), min_position };
        let order = outcome(operator.orders.get_order(ask).await).expect("shown");
        let kept = kept(operator, &order.payment_id, min_position).await;
        match order.state() {
            OrderState::Delivered => {
                assert_eq!(kept, 100, "{order:?} was delivered for other money than its price");
                delivered.insert(order_id.clone());
            }
            OrderState::Expired | OrderState::Refused => assert_eq!(kept, 0, "money was kept for {order:?}"),
            other => panic!("an order is left {other:?}: {order:?}"),
        }
    }
    delivered
}

/// How much money of a payment the shop has, in pence.
async fn kept(operator: &mut Client, payment_id: &str, min_position: u64) -> i64 {
    if payment_id.is_empty() {
        return 0;
    }
    let ask = v1::GetPaymentRequest { payment_id: payment_id.into(), min_position };
    let payment = outcome(operator.payments.get_payment(ask).await).expect("shown");
    match payment.state() {
        PaymentState::Captured => say::pence(payment.amount.as_ref()) - say::pence(payment.refunded.as_ref()),
        PaymentState::Voided | PaymentState::Declined | PaymentState::Cancelled => 0,
        other => panic!("a payment is left {other:?}: {payment:?}"),
    }
}

/// The orders to which something happened, as their ids.
async fn orders_with(shop: &TestShop, kind: &str) -> BTreeSet<String> {
    let events = log(shop).await.into_iter().filter(|event| event.kind == kind);
    events.filter_map(|event| event.stream.strip_prefix("order-").map(str::to_owned)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_comes_late_revives_the_order_while_its_goods_are_there() {
    let shop = TestShop::open_with(slow_money).await;
    let mut operator = shop.operator().await;
    say::stock(&mut operator, "mug", 100, 1_000).await;
    let (mut sold, mut late) = (0, BTreeSet::new());
    for _ in 0..ROUNDS_MAX {
        let buyers = (0..ORDERS).map(async |n| buy_late(shop.buyer(n.into()).await, "mug".into(), n).await);
        let orders = join_all(buyers).await;
        let delivered = balance(&shop, &mut operator, &orders).await;
        sold += delivered.len();
        let ask = v1::GetStockRequest { sku: "mug".into(), min_position: head(&shop).await };
        let stock = outcome(operator.catalog.get_stock(ask).await).expect("levels");
        assert_eq!((stock.on_hand as usize, stock.reserved), (1_000 - sold, 0));
        late = orders_with(&shop, "order.paid_late").await;
        for order in orders.iter().filter(|order| late.contains(*order)) {
            assert!(delivered.contains(order), "order {order} was paid late and its goods were there");
        }
        if !late.is_empty() {
            break;
        }
    }
    assert!(!late.is_empty(), "no money ever came late: this test has tested nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_comes_late_is_given_back_when_somebody_else_has_the_goods() {
    let shop = TestShop::open_with(slow_money).await;
    let mut operator = shop.operator().await;
    let mut given_back = 0;
    for round in 0..ROUNDS_MAX {
        let skus: Vec<String> = (0..ORDERS).map(|n| format!("only-{round}-{n}")).collect();
        for sku in &skus {
            say::stock(&mut operator, sku, 100, 1).await;
        }
        let pairs = (0..ORDERS).zip(&skus).map(async |(n, sku)| {
            let (buyer, rival) = join(shop.buyer(n.into()), shop.buyer(1_000 + u64::from(n))).await;
            join(buy_late(buyer, sku.clone(), n), async {
                tokio::time::sleep(FIRST).await;
                compete(rival, sku.clone()).await
            })
            .await
        });
        let pairs = join_all(pairs).await;
        let orders: Vec<String> = pairs.into_iter().flat_map(|(order, rival)| [Some(order), rival]).flatten().collect();
        let delivered = balance(&shop, &mut operator, &orders).await;
        let min_position = head(&shop).await;
        let mut left = 0;
        for sku in &skus {
            let ask = v1::GetStockRequest { sku: sku.clone(), min_position };
            let stock = outcome(operator.catalog.get_stock(ask).await).expect("levels");
            assert_eq!(stock.reserved, 0, "{sku}");
            left += stock.on_hand as usize;
        }
        assert_eq!(left + delivered.len(), skus.len(), "a unit is on the shelf or with one buyer");
        let late = orders_with(&shop, "order.paid_late").await;
        given_back += orders.iter().filter(|order| late.contains(*order) && !delivered.contains(*order)).count();
        if given_back > 0 {
            break;
        }
    }
    assert!(given_back > 0, "late money never met a rival: this test has tested nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_an_orders_time_changes_nothing_once_it_is_paid() {
    let ttl = SignedDuration::from_secs(2);
    let shop = TestShop::open_with(move |config| {
        config.shop.order_ttl = ttl;
        config.carrier.dispatch_after = Duration::from_secs(3_600);
    })
    .await;
    let mut operator = shop.operator().await;
    say::stock(&mut operator, "mug", 100, 50).await;
    let mut orders = Vec::new();
    for n in 0..8 {
        let mut buyer = shop.buyer(n).await;
        let placed = outcome(buyer.orders.process_order(say::paid_order(&[("mug", 1)])).await).expect("placed");
        orders.push(say::until(&mut buyer, &placed.order_id, OrderState::DeliveryBooked, placed.position).await);
    }
    let before = rest(&shop).await;
    let forgotten = outcome(operator.orders.process_order(say::order(&[("mug", 1)])).await).expect("placed");
    // The one that nobody pays shows that their time is over, and that the shop keeps it.
    say::until(&mut operator, &forgotten.order_id, OrderState::Expired, forgotten.position).await;
    rest(&shop).await;
    let expired = orders_with(&shop, "order.expired").await;
    assert_eq!(expired, BTreeSet::from([forgotten.order_id.clone()]));
    for order in &orders {
        let ask = v1::GetOrderRequest { order_id: order.order_id.clone(), min_position: head(&shop).await };
        let now = outcome(operator.orders.get_order(ask).await).expect("shown");
        assert_eq!((now.state(), &now.etag), (OrderState::DeliveryBooked, &order.etag));
        assert_eq!(kept(&mut operator, &now.payment_id, before).await, 100);
    }
    let ask = v1::GetStockRequest { sku: "mug".into(), min_position: head(&shop).await };
    let stock = outcome(operator.catalog.get_stock(ask).await).expect("levels");
    assert_eq!((stock.on_hand, stock.reserved, stock.claimed), (42, 0, 8), "claimed goods stay claimed");
}

//! Orders over the gateway: placed, priced, listed, followed, cancelled, expired.

use std::time::Duration;

use proto::v1::{self, OrderState, Role};
use tests::{
    client::{fact, reason},
    say,
    shop::{TestShop, buyer},
};
use tonic::Code;

use super::{outcome, slow_carrier, stands_in_the_log};

fn address() -> v1::Address {
    v1::Address {
        recipient: "Ada Lovelace".into(),
        lines: vec!["12 St James's Square".into()],
        city: "London".into(),
        postal_code: "SW1Y 4JH".into(),
        country: "GB".into(),
        phone: String::new(),
    }
}

fn get(order_id: &str, min_position: u64) -> v1::GetOrderRequest {
    v1::GetOrderRequest { order_id: order_id.into(), min_position }
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_the_same_goods_are_added_up_and_prices_are_the_catalogues() {
    let shop = TestShop::open().await;
    let mut operator = shop.operator().await;
    say::stock(&mut operator, "cup", 100, 10).await;
    say::stock(&mut operator, "mug", 255, 10).await;
    let mut ann = shop.buyer(1).await;
    let placed = outcome(ann.orders.process_order(say::order(&[("mug", 1), ("cup", 2), ("mug", 3)])).await);
    let placed = placed.expect("placed");
    let lines: Vec<_> = placed.lines.iter().map(|line| (line.sku.as_str(), line.quantity)).collect();
    assert_eq!(lines, [("mug", 4), ("cup", 2)]);
    assert_eq!(say::pence(placed.total.as_ref()), 4 * 255 + 200);
    let told = |pence| v1::ProcessOrderRequest { expected_total: Some(say::gbp(pence)), ..say::order(&[("mug", 1)]) };
    let refusal = ann.orders.process_order(told(250)).await.expect_err("it costs more");
    assert_eq!((reason(&refusal).as_str(), fact(&refusal, "total").as_str()), ("PRICE_CHANGED", "2.55 GBP"));
    outcome(ann.orders.process_order(told(255)).await).expect("as told");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_operators_may_say_is_refused_by_its_field() {
    let shop = TestShop::open().await;
    let mut operator = shop.operator().await;
    say::stock(&mut operator, "mug", 255, 10).await;
    let mut ann = shop.buyer(1).await;
    let plain = || say::order(&[("mug", 1)]);
    let mut cheap = plain();
    cheap.lines[0].unit_price = Some(say::gbp(1));
    let dated = v1::ProcessOrderRequest {
        occurred_at: Some(prost_types::Timestamp { seconds: 1_291_190_760, nanos: 0 }),
        ..plain()
    };
    let foreign = v1::ProcessOrderRequest { buyer_id: buyer(2).to_string(), ..plain() };
    for (wish, field) in [(&cheap, "unit_price"), (&dated, "occurred_at"), (&foreign, "buyer_id")] {
        let refusal = ann.orders.process_order(wish.clone()).await.expect_err("only operators may");
        assert_eq!((reason(&refusal), fact(&refusal, "field")), ("ROLE_FORBIDDEN".into(), field.into()));
    }
    cheap.buyer_id = buyer(2).to_string();
    cheap.occurred_at = dated.occurred_at;
    let placed = outcome(operator.orders.process_order(cheap).await).expect("operators may");
    let order = outcome(operator.orders.get_order(get(&placed.order_id, placed.position)).await).expect("shown");
    assert_eq!((order.buyer_id, say::pence(order.total.as_ref())), (buyer(2).to_string(), 1));
    assert_eq!(order.create_time, dated.occurred_at);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_request_names_its_field_and_places_nothing() {
    let shop = TestShop::open().await;
    let mut operator = shop.operator().await;
    say::stock(&mut operator, "mug", 255, 10).await;
    let mut ann = shop.buyer(1).await;
    let plain = || say::order(&[("mug", 1)]);
    let line = |change: fn(&mut v1::ProcessOrderLine)| {
        let mut wish = plain();
        change(&mut wish.lines[0]);
        wish
    };
    for (wish, expected) in [
        (v1::ProcessOrderRequest { request_id: String::new(), ..plain() }, ("MISSING_FIELD", "request_id")),
        (v1::ProcessOrderRequest { request_id: "7".into(), ..plain() }, ("INVALID_FIELD", "request_id")),
        (v1::ProcessOrderRequest { lines: vec![], ..plain() }, ("MISSING_FIELD", "lines")),
        (v1::ProcessOrderRequest { region: String::new(), ..plain() }, ("MISSING_FIELD", "region")),
        (line(|line| line.quantity = 0), ("INVALID_FIELD", "lines[0].quantity")),
        (line(|line| line.sku = "a b".into()), ("INVALID_FIELD", "lines[0].sku")),
        (line(|line| line.sku = "cup".into()), ("SKU_NOT_FOUND", "")),
        (line(|line| line.product_id = "cup".into()), ("PRODUCT_NOT_FOUND", "")),
        (
            v1::ProcessOrderRequest { payment_method: "4111 1111 1111 1111".into(), ..plain() },
            ("INVALID_FIELD", "payment_method"),
        ),
        (
            v1::ProcessOrderRequest { ship_to: Some(v1::Address::default()), ..plain() },
            ("MISSING_FIELD", "ship_to.recipient"),
        ),
    ] {
        let refusal = ann.orders.process_order(wish).await.expect_err("wrong");
        assert_eq!((reason(&refusal).as_str(), fact(&refusal, "field").as_str()), expected);
        assert!(!refusal.message().contains("4111"), "a card number is never repeated");
    }
    let many = say::order(&vec![("mug", 1); 2_001]);
    assert_eq!(outcome(ann.orders.process_order(many).await).unwrap_err(), "TOO_MANY_LINES");
    let head = shop.running().log().head().await.expect("a position").0;
    let ask = v1::ListOrdersRequest { min_position: head, ..Default::default() };
    assert_eq!(outcome(ann.orders.list_orders(ask).await).expect("listed").orders, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_shown_to_those_who_need_it_and_stored_sealed() {
    let shop = TestShop::open_with(slow_carrier).await;
    let mut operator = shop.operator().await;
    say::stock(&mut operator, "mug", 255, 10).await;
    let mut ann = shop.buyer(1).await;
    let wish = v1::ProcessOrderRequest { ship_to: Some(address()), ..say::paid_order(&[("mug", 1)]) };
    let placed = outcome(ann.orders.process_order(wish).await).expect("placed");
    let ask = get(&placed.order_id, placed.position);
    let shown = async |member, roles: &[Role]| {
        let mut client = shop.client(member, roles).await;
        outcome(client.orders.get_order(ask.clone()).await).map(|order| order.ship_to)
    };
    assert_eq!(shown(buyer(1), &[Role::Buyer]).await, Ok(Some(address())));
    assert_eq!(shown(buyer(3), &[Role::Partner]).await, Ok(Some(address())));
    assert_eq!(shown(buyer(4), &[Role::Operator]).await, Ok(Some(address())));
    assert_eq!(shown(buyer(5), &[Role::Analyst]).await, Ok(None));
    assert_eq!(shown(buyer(2), &[Role::Buyer]).await, Err("ORDER_NOT_FOUND".into()));
    let log = shop.running().log().read_all(ports::store::Position::START, 1_000).await.expect("the log");
    assert!(log.iter().any(|event| event.kind == "order.placed"));
    for event in log {
        assert!(!String::from_utf8_lossy(&event.data).contains("Lovelace"), "{} is open", event.kind);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_order_gives_its_stock_back_and_says_so_to_its_followers() {
    let shop = TestShop::open().await;
    let mut operator = shop.operator().await;
    say::stock(&mut operator, "mug", 255, 1).await;
    let mut ann = shop.buyer(1).await;
    let placed = outcome(ann.orders.process_order(say::order(&[("mug", 1)])).await).expect("placed");
    let mut bob = shop.buyer(2).await;
    assert_eq!(outcome(bob.orders.process_order(say::order(&[("mug", 1)])).await).unwrap_err(), "OUT_OF_STOCK");
    let wish = |etag: &str| v1::CancelOrderRequest {
        request_id: say::request_id(),
        order_id: placed.order_id.clone(),
        reason: "changed my mind".into(),
        etag: etag.into(),
        occurred_at: None,
    };
    assert_eq!(outcome(bob.orders.cancel_order(wish("")).await).unwrap_err(), "ORDER_NOT_FOUND");
    assert_eq!(outcome(ann.orders.cancel_order(wish("1")).await).unwrap_err(), "ETAG_MISMATCH");
    let cancel = wish(&placed.etag);
    let cancelled = outcome(ann.orders.cancel_order(cancel.clone()).await).expect("cancelled");
    let order = say::until(&mut ann, &placed.order_id, OrderState::Cancelled, cancelled.position).await;
    assert_eq!((order.reason.as_str(), order.expire_time), ("changed my mind", None));
    let why: Vec<_> = order.milestones.iter().map(|milestone| milestone.reason.as_str()).collect();
    assert_eq!(why.last(), Some(&"changed my mind"));
    let read = outcome(operator.orders.get_order(get(&placed.order_id, cancelled.position)).await).expect("shown");
    assert_eq!(read.reason, "changed my mind");
    let listed = outcome(ann.orders.list_orders(v1::ListOrdersRequest::default()).await).expect("a page");
    assert_eq!(listed.orders[0].reason, "", "what was said is shown with the one order only");
    assert!(!stands_in_the_log(&shop, "changed my mind").await);
    assert!(stands_in_the_log(&shop, r#"{"why":{"member":"#).await);
    assert_eq!(outcome(ann.orders.cancel_order(cancel).await), Ok(cancelled));
    let watch = v1::WatchStockRequest { sku: "mug".into(), min_position: placed.position };
    let mut levels = bob.catalog.watch_stock(watch).await.expect("followed").into_inner();
    while levels.message().await.expect("goes on").expect("more").stock.expect("levels").available == 0 {}
    outcome(bob.orders.process_order(say::order(&[("mug", 1)])).await).expect("it is free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_listed_to_their_buyer_newest_first_and_by_state() {
    let shop = TestShop::open().await;
    let mut operator = shop.operator().await;
    say::stock(&mut operator, "mug", 255, 100).await;
    let (mut ann, mut bob) = (shop.buyer(1).await, shop.buyer(2).await);
    let mut anns = Vec::new();
    for _ in 0..3 {
        anns.insert(0, outcome(ann.orders.process_order(say::order(&[("mug", 1)])).await).expect("placed").order_id);
    }
    let bobs = outcome(bob.orders.process_order(say::paid_order(&[("mug", 1)])).await).expect("placed");
    let done = say::until(&mut bob, &bobs.order_id, OrderState::Delivered, bobs.position).await;
    let list = |token: String, states: &[OrderState]| v1::ListOrdersRequest {
        page_size: 2,
        page_token: token,
        states: states.iter().map(|state| (*state).into()).collect(),
        min_position: bobs.position,
        ..Default::default()
    };
    let ids =
        |page: &v1::ListOrdersResponse| page.orders.iter().map(|order| order.order_id.clone()).collect::<Vec<_>>();
    let first = outcome(ann.orders.list_orders(list(String::new(), &[])).await).expect("a page");
    let second = outcome(ann.orders.list_orders(list(first.next_page_token.clone(), &[])).await).expect("a page");
    assert_eq!(([ids(&first), ids(&second)].concat(), second.next_page_token.as_str()), (anns, ""));
    let delivered = outcome(operator.orders.list_orders(list(String::new(), &[OrderState::Delivered])).await);
    assert_eq!(ids(&delivered.expect("a page")), [done.order_id]);
    let none = outcome(ann.orders.list_orders(list(String::new(), &[OrderState::Delivered])).await);
    assert_eq!(ids(&none.expect("a page")), Vec::<String>::new());
    let others = v1::ListOrdersRequest { buyer_id: buyer(2).to_string(), ..Default::default() };
    assert_eq!(outcome(ann.orders.list_orders(others).await).unwrap_err(), "NOT_YOURS");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_waits_for_what_its_caller_wrote_but_not_beyond_its_deadline() {
    let shop = TestShop::open_with(|config| config.limits.request_timeout = Duration::from_millis(400)).await;
    let mut operator = shop.operator().await;
    say::stock(&mut operator, "mug", 255, 10).await;
    let placed = outcome(operator.orders.process_order(say::order(&[("mug", 1)])).await).expect("placed");
    outcome(operator.orders.get_order(get(&placed.order_id, placed.position)).await).expect("what was just written");
    let never = operator.orders.get_order(get(&placed.order_id, u64::MAX)).await.expect_err("nobody was told that");
    assert_eq!((reason(&never).as_str(), fact(&never, "field").as_str()), ("INVALID_FIELD", "min_position"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_of_a_view_that_nobody_folds_says_so_before_its_deadline() {
    let shop = TestShop::open_with(|config| {
        config.limits.request_timeout = Duration::from_millis(400);
        config.projections = false;
    })
    .await;
    let mut operator = shop.operator().await;
    say::stock(&mut operator, "mug", 255, 10).await;
    let placed = outcome(operator.orders.process_order(say::order(&[("mug", 1)])).await).expect("placed");
    let behind = operator.orders.get_order(get(&placed.order_id, placed.position)).await.expect_err("not yet");
    assert_eq!((behind.code(), reason(&behind).as_str()), (Code::Unavailable, "VIEW_BEHIND"));
    assert_eq!(fact(&behind, "view"), "orders");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_nobody_pays_expires_and_its_retry_still_hears_that_it_was_reserved() {
    let ttl = jiff::SignedDuration::from_millis(1_500);
    let shop = TestShop::open_with(move |config| config.shop.order_ttl = ttl).await;
    let mut operator = shop.operator().await;
    say::stock(&mut operator, "mug", 255, 1).await;
    let mut ann = shop.buyer(1).await;
    let wish = say::order(&[("mug", 1)]);
    let placed = outcome(ann.orders.process_order(wish.clone()).await).expect("placed");
    let expired = say::until(&mut ann, &placed.order_id, OrderState::Expired, placed.position).await;
    assert_eq!(expired.milestones.last().map(v1::OrderMilestone::state), Some(OrderState::Expired));
    assert_eq!(outcome(ann.orders.process_order(wish).await), Ok(placed.clone()));
    let pay = v1::ProcessPaymentRequest {
        request_id: say::request_id(),
        order_id: placed.order_id,
        payment_method: "tok_ok".into(),
        occurred_at: None,
    };
    assert_eq!(outcome(ann.payments.process_payment(pay).await).unwrap_err(), "ORDER_NOT_PAYABLE");
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_whose_callers_went_away_are_finished_by_the_shop_and_answered_to_whoever_asks_again() {
    let shop = TestShop::open().await;
    let mut operator = shop.operator().await;
    say::stock(&mut operator, "mug", 255, 100).await;
    let wishes: Vec<_> = (0..24).map(|_| say::order(&[("mug", 1)])).collect();
    for (n, wish) in (1..).zip(&wishes) {
        // Some are gone before the order is written down, some before its stock is held, some hear the answer.
        let mut hasty = tonic::Request::new(wish.clone());
        hasty.set_timeout(Duration::from_millis(n * 2));
        let _answered_or_not = operator.orders.process_order(hasty).await;
    }
    let undecided = async |client: &mut tests::client::Client| {
        let min_position = shop.running().log().head().await.expect("a position").0;
        let states = vec![OrderState::Placed.into()];
        let ask = v1::ListOrdersRequest { states, min_position, page_size: 100, ..Default::default() };
        outcome(client.orders.list_orders(ask).await).expect("listed").orders.len()
    };
    let mut rounds = 0;
    while undecided(&mut operator).await > 0 {
        rounds += 1;
        assert!(rounds < 200, "an order that nobody follows is never decided");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut ids = std::collections::BTreeSet::new();
    for wish in wishes {
        ids.insert(outcome(operator.orders.process_order(wish).await).expect("reserved").order_id);
    }
    assert_eq!(ids.len(), 24);
    let min_position = shop.running().log().head().await.expect("a position").0;
    let stock = v1::GetStockRequest { sku: "mug".into(), min_position };
    let levels = outcome(operator.catalog.get_stock(stock).await).expect("levels");
    assert_eq!((levels.reserved, levels.available), (24, 76), "each order holds its unit once");
}

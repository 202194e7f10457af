//! The thinnest slice that goes the whole way: list, stock, order, look, close the shop, open it, look again.

use futures::future::join_all;
use proto::v1::{self, OrderState};
use serde_json::json;
use tests::{
    client::{fact, reason},
    http, say,
    shop::{TestShop, buyer},
};
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_sells_is_closed_and_opened_again_and_remembers() {
    let mut shop = TestShop::open().await;
    say::stock(&mut shop.operator().await, "mug", 255, 10).await;
    let mut ann = shop.buyer(1).await;
    let wish = say::paid_order(&[("mug", 3)]);
    let placed = ann.orders.process_order(wish.clone()).await.expect("placed").into_inner();
    assert_eq!(placed.state(), OrderState::Reserved);
    assert_eq!(say::pence(placed.total.as_ref()), 765);
    let delivered = say::until(&mut ann, &placed.order_id, OrderState::Delivered, placed.position).await;
    assert_eq!((delivered.buyer_id.as_str(), delivered.lines.len()), (ann.member.to_string().as_str(), 1));

    shop.restart().await;
    let mut ann = shop.buyer(1).await;
    let ask = v1::GetOrderRequest { order_id: placed.order_id.clone(), min_position: placed.position };
    let again = ann.orders.get_order(ask).await.expect("remembered").into_inner();
    assert_eq!(again, delivered);
    let ask = v1::GetStockRequest { sku: "mug".into(), min_position: placed.position };
    let stock = ann.catalog.get_stock(ask).await.expect("known").into_inner();
    assert_eq!((stock.on_hand, stock.reserved, stock.available), (7, 0, 7));

    // The same request again is the same answer, and no second order.
    let retried = ann.orders.process_order(wish.clone()).await.expect("answered").into_inner();
    assert_eq!(retried, placed);
    let ask = v1::ListOrdersRequest { min_position: placed.position, ..Default::default() };
    let history = ann.orders.list_orders(ask).await.expect("listed").into_inner().orders;
    assert_eq!(history.iter().map(|order| &order.order_id).collect::<Vec<_>>(), [&placed.order_id]);
    let other = v1::ProcessOrderRequest { region: "FR".into(), ..wish };
    let refusal = ann.orders.process_order(other).await.expect_err("another wish under the same id");
    assert_eq!((refusal.code(), reason(&refusal).as_str()), (Code::AlreadyExists, "REQUEST_ID_REUSED"));
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_json_twin_sells_the_same_way() {
    let mut shop = TestShop::open().await;
    let mut operator = shop.operator().await;
    let token = shop.token(operator.member, &[v1::Role::Operator]);
    let post =
        async |path: &str, body: serde_json::Value| http::send(shop.addr(), &token, "POST", path, Some(&body)).await;
    let price = json!({ "currencyCode": "GBP", "units": "2", "nanos": 550_000_000 });
    let product = json!({
        "productId": "mug", "name": "Blue mug", "categoryPath": ["home", "mugs"],
        "variants": [{ "sku": "mug", "price": price }],
    });
    let listed = post("/catalog/products", json!({ "requestId": say::request_id(), "product": product })).await;
    assert_eq!((listed.status, &listed.body["product"]["state"]), (200, &json!("PRODUCT_STATE_LISTED")));
    let count = json!({ "requestId": say::request_id(), "sku": "mug", "warehouseId": "main", "receive": 10 });
    let received = post("/catalog/change-inventory-count", count).await;
    assert_eq!((received.status, &received.body["stock"]["available"]), (200, &json!(10)));

    let line = json!({ "productId": "mug", "sku": "mug", "quantity": 3 });
    let wish = json!({ "requestId": say::request_id(), "lines": [line], "region": "GB" });
    let placed = post("/order/process-order", wish.clone()).await;
    assert_eq!((placed.status, &placed.body["state"]), (200, &json!("ORDER_STATE_RESERVED")));
    assert_eq!(placed.body["total"], json!({ "currencyCode": "GBP", "units": "7", "nanos": 650_000_000 }));
    let (id, position) = (&placed.body["orderId"], &placed.body["position"]);
    let (id, position) = (id.as_str().expect("an id").to_owned(), position.as_str().expect("a position").to_owned());
    let path = format!("/order/orders/{id}?min_position={position}");
    let seen = http::send(shop.addr(), &token, "GET", &path, None).await;
    assert_eq!((seen.status, &seen.body["state"]), (200, &json!("ORDER_STATE_RESERVED")));

    // Both protocols look at one shop.
    let ask = v1::GetOrderRequest { order_id: id.clone(), ..Default::default() };
    let grpc = operator.orders.get_order(ask).await.expect("the same order").into_inner();
    assert_eq!((grpc.order_id, grpc.etag.as_str()), (id, seen.body["etag"].as_str().expect("an etag")));

    shop.restart().await;
    let again = http::send(shop.addr(), &token, "GET", &path, None).await;
    assert_eq!(again, seen);
    let retried = http::send(shop.addr(), &token, "POST", "/order/process-order", Some(&wish)).await;
    assert_eq!(retried, placed);
    let nobody = http::send(shop.addr(), "nonsense", "GET", &path, None).await;
    assert_eq!(nobody.status, 401);
    assert_eq!(nobody.body["details"][0]["reason"], json!("UNAUTHENTICATED_CALLER"));
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_unit_goes_to_exactly_one_of_64_buyers() {
    let mut shop = TestShop::open().await;
    say::stock(&mut shop.operator().await, "lamp", 9_900, 1).await;
    let wishes: Vec<_> = (0..64).map(|n| (n, say::order(&[("lamp", 1)]))).collect();
    let answers = join_all(wishes.iter().map(|(n, wish)| {
        let shop = &shop;
        async move { shop.buyer(*n).await.orders.process_order(wish.clone()).await }
    }))
    .await;
    let (winners, losers): (Vec<_>, Vec<_>) = answers.into_iter().zip(&wishes).partition(|(answer, _)| answer.is_ok());
    assert_eq!((winners.len(), losers.len()), (1, 63));
    for (refusal, _) in &losers {
        let refusal = refusal.as_ref().expect_err("a loser");
        assert_eq!((refusal.code(), reason(refusal).as_str()), (Code::FailedPrecondition, "OUT_OF_STOCK"));
        assert_eq!((fact(refusal, "sku").as_str(), fact(refusal, "available").as_str()), ("lamp", "0"));
        assert_eq!(fact(refusal, "requested"), "1");
    }

    // Who has lost hears the same again, even after the shop was closed and has more.
    shop.restart().await;
    let mut operator = shop.operator().await;
    operator.catalog.change_inventory_count(say::receive("lamp", 5)).await.expect("received");
    let (refusal, (n, wish)) = &losers[0];
    let again = shop.buyer(*n).await.orders.process_order(wish.clone()).await.expect_err("still refused");
    assert_eq!(fact(&again, "order_id"), fact(refusal.as_ref().expect_err("a loser"), "order_id"));
    assert_eq!(reason(&again), "OUT_OF_STOCK");
    let (won, (n, _)) = &winners[0];
    let order =
        v1::GetOrderRequest { order_id: won.as_ref().expect("won").get_ref().order_id.clone(), min_position: 0 };
    let owner = shop.client(buyer(*n), &[v1::Role::Buyer]).await.orders.get_order(order.clone()).await;
    assert_eq!(owner.expect("theirs").get_ref().state(), OrderState::Reserved);
    let stranger = shop.buyer(n + 1).await.orders.get_order(order).await.expect_err("not theirs");
    assert_eq!(reason(&stranger), "ORDER_NOT_FOUND");
    shop.stop().await;
}

//! Levels on the shelf: received, counted, listed, followed.

use proto::v1::{self, Role, change_inventory_count_request::Change};
use tests::{
    client::fact,
    say,
    shop::{TestShop, buyer},
};

use super::outcome;

fn count(sku: &str, on_hand: u32) -> v1::ChangeInventoryCountRequest {
    v1::ChangeInventoryCountRequest { change: Some(Change::Count(on_hand)), ..say::receive(sku, 0) }
}

#[tokio::test(flavor = "multi_thread")]
async fn receiving_adds_counting_sets_and_a_retry_hears_the_levels_of_then() {
    let shop = TestShop::open().await;
    let mut operator = shop.operator().await;
    say::stock(&mut operator, "mug", 255, 10).await;
    let more = say::receive("mug", 5);
    let received = outcome(operator.catalog.change_inventory_count(more.clone()).await).expect("received");
    let levels = received.stock.clone().expect("levels");
    assert_eq!((levels.on_hand, levels.available, levels.product_id.as_str()), (15, 15, "mug"));
    outcome(operator.orders.process_order(say::order(&[("mug", 4)])).await).expect("placed");
    let refusal = operator.catalog.change_inventory_count(count("mug", 3)).await.expect_err("4 are promised");
    assert_eq!(
        (tests::client::reason(&refusal).as_str(), fact(&refusal, "reserved").as_str()),
        ("COUNT_BELOW_RESERVED", "4")
    );
    let counted = outcome(operator.catalog.change_inventory_count(count("mug", 6)).await).expect("counted");
    let levels = counted.stock.expect("levels");
    assert_eq!((levels.on_hand, levels.reserved, levels.available), (6, 4, 2));
    assert_eq!(outcome(operator.catalog.change_inventory_count(more).await), Ok(received));
    let none = v1::ChangeInventoryCountRequest { change: None, ..count("mug", 1) };
    assert_eq!(outcome(operator.catalog.change_inventory_count(none).await).unwrap_err(), "MISSING_FIELD");
}

#[tokio::test(flavor = "multi_thread")]
async fn sellers_count_their_own_shelves_only() {
    let shop = TestShop::open().await;
    let mut ann = shop.client(buyer(1), &[Role::Seller]).await;
    let mut bob = shop.client(buyer(2), &[Role::Seller]).await;
    outcome(ann.catalog.create_product(say::list("mug", 255)).await).expect("listed");
    assert_eq!(outcome(bob.catalog.change_inventory_count(say::receive("mug", 1)).await).unwrap_err(), "NOT_YOURS");
    outcome(ann.catalog.change_inventory_count(say::receive("mug", 1)).await).expect("hers");
    let dated = v1::ChangeInventoryCountRequest {
        occurred_at: Some(prost_types::Timestamp { seconds: 1_291_190_760, nanos: 0 }),
        ..say::receive("mug", 1)
    };
    assert_eq!(outcome(ann.catalog.change_inventory_count(dated).await).unwrap_err(), "ROLE_FORBIDDEN");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_of_a_sku_sees_its_levels_now_and_after_each_change() {
    let shop = TestShop::open().await;
    let mut operator = shop.operator().await;
    let position = say::stock(&mut operator, "mug", 255, 10).await;
    let watch = v1::WatchStockRequest { sku: "mug".into(), min_position: position };
    let mut levels = operator.catalog.watch_stock(watch).await.expect("followed").into_inner();
    let mut available = async || {
        let next = levels.message().await.expect("the stream goes on").expect("another message");
        next.stock.expect("levels").available
    };
    assert_eq!(available().await, 10);
    outcome(operator.orders.process_order(say::order(&[("mug", 3)])).await).expect("placed");
    assert_eq!(available().await, 7);
    outcome(operator.catalog.change_inventory_count(say::receive("mug", 5)).await).expect("received");
    assert_eq!(available().await, 12);
    let nothing = v1::WatchStockRequest { sku: "nothing".into(), min_position: 0 };
    assert_eq!(outcome(operator.catalog.watch_stock(nothing).await).err(), Some("SKU_NOT_FOUND".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_is_listed_by_product_and_by_warehouse() {
    let shop = TestShop::open().await;
    let mut operator = shop.operator().await;
    say::stock(&mut operator, "cup", 100, 1).await;
    say::stock(&mut operator, "mug", 100, 2).await;
    let north = v1::ChangeInventoryCountRequest { warehouse_id: "north".into(), ..say::receive("mug", 3) };
    let position = outcome(operator.catalog.change_inventory_count(north).await).expect("received").position;
    let mut list = async |product_id: &str, warehouse_id: &str| {
        let ask = v1::ListStockRequest {
            product_id: product_id.into(),
            warehouse_id: warehouse_id.into(),
            min_position: position,
            ..Default::default()
        };
        let page = outcome(operator.catalog.list_stock(ask).await).expect("a page");
        page.stock.into_iter().map(|stock| (stock.sku, stock.on_hand)).collect::<Vec<_>>()
    };
    assert_eq!(list("", "").await, [("cup".into(), 1), ("mug".into(), 5)]);
    assert_eq!(list("mug", "").await, [("mug".into(), 5)]);
    assert_eq!(list("", "north").await, [("mug".into(), 3)], "the other warehouses are left out");
    assert_eq!(list("cup", "north").await, []);
}

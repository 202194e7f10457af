//! The last unit, two lines on one SKU, two crossing carts: goods that many want at once.

use std::collections::BTreeMap;

use futures::future::join_all;
use proto::v1::{self, OrderState};
use tests::{
    client::{Client, fact, reason},
    say,
    shop::TestShop,
};

use super::{CROWD, crowd, head, outcome, tally};

/// Rounds of two carts that cross.
const ROUNDS: usize = 50;
/// SKUs in each of the two carts.
const CART: usize = 8;

async fn levels(client: &mut Client, sku: &str, min_position: u64) -> (u32, u32, u32) {
    let ask = v1::GetStockRequest { sku: sku.into(), min_position };
    let stock = outcome(client.catalog.get_stock(ask).await).expect("levels");
    (stock.on_hand, stock.reserved, stock.available)
}

async fn order_at_once(
    buyers: &mut [Client],
    wish: impl Fn() -> v1::ProcessOrderRequest,
) -> (Vec<v1::ProcessOrderResponse>, BTreeMap<String, usize>) {
    tally(join_all(buyers.iter_mut().map(|buyer| buyer.orders.process_order(wish()))).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_unit_goes_to_one_of_64_and_everybody_elses_order_is_refused_for_good() {
    let shop = TestShop::open().await;
    let mut operator = shop.operator().await;
    say::stock(&mut operator, "lamp", 9_900, 1).await;
    let mut buyers = crowd(&shop, CROWD).await;
    let (won, lost) = order_at_once(&mut buyers, || say::order(&[("lamp", 1)])).await;
    assert_eq!((won.len(), lost), (1, BTreeMap::from([("OUT_OF_STOCK".to_owned(), 63)])));

    let position = head(&shop).await;
    assert_eq!(levels(&mut operator, "lamp", position).await, (1, 1, 0));
    let ask = v1::ListOrdersRequest { page_size: 100, min_position: position, ..Default::default() };
    let orders = outcome(operator.orders.list_orders(ask).await).expect("listed").orders;
    let in_state = |state: OrderState| orders.iter().filter(|order| order.state() == state).count();
    assert_eq!((orders.len(), in_state(OrderState::Reserved), in_state(OrderState::Refused)), (64, 1, 63));
}

#[tokio::test(flavor = "multi_thread")]
async fn nine_units_serve_four_of_64_who_want_two_each() {
    let shop = TestShop::open().await;
    let mut operator = shop.operator().await;
    say::stock(&mut operator, "cup", 100, 9).await;
    let mut buyers = crowd(&shop, CROWD).await;
    let (won, lost) = order_at_once(&mut buyers, || say::order(&[("cup", 2)])).await;
    assert_eq!((won.len(), lost["OUT_OF_STOCK"]), (4, 60));
    assert_eq!(levels(&mut operator, "cup", head(&shop).await).await, (9, 8, 1));
}

/// An order with two lines of one SKU that stay two, because their prices differ.
fn two_lines(each: u32) -> v1::ProcessOrderRequest {
    let mut wish = say::order(&[("pen", each), ("pen", each)]);
    wish.lines[0].unit_price = Some(say::gbp(90));
    wish.lines[1].unit_price = Some(say::gbp(80));
    wish
}

#[tokio::test(flavor = "multi_thread")]
async fn two_lines_of_one_sku_are_one_wish_for_their_sum() {
    let shop = TestShop::open().await;
    let mut operator = shop.operator().await;
    say::stock(&mut operator, "pen", 100, 5).await;
    for wish in [say::order(&[("pen", 3), ("pen", 3)]), two_lines(3)] {
        let refusal = operator.orders.process_order(wish).await.expect_err("six of five");
        assert_eq!(reason(&refusal), "OUT_OF_STOCK");
        assert_eq!((fact(&refusal, "requested").as_str(), fact(&refusal, "available").as_str()), ("6", "5"));
        assert_eq!(levels(&mut operator, "pen", head(&shop).await).await, (5, 0, 5), "all lines or none");
    }
    outcome(operator.catalog.change_inventory_count(say::receive("pen", 1)).await).expect("received");
    let placed = outcome(operator.orders.process_order(two_lines(3)).await).expect("six of six");
    assert_eq!((placed.lines.len(), say::pence(placed.total.as_ref())), (2, 510));
    assert_eq!(levels(&mut operator, "pen", head(&shop).await).await, (6, 6, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_with_two_lines_of_one_sku_never_oversell_it_together() {
    let shop = TestShop::open().await;
    let mut operator = shop.operator().await;
    say::stock(&mut operator, "pen", 100, 9).await;
    let mut buyers = join_all((0..CROWD).map(|_| shop.operator())).await;
    let (won, lost) = order_at_once(&mut buyers, || two_lines(1)).await;
    assert_eq!((won.len(), lost["OUT_OF_STOCK"]), (4, 60));
    assert_eq!(levels(&mut operator, "pen", head(&shop).await).await, (9, 8, 1));
}

/// A product with a SKU for each place in a cart, one unit of each.
async fn shelf(operator: &Client, round: usize) -> Vec<(String, String)> {
    let product_id = format!("round-{round}");
    let skus: Vec<String> = (0..CART).map(|n| format!("round-{round}-{n}")).collect();
    let variants = skus.iter().enumerate().map(|(n, sku)| v1::Variant {
        sku: sku.clone(),
        options: vec![v1::VariantOption { name: "size".into(), value: n.to_string() }],
        price: Some(say::gbp(100)),
    });
    let product = v1::Product { variants: variants.collect(), ..say::product(&product_id, 100) };
    let list = v1::CreateProductRequest { request_id: say::request_id(), product: Some(product) };
    outcome(operator.clone().catalog.create_product(list).await).expect("listed");
    let received = join_all(
        skus.iter().map(async |sku| operator.clone().catalog.change_inventory_count(say::receive(sku, 1)).await),
    );
    assert_eq!(tally(received.await).0.len(), CART);
    skus.into_iter().map(|sku| (product_id.clone(), sku)).collect()
}

fn cart<'a>(shelf: impl Iterator<Item = &'a (String, String)>) -> v1::ProcessOrderRequest {
    let lines = shelf.map(|(product_id, sku)| v1::ProcessOrderLine {
        product_id: product_id.clone(),
        sku: sku.clone(),
        quantity: 1,
        unit_price: None,
    });
    v1::ProcessOrderRequest { lines: lines.collect(), ..say::order(&[]) }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_carts_that_cross_never_both_lose_and_never_both_win() {
    let shop = TestShop::open().await;
    let operator = shop.operator().await;
    let (mut ann, mut bob) = (shop.buyer(1).await, shop.buyer(2).await);
    let mut winners = [0, 0];
    for round in 0..ROUNDS {
        let shelf = shelf(&operator, round).await;
        let (forth, back) = (cart(shelf.iter()), cart(shelf.iter().rev()));
        let answers = tokio::join!(ann.orders.process_order(forth), bob.orders.process_order(back));
        let won = [outcome(answers.0), outcome(answers.1)];
        let winner = won.iter().position(Result::is_ok).unwrap_or_else(|| panic!("round {round}: both lost: {won:?}"));
        assert_eq!(won[1 - winner].as_ref().expect_err("the units are there once"), "OUT_OF_STOCK");
        winners[winner] += 1;
    }
    assert_eq!(winners.iter().sum::<usize>(), ROUNDS);
}

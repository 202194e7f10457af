//! The messages that most tests send, and the little arithmetic around them.

use std::sync::atomic::{AtomicU64, Ordering};

use proto::{Money, v1};
use uuid::Uuid;

use crate::client::Client;

/// Where goods lie when a test does not care.
pub const WAREHOUSE: &str = "main";
/// Where goods go when a test does not care.
pub const REGION: &str = "GB";

/// A request id that no other request of this process has.
#[must_use]
pub fn request_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    Uuid::from_u128(0x0191_0000_0000_7000_8000_0000_0000_0000 + u128::from(n)).to_string()
}

/// So many pence.
#[must_use]
pub fn gbp(pence: i64) -> Money {
    let nanos = i32::try_from(pence % 100).expect("less than 100") * 10_000_000;
    Money { currency_code: "GBP".into(), units: pence / 100, nanos }
}

/// How many pence.
#[must_use]
pub fn pence(money: Option<&Money>) -> i64 {
    let money = money.expect("an amount");
    assert_eq!(money.currency_code, "GBP");
    money.units * 100 + i64::from(money.nanos) / 10_000_000
}

/// A product with one variant of the same name.
#[must_use]
pub fn product(id: &str, price: i64) -> v1::Product {
    let variant = v1::Variant { sku: id.into(), options: vec![], price: Some(gbp(price)) };
    v1::Product { product_id: id.into(), name: format!("The {id}"), variants: vec![variant], ..Default::default() }
}

/// A listing.
#[must_use]
pub fn list(id: &str, price: i64) -> v1::CreateProductRequest {
    v1::CreateProductRequest { request_id: request_id(), product: Some(product(id, price)) }
}

/// A delivery from a supplier.
#[must_use]
pub fn receive(sku: &str, quantity: u32) -> v1::ChangeInventoryCountRequest {
    v1::ChangeInventoryCountRequest {
        request_id: request_id(),
        sku: sku.into(),
        warehouse_id: WAREHOUSE.into(),
        change: Some(v1::change_inventory_count_request::Change::Receive(quantity)),
        ..Default::default()
    }
}

/// An order of these products (SKU and product have one name), not paid.
#[must_use]
pub fn order(lines: &[(&str, u32)]) -> v1::ProcessOrderRequest {
    let lines = lines.iter().map(|(id, quantity)| v1::ProcessOrderLine {
        product_id: (*id).into(),
        sku: (*id).into(),
        quantity: *quantity,
        unit_price: None,
    });
    v1::ProcessOrderRequest {
        request_id: request_id(),
        lines: lines.collect(),
        region: REGION.into(),
        ..Default::default()
    }
}

/// The same, paid at once with a method that the sandbox always accepts.
#[must_use]
pub fn paid_order(lines: &[(&str, u32)]) -> v1::ProcessOrderRequest {
    v1::ProcessOrderRequest { payment_method: "tok_ok".into(), ..order(lines) }
}

/// Lists a product and puts so many of it on the shelf. Answers the log position at which both are there.
pub async fn stock(operator: &mut Client, id: &str, price: i64, quantity: u32) -> u64 {
    operator.catalog.create_product(list(id, price)).await.expect("listed");
    let received = operator.catalog.change_inventory_count(receive(id, quantity)).await.expect("received");
    received.into_inner().position
}

/// Follows an order until it is in `state`, and answers how it looks then.
pub async fn until(client: &mut Client, order_id: &str, state: v1::OrderState, position: u64) -> v1::Order {
    let watch = v1::WatchOrderRequest { order_id: order_id.into(), min_position: position };
    let mut steps = client.orders.watch_order(watch).await.expect("watched").into_inner();
    let mut seen = Vec::new();
    while let Some(step) = steps.message().await.expect("the stream goes on") {
        let order = step.order.expect("an order in each step");
        if order.state() == state {
            return order;
        }
        seen.push(order.state());
    }
    panic!("the order never was {state:?}, only {seen:?}");
}

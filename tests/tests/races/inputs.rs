//! Bad input at every door: a typed error with its reason, and nothing has changed.

use prost::Message as _;
use proto::{
    Money,
    v1::{self, Role, campaign_terms::Discount, change_inventory_count_request::Change},
};
use tests::{client::reason, raw, say, shop::TestShop};
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};

use super::{outcome, rest};

/// A UUID that nothing in the shop has.
const UNKNOWN: &str = "01900000-0000-7000-8000-00000000dead";
/// Random messages for each mutation.
const RANDOM: u64 = 100;

/// One bad request: where to, what, and the reason that must come back.
struct Bad {
    path: &'static str,
    what: &'static str,
    message: Vec<u8>,
    reason: &'static str,
}

macro_rules! table {
    ($($path:literal { $($what:literal => $reason:literal: $message:expr,)+ })+) => {
        vec![$($(Bad {
            path: concat!("/cartulary.v1.", $path),
            what: $what,
            message: $message.encode_to_vec(),
            reason: $reason,
        },)+)+]
    };
}

/// Sends each of them, and sees that it is refused for its reason and changes nothing.
async fn check(shop: &TestShop, bad: Vec<Bad>) {
    let endpoint = Endpoint::from_shared(format!("http://{}", shop.addr())).expect("an address is a URL");
    let channel = endpoint.connect().await.expect("the shop is open");
    let before = rest(shop).await;
    let mut complaints = Vec::new();
    for Bad { path, what, message, reason: expected } in bad {
        let told = raw::call(&channel, Some(&operator(shop)), path, message).await;
        let told = told.map_or_else(|status| reason(&status), |_| "OK".to_owned());
        if told != expected {
            complaints.push(format!("{path}, {what}: {told}, not {expected}"));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    assert_eq!(rest(shop).await, before, "a bad request has changed something");
}

fn operator(shop: &TestShop) -> String {
    shop.token(domain::ids::MemberId::from_u128(1), &[Role::Operator])
}

fn money(code: &str, units: i64, nanos: i32) -> Option<Money> {
    Some(Money { currency_code: code.into(), units, nanos })
}

/// An order of one mug, changed.
fn order(change: impl FnOnce(&mut v1::ProcessOrderRequest)) -> v1::ProcessOrderRequest {
    let mut order = say::order(&[("mug", 1)]);
    change(&mut order);
    order
}

fn line(change: impl FnOnce(&mut v1::ProcessOrderLine)) -> v1::ProcessOrderRequest {
    order(|order| change(&mut order.lines[0]))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_order_is_refused_for_its_reason_and_changes_nothing() {
    let shop = TestShop::open().await;
    let mut client = shop.operator().await;
    say::stock(&mut client, "mug", 255, 10).await;
    say::stock(&mut client, "gold", 9_000_000_000_000_000, 1_000_000_000).await;
    let euros = v1::Variant { sku: "euro".into(), options: vec![], price: money("EUR", 2, 0) };
    let product = v1::Product { variants: vec![euros], ..say::product("euro", 1) };
    let list = v1::CreateProductRequest { request_id: say::request_id(), product: Some(product) };
    outcome(client.catalog.create_product(list).await).expect("listed");
    outcome(client.catalog.create_product(say::list("old", 5)).await).expect("listed");
    let delist =
        v1::DeleteProductRequest { request_id: say::request_id(), product_id: "old".into(), ..Default::default() };
    outcome(client.catalog.delete_product(delist).await).expect("delisted");
    let coupon =
        |campaign_id: &str| Some(v1::OrderCoupon { campaign_id: campaign_id.into(), claim_id: UNKNOWN.into() });
    check(&shop, table! {
        "OrderService/ProcessOrder" {
            "no request id" => "MISSING_FIELD": order(|order| order.request_id.clear()),
            "a request id that is no UUID" => "INVALID_FIELD": order(|order| order.request_id = "7".into()),
            "no lines" => "MISSING_FIELD": order(|order| order.lines.clear()),
            "2,001 lines" => "TOO_MANY_LINES": order(|order| order.lines = vec![order.lines[0].clone(); 2_001]),
            "no region" => "MISSING_FIELD": order(|order| order.region.clear()),
            "a huge region" => "INVALID_FIELD": order(|order| order.region = "x".repeat(5_000)),
            "no product" => "MISSING_FIELD": line(|line| line.product_id.clear()),
            "no SKU" => "MISSING_FIELD": line(|line| line.sku.clear()),
            "a SKU with a blank" => "INVALID_FIELD": line(|line| line.sku = "a mug".into()),
            "a huge SKU" => "INVALID_FIELD": line(|line| line.sku = "m".repeat(100_000)),
            "an unknown product" => "PRODUCT_NOT_FOUND": line(|line| line.product_id = "rug".into()),
            "an unknown SKU" => "SKU_NOT_FOUND": line(|line| line.sku = "rug".into()),
            "a withdrawn product" => "PRODUCT_DELISTED": say::order(&[("old", 1)]),
            "no units" => "INVALID_FIELD": line(|line| line.quantity = 0),
            "more units than there can be" => "INVALID_FIELD": line(|line| line.quantity = u32::MAX),
            "units whose sum is too large" => "INVALID_FIELD": order(|order| {
                order.lines[0].quantity = 1_000_000_000;
                order.lines.push(order.lines[0].clone());
            }),
            "a total that is too large" => "AMOUNT_OVERFLOW": say::order(&[("gold", 1_000_000_000)]),
            "two currencies" => "CURRENCY_MISMATCH": say::order(&[("mug", 1), ("euro", 1)]),
            "a negative price" => "INVALID_FIELD": line(|line| line.unit_price = money("GBP", -1, 0)),
            "a price below a penny" => "INVALID_FIELD": line(|line| line.unit_price = money("GBP", 0, 1)),
            "a price with too many nanos" => "INVALID_FIELD": line(|line| line.unit_price = money("GBP", 1, i32::MAX)),
            "a price that is too large" => "INVALID_FIELD": line(|line| line.unit_price = money("GBP", i64::MAX, 0)),
            "a price of two signs" => "INVALID_FIELD": line(|line| line.unit_price = money("GBP", 1, -10_000_000)),
            "a price in no currency" => "INVALID_FIELD": line(|line| line.unit_price = money("pound", 1, 0)),
            "a price in another currency" => "CURRENCY_MISMATCH": order(|order| {
                order.lines.push(order.lines[0].clone());
                order.lines[0].unit_price = money("EUR", 1, 0);
            }),
            "another total" => "PRICE_CHANGED": order(|order| order.expected_total = Some(say::gbp(254))),
            "a total in another currency" => "PRICE_CHANGED": order(|order| order.expected_total = money("EUR", 2, 550_000_000)),
            "a coupon of no campaign" => "MISSING_FIELD": order(|order| order.coupon = coupon("")),
            "a coupon of an unknown campaign" => "CAMPAIGN_NOT_FOUND": order(|order| order.coupon = coupon(UNKNOWN)),
            "an address without a recipient" => "MISSING_FIELD": order(|order| order.ship_to = Some(v1::Address::default())),
            "a card number" => "INVALID_FIELD": order(|order| order.payment_method = "4111111111111111".into()),
            "a huge payment method" => "INVALID_FIELD": order(|order| order.payment_method = "t".repeat(10_000)),
            "a buyer who is no UUID" => "INVALID_FIELD": order(|order| order.buyer_id = "ann".into()),
            "a time that is none" => "INVALID_FIELD": order(|order| {
                order.occurred_at = Some(prost_types::Timestamp { seconds: i64::MAX, nanos: -1 });
            }),
        }
        "OrderService/CancelOrder" {
            "an unknown order" => "ORDER_NOT_FOUND": v1::CancelOrderRequest { request_id: say::request_id(), order_id: UNKNOWN.into(), ..Default::default() },
            "no order" => "MISSING_FIELD": v1::CancelOrderRequest { request_id: say::request_id(), ..Default::default() },
            "a huge reason" => "INVALID_FIELD": v1::CancelOrderRequest { request_id: say::request_id(), order_id: UNKNOWN.into(), reason: "x".repeat(201), ..Default::default() },
            "an etag that is none" => "INVALID_FIELD": v1::CancelOrderRequest { request_id: say::request_id(), order_id: UNKNOWN.into(), etag: "new".into(), ..Default::default() },
        }
    })
    .await;
}

fn product(change: impl FnOnce(&mut v1::Product)) -> v1::CreateProductRequest {
    let mut product = say::product("vase", 100);
    change(&mut product);
    v1::CreateProductRequest { request_id: say::request_id(), product: Some(product) }
}

fn stock(change: impl FnOnce(&mut v1::ChangeInventoryCountRequest)) -> v1::ChangeInventoryCountRequest {
    let mut receive = say::receive("mug", 1);
    change(&mut receive);
    receive
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_product_or_count_is_refused_for_its_reason_and_changes_nothing() {
    let shop = TestShop::open().await;
    let mut client = shop.operator().await;
    say::stock(&mut client, "mug", 255, 10).await;
    outcome(client.orders.process_order(say::order(&[("mug", 4)])).await).expect("placed");
    let twice = |product: &mut v1::Product| product.variants.push(product.variants[0].clone());
    let update = |product_id: &str, mask: &str| v1::UpdateProductRequest {
        request_id: say::request_id(),
        product_id: product_id.into(),
        product: Some(v1::Product { product_id: String::new(), ..say::product("mug", 300) }),
        update_mask: Some(prost_types::FieldMask { paths: vec![mask.into()] }),
        ..Default::default()
    };
    check(&shop, table! {
        "CatalogService/CreateProduct" {
            "no product" => "MISSING_FIELD": v1::CreateProductRequest { request_id: say::request_id(), product: None },
            "no name" => "MISSING_FIELD": product(|product| product.name.clear()),
            "a huge name" => "INVALID_FIELD": product(|product| product.name = "n".repeat(201)),
            "a name with a control character" => "INVALID_FIELD": product(|product| product.name = "a\u{7}b".into()),
            "a huge text" => "INVALID_FIELD": product(|product| product.description = "d".repeat(20_001)),
            "an id with a slash" => "INVALID_FIELD": product(|product| product.product_id = "a/b".into()),
            "a picture that is no address" => "INVALID_FIELD": product(|product| product.image_urls = vec!["javascript:x".into()]),
            "no variants" => "MISSING_FIELD": product(|product| product.variants.clear()),
            "a SKU twice" => "INVALID_FIELD": product(twice),
            "no price" => "MISSING_FIELD": product(|product| product.variants[0].price = None),
            "a negative price" => "INVALID_FIELD": product(|product| product.variants[0].price = money("GBP", -1, 0)),
            "another product's SKU" => "ALREADY_EXISTS": product(|product| product.variants[0].sku = "mug".into()),
            "a product that is there" => "ALREADY_EXISTS": say::list("mug", 256),
        }
        "CatalogService/UpdateProduct" {
            "an unknown product" => "PRODUCT_NOT_FOUND": update("rug", "name"),
            "a part that is none" => "INVALID_FIELD": update("mug", "etag"),
            "a stale etag" => "ETAG_MISMATCH": v1::UpdateProductRequest { etag: "999".into(), ..update("mug", "name") },
        }
        "CatalogService/DeleteProduct" {
            "an unknown product" => "PRODUCT_NOT_FOUND": v1::DeleteProductRequest { request_id: say::request_id(), product_id: "rug".into(), ..Default::default() },
        }
        "CatalogService/ChangeInventoryCount" {
            "an unknown SKU" => "SKU_NOT_FOUND": stock(|stock| stock.sku = "rug".into()),
            "no warehouse" => "MISSING_FIELD": stock(|stock| stock.warehouse_id.clear()),
            "no change" => "MISSING_FIELD": stock(|stock| stock.change = None),
            "nothing received" => "INVALID_FIELD": stock(|stock| stock.change = Some(Change::Receive(0))),
            "more received than there can be" => "INVALID_FIELD": stock(|stock| stock.change = Some(Change::Receive(u32::MAX))),
            "too much with what is there" => "INVALID_FIELD": stock(|stock| stock.change = Some(Change::Receive(1_000_000_000))),
            "fewer counted than promised" => "COUNT_BELOW_RESERVED": stock(|stock| stock.change = Some(Change::Count(3))),
            "a stale etag" => "ETAG_MISMATCH": stock(|stock| stock.etag = "1".into()),
        }
    })
    .await;
}

fn terms(change: impl FnOnce(&mut v1::CampaignTerms)) -> v1::LaunchCampaignRequest {
    let discount = Some(Discount::PercentOff(10));
    let mut terms = v1::CampaignTerms { name: "spring".into(), discount, quantity: 5, ..Default::default() };
    change(&mut terms);
    v1::LaunchCampaignRequest { request_id: say::request_id(), terms: Some(terms) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_campaign_claim_payment_delivery_or_return_is_refused_for_its_reason_and_changes_nothing() {
    let shop = TestShop::open().await;
    let mut client = shop.operator().await;
    say::stock(&mut client, "mug", 1_000, 10).await;
    let placed = outcome(client.orders.process_order(say::paid_order(&[("mug", 2)])).await).expect("placed");
    let order = say::until(&mut client, &placed.order_id, v1::OrderState::Delivered, placed.position).await;
    let open = outcome(client.orders.process_order(say::order(&[("mug", 1)])).await).expect("placed").order_id;
    let id = say::request_id;
    let refund = |payment_id: &str, amount: Option<Money>| v1::RefundPaymentRequest {
        request_id: id(),
        payment_id: payment_id.into(),
        amount,
        ..Default::default()
    };
    let pay = |order_id: &str, method: &str| v1::ProcessPaymentRequest {
        request_id: id(),
        order_id: order_id.into(),
        payment_method: method.into(),
        occurred_at: None,
    };
    let back = |order_id: &str, sku: &str, quantity: u32| v1::RequestReturnRequest {
        request_id: id(),
        order_id: order_id.into(),
        lines: vec![v1::ReturnLine { sku: sku.into(), quantity, unit_price: None }],
        ..Default::default()
    };
    let report = |order_id: &str, action: v1::DeliveryAction| v1::ProcessDeliveryRequest {
        request_id: id(),
        target: Some(v1::process_delivery_request::Target::OrderId(order_id.into())),
        action: action.into(),
        ..Default::default()
    };
    let moment = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    check(&shop, table! {
        "CouponService/LaunchCampaign" {
            "no terms" => "MISSING_FIELD": v1::LaunchCampaignRequest { request_id: id(), terms: None },
            "no name" => "INVALID_FIELD": terms(|terms| terms.name.clear()),
            "no discount" => "MISSING_FIELD": terms(|terms| terms.discount = None),
            "nothing off" => "INVALID_FIELD": terms(|terms| terms.discount = Some(Discount::PercentOff(0))),
            "more than all off" => "INVALID_FIELD": terms(|terms| terms.discount = Some(Discount::PercentOff(101))),
            "more than any percentage off" => "INVALID_FIELD": terms(|terms| terms.discount = Some(Discount::PercentOff(u32::MAX))),
            "a negative amount off" => "INVALID_FIELD": terms(|terms| terms.discount = money("GBP", -5, 0).map(Discount::AmountOff)),
            "too many coupons" => "INVALID_FIELD": terms(|terms| terms.quantity = u32::MAX),
            "too many for a member" => "INVALID_FIELD": terms(|terms| terms.per_member = u32::MAX),
            "an end before its beginning" => "INVALID_FIELD": terms(|terms| (terms.start_time, terms.end_time) = (moment(9), moment(8))),
        }
        "CouponService/EndCampaign" {
            "an unknown campaign" => "CAMPAIGN_NOT_FOUND": v1::EndCampaignRequest { request_id: id(), campaign_id: UNKNOWN.into(), ..Default::default() },
        }
        "CouponService/ClaimCoupon" {
            "an unknown campaign" => "CAMPAIGN_NOT_FOUND": v1::ClaimCouponRequest { request_id: id(), campaign_id: UNKNOWN.into(), ..Default::default() },
            "a member who is no UUID" => "INVALID_FIELD": v1::ClaimCouponRequest { request_id: id(), campaign_id: UNKNOWN.into(), member_id: "ann".into() },
        }
        "PaymentService/ProcessPayment" {
            "an unknown order" => "ORDER_NOT_FOUND": pay(UNKNOWN, "tok_ok"),
            "no method" => "MISSING_FIELD": pay(&open, ""),
            "a card number" => "INVALID_FIELD": pay(&open, "4111 1111 1111 1111"),
            "an order that is paid" => "ORDER_NOT_PAYABLE": pay(&order.order_id, "tok_ok"),
        }
        "PaymentService/RefundPayment" {
            "an unknown payment" => "PAYMENT_NOT_FOUND": refund(UNKNOWN, None),
            "no money" => "INVALID_FIELD": refund(&order.payment_id, Some(say::gbp(0))),
            "negative money" => "INVALID_FIELD": refund(&order.payment_id, money("GBP", -1, 0)),
            "more than was paid" => "REFUND_EXCEEDS_CAPTURE": refund(&order.payment_id, Some(say::gbp(2_001))),
            "as much as there can be" => "REFUND_EXCEEDS_CAPTURE": refund(&order.payment_id, money("GBP", i64::MAX / 100, 0)),
            "another currency" => "CURRENCY_MISMATCH": refund(&order.payment_id, money("EUR", 1, 0)),
        }
        "DeliveryService/ProcessDelivery" {
            "an unknown order" => "ORDER_NOT_FOUND": report(UNKNOWN, v1::DeliveryAction::Deliver),
            "an order that is not sent" => "DELIVERY_NOT_READY": report(&open, v1::DeliveryAction::Deliver),
            "an end after another" => "DELIVERY_FINISHED": report(&order.order_id, v1::DeliveryAction::Fail),
            "nothing that happened" => "MISSING_FIELD": report(&order.order_id, v1::DeliveryAction::Unspecified),
            "no delivery" => "MISSING_FIELD": v1::ProcessDeliveryRequest { target: None, ..report("", v1::DeliveryAction::Deliver) },
        }
        "ReturnService/RequestReturn" {
            "an unknown order" => "ORDER_NOT_FOUND": back(UNKNOWN, "mug", 1),
            "an order that is not delivered" => "ORDER_NOT_RETURNABLE": back(&open, "mug", 1),
            "no units" => "INVALID_FIELD": back(&order.order_id, "mug", 0),
            "more than was sold" => "RETURN_EXCEEDS_ORDER": back(&order.order_id, "mug", 3),
            "as many as there can be" => "RETURN_EXCEEDS_ORDER": back(&order.order_id, "mug", u32::MAX),
            "a SKU that was not sold" => "RETURN_EXCEEDS_ORDER": back(&order.order_id, "rug", 1),
            "no lines" => "MISSING_FIELD": v1::RequestReturnRequest { lines: vec![], ..back(&order.order_id, "mug", 1) },
        }
        "ReturnService/ReceiveReturn" {
            "an unknown return" => "RETURN_NOT_FOUND": v1::ReceiveReturnRequest { request_id: id(), return_id: UNKNOWN.into(), warehouse_id: "main".into(), ..Default::default() },
            "no warehouse" => "MISSING_FIELD": v1::ReceiveReturnRequest { request_id: id(), return_id: UNKNOWN.into(), ..Default::default() },
        }
    })
    .await;
}

/// Bytes that look like chance, the same at every run.
fn random(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let length = usize::try_from(next() % 64).expect("short");
    (0..length).map(|_| u8::try_from(next() >> 56).expect("a byte")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_message_or_too_many_are_refused_and_the_connection_lives_on() {
    let shop = TestShop::open().await;
    say::stock(&mut shop.operator().await, "mug", 255, 10).await;
    let endpoint = Endpoint::from_shared(format!("http://{}", shop.addr())).expect("an address is a URL");
    let channel: Channel = endpoint.connect().await.expect("the shop is open");
    let token = operator(&shop);
    let before = rest(&shop).await;
    let whole = say::order(&[("mug", 1)]).encode_to_vec();
    let cut = whole[..whole.len() - 1].to_vec();
    let text = [0x0a, 0x02, 0xff, 0xfe].to_vec();
    let mutations = proto::POLICIES.iter().filter(|policy| {
        let name = policy.path.rsplit('/').next().unwrap_or_default();
        !["Get", "List", "Watch", "Echo"].iter().any(|verb| name.starts_with(verb))
    });
    for policy in mutations {
        let ask = async |message: Vec<u8>| raw::call(&channel, Some(&token), policy.path, message).await;
        for (what, message) in [("a cut message", &cut), ("text that is not UTF-8", &text)] {
            let status = ask(message.clone()).await.expect_err(policy.path);
            assert_eq!(reason(&status), "INVALID_MESSAGE", "{}: {what}", policy.path);
            assert_eq!(status.code(), Code::InvalidArgument, "{}: {what}", policy.path);
        }
        let status = ask(vec![0; (1 << 20) + 1]).await.expect_err(policy.path);
        assert_eq!(reason(&status), "MESSAGE_TOO_LARGE", "{}", policy.path);
        for seed in 1..=RANDOM {
            let status = ask(random(seed)).await.expect_err("random bytes are no request");
            assert_eq!(status.code(), Code::InvalidArgument, "{} with random bytes {seed}: {status:?}", policy.path);
            assert!(!reason(&status).is_empty(), "{} refused without a reason", policy.path);
        }
    }
    assert_eq!(rest(&shop).await, before, "a broken message has changed something");
    raw::call(&channel, Some(&token), "/cartulary.v1.OrderService/ProcessOrder", whole).await.expect("a good one");
}

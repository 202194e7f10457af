//! Every mutation asked for by every role that may not.

use std::collections::BTreeSet;

use domain::ids::MemberId;
use prost::Message as _;
use proto::{
    MethodPolicy, POLICIES,
    v1::{self, Role},
};
use tests::{client::reason, raw, say, shop::TestShop};
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};

use super::{head, outcome};

const EVERY: [Role; 5] = [Role::Buyer, Role::Seller, Role::Partner, Role::Analyst, Role::Operator];
const NOBODY: MemberId = MemberId::from_u128(0x0190_0000_0000_7000_8000_0009_0000_0001);

async fn channel(shop: &TestShop) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{}", shop.addr())).expect("an address is a URL");
    endpoint.connect().await.expect("the shop is open")
}

/// The methods that change something, by their names: what is not a question is a mutation.
fn mutations() -> impl Iterator<Item = &'static MethodPolicy> {
    let asks = |method: &str| ["Get", "List", "Watch", "Echo"].iter().any(|verb| method.starts_with(verb));
    POLICIES.iter().filter(move |policy| !policy.path.rsplit('/').next().is_some_and(asks))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_is_refused_to_every_role_that_its_policy_does_not_name_and_changes_nothing() {
    let shop = TestShop::open().await;
    let channel = channel(&shop).await;
    let before = head(&shop).await;
    let mut refused = 0;
    for policy in POLICIES.iter().filter(|policy| !policy.roles.contains(&Role::Anyone)) {
        for role in EVERY.into_iter().filter(|role| !policy.roles.contains(role)) {
            let token = shop.token(NOBODY, &[role]);
            let status = raw::call(&channel, Some(&token), policy.path, vec![]).await.expect_err(policy.path);
            let told = (status.code(), reason(&status));
            assert_eq!(told, (Code::PermissionDenied, "ROLE_FORBIDDEN".into()), "{} as {role:?}", policy.path);
            refused += 1;
        }
        for token in [None, Some("nonsense")] {
            let status = raw::call(&channel, token, policy.path, vec![]).await.expect_err(policy.path);
            assert_eq!(reason(&status), "UNAUTHENTICATED_CALLER", "{}", policy.path);
        }
    }
    assert!(refused > 40, "only {refused} refusals: the table is not what it was");
    assert_eq!(head(&shop).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mutation_lets_the_roles_of_its_policy_in_to_be_told_what_is_missing() {
    let shop = TestShop::open().await;
    let channel = channel(&shop).await;
    let mut names = BTreeSet::new();
    for policy in mutations() {
        for role in policy.roles {
            let token = shop.token(NOBODY, &[*role]);
            let status = raw::call(&channel, Some(&token), policy.path, vec![]).await.expect_err(policy.path);
            assert_eq!(reason(&status), "MISSING_FIELD", "{} as {role:?}", policy.path);
        }
        names.insert(policy.path);
    }
    assert_eq!(names.len(), 14, "{names:?}");
    assert_eq!(head(&shop).await, 0, "an empty message changes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_others_cannot_be_changed_and_is_not_even_there() {
    let shop = TestShop::open().await;
    let mut operator = shop.operator().await;
    say::stock(&mut operator, "mug", 255, 10).await;
    let (mut ann, mut bob) = (shop.buyer(1).await, shop.buyer(2).await);
    let order_id = outcome(ann.orders.process_order(say::order(&[("mug", 1)])).await).expect("placed").order_id;
    let before = super::rest(&shop).await;
    let cancel =
        v1::CancelOrderRequest { request_id: say::request_id(), order_id: order_id.clone(), ..Default::default() };
    assert_eq!(outcome(bob.orders.cancel_order(cancel.clone()).await).map(drop), Err("ORDER_NOT_FOUND".into()));
    let pay = v1::ProcessPaymentRequest {
        request_id: say::request_id(),
        order_id: order_id.clone(),
        payment_method: "tok_ok".into(),
        occurred_at: None,
    };
    assert_eq!(outcome(bob.payments.process_payment(pay).await).map(drop), Err("ORDER_NOT_FOUND".into()));
    let lines = vec![v1::ReturnLine { sku: "mug".into(), quantity: 1, unit_price: None }];
    let back = v1::RequestReturnRequest { request_id: say::request_id(), order_id, lines, ..Default::default() };
    assert_eq!(outcome(bob.returns.request_return(back).await).map(drop), Err("ORDER_NOT_FOUND".into()));
    let mut seller = shop.client(NOBODY, &[Role::Seller]).await;
    let theirs = seller.catalog.change_inventory_count(say::receive("mug", 5)).await;
    assert_eq!(outcome(theirs).map(drop), Err("NOT_YOURS".into()));
    let delist =
        v1::DeleteProductRequest { request_id: say::request_id(), product_id: "mug".into(), ..Default::default() };
    assert_eq!(outcome(seller.catalog.delete_product(delist).await).map(drop), Err("NOT_YOURS".into()));
    assert_eq!(head(&shop).await, before);
    outcome(ann.orders.cancel_order(cancel).await).expect("their own");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_operators_may_say_is_refused_to_a_buyer() {
    let shop = TestShop::open().await;
    say::stock(&mut shop.operator().await, "mug", 255, 10).await;
    let (channel, token) = (channel(&shop).await, shop.token(NOBODY, &[Role::Buyer]));
    let before = head(&shop).await;
    let other = MemberId::from_u128(77).to_string();
    let at = Some(prost_types::Timestamp { seconds: 1_300_000_000, nanos: 0 });
    let order = say::order(&[("mug", 1)]);
    let mut cheap = order.clone();
    cheap.lines[0].unit_price = Some(say::gbp(1));
    let id = say::request_id;
    let campaign_id = MemberId::from_u128(5).to_string();
    let claim = v1::ClaimCouponRequest { request_id: id(), campaign_id, member_id: other.clone() };
    let order_id = MemberId::from_u128(6).to_string();
    let pay =
        v1::ProcessPaymentRequest { request_id: id(), order_id, payment_method: "tok_ok".into(), occurred_at: at };
    for (path, message) in [
        ("/cartulary.v1.OrderService/ProcessOrder", cheap.encode_to_vec()),
        (
            "/cartulary.v1.OrderService/ProcessOrder",
            v1::ProcessOrderRequest { buyer_id: other, ..order.clone() }.encode_to_vec(),
        ),
        (
            "/cartulary.v1.OrderService/ProcessOrder",
            v1::ProcessOrderRequest { occurred_at: at, ..order }.encode_to_vec(),
        ),
        ("/cartulary.v1.CouponService/ClaimCoupon", claim.encode_to_vec()),
        ("/cartulary.v1.PaymentService/ProcessPayment", pay.encode_to_vec()),
    ] {
        let status = raw::call(&channel, Some(&token), path, message).await.expect_err(path);
        assert_eq!(reason(&status), "ROLE_FORBIDDEN", "{path}: {status:?}");
    }
    assert_eq!(head(&shop).await, before);
}

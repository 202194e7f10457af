//! The same request many times, at once and after a restart, and the same id for another wish.

use std::collections::BTreeMap;

use futures::future::join_all;
use proto::v1::{self, OrderState, campaign_terms::Discount, change_inventory_count_request::Change};
use tests::{
    client::{Client, fact, reason},
    say,
    shop::TestShop,
};

use super::{CROWD, head, outcome, rest};

/// Connections over which one request is sent again and again.
const CONNECTIONS: u64 = 8;

async fn connections(shop: &TestShop) -> Vec<Client> {
    join_all((0..CONNECTIONS).map(|_| shop.operator())).await
}

/// Sends one request by everybody at once, over few connections.
async fn all_at_once<T>(clients: &[Client], send: impl AsyncFn(Client) -> Result<T, String>) -> Vec<Result<T, String>> {
    let senders = clients.iter().cycle().take(usize::try_from(CROWD).expect("few"));
    join_all(senders.map(|client| send(client.clone()))).await
}

#[track_caller]
fn one_answer<T: Clone + PartialEq + std::fmt::Debug>(answers: &[Result<T, String>]) -> T {
    let first = answers[0].clone().expect("an answer");
    for answer in answers {
        assert_eq!(answer.as_ref(), Ok(&first), "every retry hears the same");
    }
    first
}

fn terms() -> v1::CampaignTerms {
    let discount = Some(Discount::PercentOff(10));
    v1::CampaignTerms { name: "spring".into(), discount, quantity: 100, per_member: 9, ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_sent_64_times_at_once_and_again_after_a_restart_is_one_order() {
    let mut shop = TestShop::open().await;
    say::stock(&mut shop.operator().await, "mug", 255, 10).await;
    let wish = say::paid_order(&[("mug", 3)]);
    let send = async |mut client: Client| outcome(client.orders.process_order(wish.clone()).await);
    let placed = one_answer(&all_at_once(&connections(&shop).await, send).await);
    let mut operator = shop.operator().await;
    say::until(&mut operator, &placed.order_id, OrderState::Delivered, placed.position).await;
    rest(&shop).await;

    shop.restart().await;
    let before = head(&shop).await;
    let again = one_answer(&all_at_once(&connections(&shop).await, send).await);
    assert_eq!(again, placed);
    assert_eq!(rest(&shop).await, before, "a retry writes nothing");
    let mut operator = shop.operator().await;
    let ask = v1::ListOrdersRequest { min_position: before, ..Default::default() };
    assert_eq!(outcome(operator.orders.list_orders(ask).await).expect("listed").orders.len(), 1);
    let ask = v1::GetStockRequest { sku: "mug".into(), min_position: before };
    assert_eq!(outcome(operator.catalog.get_stock(ask).await).expect("levels").on_hand, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_order_sent_64_times_is_one_refusal_even_when_there_is_more_after_a_restart() {
    let mut shop = TestShop::open().await;
    say::stock(&mut shop.operator().await, "mug", 255, 1).await;
    let wish = say::order(&[("mug", 2)]);
    let send = async |mut client: Client| {
        let refusal = client.orders.process_order(wish.clone()).await.expect_err("two of one");
        Ok((reason(&refusal), fact(&refusal, "order_id"), fact(&refusal, "available")))
    };
    let refused = one_answer(&all_at_once(&connections(&shop).await, send).await);
    assert_eq!((refused.0.as_str(), refused.2.as_str()), ("OUT_OF_STOCK", "1"));
    shop.restart().await;
    let mut operator = shop.operator().await;
    outcome(operator.catalog.change_inventory_count(say::receive("mug", 5)).await).expect("received");
    assert_eq!(one_answer(&all_at_once(&connections(&shop).await, send).await), refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn goods_and_coupons_sent_for_64_times_at_once_come_once() {
    let mut shop = TestShop::open().await;
    let mut operator = shop.operator().await;
    outcome(operator.catalog.create_product(say::list("mug", 255)).await).expect("listed");
    let launch = v1::LaunchCampaignRequest { request_id: say::request_id(), terms: Some(terms()) };
    let receive = say::receive("mug", 7);

    let launching = async |mut client: Client| outcome(client.coupons.launch_campaign(launch.clone()).await);
    let receiving = async |mut client: Client| outcome(client.catalog.change_inventory_count(receive.clone()).await);
    let clients = connections(&shop).await;
    let launched = one_answer(&all_at_once(&clients, launching).await);
    let received = one_answer(&all_at_once(&clients, receiving).await);
    let campaign_id = launched.campaign_id.clone();
    let claim = v1::ClaimCouponRequest { request_id: say::request_id(), campaign_id, ..Default::default() };
    let claiming = async |mut client: Client| outcome(client.coupons.claim_coupon(claim.clone()).await);
    let claimed = one_answer(&all_at_once(&clients, claiming).await);
    assert_eq!(received.stock.as_ref().map(|stock| stock.on_hand), Some(7));

    // A later change must not show in the answer to an earlier request.
    outcome(operator.catalog.change_inventory_count(say::receive("mug", 1)).await).expect("received");
    shop.restart().await;
    let (before, clients) = (head(&shop).await, connections(&shop).await);
    assert_eq!(one_answer(&all_at_once(&clients, launching).await), launched);
    assert_eq!(one_answer(&all_at_once(&clients, receiving).await), received);
    assert_eq!(one_answer(&all_at_once(&clients, claiming).await), claimed);
    assert_eq!(head(&shop).await, before, "a retry writes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn money_asked_for_and_given_back_64_times_at_once_moves_once() {
    let shop = TestShop::open().await;
    let mut operator = shop.operator().await;
    say::stock(&mut operator, "mug", 1_000, 10).await;
    let placed = outcome(operator.orders.process_order(say::order(&[("mug", 1)])).await).expect("placed");
    let pay = v1::ProcessPaymentRequest {
        request_id: say::request_id(),
        order_id: placed.order_id.clone(),
        payment_method: "tok_ok".into(),
        occurred_at: None,
    };
    let clients = connections(&shop).await;
    let paying = async |mut client: Client| outcome(client.payments.process_payment(pay.clone()).await);
    let paid = one_answer(&all_at_once(&clients, paying).await);
    say::until(&mut operator, &placed.order_id, OrderState::Delivered, paid.position).await;
    let refund = v1::RefundPaymentRequest {
        request_id: say::request_id(),
        payment_id: paid.payment_id.clone(),
        amount: Some(say::gbp(400)),
        ..Default::default()
    };
    let refunding = async |mut client: Client| outcome(client.payments.refund_payment(refund.clone()).await);
    one_answer(&all_at_once(&clients, refunding).await);
    let ask = v1::GetPaymentRequest { payment_id: paid.payment_id, min_position: rest(&shop).await };
    let payment = outcome(operator.payments.get_payment(ask).await).expect("shown");
    assert_eq!((payment.refunds.len(), say::pence(payment.refunded.as_ref())), (1, 400));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_was_used_for_another_wish_is_refused_wherever_it_is_used() {
    let shop =
        TestShop::open_with(|config| config.carrier.dispatch_after = std::time::Duration::from_secs(3_600)).await;
    let mut client = shop.operator().await;
    say::stock(&mut client, "mug", 1_000, 10).await;
    let mut said = BTreeMap::new();
    // Each wish is granted, and then its id is used for a slightly different one.
    macro_rules! twice {
        ($service:ident.$method:ident($wish:expr), |$other:ident| $change:expr) => {{
            let wish = $wish;
            let answer = outcome(client.$service.$method(wish.clone()).await).expect(stringify!($method));
            let mut $other = wish;
            $change;
            rest(&shop).await;
            let before = head(&shop).await;
            let again = outcome(client.$service.$method($other).await).map(drop);
            assert_eq!(rest(&shop).await, before, "{} wrote something", stringify!($method));
            said.insert(stringify!($method), again.expect_err(stringify!($method)));
            answer
        }};
    }
    let request_id = say::request_id;
    twice!(catalog.create_product(say::list("cup", 100)), |other| other.product = Some(say::product("cup", 101)));
    let product = Some(say::product("cup", 120));
    let update =
        v1::UpdateProductRequest { request_id: request_id(), product_id: "cup".into(), product, ..Default::default() };
    twice!(catalog.update_product(update), |other| other.product = Some(say::product("cup", 121)));
    twice!(catalog.change_inventory_count(say::receive("cup", 5)), |other| other.change = Some(Change::Receive(6)));
    let order = twice!(orders.process_order(say::order(&[("mug", 1)])), |other| other.region = "FR".into());
    let cancel = v1::CancelOrderRequest { request_id: request_id(), order_id: order.order_id, ..Default::default() };
    twice!(orders.cancel_order(cancel), |other| other.reason = "another".into());
    let launch = v1::LaunchCampaignRequest { request_id: request_id(), terms: Some(terms()) };
    let campaign = twice!(coupons.launch_campaign(launch), |other| other.terms =
        Some(v1::CampaignTerms { quantity: 99, ..terms() }));
    let campaign_id = campaign.campaign_id;
    let member_id = client.member.to_string();
    let claim =
        v1::ClaimCouponRequest { request_id: request_id(), campaign_id: campaign_id.clone(), member_id: String::new() };
    twice!(coupons.claim_coupon(claim), |other| other.member_id = member_id);
    let end = v1::EndCampaignRequest { request_id: request_id(), campaign_id, ..Default::default() };
    twice!(coupons.end_campaign(end), |other| other.etag = "1".into());
    let order_id = outcome(client.orders.process_order(say::order(&[("mug", 2)])).await).expect("placed").order_id;
    let pay = v1::ProcessPaymentRequest {
        request_id: request_id(),
        order_id: order_id.clone(),
        payment_method: "tok_ok".into(),
        occurred_at: None,
    };
    let payment = twice!(payments.process_payment(pay), |other| other.payment_method = "tok_decline".into());
    let deliver = v1::ProcessDeliveryRequest {
        request_id: request_id(),
        action: v1::DeliveryAction::Deliver.into(),
        target: Some(v1::process_delivery_request::Target::OrderId(order_id.clone())),
        ..Default::default()
    };
    twice!(deliveries.process_delivery(deliver), |other| other.action = v1::DeliveryAction::Fail.into());
    let line = v1::ReturnLine { sku: "mug".into(), quantity: 1, unit_price: None };
    let lines = vec![line.clone()];
    let bring_back = v1::RequestReturnRequest { request_id: request_id(), order_id, lines, ..Default::default() };
    let back =
        twice!(returns.request_return(bring_back), |other| other.lines = vec![v1::ReturnLine { quantity: 2, ..line }]);
    let receive = v1::ReceiveReturnRequest {
        request_id: request_id(),
        return_id: back.return_id,
        warehouse_id: "main".into(),
        ..Default::default()
    };
    twice!(returns.receive_return(receive), |other| other.warehouse_id = "other".into());
    let refund = v1::RefundPaymentRequest {
        request_id: request_id(),
        payment_id: payment.payment_id,
        amount: Some(say::gbp(100)),
        ..Default::default()
    };
    twice!(payments.refund_payment(refund), |other| other.amount = Some(say::gbp(200)));
    let delist = v1::DeleteProductRequest { request_id: request_id(), product_id: "cup".into(), ..Default::default() };
    twice!(catalog.delete_product(delist), |other| other.etag = "1".into());

    let others: Vec<_> = said.iter().filter(|(_, reason)| *reason != "REQUEST_ID_REUSED").collect();
    assert!(others.is_empty(), "{others:?}");
    assert_eq!(said.len(), 14, "every mutation of the API");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_callers_may_happen_to_use_the_same_id() {
    let shop = TestShop::open().await;
    say::stock(&mut shop.operator().await, "mug", 255, 10).await;
    let wish = say::order(&[("mug", 1)]);
    let mut orders = Vec::new();
    for n in [1, 2] {
        orders.push(outcome(shop.buyer(n).await.orders.process_order(wish.clone()).await).expect("placed").order_id);
    }
    assert_ne!(orders[0], orders[1]);
}

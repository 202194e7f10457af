//! Deliveries over the gateway: reported step by step, failed.

use proto::v1::{self, DeliveryAction, DeliveryState, OrderState, Role, process_delivery_request::Target};
use tests::{
    say,
    shop::{TestShop, buyer},
};

use super::{outcome, slow_carrier};

fn report(target: Target, action: DeliveryAction) -> v1::ProcessDeliveryRequest {
    v1::ProcessDeliveryRequest {
        request_id: say::request_id(),
        target: Some(target),
        action: action.into(),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_reports_the_steps_and_the_order_follows() {
    let shop = TestShop::open_with(slow_carrier).await;
    let mut operator = shop.operator().await;
    say::stock(&mut operator, "mug", 255, 10).await;
    let mut ann = shop.buyer(1).await;
    let mut carrier = shop.client(buyer(8), &[Role::Partner]).await;
    let placed = outcome(ann.orders.process_order(say::order(&[("mug", 1)])).await).expect("placed");
    let by_order = || Target::OrderId(placed.order_id.clone());
    let early = report(by_order(), DeliveryAction::Dispatch);
    assert_eq!(outcome(carrier.deliveries.process_delivery(early).await).unwrap_err(), "DELIVERY_NOT_READY");
    let pay = v1::ProcessPaymentRequest {
        request_id: say::request_id(),
        order_id: placed.order_id.clone(),
        payment_method: "tok_ok".into(),
        occurred_at: None,
    };
    outcome(ann.payments.process_payment(pay).await).expect("paid");
    let booked = say::until(&mut ann, &placed.order_id, OrderState::DeliveryBooked, placed.position).await;

    let dispatch = report(by_order(), DeliveryAction::Dispatch);
    let dispatched = outcome(carrier.deliveries.process_delivery(dispatch.clone()).await).expect("dispatched");
    assert_eq!((dispatched.state(), &dispatched.delivery_id), (DeliveryState::Dispatched, &booked.delivery_id));
    let on_its_way = say::until(&mut ann, &placed.order_id, OrderState::Dispatched, dispatched.position).await;
    assert_eq!(on_its_way.etag, booked.etag, "the order itself has not changed");
    let deliver = report(Target::DeliveryId(booked.delivery_id.clone()), DeliveryAction::Deliver);
    let delivered = outcome(carrier.deliveries.process_delivery(deliver.clone()).await).expect("delivered");
    say::until(&mut ann, &placed.order_id, OrderState::Delivered, delivered.position).await;
    assert_eq!(outcome(carrier.deliveries.process_delivery(dispatch).await), Ok(dispatched));
    assert_eq!(outcome(carrier.deliveries.process_delivery(deliver).await), Ok(delivered.clone()));

    let late = report(by_order(), DeliveryAction::Deliver);
    let already = outcome(carrier.deliveries.process_delivery(late).await).expect("it is already so");
    assert_eq!(already.state(), DeliveryState::Delivered);
    let wrong = report(by_order(), DeliveryAction::Fail);
    assert_eq!(outcome(carrier.deliveries.process_delivery(wrong).await).unwrap_err(), "DELIVERY_FINISHED");

    let ask = v1::GetDeliveryRequest { delivery_id: booked.delivery_id, min_position: delivered.position };
    let shown = outcome(ann.deliveries.get_delivery(ask.clone()).await).expect("shown");
    assert_eq!((shown.state(), shown.buyer_id), (DeliveryState::Delivered, buyer(1).to_string()));
    assert!(shown.tracking_number.starts_with("SBX"));
    let mut bob = shop.buyer(2).await;
    assert_eq!(outcome(bob.deliveries.get_delivery(ask).await).unwrap_err(), "DELIVERY_NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_delivery_undoes_the_sale() {
    let shop = TestShop::open_with(slow_carrier).await;
    let mut operator = shop.operator().await;
    say::stock(&mut operator, "mug", 255, 1).await;
    let mut ann = shop.buyer(1).await;
    let placed = outcome(ann.orders.process_order(say::paid_order(&[("mug", 1)])).await).expect("placed");
    say::until(&mut ann, &placed.order_id, OrderState::DeliveryBooked, placed.position).await;
    let fail = v1::ProcessDeliveryRequest {
        reason: "nobody there".into(),
        ..report(Target::OrderId(placed.order_id.clone()), DeliveryAction::Fail)
    };
    let failed = outcome(operator.deliveries.process_delivery(fail).await).expect("reported");
    let order = say::until(&mut ann, &placed.order_id, OrderState::DeliveryFailed, failed.position).await;
    assert_eq!(order.reason, "nobody there");
    let watch = v1::WatchStockRequest { sku: "mug".into(), min_position: failed.position };
    let mut levels = ann.catalog.watch_stock(watch).await.expect("followed").into_inner();
    while levels.message().await.expect("goes on").expect("more").stock.expect("levels").available == 0 {}
}

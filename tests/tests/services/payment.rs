//! Payments over the gateway: paid, declined, refunded.

use proto::v1::{self, OrderState, PaymentState, RefundState};
use tests::{client::fact, client::reason, say, shop::TestShop};

use super::{outcome, slow_carrier, stands_in_the_log};

fn pay(order_id: &str, method: &str) -> v1::ProcessPaymentRequest {
    v1::ProcessPaymentRequest {
        request_id: say::request_id(),
        order_id: order_id.into(),
        payment_method: method.into(),
        occurred_at: None,
    }
}

fn refund(payment_id: &str, pence: Option<i64>) -> v1::RefundPaymentRequest {
    v1::RefundPaymentRequest {
        request_id: say::request_id(),
        payment_id: payment_id.into(),
        amount: pence.map(say::gbp),
        reason: "a gesture".into(),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_paid_by_its_buyer_and_a_declined_method_can_be_replaced() {
    let shop = TestShop::open().await;
    let mut operator = shop.operator().await;
    say::stock(&mut operator, "mug", 255, 10).await;
    let (mut ann, mut bob) = (shop.buyer(1).await, shop.buyer(2).await);
    let placed = outcome(ann.orders.process_order(say::order(&[("mug", 2)])).await).expect("placed");
    assert_eq!(
        outcome(bob.payments.process_payment(pay(&placed.order_id, "tok_ok")).await).unwrap_err(),
        "ORDER_NOT_FOUND"
    );
    let declined = outcome(ann.payments.process_payment(pay(&placed.order_id, "tok_decline")).await).expect("asked");
    let mut state = PaymentState::Requested;
    while state != PaymentState::Declined {
        let ask = v1::GetPaymentRequest { payment_id: declined.payment_id.clone(), min_position: declined.position };
        state = outcome(ann.payments.get_payment(ask).await).expect("shown").state();
        assert!([PaymentState::Requested, PaymentState::Declined].contains(&state), "{state:?}");
    }
    let wish = pay(&placed.order_id, "tok_ok");
    let paid = loop {
        match outcome(ann.payments.process_payment(wish.clone()).await) {
            Ok(paid) => break paid,
            Err(reason) => assert_eq!(reason, "PAYMENT_IN_PROGRESS", "the order has not heard of the refusal yet"),
        }
    };
    assert_eq!((paid.state(), say::pence(paid.amount.as_ref())), (PaymentState::Requested, 510));
    say::until(&mut ann, &placed.order_id, OrderState::Delivered, paid.position).await;
    assert_eq!(outcome(ann.payments.process_payment(wish).await), Ok(paid.clone()), "a retry pays nothing twice");
    let ask = v1::GetPaymentRequest { payment_id: paid.payment_id, min_position: paid.position };
    assert_eq!(outcome(bob.payments.get_payment(ask.clone()).await).unwrap_err(), "PAYMENT_NOT_FOUND");
    let shown = outcome(ann.payments.get_payment(ask).await).expect("shown");
    assert_eq!((shown.state(), shown.order_id), (PaymentState::Captured, placed.order_id));
}

#[tokio::test(flavor = "multi_thread")]
async fn refunds_never_pass_what_was_captured_and_a_retry_refunds_once() {
    let shop = TestShop::open_with(slow_carrier).await;
    let mut operator = shop.operator().await;
    say::stock(&mut operator, "mug", 1_000, 10).await;
    let mut ann = shop.buyer(1).await;
    let placed = outcome(ann.orders.process_order(say::paid_order(&[("mug", 1)])).await).expect("placed");
    let order = say::until(&mut ann, &placed.order_id, OrderState::DeliveryBooked, placed.position).await;
    let id = order.payment_id;
    let first = refund(&id, Some(600));
    let refunded = outcome(operator.payments.refund_payment(first.clone()).await).expect("refunded");
    let refusal = operator.payments.refund_payment(refund(&id, Some(600))).await.expect_err("too much");
    assert_eq!((reason(&refusal).as_str(), fact(&refusal, "left").as_str()), ("REFUND_EXCEEDS_CAPTURE", "4.00 GBP"));
    let rest = refund(&id, None);
    let all = outcome(operator.payments.refund_payment(rest.clone()).await).expect("the rest");
    assert_eq!(say::pence(all.refund.as_ref().and_then(|refund| refund.amount.as_ref())), 400);
    assert_eq!(outcome(operator.payments.refund_payment(first).await), Ok(refunded));
    assert_eq!(outcome(operator.payments.refund_payment(rest).await), Ok(all.clone()));
    assert_eq!(
        outcome(operator.payments.refund_payment(refund(&id, None)).await).unwrap_err(),
        "REFUND_EXCEEDS_CAPTURE"
    );
    let mut shown = v1::Payment::default();
    while shown.refunds.iter().filter(|refund| refund.state() == RefundState::Refunded).count() < 2 {
        let ask = v1::GetPaymentRequest { payment_id: id.clone(), min_position: all.position };
        shown = outcome(operator.payments.get_payment(ask).await).expect("shown");
        assert_eq!(shown.refunds.len(), 2);
    }
    assert!(shown.refunds.iter().all(|refund| refund.reason == "a gesture" && refund.failure.is_empty()));
    assert!(shown.refunds.iter().all(|refund| refund.create_time.is_some()));
    assert!(!stands_in_the_log(&shop, "a gesture").await);
    assert_eq!(say::pence(shown.refunded.as_ref()), 1_000);
}

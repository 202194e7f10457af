//! Refunds that together would pass what was captured.

use proto::v1::{self, OrderState, PaymentState};
use tests::{client::Client, say, shop::TestShop};

use super::{head, outcome, rest};

/// Orders that are refunded twice at once.
const ROUNDS: usize = 10;

fn refund(payment_id: &str, amount: i64) -> v1::RefundPaymentRequest {
    v1::RefundPaymentRequest {
        request_id: say::request_id(),
        payment_id: payment_id.into(),
        amount: Some(say::gbp(amount)),
        ..Default::default()
    }
}

async fn payment(shop: &TestShop, client: &mut Client, payment_id: &str) -> v1::Payment {
    let ask = v1::GetPaymentRequest { payment_id: payment_id.into(), min_position: head(shop).await };
    outcome(client.payments.get_payment(ask).await).expect("shown")
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_refunds_of_sixty_percent_one_is_made() {
    let shop = TestShop::open().await;
    let (mut operator, mut other) = (shop.operator().await, shop.operator().await);
    say::stock(&mut operator, "mug", 1_000, 100).await;
    let mut ann = shop.buyer(1).await;
    let mut payments = Vec::new();
    for round in 0..ROUNDS {
        let placed = outcome(ann.orders.process_order(say::paid_order(&[("mug", 1)])).await).expect("placed");
        let order = say::until(&mut ann, &placed.order_id, OrderState::Delivered, placed.position).await;
        let (one, two) = (refund(&order.payment_id, 600), refund(&order.payment_id, 600));
        let answers = tokio::join!(operator.payments.refund_payment(one), other.payments.refund_payment(two));
        let answers = [outcome(answers.0).map(drop), outcome(answers.1).map(drop)];
        let refused = Err("REFUND_EXCEEDS_CAPTURE".to_owned());
        assert!(answers.contains(&Ok(())) && answers.contains(&refused), "round {round}: {answers:?}");
        payments.push(order.payment_id);
    }
    rest(&shop).await;
    for payment_id in payments {
        let seen = payment(&shop, &mut operator, &payment_id).await;
        assert_eq!((seen.state(), say::pence(seen.refunded.as_ref())), (PaymentState::Captured, 600));
        outcome(operator.payments.refund_payment(refund(&payment_id, 400)).await).expect("what is left");
        let more = outcome(operator.payments.refund_payment(refund(&payment_id, 1)).await).map(drop);
        assert_eq!(more, Err("REFUND_EXCEEDS_CAPTURE".into()));
    }
}

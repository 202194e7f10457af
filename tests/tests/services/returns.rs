//! Returns over the gateway: goods to the shelf, money to the buyer.

use proto::v1::{self, OrderState, ReturnState, Role};
use tests::{
    client::{fact, reason},
    say,
    shop::{TestShop, buyer},
};

use super::{outcome, stands_in_the_log};

fn send_back(order_id: &str, quantity: u32) -> v1::RequestReturnRequest {
    v1::RequestReturnRequest {
        request_id: say::request_id(),
        order_id: order_id.into(),
        lines: vec![v1::ReturnLine { sku: "mug".into(), quantity, unit_price: None }],
        reason: "too blue".into(),
        occurred_at: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn goods_come_back_to_the_shelf_and_the_money_to_the_buyer() {
    let shop = TestShop::open().await;
    let mut operator = shop.operator().await;
    say::stock(&mut operator, "mug", 255, 5).await;
    let (mut ann, mut bob) = (shop.buyer(1).await, shop.buyer(2).await);
    let placed = outcome(ann.orders.process_order(say::paid_order(&[("mug", 3)])).await).expect("placed");
    let delivered = say::until(&mut ann, &placed.order_id, OrderState::Delivered, placed.position).await;
    assert_eq!(
        outcome(bob.returns.request_return(send_back(&placed.order_id, 1)).await).unwrap_err(),
        "ORDER_NOT_FOUND"
    );
    let refusal = ann.returns.request_return(send_back(&placed.order_id, 4)).await.expect_err("more than bought");
    assert_eq!((reason(&refusal).as_str(), fact(&refusal, "returnable").as_str()), ("RETURN_EXCEEDS_ORDER", "3"));

    let wish = send_back(&placed.order_id, 2);
    let opened = outcome(ann.returns.request_return(wish.clone()).await).expect("opened");
    assert_eq!((opened.state(), say::pence(opened.refund.as_ref())), (ReturnState::Requested, 510));
    let mut partner = shop.client(buyer(8), &[Role::Partner]).await;
    let receive = |warehouse: &str| v1::ReceiveReturnRequest {
        request_id: say::request_id(),
        return_id: opened.return_id.clone(),
        warehouse_id: warehouse.into(),
        ..Default::default()
    };
    let back = receive("main");
    let received = outcome(partner.returns.receive_return(back.clone()).await).expect("received");
    let ask = v1::GetReturnRequest { return_id: opened.return_id.clone(), min_position: received.position };
    let mut shown = outcome(ann.returns.get_return(ask.clone()).await).expect("shown");
    while shown.state() != ReturnState::Completed {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        shown = outcome(ann.returns.get_return(ask.clone()).await).expect("shown");
    }
    assert_eq!((shown.reason.as_str(), shown.warehouse_id.as_str(), shown.lines[0].quantity), ("too blue", "main", 2));
    let read = outcome(partner.returns.get_return(ask.clone()).await).expect("shown");
    assert_eq!(read.reason, "too blue");
    assert!(!stands_in_the_log(&shop, "too blue").await);
    assert_eq!(outcome(bob.returns.get_return(ask).await).unwrap_err(), "RETURN_NOT_FOUND");
    assert_eq!(outcome(ann.returns.request_return(wish).await), Ok(opened.clone()));
    assert_eq!(outcome(partner.returns.receive_return(back).await), Ok(received));
    assert_eq!(outcome(partner.returns.receive_return(receive("north")).await).unwrap_err(), "RETURN_FINISHED");

    let head = shop.running().log().head().await.expect("a position").0;
    let stock = v1::GetStockRequest { sku: "mug".into(), min_position: head };
    assert_eq!(outcome(ann.catalog.get_stock(stock).await).expect("levels").available, 4);
    let payment = v1::GetPaymentRequest { payment_id: delivered.payment_id, min_position: head };
    let payment = outcome(ann.payments.get_payment(payment).await).expect("shown");
    assert_eq!(say::pence(payment.refunded.as_ref()), 510);
    let mut sales =
        outcome(operator.reports.list_sales(v1::ListSalesRequest { min_position: head, ..Default::default() }).await)
            .expect("figures")
            .sales;
    while sales[0].units_returned == 0 {
        let ask = v1::ListSalesRequest { product_id: "mug".into(), region: "GB".into(), ..Default::default() };
        sales = outcome(operator.reports.list_sales(ask).await).expect("figures").sales;
    }
    assert_eq!((sales.len(), sales[0].units_sold, sales[0].units_returned), (1, 3, 2));
    assert_eq!((say::pence(sales[0].revenue.as_ref()), say::pence(sales[0].refunded.as_ref())), (765, 510));
}

//! What happens to an order after it was placed, scene by scene, in every stream it touches.

use std::sync::Arc;

use domain::{
    delivery,
    event::Event,
    ids::{DeliveryId, MemberId, OrderId, PaymentId, RefundId, ReturnId},
    money::Money,
    order::{self, Line, Sold},
    payment,
    personal::Personal,
    returns, stock,
};
use uuid::Uuid;

use super::{december, gbp, told::IntoEvent, word};

/// An order as the shop remembers it.
pub struct Order {
    pub n: u64,
    pub step: usize,
    pub sold: Vec<Sold>,
    pub lines: Arc<[Line]>,
}

impl Order {
    pub fn id(&self) -> OrderId {
        OrderId::from_u128(self.n.into())
    }

    fn payment(&self) -> PaymentId {
        PaymentId::from_u128(self.n.into())
    }

    pub fn total(&self) -> Money {
        gbp(self.sold.iter().map(|sold| sold.amount.amount).sum())
    }

    fn allocations(&self) -> impl Iterator<Item = (String, Vec<stock::Allocation>)> + '_ {
        let units = order::units_per_sku(&self.lines).into_iter();
        units.map(|(sku, quantity)| {
            (format!("stock-{sku}"), vec![stock::Allocation { warehouse: word("main"), quantity }])
        })
    }
}

/// One scene: the events that belong together.
pub type Scene = fn(&Order) -> Vec<(String, Event)>;

/// The happy way.
pub const DELIVERED: &[Scene] = &[reserve, pay, confirm, send, deliver, open_return, take_back];
/// Nobody pays.
pub const EXPIRES: &[Scene] = &[reserve, expire, close];
/// The carrier gives up.
pub const UNDELIVERABLE: &[Scene] = &[reserve, pay, confirm, send, lose, close];

fn of_order(order: &Order, event: impl IntoEvent) -> (String, Event) {
    (format!("order-{}", order.id()), event.into_event())
}

fn reserve(order: &Order) -> Vec<(String, Event)> {
    let mut events: Vec<_> = order
        .allocations()
        .map(|(stream, allocations)| {
            (stream, stock::Reserved { order: order.id(), allocations, expires_at: december(31) }.into_event())
        })
        .collect();
    // Enough must lie there before it can leave.
    for (stream, allocations) in order.allocations().collect::<Vec<_>>() {
        let received = stock::Received { warehouse: word("main"), quantity: allocations[0].quantity };
        events.insert(0, (stream, received.into_event()));
    }
    events.push(of_order(order, order::Reserved { allocations: [].into() }));
    events
}

fn pay(order: &Order) -> Vec<(String, Event)> {
    let (payment, amount) = (order.payment(), order.total());
    let stream = format!("payment-{payment}");
    let requested = payment::Requested {
        order: order.id(),
        buyer: MemberId::from_u128(1),
        amount,
        method: "tok".into(),
        key: Uuid::from_u128(9),
    };
    let captured = payment::Captured { amount, reference: "c".into(), at: december(2) };
    vec![
        of_order(order, order::PaymentRequested { payment, method: "tok".into() }),
        (stream.clone(), requested.into_event()),
        (stream.clone(), payment::Authorized { reference: "a".into() }.into_event()),
        (stream, captured.into_event()),
        of_order(order, order::Paid { payment, amount }),
    ]
}

fn confirm(order: &Order) -> Vec<(String, Event)> {
    let mut events: Vec<_> = order
        .allocations()
        .map(|(stream, allocations)| (stream, stock::Claimed { order: order.id(), allocations }.into_event()))
        .collect();
    let buyer = MemberId::from_u128(1);
    events.push(of_order(order, order::Confirmed { buyer, sold: order.sold.clone(), region: word("GB") }));
    events
}

fn send(order: &Order) -> Vec<(String, Event)> {
    let delivery = DeliveryId::from_u128(order.n.into());
    let stream = format!("delivery-{delivery}");
    let requested =
        delivery::Requested { order: order.id(), region: word("GB"), address: None, units: 3, key: Uuid::from_u128(8) };
    vec![
        of_order(order, order::DeliveryRequested { delivery }),
        (stream.clone(), requested.into_event()),
        (stream, delivery::Booked { tracking: "T1".into() }.into_event()),
    ]
}

fn deliver(order: &Order) -> Vec<(String, Event)> {
    let delivered = delivery::Delivered { at: december(3) };
    vec![
        (format!("delivery-{}", DeliveryId::from_u128(order.n.into())), delivered.into_event()),
        of_order(order, order::Delivered {}),
    ]
}

fn lose(order: &Order) -> Vec<(String, Event)> {
    let failed = delivery::Failed { reason: "lost".into(), at: december(3) };
    let undone = order::Undeliverable {
        why: "lost".into(),
        buyer: MemberId::from_u128(1),
        sold: order.sold.clone(),
        region: word("GB"),
    };
    vec![(format!("delivery-{}", DeliveryId::from_u128(order.n.into())), failed.into_event()), of_order(order, undone)]
}

fn expire(order: &Order) -> Vec<(String, Event)> {
    let mut events = vec![of_order(order, order::Expired {})];
    events.extend(order.allocations().map(|(stream, allocations)| {
        (stream, stock::Released { order: order.id(), allocations, lapsed: false }.into_event())
    }));
    events
}

fn close(order: &Order) -> Vec<(String, Event)> {
    vec![of_order(order, order::Closed {})]
}

fn open_return(order: &Order) -> Vec<(String, Event)> {
    let return_id = ReturnId::from_u128(order.n.into());
    let lines = order.sold.clone();
    let why = Some(Personal::Sealed { member: MemberId::from_u128(1), ciphertext: vec![7, 8] });
    let asked = returns::Requested {
        order: order.id(),
        buyer: MemberId::from_u128(1),
        payment: order.payment(),
        lines: vec![],
        refund: order.total(),
        region: word("GB"),
        reason: why.clone(),
    };
    let opened = order::ReturnOpened { return_id, lines, refund: order.total(), why, backdated: None };
    vec![of_order(order, opened), (format!("return-{return_id}"), asked.into_event())]
}

fn take_back(order: &Order) -> Vec<(String, Event)> {
    let return_id = ReturnId::from_u128(order.n.into());
    let stream = format!("return-{return_id}");
    let payment = format!("payment-{}", order.payment());
    let (refund, amount) = (RefundId::from_u128(order.n.into()), order.total());
    let restocked =
        stock::Restocked { source: return_id.0, warehouse: word("north"), quantity: order.sold[0].quantity };
    let returned = order::Returned {
        return_id,
        buyer: MemberId::from_u128(1),
        lines: order.sold.clone(),
        refund: amount,
        region: word("GB"),
    };
    vec![
        (stream.clone(), returns::Received { warehouse: word("north") }.into_event()),
        (format!("stock-{}", order.sold[0].sku), restocked.into_event()),
        (payment.clone(), payment::RefundRequested { refund, amount, key: Uuid::from_u128(7), why: None }.into_event()),
        (payment, payment::Refunded { refund, amount }.into_event()),
        (stream, returns::Completed {}.into_event()),
        of_order(order, returned),
    ]
}

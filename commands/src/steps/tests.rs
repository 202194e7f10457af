//! Two drivers of one order: the runner after a restart and the provider's answer, on two nodes with one log.

#![expect(clippy::disallowed_methods, reason = "tests spawn the lanes that the gateway would")]

use std::sync::Mutex;

use async_trait::async_trait;
use domain::{
    event::Actor,
    ids::{MemberId, OrderId, PaymentId, ProductId, RequestId, SellerId, Sku, derive},
    money::{Currency, Money},
    order, payment,
};
use ports::{
    carrier::{self, Booking},
    memory::{ManualClock, MemoryKeys, MemoryStore},
    payment::{Answer, Charge},
    store::{Append, Appended, Error, EventStore, Position, Recorded, Refused, Snapshot},
};

use super::*;
use crate::desk::Limits;

/// A provider and a carrier that are never there.
struct Nobody;

#[async_trait]
impl PaymentProvider for Nobody {
    async fn authorize(&self, _: &Charge, _: &str) -> Result<Answer, ports::payment::Error> {
        Err(ports::payment::Error::Timeout)
    }
    async fn capture(&self, _: &Charge, _: &str) -> Result<Answer, ports::payment::Error> {
        Err(ports::payment::Error::Timeout)
    }
    async fn void(&self, _: &Charge) -> Result<Answer, ports::payment::Error> {
        Err(ports::payment::Error::Timeout)
    }
    async fn refund(&self, _: &Charge, _: &str) -> Result<Answer, ports::payment::Error> {
        Err(ports::payment::Error::Timeout)
    }
    async fn notice(&self) -> Option<ports::payment::Notice> {
        None
    }
}

#[async_trait]
impl Carrier for Nobody {
    async fn book(&self, _: &Booking) -> Result<String, carrier::Error> {
        Err(carrier::Error::Timeout)
    }
    async fn notice(&self) -> Option<carrier::Notice> {
        None
    }
}

/// A log on which another node tells an order what became of its payment, just while this one looks up the request
/// to cancel that payment.
struct Overtaking {
    log: MemoryStore,
    other: Mutex<Option<(Steps, OrderId, PaymentId)>>,
}

#[async_trait]
impl EventStore for Overtaking {
    async fn append(&self, batch: Vec<Append>) -> Result<Vec<Result<Appended, Refused>>, Error> {
        self.log.append(batch).await
    }
    async fn read_stream(&self, stream: &str, from: Revision, limit: usize) -> Result<Vec<Recorded>, Error> {
        self.log.read_stream(stream, from, limit).await
    }
    async fn read_all(&self, after: Position, limit: usize) -> Result<Vec<Recorded>, Error> {
        self.log.read_all(after, limit).await
    }
    async fn find(&self, ids: &[Uuid]) -> Result<Vec<Option<Recorded>>, Error> {
        let other = self.other.lock().unwrap().take();
        if let Some((steps, order, payment)) = other {
            steps.settle(order, payment).await.unwrap();
        }
        self.log.find(ids).await
    }
    async fn head(&self) -> Result<Position, Error> {
        self.log.head().await
    }
    async fn distance(&self, from: Position, to: Position) -> Result<u64, Error> {
        self.log.distance(from, to).await
    }
    async fn wait(&self, after: Position) {
        self.log.wait(after).await;
    }
    async fn load_snapshot(&self, name: &str, fold: u32) -> Result<Option<Snapshot>, Error> {
        self.log.load_snapshot(name, fold).await
    }
    async fn save_snapshot(&self, name: &str, snapshot: Snapshot) -> Result<(), Error> {
        self.log.save_snapshot(name, snapshot).await
    }
}

const ORDER: OrderId = OrderId::from_u128(1);
const PAYMENT: PaymentId = PaymentId::from_u128(2);
const BUYER: MemberId = MemberId::from_u128(3);

fn gbp(amount: i64) -> Money {
    Money::new(amount, Currency::GBP)
}

/// A node on this log.
fn node(store: impl EventStore) -> Steps {
    let store: Arc<dyn EventStore> = Arc::new(store);
    let keys: Arc<dyn Keys> = Arc::new(MemoryKeys::new(1));
    let clock = Arc::new(ManualClock::default());
    let (shop, lanes) = Shop::open(&store, &keys, clock, &Limits::default());
    for lane in lanes {
        tokio::spawn(lane);
    }
    let partner_call_max = crate::runner::Limits::default().partner_call_max;
    Steps { shop, provider: Arc::new(Nobody), carrier: Arc::new(Nobody), keys, partner_call_max }
}

fn request(n: u128) -> Request {
    Request::new(RequestId::from_u128(n), Actor::Member(BUYER), 0, Timestamp::UNIX_EPOCH)
}

/// An order that waits for a payment which was not asked for yet.
async fn paying(steps: &Steps) {
    let line = order::Wanted {
        product: ProductId::new("heart").unwrap(),
        sku: Sku::new("heart-red").unwrap(),
        name: "Heart".into(),
        category: None,
        seller: SellerId::new("house").unwrap(),
        unit_price: gbp(500),
        quantity: 1,
    };
    let place = order::Place {
        buyer: BUYER,
        lines: vec![line],
        coupon: None,
        expected_total: None,
        region: "GB".parse().unwrap(),
        ship_to: None,
        payment_method: None,
        expires_at: Timestamp::from_second(600).unwrap(),
        backdated: None,
    };
    let pay = order::Command::RequestPayment { payment: PAYMENT, method: "tok".into(), now: Timestamp::UNIX_EPOCH };
    let commands =
        [order::Command::Place(Box::new(place)), order::Command::RecordReserved { allocations: Arc::from([]) }, pay];
    for (n, command) in (10..).zip(commands) {
        steps.shop.order.execute(&ORDER, command, request(n)).await.unwrap();
    }
}

/// The same, called off before its payment was asked for.
async fn cancelled_while_paying(steps: &Steps) {
    paying(steps).await;
    let cancel = order::Command::Cancel { why: "changed my mind".into() };
    steps.shop.order.execute(&ORDER, cancel, request(13)).await.unwrap();
}

/// The same, its payment captured meanwhile: the order does not know of that yet.
async fn cancelled_while_captured(steps: &Steps) {
    cancelled_while_paying(steps).await;
    let key = derive(PAYMENT.0, "authorize", &[]);
    let (method, reference, at) = ("tok".into(), "cap".into(), Timestamp::UNIX_EPOCH);
    let ask = payment::Command::Request { order: ORDER, buyer: BUYER, amount: gbp(500), method, key };
    let captured = payment::Command::RecordCaptured { amount: gbp(500), reference, at };
    for (n, command) in (20..).zip([ask, captured]) {
        steps.shop.payment.execute(&PAYMENT, command, request(n)).await.unwrap();
    }
}

#[tokio::test]
async fn an_order_that_is_paid_while_it_is_being_closed_gives_the_money_back() {
    let log = MemoryStore::new(Arc::new(ManualClock::default()));
    let other = node(log.clone());
    cancelled_while_captured(&other).await;
    let overtaken = Some((other.clone(), ORDER, PAYMENT));
    let steps = node(Overtaking { log: log.clone(), other: Mutex::new(overtaken) });
    steps.drive_order(ORDER, Until::Settled).await.unwrap();
    let closed = steps.shop.order.inspect(&ORDER, |seen| seen.state.situation().terminal()).await.unwrap();
    let refunded = steps.shop.payment.inspect(&PAYMENT, |seen| seen.state.details().unwrap().refunded_or_pending());
    assert_eq!((closed, refunded.await.unwrap()), (true, gbp(500)), "{:?}", log.read_all(Position::START, 99).await);
}

#[tokio::test]
async fn a_notice_of_another_amount_ships_nothing_and_the_amount_goes_back() {
    let steps = node(MemoryStore::new(Arc::new(ManualClock::default())));
    paying(&steps).await;
    let key = derive(PAYMENT.0, "authorize", &[]);
    let ask = payment::Command::Request { order: ORDER, buyer: BUYER, amount: gbp(500), method: "tok".into(), key };
    steps.shop.payment.execute(&PAYMENT, ask, request(20)).await.unwrap();
    let notice = ports::payment::Notice {
        payment: PAYMENT.0,
        key: derive(key, "capture", &[]),
        act: ports::payment::Act::Capture,
        amount: 1,
        answer: Answer::Approved { reference: "cap".into() },
        at: Timestamp::UNIX_EPOCH,
    };
    steps.record_payment_notice(&notice).await.unwrap();
    steps.drive_order(ORDER, Until::Settled).await.unwrap();
    let order = steps.shop.order.inspect(&ORDER, |seen| seen.state.situation().clone()).await.unwrap();
    let refunded = steps.shop.payment.inspect(&PAYMENT, |seen| seen.state.details().unwrap().refunded_or_pending());
    assert_eq!((order, refunded.await.unwrap()), (order::Situation::Unpaid, gbp(1)));
}

#[tokio::test]
async fn an_order_that_is_closed_before_its_payment_was_asked_for_is_never_charged() {
    let steps = node(MemoryStore::new(Arc::new(ManualClock::default())));
    cancelled_while_paying(&steps).await;
    steps.drive_order(ORDER, Until::Settled).await.unwrap();
    // The one who recorded the payment on the order comes to ask for it only now.
    let ask = payment::Command::Request {
        order: ORDER,
        buyer: BUYER,
        amount: gbp(500),
        method: "tok".into(),
        key: derive(PAYMENT.0, "authorize", &[]),
    };
    let asked = steps.shop.payment.execute(&PAYMENT, ask, request(30)).await.unwrap();
    assert_eq!(asked.events, []);
    let seen = steps.shop.payment.inspect(&PAYMENT, |seen| seen.state.details().unwrap().situation.clone()).await;
    assert_eq!(seen.unwrap(), payment::Situation::Cancelled { authorization: None });
}

//! The runner beside partners that never answer and steps that never succeed.

#![expect(clippy::disallowed_methods, reason = "tests spawn the lanes that the gateway would")]

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use domain::{
    event::Actor,
    ids::{DeliveryId, MemberId, OrderId, PaymentId, ProductId, RefundId, RequestId, SellerId, Sku},
    money::{Currency, Money},
    order, payment,
};
use ports::{
    carrier::{self, Booking, Carrier},
    clock::Clock,
    keys::Keys,
    memory::{MemoryKeys, MemoryStore},
    payment::{Answer, Charge, PaymentProvider},
};
use tokio::time::{Instant, timeout};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};
use uuid::Uuid;

use super::*;
use crate::{desk, request::Request, shop::Shop};

const ORDER: OrderId = OrderId::from_u128(1);
const BUYER: MemberId = MemberId::from_u128(2);
const KEY: Uuid = Uuid::from_u128(3);

/// The paused runtime's time.
struct Paused(Instant);

impl Clock for Paused {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH + self.0.elapsed()
    }
}

/// Both partners: they hear every call and never answer.
#[derive(Default)]
struct Silent(Mutex<Vec<(&'static str, Uuid)>>);

impl Silent {
    async fn hear<T>(&self, act: &'static str, key: Uuid) -> T {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((act, key));
        std::future::pending().await
    }

    fn heard(&self) -> Vec<(&'static str, Uuid)> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl PaymentProvider for Silent {
    async fn authorize(&self, charge: &Charge, _: &str) -> Result<Answer, ports::payment::Error> {
        self.hear("authorize", charge.key).await
    }
    async fn capture(&self, charge: &Charge, _: &str) -> Result<Answer, ports::payment::Error> {
        self.hear("capture", charge.key).await
    }
    async fn void(&self, charge: &Charge) -> Result<Answer, ports::payment::Error> {
        self.hear("void", charge.key).await
    }
    async fn refund(&self, charge: &Charge, _: &str) -> Result<Answer, ports::payment::Error> {
        self.hear("refund", charge.key).await
    }
    async fn notice(&self) -> Option<ports::payment::Notice> {
        None
    }
}

#[async_trait]
impl Carrier for Silent {
    async fn book(&self, booking: &Booking) -> Result<String, carrier::Error> {
        self.hear("book", booking.key).await
    }
    async fn notice(&self) -> Option<carrier::Notice> {
        None
    }
}

/// A node without any past, its log and its silent partners.
fn node() -> (Steps, Arc<dyn EventStore>, Arc<Silent>) {
    let clock = Arc::new(Paused(Instant::now()));
    let store: Arc<dyn EventStore> = Arc::new(MemoryStore::new(Arc::clone(&clock) as Arc<dyn Clock>));
    let keys: Arc<dyn Keys> = Arc::new(MemoryKeys::new(1));
    let (shop, lanes) = Shop::open(&store, &keys, clock, &desk::Limits::default());
    for lane in lanes {
        tokio::spawn(lane);
    }
    let silent = Arc::new(Silent::default());
    let (provider, carrier) =
        (Arc::clone(&silent) as Arc<dyn PaymentProvider>, Arc::clone(&silent) as Arc<dyn Carrier>);
    let partner_call_max = Limits::default().partner_call_max;
    (Steps { shop, provider, carrier, keys, partner_call_max }, store, silent)
}

fn gbp(amount: i64) -> Money {
    Money::new(amount, Currency::GBP)
}

fn request(n: u128) -> Request {
    Request::new(RequestId::from_u128(n), Actor::Member(BUYER), 0, Timestamp::UNIX_EPOCH)
}

/// Asks for a payment, under a key that its id tells.
async fn ask(steps: &Steps, id: u128) {
    let (method, key) = ("tok".into(), Uuid::from_u128(id));
    let ask = payment::Command::Request { order: OrderId::from_u128(id), buyer: BUYER, amount: gbp(500), method, key };
    steps.shop.payment.execute(&PaymentId::from_u128(id), ask, request(id)).await.unwrap();
}

/// Places an order that nobody pays and that expires after a minute.
async fn place(steps: &Steps) {
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
        expires_at: Timestamp::from_second(60).unwrap(),
        backdated: None,
    };
    let reserved = order::Command::RecordReserved { allocations: Arc::from([]) };
    for (n, command) in (1..).zip([order::Command::Place(Box::new(place)), reserved]) {
        steps.shop.order.execute(&ORDER, command, request(n)).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_order_expires_although_every_place_in_flight_is_taken_by_a_call_that_hangs() {
    let (steps, store, silent) = node();
    let limits = Limits { in_flight_max: 2, ..Limits::default() };
    for id in 10..14 {
        ask(&steps, id).await;
    }
    place(&steps).await;
    let mut runner = Runner::open(store, steps.clone(), limits).await.unwrap();
    let expired = async {
        while !steps.shop.order.inspect(&ORDER, |seen| seen.state.situation().terminal()).await.unwrap() {
            runner.step().await.unwrap();
        }
    };
    timeout(Duration::from_mins(10), expired).await.expect("calls that hang must not hold up what needs no partner");
    let heard = silent.heard();
    for id in 10..14 {
        let asked = heard.iter().filter(|call| **call == ("authorize", Uuid::from_u128(id))).count();
        assert!(asked > 1, "what hung is asked for again: {heard:?}");
    }
    assert!(heard.iter().all(|(_, key)| (10..14).contains(&key.as_u128())), "under no other key: {heard:?}");
}

#[tokio::test(start_paused = true)]
async fn every_call_to_a_partner_is_given_up_after_a_while_and_its_outcome_is_unknown() {
    let at = Timestamp::UNIX_EPOCH;
    let authorized = || payment::Command::RecordAuthorized { reference: "auth".into() };
    let captured = || payment::Command::RecordCaptured { amount: gbp(500), reference: "cap".into(), at };
    let refund =
        || payment::Command::Refund { refund: RefundId::from_u128(4), amount: gbp(500), key: KEY, why: String::new() };
    let cases = [
        ("authorize", vec![]),
        ("capture", vec![authorized()]),
        ("void", vec![payment::Command::Cancel]),
        ("refund", vec![captured(), refund()]),
    ];
    let (steps, _, silent) = node();
    let patience = steps.partner_call_max * 2;
    for (id, (act, commands)) in (100..).step_by(10).zip(cases) {
        ask(&steps, id).await;
        for (n, command) in (id + 1..).zip(commands) {
            steps.shop.payment.execute(&PaymentId::from_u128(id), command, request(n)).await.unwrap();
        }
        let driven = timeout(patience, steps.drive_payment(PaymentId::from_u128(id))).await.expect(act);
        assert_eq!(driven.unwrap_err().0, ports::payment::Error::Timeout.to_string());
        assert_eq!(silent.heard().iter().map(|(act, _)| *act).collect::<Vec<_>>(), [act]);
    }
    let id = DeliveryId::from_u128(5);
    let region = "GB".parse().unwrap();
    let ask = domain::delivery::Command::Request { order: ORDER, region, address: None, units: 1, key: KEY };
    steps.shop.delivery.execute(&id, ask, request(5)).await.unwrap();
    let driven = timeout(patience, steps.drive_delivery(id, false)).await.expect("book");
    assert_eq!(driven.unwrap_err().0, carrier::Error::Timeout.to_string());
    assert_eq!(silent.heard(), [("book", KEY)]);
}

/// What is said at the level of a warning.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0 += &format!("{}={value:?} ", field.name());
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_that_fails_for_ever_is_told_at_the_eighth_try_and_each_time_it_has_failed_twice_as_often() {
    let warnings = Warnings::default();
    let _heard = tracing::subscriber::set_default(warnings.clone());
    let (steps, store, _) = node();
    ask(&steps, 10).await;
    let mut runner = Runner::open(store, steps, Limits::default()).await.unwrap();
    let work = async {
        loop {
            runner.step().await.unwrap();
        }
    };
    // 16 tries of ten seconds each, and waits of up to half a minute between them: under ten minutes.
    let _still_at_it = timeout(Duration::from_mins(10), work).await;
    let told = warnings.0.lock().unwrap().clone();
    let which = format!("{:?}", Key::Payment(PaymentId::from_u128(10)));
    assert_eq!(told.len(), 2, "{told:?}");
    for (line, failures) in told.iter().zip(["failures=8 ", "failures=16 "]) {
        assert!(line.contains(failures) && line.contains(&which) && line.contains("did not answer in time"), "{line}");
    }
}

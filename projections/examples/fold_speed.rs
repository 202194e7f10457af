//! How fast the engine folds, beside how fast the log decodes: `cargo run --release -p projections --example
//! fold_speed [orders]`.
//!
//! The log and the rows are in memory, so this is the cost of the read side itself: decoding, grouping,
//! folding and writing rows down, all views together on one core. Decoding is what no view can do without;
//! the ratio says how much the views cost on top of it.

use std::sync::Arc;

use domain::{
    decider::{EncodeError, Stored},
    delivery,
    event::{Actor, Metadata},
    ids::{DeliveryId, MemberId, OrderId, PaymentId, RequestId},
    money::{Currency, Money},
    order::{self, Line, SkuAllocation, Sold},
    payment, stock,
};
use jiff::Timestamp;
use ports::{
    memory::{ManualClock, MemoryStore, MemoryViews},
    store::{Append, EventStore, NewEvent, Position},
};
use projections::{
    engine::{Engine, Limits},
    event::{Category, Entry},
    views,
};
use tokio::time::Instant;
use uuid::Uuid;

type Error = Box<dyn std::error::Error>;

/// SKUs of the shop: many enough that most orders touch different ones.
const SKUS: u64 = 10_000;

/// Lines of an order.
const LINES: u64 = 2;

/// When everything happens.
const START: Timestamp = Timestamp::UNIX_EPOCH;

const EVERY_CATEGORY: &[Category] = &[
    Category::Product,
    Category::Stock,
    Category::Order,
    Category::Campaign,
    Category::Claim,
    Category::Payment,
    Category::Delivery,
    Category::Return,
];

/// A log under construction.
struct Log {
    store: MemoryStore,
    events: u64,
    skus: Vec<u64>,
}

impl Log {
    async fn tell<E: Stored>(&mut self, stream: String, expected: u64, events: &[E]) -> Result<(), Error> {
        let events: Result<Vec<NewEvent>, EncodeError> = events.iter().map(|event| self.new_event(event)).collect();
        self.store.append(vec![Append { recorded_at: None, stream, expected, events: events? }]).await?.remove(0)?;
        Ok(())
    }

    fn new_event(&mut self, event: &impl Stored) -> Result<NewEvent, EncodeError> {
        self.events += 1;
        let id = Uuid::from_u128(self.events.into());
        let metadata = Metadata {
            schema: event.schema(),
            request_id: RequestId(id),
            body_hash: self.events,
            actor: Actor::Process,
            correlation_id: id,
            causation_id: None,
            occurred_at: START,
        };
        let metadata = serde_json::to_vec(&metadata).map_err(|cause| EncodeError { kind: event.kind(), cause })?;
        Ok(NewEvent { id, kind: event.kind().into(), data: event.encode()?.into(), metadata: metadata.into() })
    }

    /// Opens and fills every SKU.
    async fn stock(&mut self) -> Result<(), Error> {
        for n in 0..SKUS {
            let opened = stock::Opened { sku: format!("sku-{n}").parse()?, product: format!("product-{n}").parse()? };
            let received = stock::Received { warehouse: "main".parse()?, quantity: 1_000_000 };
            self.tell::<stock::Event>(format!("stock-sku-{n}"), 0, &[opened.into(), received.into()]).await?;
            self.skus.push(2);
        }
        Ok(())
    }

    /// One order, from placed to delivered.
    async fn order(&mut self, n: u64) -> Result<(), Error> {
        let skus: Vec<u64> = (0..LINES).map(|line| (n * 7_919 + line * 13) % SKUS).collect();
        let lines: Vec<Line> = skus.iter().map(|sku| line(*sku)).collect::<Result<_, _>>()?;
        let total = Money::new(250 * i64::try_from(LINES)?, Currency::GBP);
        let (order, payment) = (OrderId::from_u128(n.into()), PaymentId::from_u128(n.into()));
        let buyer = MemberId::from_u128((n % 1_000).into());
        let stream = format!("order-{order}");

        let placed = placed(buyer, &lines, total)?;
        self.tell::<order::Event>(stream.clone(), 0, &[placed.into()]).await?;
        for sku in &skus {
            let reserved = stock::Reserved { order, allocations: one_unit()?, expires_at: START };
            self.sku(*sku, reserved.into()).await?;
        }
        let from = |line: &Line| Ok(SkuAllocation { sku: line.sku.clone(), from: one_unit()? });
        let reserved = order::Reserved { allocations: lines.iter().map(from).collect::<Result<_, Error>>()? };
        let requested = order::PaymentRequested { payment, method: "tok_visa".into() };
        self.tell::<order::Event>(stream.clone(), 1, &[reserved.into(), requested.into()]).await?;
        self.payment(
            n,
            payment::Requested { order, buyer, amount: total, method: "tok_visa".into(), key: Uuid::from_u128(1) },
        )
        .await?;
        for sku in &skus {
            self.sku(*sku, stock::Claimed { order, allocations: one_unit()? }.into()).await?;
        }
        let paid = order::Paid { payment, amount: total };
        let sold = (0..).zip(&lines).map(|(n, line)| sold(n, line)).collect();
        let confirmed = order::Confirmed { buyer, sold, region: "GB".parse()? };
        let requested = order::DeliveryRequested { delivery: DeliveryId::from_u128(n.into()) };
        self.tell::<order::Event>(stream.clone(), 3, &[paid.into(), confirmed.into(), requested.into()]).await?;
        self.delivery(n, order).await?;
        self.tell::<order::Event>(stream, 6, &[order::Delivered {}.into()]).await
    }

    async fn payment(&mut self, n: u64, requested: payment::Requested) -> Result<(), Error> {
        let amount = requested.amount;
        let authorized = payment::Authorized { reference: format!("auth-{n}") };
        let captured = payment::Captured { amount, reference: format!("capture-{n}"), at: START };
        let events = [requested.into(), authorized.into(), captured.into()];
        let stream = format!("payment-{}", PaymentId::from_u128(n.into()));
        self.tell::<payment::Event>(stream, 0, &events).await
    }

    async fn delivery(&mut self, n: u64, order: OrderId) -> Result<(), Error> {
        let requested =
            delivery::Requested { order, region: "GB".parse()?, address: None, units: LINES, key: Uuid::from_u128(2) };
        let booked = delivery::Booked { tracking: format!("T{n}") };
        let events = [requested.into(), booked.into(), delivery::Delivered { at: START }.into()];
        let stream = format!("delivery-{}", DeliveryId::from_u128(n.into()));
        self.tell::<delivery::Event>(stream, 0, &events).await
    }

    async fn sku(&mut self, sku: u64, event: stock::Event) -> Result<(), Error> {
        let slot = usize::try_from(sku)?;
        self.tell(format!("stock-sku-{sku}"), self.skus[slot], &[event]).await?;
        self.skus[slot] += 1;
        Ok(())
    }
}

fn placed(buyer: MemberId, lines: &[Line], total: Money) -> Result<order::Placed, Error> {
    Ok(order::Placed {
        buyer,
        lines: lines.into(),
        subtotal: total,
        discount: Money::zero(total.currency),
        total,
        coupon: None,
        region: "GB".parse()?,
        ship_to: None,
        payment_method: Some("tok_visa".into()),
        expires_at: START,
        backdated: None,
    })
}

fn one_unit() -> Result<Vec<stock::Allocation>, Error> {
    Ok(vec![stock::Allocation { warehouse: "main".parse()?, quantity: 1 }])
}

fn line(sku: u64) -> Result<Line, Error> {
    Ok(Line {
        product: format!("product-{sku}").parse()?,
        sku: format!("sku-{sku}").parse()?,
        name: "White hanging heart T-light holder".into(),
        category: Some("home-garden".parse()?),
        seller: "acme".parse()?,
        unit_price: Money::new(250, Currency::GBP),
        quantity: 1,
        amount: Money::new(250, Currency::GBP),
    })
}

fn sold(n: u32, line: &Line) -> Sold {
    let (product, sku) = (line.product.clone(), line.sku.clone());
    Sold { line: n, product, sku, quantity: line.quantity, amount: line.amount }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let orders: u64 = std::env::args().nth(1).map_or(Ok(50_000), |orders| orders.parse())?;
    let store = MemoryStore::new(Arc::new(ManualClock::default()));
    let mut log = Log { store, events: 0, skus: Vec::new() };
    log.stock().await?;
    for n in 0..orders {
        log.order(n).await?;
    }
    let events = log.events;

    let all = log.store.read_all(Position::START, usize::MAX).await?;
    let bytes: usize = all.iter().map(|event| event.data.len() + event.metadata.len()).sum();
    let began = Instant::now();
    let read =
        all.into_iter().filter_map(|event| Entry::read(event, EVERY_CATEGORY)).filter(|e| e.fact.is_ok()).count();
    let decode = began.elapsed();

    let rows = Arc::new(MemoryViews::new());
    let mut engine = Engine::new(Arc::new(log.store), rows, views::all(), Limits::default());
    let began = Instant::now();
    while !engine.step().await?.caught_up {}
    let fold = began.elapsed();

    let rate = |took: std::time::Duration| events as f64 / took.as_secs_f64();
    println!("{events} events of {} bytes, {read} decoded", bytes as u64 / events);
    println!("decode only  {:>10.0} events/s", rate(decode));
    println!("all views    {:>10.0} events/s", rate(fold));
    println!("ratio        {:>10.2} of decoding", rate(fold) / rate(decode));
    Ok(())
}

//! A small shop that tells random but possible histories: every event it writes could have been decided.

use std::{collections::HashMap, sync::Arc};

use domain::{
    coupon::{Discount, Terms, campaign, claim},
    delivery,
    event::Event,
    ids::{CampaignId, ClaimId, DeliveryId, MemberId, OrderId, PaymentId, RefundId, ReturnId},
    order::{self, Coupon, Line, Sold},
    payment,
    personal::Personal,
    product::{self, Attribute, Description, Variant},
    returns, stock,
};
use ports::{
    memory::{ManualClock, MemoryStore},
    store::{Append, EventStore, NewEvent, Position},
};
use uuid::Uuid;

use super::{december, gbp, new_event, word};

/// How many products, buyers and campaigns there are at most: few, so that rows are touched often.
const FEW: u8 = 4;

/// The shop, its log and what it must remember to go on plausibly.
pub struct Shop {
    pub log: MemoryStore,
    revisions: HashMap<String, u64>,
    events: u64,
    products: Vec<(u8, bool)>,
    orders: Vec<Order>,
    claims: Vec<(CampaignId, ClaimId, MemberId, Option<OrderId>)>,
    campaigns: Vec<CampaignId>,
}

struct Order {
    n: u64,
    step: usize,
    sold: Vec<Sold>,
    lines: Arc<[Line]>,
}

impl Order {
    fn id(&self) -> OrderId {
        OrderId::from_u128(self.n.into())
    }

    fn payment(&self) -> PaymentId {
        PaymentId::from_u128(self.n.into())
    }

    fn total(&self) -> domain::money::Money {
        gbp(self.sold.iter().map(|sold| sold.amount.amount).sum())
    }

    fn allocations(&self) -> impl Iterator<Item = (String, Vec<stock::Allocation>)> + '_ {
        let units = order::units_per_sku(&self.lines).into_iter();
        units.map(|(sku, quantity)| {
            (format!("stock-{sku}"), vec![stock::Allocation { warehouse: word("main"), quantity }])
        })
    }
}

impl Shop {
    pub fn new() -> Self {
        Self {
            log: MemoryStore::new(Arc::new(ManualClock::new(december(1)))),
            revisions: HashMap::new(),
            events: 0,
            products: Vec::new(),
            orders: Vec::new(),
            claims: Vec::new(),
            campaigns: Vec::new(),
        }
    }

    /// Lets something happen: what, to whom.
    pub async fn act(&mut self, what: u8, whom: u8) {
        let day = i64::try_from(self.events / 7).unwrap() + 1;
        let events = match what % 10 {
            0 => self.catalogue(whom),
            1 => self.receive(whom),
            2 | 3 => self.place(whom),
            4..=7 => self.advance(whom),
            8 => self.coupon(whom),
            _ => vec![],
        };
        if events.is_empty() {
            self.foreign().await;
        }
        for (stream, event) in events {
            self.tell(&stream, day, &event).await;
        }
    }

    /// Appends an event.
    pub async fn tell(&mut self, stream: &str, day: i64, event: &Event) -> Position {
        self.events += 1;
        let event = new_event(self.events, day, event);
        self.append(stream, event).await
    }

    /// Appends something that is none of ours.
    pub async fn foreign(&mut self) -> Position {
        self.append_raw("x-notes-1", "order.placed", "not even JSON").await
    }

    /// Appends bytes.
    pub async fn append_raw(&mut self, stream: &str, kind: &'static str, data: &'static str) -> Position {
        self.events += 1;
        let id = Uuid::from_u128(self.events.into());
        let event = NewEvent { id, kind, data: data.as_bytes().into(), metadata: bytes::Bytes::from_static(b"{}") };
        self.append(stream, event).await
    }

    async fn append(&mut self, stream: &str, event: NewEvent) -> Position {
        let expected = self.revisions.entry(stream.to_owned()).or_default();
        let append = Append { stream: stream.to_owned(), expected: *expected, events: vec![event] };
        *expected += 1;
        self.log.append(vec![append]).await.unwrap()[0].clone().unwrap().last_position
    }

    fn catalogue(&mut self, whom: u8) -> Vec<(String, Event)> {
        let n = whom % FEW;
        let (stream, stock) = (format!("product-p{n}"), format!("stock-s{n}"));
        let (product, sku) = (word(&format!("p{n}")), word(&format!("s{n}")));
        let Some((_, listed)) = self.products.iter_mut().find(|(known, _)| *known == n) else {
            self.products.push((n, true));
            let variants = vec![Variant { sku, options: [].into(), price: gbp(250 + i64::from(n)) }];
            let description = description(whom);
            return vec![
                (stream, product::Listed { product, seller: word("acme"), description, variants }.into_event()),
                (stock, stock::Opened { sku: word(&format!("s{n}")), product: word(&format!("p{n}")) }.into_event()),
            ];
        };
        let event = match whom / FEW % 4 {
            0 => product::Revised { description: description(whom) }.into_event(),
            1 => product::Repriced { sku, price: gbp(whom.into()) }.into_event(),
            2 => {
                let variant = Variant { sku: word(&format!("v{}", self.events)), options: [].into(), price: gbp(1) };
                product::VariantAdded { variant }.into_event()
            }
            _ => {
                *listed = !*listed;
                if *listed { product::Relisted {}.into_event() } else { product::Delisted {}.into_event() }
            }
        };
        vec![(stream, event)]
    }

    fn receive(&self, whom: u8) -> Vec<(String, Event)> {
        let Some((n, _)) = self.products.iter().find(|(n, _)| *n == whom % FEW) else { return vec![] };
        let warehouse = if whom % 3 == 0 { word("main") } else { word("north") };
        let received = stock::Received { warehouse, quantity: u32::from(whom) + 1 };
        vec![(format!("stock-s{n}"), received.into_event())]
    }

    fn place(&mut self, whom: u8) -> Vec<(String, Event)> {
        let n = self.events + 1;
        let lines: Arc<[Line]> = self
            .products
            .iter()
            .filter(|(p, listed)| *listed && (p + whom % 3) % 3 != 0)
            .map(|(p, _)| Line {
                product: word(&format!("p{p}")),
                sku: word(&format!("s{p}")),
                name: "A thing".into(),
                category: None,
                seller: word("acme"),
                unit_price: gbp(100),
                quantity: u32::from(whom % 5) + 1,
                amount: gbp(100 * (i64::from(whom % 5) + 1)),
            })
            .collect();
        if lines.is_empty() {
            return vec![];
        }
        let sold = (0_u32..).zip(lines.iter()).map(|(line, bought)| Sold {
            line,
            product: bought.product.clone(),
            sku: bought.sku.clone(),
            quantity: bought.quantity,
            amount: bought.amount,
        });
        let order = Order { n, step: 0, sold: sold.collect(), lines: Arc::clone(&lines) };
        let buyer = MemberId::from_u128((whom % FEW).into());
        let placed = order::Placed {
            buyer,
            lines,
            subtotal: order.total(),
            discount: gbp(0),
            total: order.total(),
            coupon: None::<Coupon>,
            region: word(["GB", "FR"][usize::from(whom % 2)]),
            ship_to: Some(Personal::Sealed { member: buyer, ciphertext: vec![whom, 7] }),
            payment_method: None,
            expires_at: december(31),
            backdated: None,
        };
        let stream = format!("order-{}", order.id());
        self.orders.push(order);
        vec![(stream, placed.into_event())]
    }

    /// The next thing to happen to one of the orders; every third order expires, every fifth is undeliverable.
    fn advance(&mut self, whom: u8) -> Vec<(String, Event)> {
        let open = self.orders.len();
        let Some(order) = self.orders.get_mut(usize::from(whom) % open.max(1)) else { return vec![] };
        let script = match order.n % 15 {
            0 | 3 | 6 | 9 | 12 => EXPIRES,
            5 | 10 => UNDELIVERABLE,
            _ => DELIVERED,
        };
        let Some(scene) = script.get(order.step) else { return vec![] };
        order.step += 1;
        scene(order)
    }

    fn coupon(&mut self, whom: u8) -> Vec<(String, Event)> {
        if self.campaigns.len() < 2 {
            let campaign = CampaignId::from_u128(u128::from(self.events) + 1);
            self.campaigns.push(campaign);
            let terms = Terms {
                discount: Discount::Percent { basis_points: 1000 },
                minimum_spend: None,
                quantity: Some(100),
                per_member: 9,
                opens_at: december(1),
                closes_at: december(31),
            };
            let launched = campaign::Launched { campaign, name: "Winter".into(), terms };
            return vec![(format!("campaign-{campaign}"), launched.into_event())];
        }
        if whom % 2 == 0 || self.claims.is_empty() {
            let campaign = self.campaigns[usize::from(whom / 2) % 2];
            let (claim, member) = (ClaimId::from_u128(self.events.into()), MemberId::from_u128((whom % FEW).into()));
            self.claims.push((campaign, claim, member, None));
            return vec![(
                format!("campaign-{campaign}"),
                campaign::Claimed { claim, member, nth: u32::from(whom) }.into_event(),
            )];
        }
        let n = usize::from(whom / 2) % self.claims.len();
        let (campaign, claim, member, holder) = &mut self.claims[n];
        let event = match holder.take() {
            None => {
                let order = *holder.insert(OrderId::from_u128(self.events.into()));
                claim::Held { campaign: *campaign, member: *member, order, discount: gbp(5) }.into_event()
            }
            Some(order) if whom % 3 == 0 => {
                *holder = Some(order);
                claim::Redeemed { order }.into_event()
            }
            Some(order) => claim::Restored { order }.into_event(),
        };
        vec![(format!("claim-{claim}"), event)]
    }
}

fn description(whom: u8) -> Description {
    Description {
        name: format!("Thing {}", whom % 7),
        text: "Long words.".into(),
        keywords: vec!["thing".into()],
        images: vec![],
        categories: vec![word("home"), word(["mugs", "lamps"][usize::from(whom % 2)])],
        attributes: [("glows".to_owned(), Attribute::Flag(whom % 2 == 1))].into(),
    }
}

type Scene = fn(&Order) -> Vec<(String, Event)>;

const DELIVERED: &[Scene] = &[reserve, pay, confirm, send, deliver, open_return, take_back];
const EXPIRES: &[Scene] = &[reserve, expire, close];
const UNDELIVERABLE: &[Scene] = &[reserve, pay, confirm, send, lose, close];

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
    let requested = delivery::Requested {
        order: order.id(),
        region: word("GB"),
        address: None,
        units: 3,
        key: Uuid::from_u128(8),
    };
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
    vec![
        (format!("delivery-{}", DeliveryId::from_u128(order.n.into())), failed.into_event()),
        of_order(order, undone),
    ]
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
    let asked = returns::Requested {
        order: order.id(),
        buyer: MemberId::from_u128(1),
        payment: order.payment(),
        lines: vec![],
        refund: order.total(),
        region: word("GB"),
        reason: "broken".into(),
    };
    let opened =
        order::ReturnOpened { return_id, lines, refund: order.total(), why: "broken".into(), backdated: None };
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
        (payment.clone(), payment::RefundRequested { refund, amount, key: Uuid::from_u128(7) }.into_event()),
        (payment, payment::Refunded { refund, amount }.into_event()),
        (stream, returns::Completed {}.into_event()),
        of_order(order, returned),
    ]
}

/// A struct of any aggregate's event as an event of the shop.
pub trait IntoEvent {
    fn into_event(self) -> Event;
}

macro_rules! into_event {
    ($($enum:path { $($event:path),+ })+) => {$($(
        impl IntoEvent for $event {
            fn into_event(self) -> Event {
                <$enum>::from(self).into()
            }
        }
    )+)+};
}

into_event! {
    product::Event {
        product::Listed, product::Revised, product::VariantAdded, product::Repriced, product::Delisted,
        product::Relisted
    }
    stock::Event {
        stock::Opened, stock::Received, stock::Counted, stock::Reserved, stock::Claimed, stock::Released,
        stock::Restocked
    }
    order::Event {
        order::Placed, order::Reserved, order::CouponHeld, order::Refused, order::PaymentRequested,
        order::PaymentFailed, order::Paid, order::Confirmed, order::DeliveryRequested, order::Delivered,
        order::Undeliverable, order::Expired, order::Cancelled, order::PaidLate, order::Closed,
        order::ReturnOpened, order::Returned
    }
    campaign::Event { campaign::Launched, campaign::Claimed, campaign::Ended }
    claim::Event { claim::Held, claim::Redeemed, claim::Restored }
    payment::Event {
        payment::Requested, payment::Authorized, payment::Captured, payment::Declined, payment::Cancelled,
        payment::Voided, payment::RefundRequested, payment::Refunded, payment::RefundFailed
    }
    delivery::Event {
        delivery::Requested, delivery::Booked, delivery::Dispatched, delivery::Delivered, delivery::Failed
    }
    returns::Event { returns::Requested, returns::Received, returns::Completed }
}

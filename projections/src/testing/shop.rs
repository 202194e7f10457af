//! A small shop that tells random but possible histories: every event it writes could have been decided.

use std::{collections::HashMap, sync::Arc};

use domain::{
    coupon::{Discount, Terms, campaign, claim},
    decider::Decider,
    event::Event,
    ids::{CampaignId, ClaimId, MemberId, OrderId},
    order::{self, Coupon, Line, Sold},
    personal::Personal,
    product::{self, Attribute, Description, Variant},
    stock,
};
use ports::{
    memory::{ManualClock, MemoryStore},
    store::{Append, EventStore, NewEvent, Position},
};
use uuid::Uuid;

use super::{
    december, gbp, new_event,
    scenes::{DELIVERED, EXPIRES, Order, UNDELIVERABLE},
    told::IntoEvent,
    word,
};

/// How many products, buyers and campaigns there are at most: few, so that rows are touched often.
const FEW: u8 = 4;

/// The shop, its log and what it must remember to go on plausibly.
pub struct Shop {
    pub log: MemoryStore,
    revisions: HashMap<String, u64>,
    events: u64,
    products: Vec<(u8, bool)>,
    orders: Vec<Order>,
    claims: Vec<(CampaignId, ClaimId, MemberId, claim::State)>,
    campaigns: Vec<CampaignId>,
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
        let event = NewEvent {
            id,
            kind: kind.into(),
            data: data.as_bytes().into(),
            metadata: bytes::Bytes::from_static(b"{}"),
        };
        self.append(stream, event).await
    }

    async fn append(&mut self, stream: &str, event: NewEvent) -> Position {
        let expected = self.revisions.entry(stream.to_owned()).or_default();
        let append = Append { recorded_at: None, stream: stream.to_owned(), expected: *expected, events: vec![event] };
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
        let Some((n, _)) = self.products.iter().find(|(n, _)| *n == whom % FEW) else {
            return vec![];
        };
        let warehouse = if whom.is_multiple_of(3) { word("main") } else { word("north") };
        let received = stock::Received { warehouse, quantity: u32::from(whom) + 1 };
        vec![(format!("stock-s{n}"), received.into_event())]
    }

    fn place(&mut self, whom: u8) -> Vec<(String, Event)> {
        let n = self.events + 1;
        let lines: Arc<[Line]> = self
            .products
            .iter()
            .filter(|(p, listed)| *listed && !(p + whom % 3).is_multiple_of(3))
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
        let Some(order) = self.orders.get_mut(usize::from(whom) % open.max(1)) else {
            return vec![];
        };
        let script = match order.n % 15 {
            0 | 3 | 6 | 9 | 12 => EXPIRES,
            5 | 10 => UNDELIVERABLE,
            _ => DELIVERED,
        };
        let Some(scene) = script.get(order.step) else {
            return vec![];
        };
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
        if whom.is_multiple_of(2) || self.claims.is_empty() {
            let campaign = self.campaigns[usize::from(whom / 2) % 2];
            let (claim, member) = (ClaimId::from_u128(self.events.into()), MemberId::from_u128((whom % FEW).into()));
            self.claims.push((campaign, claim, member, claim::State::Free));
            return vec![(
                format!("campaign-{campaign}"),
                campaign::Claimed { claim, member, nth: u32::from(whom) }.into_event(),
            )];
        }
        let n = usize::from(whom / 2) % self.claims.len();
        let (campaign, claim, member, state) = &mut self.claims[n];
        let event = match *state {
            claim::State::Free => {
                let order = OrderId::from_u128(self.events.into());
                claim::Held { campaign: *campaign, member: *member, order, discount: gbp(5) }.into()
            }
            claim::State::Held { campaign, order } if whom.is_multiple_of(3) => {
                claim::Redeemed { campaign, order }.into()
            }
            claim::State::Held { campaign, order } => claim::Restored { campaign, order, redeemed: false }.into(),
            claim::State::Redeemed { campaign, order } => claim::Restored { campaign, order, redeemed: true }.into(),
        };
        *state = claim::Claim::evolve(*state, &event);
        vec![(format!("claim-{claim}"), event.into())]
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

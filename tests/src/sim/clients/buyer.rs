//! A buyer: many wishes at once, few of them patient, some of them nonsense.

use std::sync::{Arc, Mutex};

use domain::ids::{CampaignId, MemberId, OrderId};
use tokio::task::JoinSet;

use super::{
    Dice, Market, Placed, WISHES, buyer_id, hoped_claim, lock, look, operator_id, pause, price, request, seconds, skus,
};
use crate::sim::{
    record::Answer,
    wish::{Cart, Request, Wish, product_of},
};

/// Shortest and longest life of an order, in seconds. The longest and the shop's grace for holds that a crash has left
/// behind are together less than the simulation waits for their lapse.
const LIFE: (u64, u64) = (8, 150);
/// Tokens to pay with; what is not known by name falls as the provider's dice do.
const TOKENS: [&str; 8] =
    ["tok_visa", "tok_visa", "tok_visa", "tok_master", "tok_ok", "tok_timeout", "tok_slow", "tok_decline"];
/// Tokens of payments that are still under way when something else happens.
const SLOW_TOKENS: [&str; 3] = ["tok_slow", "tok_timeout", "tok_visa"];
/// How many of the newest orders a buyer thinks of.
const ORDERS_IN_MIND: usize = 12;

/// What a buyer feels like next, in hundredths.
const MOODS: [(u32, Mood); 9] = [
    (36, Mood::Place),
    (6, Mood::Regret),
    (11, Mood::Pay),
    (8, Mood::Claim),
    (7, Mood::Cancel),
    (13, Mood::Return),
    (9, Mood::Repeat),
    (4, Mood::OtherBody),
    (6, Mood::Nonsense),
];

#[derive(Clone, Copy)]
enum Mood {
    Place,
    Regret,
    Pay,
    Claim,
    Cancel,
    Return,
    Repeat,
    OtherBody,
    Nonsense,
}

/// A buyer and what they remember. A clone is the same buyer at another thing.
#[derive(Clone)]
pub(super) struct Buyer {
    market: Market,
    me: MemberId,
    dice: Dice,
    orders: Arc<Mutex<Vec<Placed>>>,
    /// Everything that was asked, to be asked again.
    asked: Arc<Mutex<Vec<Request>>>,
}

impl Buyer {
    /// The `n`-th buyer.
    pub(super) fn new(market: Market, n: u32) -> Self {
        let dice = Dice::new(market.seed, &format!("buyer {n}"));
        Self { market, me: buyer_id(n), dice, orders: Arc::default(), asked: Arc::default() }
    }

    /// Wants one thing after another, without waiting for any of them, and ends when all are answered or given up.
    pub(super) async fn run(self) {
        let mut wanting = JoinSet::new();
        for _ in 0..WISHES {
            pause(&self.dice).await;
            let buyer = self.clone();
            wanting.spawn(async move { buyer.want().await });
        }
        while wanting.join_next().await.is_some() {}
    }

    async fn want(self) {
        match self.mood() {
            Mood::Place => self.place().await,
            Mood::Regret => self.regret().await,
            Mood::Pay => self.pay().await,
            Mood::Claim => self.claim().await,
            Mood::Cancel => self.cancel().await,
            Mood::Return => self.send_back().await,
            Mood::Repeat => self.repeat().await,
            Mood::OtherBody => self.other_body().await,
            Mood::Nonsense => self.nonsense().await,
        }
    }

    fn mood(&self) -> Mood {
        let mut throw = self.dice.up_to(99);
        for (share, mood) in MOODS {
            match throw.checked_sub(share) {
                Some(rest) => throw = rest,
                None => return mood,
            }
        }
        Mood::Place
    }

    /// Asks, and remembers it.
    async fn ask(&self, wish: Wish, kind: &'static str) -> (Request, Answer) {
        let request = request(&self.dice, self.me, wish);
        lock(&self.asked).push(request.clone());
        let answer = self.market.network.ask(request.clone(), kind).await;
        (request, answer)
    }

    async fn place(&self) {
        self.place_cart(self.cart()).await;
    }

    /// Places an order that is paid slowly, and calls it off while the money is on its way.
    async fn regret(&self) {
        let method = self.dice.pick(&SLOW_TOKENS).map(|token| (*token).to_owned());
        let order = self.place_cart(Cart { method, ..self.cart() }).await;
        tokio::time::sleep(self.dice.millis(0, 5_000)).await;
        let wish = Wish::Cancel { order };
        let kind = wish.kind();
        self.ask(wish, kind).await;
    }

    async fn place_cart(&self, cart: Cart) -> OrderId {
        let wish = Wish::Place(cart.clone());
        let kind = wish.kind();
        let (request, answer) = self.ask(wish, kind).await;
        if !matches!(answer, Answer::Refused(_) | Answer::Reused) {
            lock(&self.orders).push(Placed { order: request.order_id(), cart });
        }
        request.order_id()
    }

    fn cart(&self) -> Cart {
        let mut lines = Vec::new();
        for _ in 0..=self.dice.up_to(2) {
            if let Some(sku) = self.dice.pick(&skus()) {
                lines.push((sku.clone(), 1 + self.dice.up_to(3)));
            }
        }
        let coupon = self.dice.chance(0.35).then(|| self.hoped_claim()).flatten();
        let method = self.dice.chance(0.6).then(|| self.token());
        // The list's price; it is out of date once somebody has repriced, and never true with a coupon.
        let expected_total = self.dice.chance(0.08).then(|| list_price(&lines));
        let seconds = u32::try_from(self.dice.between(LIFE.0, LIFE.1)).unwrap_or(u32::MAX);
        Cart { lines, coupon, method, expected_total, seconds }
    }

    fn hoped_claim(&self) -> Option<(CampaignId, domain::ids::ClaimId)> {
        let campaign = self.dice.pick(&self.market.campaigns)?;
        Some(hoped_claim(*campaign, self.me, 1 + self.dice.up_to(2)))
    }

    fn token(&self) -> String {
        (*self.dice.pick(&TOKENS).unwrap_or(&"tok_ok")).to_owned()
    }

    fn an_order(&self) -> Option<Placed> {
        let orders = lock(&self.orders);
        let newest = &orders[orders.len().saturating_sub(ORDERS_IN_MIND)..];
        self.dice.pick(newest).cloned()
    }

    /// Pays at once, in the last second, or too late; sometimes twice over.
    async fn pay(&self) {
        let Some(Placed { order, cart }) = self.an_order() else { return self.place().await };
        let mut method = self.token();
        match self.dice.up_to(3) {
            0 => {
                // So late, and so slowly, that the money comes when the order has expired.
                tokio::time::sleep(seconds(cart.seconds).saturating_sub(self.dice.millis(100, 4_000))).await;
                method = self.dice.pick(&SLOW_TOKENS).map_or(method, |token| (*token).to_owned());
            }
            1 => tokio::time::sleep(seconds(cart.seconds) + self.dice.millis(0, 2_000)).await,
            _ => {}
        }
        let wish = Wish::Pay { order, method };
        let kind = wish.kind();
        self.ask(wish, kind).await;
    }

    async fn claim(&self) {
        let Some(campaign) = self.dice.pick(&self.market.campaigns).copied() else { return };
        let wish = Wish::ClaimCoupon { campaign };
        let kind = wish.kind();
        self.ask(wish, kind).await;
    }

    async fn cancel(&self) {
        let Some(Placed { order, .. }) = self.an_order() else { return self.place().await };
        let wish = Wish::Cancel { order };
        let kind = wish.kind();
        self.ask(wish, kind).await;
    }

    /// Sends goods back, if any were delivered; now and then more than there were.
    async fn send_back(&self) {
        let Some(Placed { order, cart }) = self.delivered().await else { return self.place().await };
        let mut lines = Vec::new();
        for (sku, quantity) in &cart.lines {
            if lines.is_empty() || self.dice.chance(0.5) {
                lines.push((sku.clone(), 1 + self.dice.up_to(*quantity)));
            }
        }
        let wish = Wish::Return { order, lines };
        let kind = wish.kind();
        let (request, answer) = self.ask(wish, kind).await;
        if !matches!(answer, Answer::Refused(_)) {
            self.market.tell_return(request.return_id());
        }
    }

    /// One of the buyer's orders that has arrived; the operators hear of its payment.
    async fn delivered(&self) -> Option<Placed> {
        for _ in 0..6 {
            let placed = self.an_order()?;
            if let Some((situation, payment)) = look(&self.market.network, &self.dice, self.me, placed.order).await {
                if let Some(payment) = payment {
                    self.market.tell_payment(payment, list_price(&placed.cart.lines));
                }
                if situation == "delivered" {
                    return Some(placed);
                }
            }
        }
        None
    }

    /// Asks again for what was asked some time ago.
    async fn repeat(&self) {
        let Some(request) = self.earlier() else { return self.place().await };
        self.market.network.ask(request, "repeat").await;
    }

    fn earlier(&self) -> Option<Request> {
        self.dice.pick(&lock(&self.asked)).cloned()
    }

    /// Asks for another thing under an id that was used before, of the same resource.
    async fn other_body(&self) {
        let Some(earlier) = self.earlier() else { return self.place().await };
        let wish = match earlier.wish.clone() {
            Wish::Place(mut cart) => {
                cart.lines.push(("p0-a".to_owned(), 1));
                Wish::Place(cart)
            }
            Wish::Pay { order, method } => Wish::Pay { order, method: format!("{method}_too") },
            Wish::Return { order, mut lines } => {
                lines.push(("p0-a".to_owned(), 1));
                Wish::Return { order, lines }
            }
            _ => return self.place().await,
        };
        self.market.network.ask(Request { wish, ..earlier }, "other body").await;
    }

    async fn nonsense(&self) {
        let order = OrderId(self.dice.uuid());
        let cart = self.cart();
        let wish = match self.dice.up_to(7) {
            0 => Wish::Place(Cart { lines: Vec::new(), ..cart }),
            1 => Wish::Place(Cart { lines: vec![("p1-a".to_owned(), 0)], ..cart }),
            2 => Wish::Place(Cart { lines: vec![("no such thing".to_owned(), 1)], ..cart }),
            3 => Wish::Place(Cart { lines: vec![("p99-a".to_owned(), 1)], ..cart }),
            4 => {
                let theirs = hoped_claim(self.market.campaigns[0], operator_id(0), 1);
                Wish::Place(Cart { coupon: Some(theirs), ..cart })
            }
            5 => Wish::Pay { order, method: self.token() },
            6 => Wish::Cancel { order },
            _ => Wish::Return { order, lines: vec![("p1-a".to_owned(), 1)] },
        };
        self.ask(wish, "invalid").await;
    }
}

/// What the catalogue said at the opening that these lines cost.
fn list_price(lines: &[(String, u32)]) -> i64 {
    let one = |sku: &str| {
        let product = product_of(sku).trim_start_matches('p').parse().unwrap_or(0);
        price(product) * if sku.ends_with("-b") { 2 } else { 1 }
    };
    lines.iter().map(|(sku, quantity)| one(sku) * i64::from(*quantity)).sum()
}

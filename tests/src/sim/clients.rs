//! The clients: buyers who cross each other's carts, and operators who fill the shelves.
//!
//! There are few SKUs, few coupons and few members, so that everything is fought over. A buyer does not wait
//! for one answer before asking for the next thing, pays early, in the last second or too late, asks again for
//! what was answered long ago, and now and then asks for nonsense.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use domain::{
    coupon::campaign,
    event::Actor,
    ids::{CampaignId, MemberId, OrderId, PaymentId, ReturnId},
};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{
    faults::{Dice, lock},
    network::Network,
    record::Answer,
    wish::{Cart, Request, Wish},
};

mod buyer;
mod operator;

pub use operator::{buy_out, tidy};

/// How many products there are; each has two SKUs.
const PRODUCTS: u32 = 5;
/// Where goods lie.
const WAREHOUSES: [&str; 2] = ["north", "south"];
/// How many buyers there are, and how many things each of them wants.
const BUYERS: u32 = 20;
const WISHES: u32 = 92;
/// How many operators there are, and how many things each of them does.
const OPERATORS: u32 = 2;
const TASKS: u32 = 190;
/// The campaigns: claims in all, claims per member, seconds until they close.
const CAMPAIGNS: [(Option<u32>, u32, u32); 4] =
    [(Some(1), 1, 900), (Some(25), 2, 900), (None, 3, 900), (Some(60), 4, 120)];

/// What clients tell each other.
#[derive(Clone)]
pub struct Market {
    /// The way to the shop.
    pub network: Network,
    /// The run's seed.
    pub seed: u64,
    campaigns: Arc<[CampaignId]>,
    /// Returns that were opened and payments that were seen, for the operators.
    returns: Arc<Mutex<Vec<ReturnId>>>,
    payments: Arc<Mutex<Vec<(PaymentId, i64)>>>,
}

impl Market {
    /// A market whose clients reach the shop through `network`.
    #[must_use]
    pub fn new(network: Network, seed: u64) -> Self {
        let dice = Dice::new(seed, "campaigns");
        let campaigns = CAMPAIGNS.iter().map(|_| CampaignId(dice.uuid())).collect();
        Self { network, seed, campaigns, returns: Arc::default(), payments: Arc::default() }
    }

    /// Fills the catalogue, the shelves and the campaigns.
    pub async fn open(&self) {
        let dice = Dice::new(self.seed, "opening");
        let me = operator_id(0);
        let mut wishes = Vec::new();
        for product in 0..PRODUCTS {
            wishes.push(Wish::List { product: format!("p{product}"), price: price(product) });
        }
        for sku in skus() {
            for warehouse in WAREHOUSES {
                let quantity = 5 + dice.up_to(15);
                wishes.push(Wish::Receive { sku: sku.clone(), warehouse: warehouse.into(), quantity });
            }
        }
        for (campaign, (quantity, per_member, seconds)) in self.campaigns.iter().zip(CAMPAIGNS) {
            let basis_points = 500 + 500 * dice.up_to(19);
            wishes.push(Wish::Launch { campaign: *campaign, basis_points, quantity, per_member, seconds });
        }
        for wish in wishes {
            self.network.insist(request(&dice, me, wish.clone()), wish.kind()).await;
        }
    }

    /// Lets every client want all that they want.
    pub async fn trade(&self) {
        let mut clients = JoinSet::new();
        for n in 0..BUYERS {
            clients.spawn(buyer::Buyer::new(self.clone(), n).run());
        }
        for n in 0..OPERATORS {
            clients.spawn(operator::run(self.clone(), n));
        }
        while clients.join_next().await.is_some() {}
    }
}

fn price(product: u32) -> i64 {
    i64::from(product) * 333 + 199
}

fn skus() -> Vec<String> {
    (0..PRODUCTS).flat_map(|product| [format!("p{product}-a"), format!("p{product}-b")]).collect()
}

fn request(dice: &Dice, member: MemberId, wish: Wish) -> Request {
    Request { id: dice.uuid(), actor: Actor::Member(member), wish }
}

const fn operator_id(n: u32) -> MemberId {
    MemberId(Uuid::from_u128(0x0b_0000 + n as u128))
}

const fn buyer_id(n: u32) -> MemberId {
    MemberId(Uuid::from_u128(0xb0_0000 + n as u128))
}

/// A pause between two wishes.
async fn pause(dice: &Dice) {
    tokio::time::sleep(dice.millis(50, 12_000)).await;
}

/// An order of a buyer's, as they remember it.
#[derive(Clone, Debug)]
struct Placed {
    order: OrderId,
    cart: Cart,
}

/// The claim that a member hopes to have: their `nth` on the campaign.
fn hoped_claim(campaign: CampaignId, member: MemberId, nth: u32) -> (CampaignId, domain::ids::ClaimId) {
    (campaign, campaign::claim_id(campaign, member, nth))
}

/// Seconds as a duration, never negative.
const fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(seconds as u64)
}

/// What a look at an order says: its situation and its captured payment.
async fn look(network: &Network, dice: &Dice, member: MemberId, order: OrderId) -> Option<(String, Option<PaymentId>)> {
    match network.look(request(dice, member, Wish::Look { order })).await {
        Answer::Told(told) => {
            let payment = told.get(1).and_then(|text| text.parse().ok());
            Some((told.first()?.clone(), payment))
        }
        _ => None,
    }
}

impl Market {
    fn tell_return(&self, id: ReturnId) {
        lock(&self.returns).push(id);
    }

    fn tell_payment(&self, payment: PaymentId, amount: i64) {
        lock(&self.payments).push((payment, amount));
    }
}

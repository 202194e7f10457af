//! What clients ask of the shop, in the plain words that travel over the network.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use domain::{
    event::Actor,
    ids::{CampaignId, ClaimId, MemberId, OrderId, PaymentId, ReturnId},
};
use uuid::Uuid;

/// A request: a wish under an id, from a caller.
#[derive(Debug, Clone)]
pub struct Request {
    /// The caller's id of the wish; the same at every try.
    pub id: Uuid,
    /// Who asks.
    pub actor: Actor,
    /// What for.
    pub wish: Wish,
}

/// A wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// List a product with two variants, `<product>-a` and `<product>-b`, and keep their stock.
    List {
        /// The product.
        product: String,
        /// The price of its first variant, in pence; the other costs twice as much.
        price: i64,
    },
    /// Take in goods.
    Receive {
        /// Which SKU.
        sku: String,
        /// Where.
        warehouse: String,
        /// Units.
        quantity: u32,
    },
    /// Say what lies on a shelf.
    Count {
        /// Which SKU.
        sku: String,
        /// Where.
        warehouse: String,
        /// Units.
        on_hand: u32,
    },
    /// Let a SKU cost this much.
    Reprice {
        /// Which SKU.
        sku: String,
        /// Pence.
        price: i64,
    },
    /// Launch a coupon campaign.
    Launch {
        /// Which.
        campaign: CampaignId,
        /// Hundredths of a percent that it takes off.
        basis_points: u32,
        /// Claims in all.
        quantity: Option<u32>,
        /// Claims per member.
        per_member: u32,
        /// For how many seconds from now it can be claimed.
        seconds: u32,
    },
    /// Claim a coupon.
    ClaimCoupon {
        /// Of which campaign.
        campaign: CampaignId,
    },
    /// Place an order.
    Place(Cart),
    /// Pay an order.
    Pay {
        /// Which.
        order: OrderId,
        /// The provider's token.
        method: String,
    },
    /// Call an order off.
    Cancel {
        /// Which.
        order: OrderId,
    },
    /// Send goods back.
    Return {
        /// From which order.
        order: OrderId,
        /// SKU and units.
        lines: Vec<(String, u32)>,
    },
    /// Take returned goods in.
    ReceiveReturn {
        /// Which return.
        id: ReturnId,
        /// Where.
        warehouse: String,
    },
    /// Give money back.
    Refund {
        /// Of which payment.
        payment: PaymentId,
        /// Which refund, when one that failed is tried again.
        again: Option<Uuid>,
        /// Pence.
        amount: i64,
    },
    /// Only look: the order's situation and its captured payment.
    Look {
        /// Which.
        order: OrderId,
    },
}

/// See [`Wish::Place`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cart {
    /// SKU and units, line by line; a SKU may come twice.
    pub lines: Vec<(String, u32)>,
    /// Campaign and claim.
    pub coupon: Option<(CampaignId, ClaimId)>,
    /// The token to pay with at once.
    pub method: Option<String>,
    /// What the buyer was told it costs.
    pub expected_total: Option<i64>,
    /// Seconds until it expires unless it is paid.
    pub seconds: u32,
}

impl Wish {
    /// Its kind in a word, for counts.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::List { .. } => "list",
            Self::Receive { .. } => "receive",
            Self::Count { .. } => "count",
            Self::Reprice { .. } => "reprice",
            Self::Launch { .. } => "launch",
            Self::ClaimCoupon { .. } => "claim",
            Self::Place(_) => "place",
            Self::Pay { .. } => "pay",
            Self::Cancel { .. } => "cancel",
            Self::Return { .. } => "return",
            Self::ReceiveReturn { .. } => "receive return",
            Self::Refund { .. } => "refund",
            Self::Look { .. } => "look",
        }
    }
}

impl Request {
    /// A hash of what is asked, the same on every node.
    #[must_use]
    pub fn body_hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        format!("{:?}", self.wish).hash(&mut hasher);
        hasher.finish()
    }

    /// The order that this request places.
    #[must_use]
    pub fn order_id(&self) -> OrderId {
        OrderId::derived(self.id, &[&self.actor.scope()])
    }

    /// The return that this request opens.
    #[must_use]
    pub fn return_id(&self) -> ReturnId {
        ReturnId::derived(self.id, &[&self.actor.scope()])
    }

    /// The member who asks.
    #[must_use]
    pub const fn member(&self) -> MemberId {
        match self.actor {
            Actor::Member(member) => member,
            Actor::Process | Actor::Provider => MemberId(Uuid::nil()),
        }
    }
}

/// The product of a SKU, by its name.
#[must_use]
pub fn product_of(sku: &str) -> &str {
    sku.rsplit_once('-').map_or(sku, |(product, _)| product)
}

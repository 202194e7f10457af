//! Everybody wants the same: 256 callers on one SKU, or on one coupon.
//!
//! Where rows are locked or versions compared per request, this is where a shop stands still. Here the requests that
//! wait together are decided together and cost one append.

use domain::{
    coupon::campaign::{self, Campaign},
    ids::{CampaignId, OrderId, ProductId, Sku, WarehouseId},
    stock::{self, Stock},
};
use jiff::{SignedDuration, Timestamp};
use proto::v1::{self, Role};
use tonic::Status;

use super::{
    Settings,
    caller::{Caller, member, request_id},
    desk,
    echo::Echoes,
    goods::{self, Orders},
    load::{self, Load, Work},
    postgres::{Peer, Shape},
    redis::{Claim, Redis},
    report::{Goal, Report},
    server::{Parts, Server},
};

/// Coupons in the campaign: the most there can be.
const COUPONS: u32 = 100_000_000;
/// How long the holds of the desk's own measurement last.
const HOLD: SignedDuration = SignedDuration::from_hours(1);

pub(super) fn sku(settings: &Settings) -> Report {
    let mut report = Report::new("hot-sku");
    let mut shop = Server::start(&settings.folder, Parts::Door, None, &[]);
    goods::fill(&shop, settings, 1);
    let orders = Orders::over(1);
    // An order is three commands, one of them on the SKU; this is one command and nothing else.
    beside_echo(settings, &mut shop, "a unit received of the hot SKU", "stock", &Receipts(goods::name(0)), &mut report);
    let rate = beside_echo(settings, &mut shop, "an order of the hot SKU", "stock", &orders, &mut report);
    drop(shop);
    let shapes = [Shape::OrderTransaction, Shape::OrderFunction];
    beside_postgres(settings, shapes, rate, &mut report);
    let desk = desk::measure::<Stock>(settings, &hot_sku(), open_sku, reserve, &mut report);
    beside_redis(settings, Claim::Unit, desk, &mut report);
    report
}

pub(super) fn coupon(settings: &Settings) -> Report {
    let mut report = Report::new("hot-coupon");
    let mut shop = Server::start(&settings.folder, Parts::Door, None, &[]);
    goods::fill(&shop, settings, 1);
    let claims = Claims::launch(&shop);
    let rate = beside_echo(settings, &mut shop, "a claim of the hot coupon", "campaign", &claims, &mut report);
    drop(shop);
    let shapes = [Shape::ClaimTransaction, Shape::ClaimFunction];
    beside_postgres(settings, shapes, rate, &mut report);
    let desk = desk::measure::<Campaign>(settings, &CampaignId::from_u128(1), launch, claim, &mut report);
    beside_redis(settings, Claim::Coupon, desk, &mut report);
    report
}

fn beside_echo(
    settings: &Settings,
    shop: &mut Server,
    what: &str,
    category: &str,
    work: &impl Work,
    report: &mut Report,
) -> f64 {
    let echo = Echoes::like(shop, &Orders::over(1)).measure(shop, Load::of(settings), report);
    let before = shop.figures().desk(category);
    let measured = load::run(shop, Load::of(settings), work).unrefused(what);
    let done = shop.figures().desk(category).since(before);
    let rate = report.measured(format!("{what}, {} callers", settings.callers), &measured);
    report.ratio(format!("{what} / echo"), rate, echo, Goal::Least(0.6));
    let spared = done.retries_spared() * 100.0;
    report.figure("commands that optimistic locking per request would have tried again", spared, "%", Goal::None);
    report.note(format!("{} commands on the hot stream were {} appends", done.commands, done.appends));
    rate
}

fn beside_postgres(settings: &Settings, shapes: [Shape; 2], rate: f64, report: &mut Report) {
    let best = Peer::measure(settings, 1, shapes, report).into_iter().flatten().fold(0.0, f64::max);
    if best > 0.0 {
        report.ratio("over gRPC / PostgreSQL's best on one hot row", rate, best, Goal::Least(4.0));
    }
}

fn beside_redis(settings: &Settings, claim: Claim, desk: f64, report: &mut Report) {
    if let Some(redis) = Redis::measure(settings, claim, report) {
        report.ratio("the desk in process / Redis", desk, redis, Goal::Least(1.0));
    }
}

/// Claims of one campaign, each for a member who has none.
pub struct Claims {
    campaign_id: String,
}

impl Claims {
    /// Launches the campaign.
    pub fn launch(shop: &Server) -> Self {
        let launched = load::runtime().block_on(async {
            let channel = super::caller::connect(shop.addr).await;
            let mut caller = Caller::new(&channel, &shop.token(Role::Operator, 0));
            let terms = v1::CampaignTerms {
                name: "hot".into(),
                discount: Some(v1::campaign_terms::Discount::PercentOff(10)),
                quantity: COUPONS,
                per_member: 1,
                ..Default::default()
            };
            let launch = v1::LaunchCampaignRequest { request_id: request_id().to_string(), terms: Some(terms) };
            caller.coupons.launch_campaign(caller.ask(launch)).await.expect("a campaign")
        });
        Self { campaign_id: launched.into_inner().campaign_id }
    }
}

impl Work for Claims {
    /// An operator hands out the coupons: so each can go to a new member without a new token.
    const ROLE: Role = Role::Operator;

    async fn call(&self, caller: &mut Caller, n: u64) -> Result<(), Status> {
        let claim = v1::ClaimCouponRequest {
            request_id: request_id().to_string(),
            campaign_id: self.campaign_id.clone(),
            member_id: member(Role::Buyer, goods::scattered(n) >> 16).to_string(),
        };
        caller.coupons.claim_coupon(caller.ask(claim)).await.map(drop)
    }
}

/// A unit comes in, again and again.
struct Receipts(String);

impl Work for Receipts {
    const ROLE: Role = Role::Operator;

    async fn call(&self, caller: &mut Caller, _: u64) -> Result<(), Status> {
        let request_id = request_id().to_string();
        let receive = v1::ChangeInventoryCountRequest { request_id, ..tests::say::receive(&self.0, 1) };
        caller.catalog.change_inventory_count(caller.ask(receive)).await.map(drop)
    }
}

fn hot_sku() -> Sku {
    Sku::new("hot").expect("a SKU")
}

fn open_sku() -> Vec<stock::Command> {
    let warehouse = WarehouseId::new("main").expect("a warehouse");
    vec![
        stock::Command::Open { sku: hot_sku(), product: ProductId::new("hot").expect("a product") },
        stock::Command::Receive { warehouse, quantity: stock::UNITS_MAX },
    ]
}

fn reserve(_: u64, now: Timestamp) -> stock::Command {
    let expires_at = now.checked_add(HOLD).unwrap_or(Timestamp::MAX);
    stock::Command::Reserve { order: OrderId(request_id()), quantity: 1, expires_at, now }
}

fn launch() -> Vec<campaign::Command> {
    let terms = domain::coupon::Terms {
        discount: domain::coupon::Discount::Percent { basis_points: 1_000 },
        minimum_spend: None,
        quantity: Some(COUPONS),
        per_member: 1,
        opens_at: Timestamp::UNIX_EPOCH,
        closes_at: Timestamp::MAX,
    };
    vec![campaign::Command::Launch { campaign: CampaignId::from_u128(1), name: "hot".into(), terms }]
}

fn claim(n: u64, now: Timestamp) -> campaign::Command {
    campaign::Command::Claim { member: member(Role::Buyer, goods::scattered(n) >> 16), now }
}

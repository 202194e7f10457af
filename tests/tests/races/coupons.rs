//! The last coupon for many, and many coupons for one.

use std::collections::BTreeMap;

use futures::future::join_all;
use proto::v1::{self, campaign_terms::Discount};
use tests::{client::Client, say, shop::TestShop};

use super::{CROWD, crowd, head, outcome, tally};

/// A campaign of a tenth off.
async fn campaign(operator: &mut Client, quantity: u32, per_member: u32) -> String {
    let terms = v1::CampaignTerms {
        name: "spring".into(),
        discount: Some(Discount::PercentOff(10)),
        quantity,
        per_member,
        ..Default::default()
    };
    let launch = v1::LaunchCampaignRequest { request_id: say::request_id(), terms: Some(terms) };
    outcome(operator.coupons.launch_campaign(launch).await).expect("launched").campaign_id
}

fn claim(campaign_id: &str) -> v1::ClaimCouponRequest {
    let (request_id, campaign_id) = (say::request_id(), campaign_id.to_owned());
    v1::ClaimCouponRequest { request_id, campaign_id, member_id: String::new() }
}

async fn claimed(shop: &TestShop, operator: &mut Client, campaign_id: &str) -> (u32, Option<u32>) {
    let ask = v1::GetCampaignRequest { campaign_id: campaign_id.into(), min_position: head(shop).await };
    let campaign = outcome(operator.coupons.get_campaign(ask).await).expect("shown");
    (campaign.claimed, campaign.remaining)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_coupon_goes_to_one_of_64_members() {
    let shop = TestShop::open().await;
    let mut operator = shop.operator().await;
    let campaign_id = campaign(&mut operator, 3, 1).await;
    for early in [101, 102] {
        outcome(shop.buyer(early).await.coupons.claim_coupon(claim(&campaign_id)).await).expect("an early one");
    }
    let mut members = crowd(&shop, CROWD).await;
    let claims = members.iter_mut().map(|member| member.coupons.claim_coupon(claim(&campaign_id)));
    let (won, lost) = tally(join_all(claims).await);
    assert_eq!((won.len(), lost), (1, BTreeMap::from([("COUPON_EXHAUSTED".to_owned(), 63)])));
    assert_eq!(claimed(&shop, &mut operator, &campaign_id).await, (3, Some(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_who_asks_64_times_at_once_gets_one_coupon() {
    let shop = TestShop::open().await;
    let mut operator = shop.operator().await;
    let campaign_id = campaign(&mut operator, 100, 1).await;
    let ann: Vec<Client> = join_all((0..CROWD).map(|_| shop.buyer(1))).await;
    let claims = ann.into_iter().map(async |mut ann| ann.coupons.claim_coupon(claim(&campaign_id)).await);
    let (won, lost) = tally(join_all(claims).await);
    assert_eq!((won.len(), lost), (1, BTreeMap::from([("COUPON_MEMBER_LIMIT".to_owned(), 63)])));
    assert_eq!(claimed(&shop, &mut operator, &campaign_id).await, (1, Some(99)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coupon_takes_its_share_off_one_of_64_orders() {
    let shop = TestShop::open().await;
    let mut operator = shop.operator().await;
    say::stock(&mut operator, "mug", 1_000, 100).await;
    let campaign_id = campaign(&mut operator, 100, 1).await;
    let mut ann = shop.buyer(1).await;
    let claim_id = outcome(ann.coupons.claim_coupon(claim(&campaign_id)).await).expect("claimed").claim_id;
    let coupon = v1::OrderCoupon { campaign_id, claim_id };
    let orders = (0..CROWD).map(|_| {
        let (mut ann, coupon) = (ann.clone(), Some(coupon.clone()));
        async move { ann.orders.process_order(v1::ProcessOrderRequest { coupon, ..say::order(&[("mug", 1)]) }).await }
    });
    let (won, lost) = tally(join_all(orders).await);
    assert_eq!((won.len(), lost), (1, BTreeMap::from([("COUPON_NOT_USABLE".to_owned(), 63)])));
    assert_eq!(say::pence(won[0].total.as_ref()), 900);
    // Whoever lost the coupon was not left with the goods: the shop lets go of them in the background.
    let position = super::rest(&shop).await;
    let ask = v1::GetStockRequest { sku: "mug".into(), min_position: position };
    assert_eq!(outcome(ann.catalog.get_stock(ask).await).expect("levels").reserved, 1);
}

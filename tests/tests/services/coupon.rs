//! Coupons over the gateway: launched, claimed, used, given back.

use proto::v1::{self, CampaignState, ClaimState, OrderState, campaign_terms::Discount};
use tests::{
    say,
    shop::{TestShop, buyer},
};

use super::outcome;

fn terms(discount: Discount, quantity: u32) -> v1::CampaignTerms {
    v1::CampaignTerms { name: "Winter".into(), discount: Some(discount), quantity, ..Default::default() }
}

fn launch(terms: v1::CampaignTerms) -> v1::LaunchCampaignRequest {
    v1::LaunchCampaignRequest { request_id: say::request_id(), terms: Some(terms) }
}

fn claim(campaign_id: &str) -> v1::ClaimCouponRequest {
    v1::ClaimCouponRequest { request_id: say::request_id(), campaign_id: campaign_id.into(), member_id: String::new() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claimed_coupon_takes_its_share_off_one_order_and_comes_back_when_that_ends() {
    let shop = TestShop::open().await;
    let mut operator = shop.operator().await;
    say::stock(&mut operator, "mug", 255, 10).await;
    let wish = launch(terms(Discount::PercentOff(10), 2));
    let launched = outcome(operator.coupons.launch_campaign(wish.clone()).await).expect("launched");
    assert_eq!(outcome(operator.coupons.launch_campaign(wish).await), Ok(launched.clone()));
    let mut ann = shop.buyer(1).await;
    let request = claim(&launched.campaign_id);
    let claimed = outcome(ann.coupons.claim_coupon(request.clone()).await).expect("claimed");
    assert_eq!(outcome(ann.coupons.claim_coupon(request).await), Ok(claimed.clone()), "a retry claims no second one");
    assert_eq!(
        outcome(ann.coupons.claim_coupon(claim(&launched.campaign_id)).await).unwrap_err(),
        "COUPON_MEMBER_LIMIT"
    );

    let coupon = v1::OrderCoupon { campaign_id: launched.campaign_id.clone(), claim_id: claimed.claim_id.clone() };
    let order = || v1::ProcessOrderRequest { coupon: Some(coupon.clone()), ..say::order(&[("mug", 2)]) };
    let mut bob = shop.buyer(2).await;
    assert_eq!(outcome(bob.orders.process_order(order()).await).unwrap_err(), "CLAIM_NOT_FOUND");
    let wish = order();
    let placed = outcome(ann.orders.process_order(wish.clone()).await).expect("placed");
    assert_eq!((say::pence(placed.total.as_ref()), say::pence(placed.lines[0].discount.as_ref())), (459, 51));
    assert_eq!(outcome(ann.orders.process_order(wish).await), Ok(placed.clone()));
    assert_eq!(outcome(ann.orders.process_order(order()).await).unwrap_err(), "COUPON_NOT_USABLE", "it is held");

    let list = |min_position| v1::ListClaimsRequest { min_position, ..Default::default() };
    let mine = outcome(ann.coupons.list_claims(list(placed.position)).await).expect("listed").claims;
    assert_eq!((mine.len(), mine[0].state(), &mine[0].order_id), (1, ClaimState::Held, &placed.order_id));
    let cancel = v1::CancelOrderRequest {
        request_id: say::request_id(),
        order_id: placed.order_id.clone(),
        ..Default::default()
    };
    let cancelled = outcome(ann.orders.cancel_order(cancel).await).expect("cancelled");
    say::until(&mut ann, &placed.order_id, OrderState::Cancelled, cancelled.position).await;
    let paid = || v1::ProcessOrderRequest { payment_method: "tok_ok".into(), ..order() };
    let mut tries = 0;
    let again = loop {
        match outcome(ann.orders.process_order(paid()).await) {
            Ok(placed) => break placed,
            Err(_) => tries += 1,
        }
        assert!(tries < 500, "the coupon never came back");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    };
    say::until(&mut ann, &again.order_id, OrderState::Delivered, again.position).await;
    // The claim was redeemed before the order was confirmed, long before it was delivered.
    let head = shop.running().log().head().await.expect("the log").0;
    let mine = outcome(ann.coupons.list_claims(list(head)).await).expect("listed").claims;
    assert_eq!((mine.len(), mine[0].state(), &mine[0].order_id), (1, ClaimState::Redeemed, &again.order_id));
    let ask = v1::GetCampaignRequest { campaign_id: launched.campaign_id, min_position: head };
    let shown = outcome(operator.coupons.get_campaign(ask).await).expect("shown");
    assert_eq!((shown.claimed, shown.redeemed, shown.remaining), (1, 1, Some(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_shows_what_is_left_and_refuses_by_its_window_and_quantity() {
    let shop = TestShop::open().await;
    let mut operator = shop.operator().await;
    let launched = outcome(operator.coupons.launch_campaign(launch(terms(Discount::PercentOff(5), 1))).await);
    let id = launched.expect("launched").campaign_id;
    let (mut ann, mut bob) = (shop.buyer(1).await, shop.buyer(2).await);
    let claimed = outcome(ann.coupons.claim_coupon(claim(&id)).await).expect("claimed");
    assert_eq!(outcome(bob.coupons.claim_coupon(claim(&id)).await).unwrap_err(), "COUPON_EXHAUSTED");
    let ask = v1::GetCampaignRequest { campaign_id: id.clone(), min_position: claimed.position };
    let shown = outcome(bob.coupons.get_campaign(ask).await).expect("shown");
    assert_eq!((shown.state(), shown.claimed, shown.remaining), (CampaignState::Exhausted, 1, Some(0)));
    let end = v1::EndCampaignRequest { request_id: say::request_id(), campaign_id: id.clone(), etag: String::new() };
    let ended = outcome(operator.coupons.end_campaign(end).await).expect("ended");
    assert_eq!(outcome(bob.coupons.claim_coupon(claim(&id)).await).unwrap_err(), "COUPON_ENDED");
    let ask = v1::GetCampaignRequest { campaign_id: id, min_position: ended.position };
    assert_eq!(outcome(bob.coupons.get_campaign(ask).await).expect("shown").state(), CampaignState::Ended);

    let later = shop.now().checked_add(jiff::SignedDuration::from_hours(1)).expect("in range");
    let soon = prost_types::Timestamp { seconds: later.as_second(), nanos: 0 };
    let soon = v1::CampaignTerms { start_time: Some(soon), ..terms(Discount::AmountOff(say::gbp(100)), 0) };
    let launched = outcome(operator.coupons.launch_campaign(launch(soon)).await).expect("launched");
    assert_eq!(outcome(ann.coupons.claim_coupon(claim(&launched.campaign_id)).await).unwrap_err(), "COUPON_NOT_OPEN");
    for (bad, field) in [
        (terms(Discount::PercentOff(0), 1), "terms.percent_off"),
        (terms(Discount::PercentOff(101), 1), "terms.percent_off"),
        (terms(Discount::AmountOff(say::gbp(0)), 1), "terms.amount_off"),
        (v1::CampaignTerms { name: String::new(), ..terms(Discount::PercentOff(1), 1) }, "terms.name"),
    ] {
        let refusal = operator.coupons.launch_campaign(launch(bad)).await.expect_err("no sense");
        assert_eq!(tests::client::fact(&refusal, "field"), field);
    }
    let others = v1::ListClaimsRequest { member_id: buyer(1).to_string(), ..Default::default() };
    assert_eq!(outcome(bob.coupons.list_claims(others).await).unwrap_err(), "NOT_YOURS");
}

//! Histories of one order, and how its row looks after each.

use domain::{
    ids::EventId,
    order::{
        Cancelled, Closed, Confirmed, CouponHeld, Delivered, DeliveryRequested, Expired, Paid, PaidLate, PaymentFailed,
        PaymentRequested, Placed, Refused, Reserved, ReturnOpened, Returned, Undeliverable,
    },
    personal::Personal,
};

use super::*;
use crate::testing::{IntoEvent, Told, december, fault, gbp, row, told, word};

const ORDER: OrderId = OrderId::from_u128(1);
const BUYER: MemberId = MemberId::from_u128(2);
const PAYMENT: PaymentId = PaymentId::from_u128(3);
const RETURN: ReturnId = ReturnId::from_u128(4);

const COUPON: Coupon =
    Coupon { campaign: domain::ids::CampaignId::from_u128(5), claim: domain::ids::ClaimId::from_u128(6) };

fn happens(event: impl IntoEvent) -> Told {
    told(format!("order-{ORDER}"), 2, event)
}

fn sealed() -> Personal<String> {
    Personal::Sealed { member: BUYER, ciphertext: vec![1, 2, 3] }
}

fn placed(with_coupon: bool) -> Told {
    let coupon = with_coupon.then_some(COUPON);
    told(format!("order-{ORDER}"), 1, Placed { coupon, ..placing() })
}

fn placing() -> Placed {
    let line = Line {
        product: word("mug"),
        sku: word("M-1"),
        name: "Mug".into(),
        category: None,
        seller: word("acme"),
        unit_price: gbp(500),
        quantity: 2,
        amount: gbp(900),
    };
    Placed {
        buyer: BUYER,
        lines: [line].into(),
        subtotal: gbp(1000),
        discount: gbp(100),
        total: gbp(900),
        coupon: None,
        region: word("GB"),
        ship_to: Some(sealed()),
        payment_method: None,
        expires_at: december(3),
        backdated: None,
    }
}

fn reserved() -> Told {
    happens(Reserved { allocations: [].into() })
}

fn paying() -> Told {
    happens(PaymentRequested { payment: PAYMENT, method: "tok".into() })
}

fn paid() -> Told {
    happens(Paid { payment: PAYMENT, amount: gbp(900) })
}

fn late() -> Told {
    happens(PaidLate { payment: PAYMENT, amount: gbp(900) })
}

fn sold() -> Vec<Sold> {
    vec![Sold { line: 0, product: word("mug"), sku: word("M-1"), quantity: 2, amount: gbp(900) }]
}

fn confirmed() -> Told {
    happens(Confirmed { buyer: BUYER, sold: sold(), region: word("GB") })
}

fn sent() -> Told {
    happens(DeliveryRequested { delivery: DeliveryId::from_u128(7) })
}

fn lost() -> Told {
    happens(Undeliverable { why: "lost".into(), buyer: BUYER, sold: sold(), region: word("GB") })
}

fn opened() -> Told {
    happens(ReturnOpened { return_id: RETURN, lines: sold(), refund: gbp(900), why: Some(sealed()), backdated: None })
}

fn returned() -> Told {
    happens(Returned { return_id: RETURN, buyer: BUYER, lines: sold(), refund: gbp(900), region: word("GB") })
}

/// What follows the placing, and where it leads: state, paid, refunded, why it ended.
fn check(history: &[Told], expected: &str) {
    let mut story = vec![placed(false)];
    story.extend_from_slice(history);
    let row = row::<Orders>(&story);
    let ended = row.ended.as_ref().map_or(String::new(), |ended| format!(" {ended:?}"));
    assert_eq!(format!("{} {} {}{ended}", row.state.name(), row.paid.amount, row.refunded.amount), expected);
    assert_eq!((row.timeline.len(), row.revision), (story.len(), story.len() as u64 - 1));
    assert!(Orders::indexes(&row).contains(&(BY_STATE, key(&(row.state.name(), december(1))))));
}

#[test]
fn the_happy_way() {
    let mut story = vec![];
    for (event, expected) in [
        (reserved(), "unpaid 0 0"),
        (paying(), "paying 0 0"),
        (paid(), "paid 900 0"),
        (confirmed(), "confirmed 900 0"),
        (sent(), "delivering 900 0"),
        (happens(Delivered {}), "delivered 900 0"),
        (opened(), "delivered 900 0"),
        (returned(), "delivered 900 900"),
    ] {
        story.push(event);
        check(&story, expected);
    }
}

#[test]
fn an_order_that_costs_nothing_is_paid_once_it_was_even_when_it_is_revived() {
    let free = told(format!("order-{ORDER}"), 1, Placed { discount: gbp(1000), total: gbp(0), ..placing() });
    let nothing = || happens(PaidLate { payment: PaymentId::NONE, amount: gbp(0) });
    let state = |story: &[Told]| row::<Orders>(&[std::slice::from_ref(&free), story].concat()).state.name();
    assert_eq!(state(&[reserved()]), "unpaid", "nobody has asked for it yet");
    assert_eq!(state(&[reserved(), happens(Expired {}), nothing(), reserved()]), "paid");
}

#[test]
fn the_unhappy_ways() {
    let refused = happens(Refused { why: Refusal::NotKept { sku: word("M-1") }, claimed: vec![] });
    check(std::slice::from_ref(&refused), "ending 0 0 Refused(NotKept { sku: Sku(\"M-1\") })");
    check(&[refused, happens(Closed {})], "closed 0 0 Refused(NotKept { sku: Sku(\"M-1\") })");
    check(&[reserved(), happens(Expired {}), happens(Closed {})], "closed 0 0 Expired");
    check(&[reserved(), happens(Cancelled { why: None })], "ending 0 0 Cancelled(None)");
    let said = row::<Orders>(&[placed(false), reserved(), happens(Cancelled { why: Some(sealed()) })]);
    let kept = Sealed { event: EventId::from_u128(3), field: 0, value: sealed() };
    assert_eq!(said.ended, Some(Ended::Cancelled(Some(kept))), "as it was sealed");
    let failed = happens(PaymentFailed { payment: PAYMENT, why: "poor".into() });
    check(&[reserved(), paying(), failed], "unpaid 0 0");
    let undelivered = [reserved(), paying(), paid(), confirmed(), sent(), lost()];
    check(&undelivered, "ending 900 0 Undeliverable(\"lost\")");
    check(&[&undelivered[..], &[happens(Closed {})]].concat(), "closed 900 900 Undeliverable(\"lost\")");
}

#[test]
fn money_that_comes_late_revives_an_expired_order_or_goes_back() {
    let expired = [reserved(), paying(), happens(Expired {}), happens(Closed {}), late()];
    check(&expired, "reviving 900 0 Expired");
    check(&[&expired[..], &[reserved()]].concat(), "paid 900 0 Expired");
    check(&[&expired[..], &[reserved(), confirmed()]].concat(), "confirmed 900 0");
    let cancelled = [reserved(), paying(), happens(Cancelled { why: None }), late()];
    check(&cancelled, "ending 900 0 Cancelled(None)");
    check(&[&cancelled[..], &[happens(Closed {})]].concat(), "closed 900 900 Cancelled(None)");
}

#[test]
fn an_order_with_a_coupon_waits_for_it() {
    let state = |history: &[Told]| row::<Orders>(&[&[placed(true)], history].concat()).state;
    assert_eq!(state(&[reserved()]), State::Reserved);
    assert_eq!(state(&[reserved(), happens(CouponHeld {})]), State::Unpaid);
}

#[test]
fn the_row_keeps_the_frozen_facts_the_timeline_and_the_sealed_address() {
    let row = row::<Orders>(&[placed(false), reserved(), paying()]);
    assert_eq!((row.order, row.buyer, row.region.as_str()), (ORDER, BUYER, "GB"));
    assert_eq!((row.subtotal, row.discount, row.total, row.lines[0].amount), (gbp(1000), gbp(100), gbp(900), gbp(900)));
    assert_eq!(row.ship_to, Some(Sealed { event: EventId::from_u128(1), field: 0, value: sealed() }));
    let told: Vec<_> = row.timeline.iter().map(|moment| (moment.what.as_str(), moment.at)).collect();
    assert_eq!(told, [("placed", december(1)), ("reserved", december(2)), ("payment_requested", december(2))]);
    assert_eq!((row.payment, row.placed_at), (Some(PAYMENT), december(1)));
}

#[test]
fn what_cannot_be_folded_names_what_is_missing() {
    assert_eq!(fault::<Orders>(&[reserved()]), Fault::missing("order", &ORDER));
    assert_eq!(fault::<Orders>(&[placed(false), returned()]), Fault::missing("return", &RETURN));
}

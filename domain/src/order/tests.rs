//! The rules of orders as given / when / then.

use proptest::prelude::*;

use super::*;
use crate::{
    coupon::{Discount, Terms},
    decider::Stored as _,
    ids::{CampaignId, ClaimId, MemberId, ProductId, Region, ReturnId, SellerId},
    money::Currency,
    stock,
    testing::given,
};

fn gbp(amount: i64) -> Money {
    Money::new(amount, Currency::GBP)
}

fn sku(text: &str) -> Sku {
    Sku::new(text).unwrap()
}

fn minute(n: i64) -> Timestamp {
    Timestamp::from_second(n * 60).unwrap()
}

fn wanted(text: &str, price: i64, quantity: u32) -> Wanted {
    Wanted {
        product: ProductId::new(format!("p-{text}")).unwrap(),
        sku: sku(text),
        name: text.into(),
        category: None,
        seller: SellerId::new("house").unwrap(),
        unit_price: gbp(price),
        quantity,
    }
}

fn place(lines: Vec<Wanted>) -> Place {
    Place {
        buyer: MemberId::from_u128(1),
        lines,
        coupon: None,
        expected_total: None,
        region: Region::new("GB").unwrap(),
        ship_to: None,
        payment_method: None,
        expires_at: minute(30),
        backdated: None,
    }
}

fn placed(lines: Vec<Wanted>) -> Placed {
    pricing::price(&place(lines)).unwrap()
}

fn two_hearts() -> Placed {
    placed(vec![wanted("heart", 255, 2)])
}

fn allocations() -> Arc<[SkuAllocation]> {
    let warehouse = crate::ids::WarehouseId::new("main").unwrap();
    Arc::from([SkuAllocation { sku: sku("heart"), from: vec![stock::Allocation { warehouse, quantity: 2 }] }])
}

const PAYMENT: PaymentId = PaymentId::from_u128(9);

fn reserved() -> Event {
    Reserved { allocations: allocations() }.into()
}

fn requested() -> Event {
    PaymentRequested { payment: PAYMENT, method: "tok".into() }.into()
}

fn paid() -> Event {
    Paid { payment: PAYMENT, amount: gbp(510) }.into()
}

fn confirmed(placed: &Placed) -> Event {
    Confirmed { buyer: placed.buyer, sold: pricing::sold(placed), region: placed.region.clone() }.into()
}

/// The happy life of an order, up to and including its `n`-th event.
fn life(placed: &Placed, n: usize) -> Vec<Event> {
    let delivery = DeliveryId::from_u128(8);
    let all = [
        placed.clone().into(),
        reserved(),
        requested(),
        paid(),
        confirmed(placed),
        DeliveryRequested { delivery }.into(),
        Delivered {}.into(),
    ];
    all.into_iter().take(n).collect()
}

#[test]
fn an_order_is_placed_at_the_sum_of_its_lines() {
    let order = place(vec![wanted("heart", 255, 2), wanted("lantern", 339, 1)]);
    let placed = pricing::price(&order).unwrap();
    assert_eq!(placed.total, gbp(849));
    given::<Order>([]).when(Command::Place(Box::new(order))).then([placed.into()]);
}

#[test]
fn a_price_that_changed_is_never_a_surprise() {
    let order = Place { expected_total: Some(gbp(500)), ..place(vec![wanted("heart", 255, 2)]) };
    given::<Order>([])
        .when(Command::Place(Box::new(order)))
        .then_rejected(&Rejection::PriceChanged { expected: gbp(500), actual: gbp(510) });
}

#[test]
fn bad_orders_are_refused_with_the_fact_that_is_wrong() {
    let refused = |lines: Vec<Wanted>, why: Rejection| {
        given::<Order>([]).when(Command::Place(Box::new(place(lines)))).then_rejected(&why);
    };
    refused(vec![], Rejection::NoLines);
    refused(vec![wanted("a", 1, 1); LINES_MAX + 1], Rejection::TooManyLines { found: LINES_MAX + 1 });
    refused(vec![wanted("a", 1, 0)], Rejection::Quantity { line: 0, found: 0 });
    refused(vec![wanted("a", 1, 1), wanted("b", -1, 1)], Rejection::Price { line: 1 });
    let won = Wanted { unit_price: Money::new(5, Currency::KRW), ..wanted("b", 1, 1) };
    let (left, right) = (Currency::GBP, Currency::KRW);
    refused(vec![wanted("a", 1, 1), won], Rejection::Money(crate::money::MoneyError::Mismatch { left, right }));
    refused(vec![wanted("a", i64::MAX, 2)], Rejection::Money(crate::money::MoneyError::Overflow));
}

#[test]
fn a_coupon_is_shared_among_the_lines_to_the_penny() {
    let terms = Terms {
        discount: Discount::Amount(gbp(100)),
        minimum_spend: None,
        quantity: None,
        per_member: 1,
        opens_at: minute(0),
        closes_at: minute(9),
    };
    let coupon = Coupon { campaign: CampaignId::from_u128(1), claim: ClaimId::from_u128(2) };
    let lines = vec![wanted("a", 333, 1), wanted("b", 333, 1), wanted("c", 333, 1)];
    let priced = pricing::price(&Place { coupon: Some((coupon, terms)), ..place(lines) }).unwrap();
    assert_eq!(priced.total, gbp(899));
    assert_eq!(priced.lines.iter().map(|line| line.amount.amount).collect::<Vec<_>>(), [299, 300, 300]);
}

#[test]
fn a_payment_is_begun_once_and_only_before_the_order_expires() {
    let pay = |now| Command::RequestPayment { payment: PAYMENT, method: "tok".into(), now };
    let order = two_hearts();
    given::<Order>(life(&order, 2)).when(pay(minute(1))).then([requested()]);
    given::<Order>(life(&order, 2)).when(pay(minute(30))).then_rejected(&Rejection::Expired);
    let other = Command::RequestPayment { payment: PaymentId::from_u128(10), method: "tok".into(), now: minute(1) };
    given::<Order>(life(&order, 3)).when(other).then_rejected(&Rejection::AlreadyPaying { payment: PAYMENT });
}

#[test]
fn expiry_comes_on_time_and_never_after_the_money() {
    let order = two_hearts();
    let expire = |now| Command::Expire { now };
    given::<Order>(life(&order, 2)).when(expire(minute(29))).then_nothing();
    given::<Order>(life(&order, 2)).when(expire(minute(30))).then([Expired {}.into()]);
    given::<Order>(life(&order, 4)).when(expire(minute(90))).then_nothing();
}

#[test]
fn money_that_comes_after_the_end_revives_an_expired_order() {
    let order = two_hearts();
    let pay = || Command::RecordPaid { payment: PAYMENT, amount: gbp(510) };
    let late: Event = PaidLate { payment: PAYMENT, amount: gbp(510) }.into();
    let ended = [life(&order, 3), vec![Expired {}.into(), Closed {}.into()]].concat();
    given::<Order>(ended.clone()).when(pay()).then([late.clone()]);

    let state = crate::decider::fold::<Order>(&[ended, vec![late]].concat());
    assert_eq!(*state.situation(), Situation::Reviving);
}

#[test]
fn money_that_comes_after_a_cancellation_is_to_be_given_back() {
    let order = two_hearts();
    let history = [
        life(&order, 3),
        vec![
            Cancelled { why: Personal::words(order.buyer, "changed my mind") }.into(),
            Closed {}.into(),
            PaidLate { payment: PAYMENT, amount: gbp(510) }.into(),
        ],
    ]
    .concat();
    let state = crate::decider::fold::<Order>(&history);
    assert_eq!(*state.situation(), Situation::Ending { reason: Reason::Cancelled });
    assert!(state.undo().contains(&Undo::Refund(PAYMENT, gbp(510))));
}

#[test]
fn another_amount_than_the_order_costs_never_pays_it() {
    let order = two_hearts();
    let ended = [life(&order, 3), vec![Expired {}.into()]].concat();
    let closed = [ended.clone(), vec![Closed {}.into()]].concat();
    for captured in [gbp(1), gbp(509), gbp(511), Money::new(510, Currency::EUR)] {
        for history in [life(&order, 3), ended.clone(), closed.clone()] {
            given::<Order>(history)
                .when(Command::RecordPaid { payment: PAYMENT, amount: captured })
                .then_rejected(&Rejection::WrongAmount { owed: gbp(510), captured });
        }
    }
}

#[test]
fn a_payment_that_took_another_amount_counts_as_failed() {
    use crate::{payment, process};
    let order = crate::decider::fold::<Order>(&life(&two_hearts(), 3));
    let settle = |amount| {
        let (buyer, key) = (MemberId::from_u128(1), uuid::Uuid::from_u128(7));
        let asked =
            payment::Requested { order: OrderId::from_u128(2), buyer, amount: gbp(510), method: "tok".into(), key };
        let captured = payment::Captured { amount: gbp(amount), reference: "cap".into(), at: minute(1) };
        let seen = crate::decider::fold::<payment::Payment>(&[asked.into(), captured.into()]);
        process::order::settle(PAYMENT, &seen, &order, minute(2))
    };
    assert_eq!(settle(510), Some(Command::RecordPaid { payment: PAYMENT, amount: gbp(510) }));
    let failed = |amount| match settle(amount) {
        Some(command @ Command::RecordPaymentFailed { .. }) => command,
        other => panic!("{amount}: {other:?}"),
    };
    for amount in [1, 509, 511] {
        let why = payment::WRONG_AMOUNT.to_owned();
        given::<Order>(life(&two_hearts(), 3))
            .when(failed(amount))
            .then([PaymentFailed { payment: PAYMENT, why }.into()]);
    }
}

#[test]
fn a_second_payment_for_a_paid_order_is_not_the_orders() {
    given::<Order>(life(&two_hearts(), 4))
        .when(Command::RecordPaid { payment: PaymentId::from_u128(10), amount: gbp(510) })
        .then_rejected(&Rejection::PaidAlready);
}

#[test]
fn what_is_paid_can_no_longer_be_cancelled() {
    let cancel = || Command::Cancel { why: "late".into() };
    let why = Personal::words(two_hearts().buyer, "late");
    given::<Order>(life(&two_hearts(), 3)).when(cancel()).then([Cancelled { why }.into()]);
    for (events, situation) in [(4, "paid"), (5, "confirmed")] {
        given::<Order>(life(&two_hearts(), events))
            .when(cancel())
            .then_rejected(&Rejection::NotNow { wish: "cancelling", situation });
    }
}

#[test]
fn an_order_that_fails_after_its_goods_left_puts_them_back() {
    let order = two_hearts();
    let failed = Undeliverable {
        why: "no such street".into(),
        buyer: order.buyer,
        sold: pricing::sold(&order),
        region: order.region.clone(),
    };
    let state = crate::decider::fold::<Order>(&[life(&order, 6), vec![failed.into()]].concat());
    assert!(state.undo().contains(&Undo::Restock(allocations())));
    assert!(state.undo().contains(&Undo::Refund(PAYMENT, gbp(510))));
}

fn give_back(n: u128, quantity: u32) -> Command {
    let wishes = vec![ReturnWish { sku: sku("heart"), quantity, unit_price: None }];
    Command::OpenReturn { return_id: ReturnId::from_u128(n), wishes, why: "broken".into(), backdated: None }
}

#[test]
fn no_more_is_sent_back_than_was_bought() {
    let order = two_hearts();
    let once = fold_with(life(&order, 7), &give_back(1, 1));
    given::<Order>(once.clone()).when(give_back(2, 2)).then_rejected(&Rejection::NothingToReturn {
        sku: sku("heart"),
        requested: 2,
        remaining: 1,
    });
    given::<Order>(once).when(give_back(2, 0)).then_rejected(&Rejection::NothingToReturn {
        sku: sku("heart"),
        requested: 0,
        remaining: 0,
    });
}

#[test]
fn goods_that_were_never_delivered_cannot_be_sent_back() {
    given::<Order>(life(&two_hearts(), 5))
        .when(give_back(1, 1))
        .then_rejected(&Rejection::NotNow { wish: "returning", situation: "confirmed" });
}

fn fold_with(history: Vec<Event>, command: &Command) -> Vec<Event> {
    let mut events = Order::decide(&crate::decider::fold::<Order>(&history), command).unwrap();
    for field in events.iter_mut().flat_map(Event::personal) {
        field.seal(b"sealed".to_vec());
    }
    [history, events].concat()
}

#[test]
fn what_a_buyer_says_is_sealed_as_theirs_and_never_written_open() {
    let order = two_hearts();
    for (events, command) in [(3, Command::Cancel { why: "too dear".into() }), (7, give_back(1, 1))] {
        let history = life(&order, events);
        let mut said = Order::decide(&crate::decider::fold::<Order>(&history), &command).unwrap();
        assert!(said[0].encode().is_err(), "open words are never written");
        let whose: Vec<_> = said[0].personal().iter().map(|field| field.member()).collect();
        assert_eq!(whose, [order.buyer]);
        assert!(fold_with(history, &command).last().unwrap().encode().is_ok());
    }
    let silent = Command::Cancel { why: String::new() };
    given::<Order>(life(&order, 3)).when(silent).then([Cancelled { why: None }.into()]);
}

fn any_command() -> impl Strategy<Value = Command> {
    let payment = (8_u128..11).prop_map(PaymentId::from_u128);
    let why = Refusal::NotKept { sku: sku("heart") };
    prop_oneof![
        3 => Just(Command::RecordReserved { allocations: allocations() }),
        1 => Just(Command::Refuse { why, claimed: vec![] }),
        3 => (payment.clone(), 0_i64..40).prop_map(|(payment, now)| Command::RequestPayment {
            payment, method: "tok".into(), now: minute(now)
        }),
        1 => payment.clone().prop_map(|payment| Command::RecordPaymentFailed { payment, why: "no".into() }),
        3 => payment.clone().prop_map(|payment| Command::RecordPaid { payment, amount: gbp(510) }),
        2 => (payment, 1_i64..1_000).prop_map(|(payment, amount)| Command::RecordPaid { payment, amount: gbp(amount) }),
        3 => Just(Command::Confirm),
        3 => Just(Command::RecordDeliveryRequested { delivery: DeliveryId::from_u128(1) }),
        3 => Just(Command::RecordDelivered),
        1 => Just(Command::RecordUndeliverable { why: "lost".into() }),
        1 => (0_i64..60).prop_map(|now| Command::Expire { now: minute(now) }),
        1 => Just(Command::Cancel { why: "no".into() }),
        1 => Just(Command::Close),
        2 => (1_u128..5, 0_u32..3).prop_map(|(n, quantity)| give_back(n, quantity)),
        1 => (1_u128..5).prop_map(|n| Command::RecordReturned { return_id: ReturnId::from_u128(n) }),
    ]
}

proptest! {
    #[test]
    fn no_history_confirms_without_money_or_returns_more_than_was_sold(
        commands in proptest::collection::vec(any_command(), 0..60),
    ) {
        let mut state = crate::decider::fold::<Order>(&life(&two_hearts(), 1));
        let (mut money, mut sold, mut units_back, mut money_back) = (0_i64, false, 0_u32, 0_i64);
        for command in commands {
            for event in Order::decide(&state, &command).unwrap_or_default() {
                match &event {
                    Event::Paid(Paid { amount, .. }) | Event::PaidLate(PaidLate { amount, .. }) => {
                        prop_assert_eq!(*amount, gbp(510), "paid with another amount");
                        money += 1;
                    }
                    Event::Confirmed(_) => {
                        prop_assert!(money > 0, "sold without money");
                        prop_assert!(!sold, "sold twice");
                        sold = true;
                    }
                    Event::ReturnOpened(opened) => {
                        units_back += opened.lines.iter().map(|line| line.quantity).sum::<u32>();
                        money_back += opened.refund.amount;
                        prop_assert!(sold && units_back <= 2 && money_back <= 510);
                    }
                    Event::Closed(_) => {
                        let ending = matches!(state.situation(), Situation::Ending { .. });
                        prop_assert!(ending);
                    }
                    _ => {}
                }
                state = Order::evolve(state, &event);
            }
            // Whatever was decided, deciding it again changes nothing more.
            if let Ok(again) = Order::decide(&state, &command) {
                let grows = matches!(command, Command::RecordPaid { .. });
                prop_assert!(again.is_empty() || grows, "{command:?} again yields {again:?}");
            }
        }
    }
}

//! The rules of a return, sentence by sentence.

use proptest::prelude::*;

use super::*;
use crate::{decider::fold, money::Currency, testing::given};

fn gbp(amount: i64) -> Money {
    Money::new(amount, Currency::GBP)
}

fn line(quantity: u32, amount: i64) -> Line {
    let (product, sku) = (ProductId::new("22629").unwrap(), Sku::new("22629-red").unwrap());
    Line { product, sku, quantity, amount: gbp(amount) }
}

fn wish(lines: &[Line], refund: Money) -> Requested {
    Requested {
        order: OrderId::from_u128(1),
        buyer: MemberId::from_u128(2),
        payment: PaymentId::from_u128(3),
        lines: lines.to_vec(),
        refund,
        region: Region::new("GB").unwrap(),
        reason: Some(Personal::Sealed { member: MemberId::from_u128(2), ciphertext: b"too small".to_vec() }),
    }
}

fn command(wish: Requested) -> Command {
    let Requested { order, buyer, payment, lines, refund, region, reason } = wish;
    Command::Request { order, buyer, payment, lines, refund, region, reason }
}

fn requested() -> Event {
    wish(&[line(1, 195), line(2, 0)], gbp(195)).into()
}

fn warehouse(text: &str) -> WarehouseId {
    WarehouseId::new(text).unwrap()
}

fn received() -> Event {
    Received { warehouse: warehouse("london") }.into()
}

fn completed() -> Event {
    Completed {}.into()
}

fn refuse(wish: Requested, why: &Rejection) {
    given::<Return>([]).when(command(wish)).then_rejected(why);
}

#[test]
fn a_return_goes_step_by_step_and_each_step_once() {
    let receive = |text| Command::Receive { warehouse: warehouse(text) };
    given::<Return>([]).when(command(wish(&[line(1, 195), line(2, 0)], gbp(195)))).then([requested()]);
    given::<Return>([requested()]).when(receive("london")).then([received()]);
    given::<Return>([requested(), received()]).when(Command::Complete).then([completed()]);
    given::<Return>([requested(), received(), completed()]).when(receive("london")).then_nothing();

    given::<Return>([]).when(receive("london")).then_rejected(&Rejection::NotRequested);
    given::<Return>([]).when(Command::Complete).then_rejected(&Rejection::NotRequested);
    given::<Return>([requested()]).when(Command::Complete).then_rejected(&Rejection::NotReceived);
    given::<Return>([requested(), received()])
        .when(receive("leeds"))
        .then_rejected(&Rejection::AlreadyReceived { warehouse: warehouse("london") });
}

#[test]
fn a_return_has_one_body() {
    given::<Return>([requested(), received()])
        .when(command(wish(&[line(1, 1)], gbp(1))))
        .then_rejected(&Rejection::AlreadyRequested { order: OrderId::from_u128(1), refund: gbp(195) });
}

#[test]
fn the_refund_is_exactly_the_sum_of_the_lines() {
    let lines = [line(1, 195), line(1, 200)];
    for refund in [394, 396] {
        refuse(wish(&lines, gbp(refund)), &Rejection::RefundMismatch { sum: gbp(395), refund: gbp(refund) });
    }
    let euros = Money::new(395, Currency::EUR);
    let mismatch = MoneyError::Mismatch { left: Currency::EUR, right: Currency::GBP };
    refuse(wish(&lines, euros), &Rejection::Money(mismatch));
    refuse(wish(&[line(1, i64::MAX), line(1, 1)], gbp(0)), &Rejection::Money(MoneyError::Overflow));
}

#[test]
fn lines_quantities_amounts_and_words_have_limits() {
    let sku = line(1, 1).sku;
    refuse(wish(&[], gbp(0)), &Rejection::NoLines);
    let many = vec![line(1, 0); LINES_MAX + 1];
    refuse(wish(&many, gbp(0)), &Rejection::TooManyLines { found: LINES_MAX + 1 });
    for found in [0, UNITS_MAX + 1] {
        refuse(wish(&[line(found, 1)], gbp(1)), &Rejection::InvalidQuantity { sku: sku.clone(), found });
    }
    refuse(wish(&[line(1, -1)], gbp(-1)), &Rejection::InvalidAmount { sku, found: gbp(-1) });
    let words = Personal::words(MemberId::from_u128(2), &"x".repeat(REASON_MAX + 1));
    let wordy = Requested { reason: words, ..wish(&[line(1, 1)], gbp(1)) };
    refuse(wordy, &Rejection::ReasonTooLong { found: REASON_MAX + 1 });
}

proptest! {
    #[test]
    fn any_history_folds_and_reads_back(
        history in prop::collection::vec(prop::sample::select(vec![requested(), received(), completed()]), 0..12),
    ) {
        let state = fold::<Return>(&history);
        prop_assert_eq!(state.requested().is_some(), history.contains(&requested()));
        let stored = serde_json::to_string(&state).unwrap();
        prop_assert_eq!(serde_json::from_str::<State>(&stored).unwrap(), state);
    }

    #[test]
    fn goods_come_back_at_most_once(
        places in prop::collection::vec(prop::option::of(prop::sample::select(vec!["london", "leeds"])), 0..20),
    ) {
        let mut state = fold::<Return>(&[requested()]);
        let mut receipts = 0;
        for place in places {
            let command = place.map_or(Command::Complete, |p| Command::Receive { warehouse: warehouse(p) });
            let Ok(events) = Return::decide(&state, &command) else { continue };
            receipts += events.iter().filter(|e| matches!(e, Event::Received(_))).count();
            state = events.iter().fold(state, Return::evolve);
            prop_assert_eq!(Return::decide(&state, &command), Ok(vec![]));
        }
        prop_assert!(receipts <= 1);
        prop_assert_eq!(state.warehouse().is_some(), receipts == 1);
    }
}

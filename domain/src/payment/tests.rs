//! The rules of a payment, sentence by sentence.

use proptest::prelude::*;

use super::*;
use crate::{
    decider::{Stored as _, fold},
    ids::{MemberId, OrderId},
    money::Currency,
    testing::{Given, given},
};

const ORDER: OrderId = OrderId::from_u128(1);
const BUYER: MemberId = MemberId::from_u128(2);
const KEY: Uuid = Uuid::from_u128(3);

fn gbp(amount: i64) -> Money {
    Money::new(amount, Currency::GBP)
}

fn at() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn refund_id(n: u128) -> RefundId {
    RefundId::from_u128(n)
}

fn attempt(n: u128) -> Uuid {
    Uuid::from_u128(100 + n)
}

fn request_with(amount: Money, method: &str) -> Command {
    Command::Request { order: ORDER, buyer: BUYER, amount, method: method.into(), key: KEY }
}

fn requested() -> Event {
    Requested { order: ORDER, buyer: BUYER, amount: gbp(1000), method: "tok_1".into(), key: KEY }.into()
}

fn authorized() -> Event {
    Authorized { reference: "auth-1".into() }.into()
}

fn captured() -> Event {
    Captured { amount: gbp(1000), reference: "cap-1".into(), at: at() }.into()
}

fn declined() -> Event {
    Declined { reason: "insufficient_funds".into() }.into()
}

fn cancelled() -> Event {
    Cancelled {}.into()
}

fn voided() -> Event {
    Voided {}.into()
}

fn record_authorized() -> Command {
    Command::RecordAuthorized { reference: "auth-1".into() }
}

fn record_captured() -> Command {
    Command::RecordCaptured { amount: gbp(1000), reference: "cap-1".into(), at: at() }
}

fn record_declined() -> Command {
    Command::RecordDeclined { reason: "insufficient_funds".into() }
}

fn refund(n: u128, amount: i64, key: u128) -> Command {
    Command::Refund { refund: refund_id(n), amount: gbp(amount), key: attempt(key), why: String::new() }
}

fn refund_requested(n: u128, amount: i64, key: u128) -> Event {
    RefundRequested { refund: refund_id(n), amount: gbp(amount), key: attempt(key), why: None }.into()
}

fn record_refunded(n: u128, key: u128) -> Command {
    Command::RecordRefunded { refund: refund_id(n), key: attempt(key) }
}

fn record_refund_failed(n: u128, key: u128) -> Command {
    Command::RecordRefundFailed { refund: refund_id(n), key: attempt(key), reason: "closed_account".into() }
}

fn refunded(n: u128, amount: i64) -> Event {
    Refunded { refund: refund_id(n), amount: gbp(amount) }.into()
}

fn refund_failed(n: u128) -> Event {
    RefundFailed { refund: refund_id(n), reason: "closed_account".into() }.into()
}

/// A requested payment and what followed.
fn after<const N: usize>(events: [Event; N]) -> Given<Payment> {
    given([requested()].into_iter().chain(events))
}

#[test]
fn a_payment_is_requested_once_with_one_body() {
    given::<Payment>([]).when(request_with(gbp(1000), "tok_1")).then([requested()]);
    after([])
        .when(request_with(gbp(1001), "tok_1"))
        .then_rejected(&Rejection::AlreadyRequested { order: ORDER, amount: gbp(1000) });
    for amount in [0, -5] {
        given::<Payment>([])
            .when(request_with(gbp(amount), "tok_1"))
            .then_rejected(&Rejection::InvalidAmount { found: gbp(amount) });
    }
    given::<Payment>([]).when(request_with(gbp(1), " ")).then_rejected(&Rejection::InvalidMethod { found: 1 });
    let long = "t".repeat(METHOD_MAX + 1);
    given::<Payment>([])
        .when(request_with(gbp(1), &long))
        .then_rejected(&Rejection::InvalidMethod { found: METHOD_MAX + 1 });
}

#[test]
fn a_card_number_is_refused_and_never_repeated() {
    for number in ["4242424242424242", "4242 4242 4242 4242", "3782-822463-10005", "6011111111111117"] {
        given::<Payment>([]).when(request_with(gbp(1), number)).then_rejected(&Rejection::CardNumber);
    }
    assert!(!Rejection::CardNumber.to_string().contains("4242"));
    for token in ["4242424242424243", "424242424242", "tok_4242424242424242", "42424242424242424242"] {
        assert!(!is_card_number(token), "{token}");
    }
}

#[test]
fn nothing_is_recorded_about_a_payment_that_nobody_requested() {
    for command in [
        record_authorized(),
        record_captured(),
        record_declined(),
        Command::Cancel,
        Command::RecordVoided,
        refund(1, 1, 1),
        record_refunded(1, 1),
        record_refund_failed(1, 1),
    ] {
        given::<Payment>([]).when(command).then_rejected(&Rejection::NotRequested);
    }
}

#[test]
fn what_the_provider_says_is_recorded_once_in_the_usual_order() {
    after([]).when(record_authorized()).then([authorized()]);
    after([authorized()]).when(record_captured()).then([captured()]);
    after([]).when(record_declined()).then([declined()]);
    after([authorized()]).when(record_declined()).then([declined()]);
    after([]).when(Command::Cancel).then([cancelled()]);
    after([authorized()]).when(Command::Cancel).then([cancelled()]);
    after([cancelled()]).when(Command::RecordVoided).then([voided()]);
    after([authorized()]).when(Command::RecordVoided).then([voided()]);
}

#[test]
fn money_that_was_taken_is_recorded_whatever_was_said_before() {
    after([]).when(record_captured()).then([captured()]);
    after([declined()]).when(record_captured()).then([captured()]);
    after([cancelled()]).when(record_captured()).then([captured()]);
    after([cancelled(), voided()]).when(record_captured()).then([captured()]);
}

#[test]
fn another_amount_than_was_asked_for_is_given_back_at_once() {
    let refund = fold::<Payment>(&[requested()]).details().unwrap().wrong_amount_refund();
    for amount in [1, 999, 1001] {
        let record = || Command::RecordCaptured { amount: gbp(amount), reference: "cap-1".into(), at: at() };
        let captured = || Captured { amount: gbp(amount), reference: "cap-1".into(), at: at() }.into();
        let asked = RefundRequested { refund, amount: gbp(amount), key: derive(refund.0, "refund", &[]), why: None };
        for before in [vec![], vec![authorized()], vec![declined()], vec![cancelled()]] {
            let history = [vec![requested()], before].concat();
            given::<Payment>(history.clone()).when(record()).then([captured(), asked.clone().into()]);
            let after = fold::<Payment>(&[history, vec![captured(), asked.clone().into()]].concat());
            assert_eq!(after.details().unwrap().refunded_or_pending(), gbp(amount), "nothing is kept");
        }
    }
}

#[test]
fn late_and_repeated_notices_change_nothing() {
    after([authorized()]).when(record_authorized()).then_nothing();
    after([captured()]).when(record_authorized()).then_nothing();
    after([captured()]).when(record_declined()).then_nothing();
    after([captured()]).when(Command::RecordVoided).then_nothing();
    after([captured()]).when(record_captured()).then_nothing();
    after([declined()]).when(record_authorized()).then_nothing();
    after([declined()]).when(Command::Cancel).then_nothing();
    after([declined()]).when(Command::RecordVoided).then_nothing();
    after([cancelled()]).when(record_authorized()).then_nothing();
    after([cancelled()]).when(record_declined()).then_nothing();
    after([cancelled(), voided()]).when(Command::Cancel).then_nothing();
    after([cancelled(), voided()]).when(record_declined()).then_nothing();
}

#[test]
fn a_payment_can_be_called_off_before_anybody_asks_for_it() {
    let forestall =
        || Command::Forestall { order: ORDER, buyer: BUYER, amount: gbp(1000), method: "tok_1".into(), key: KEY };
    given::<Payment>([]).when(forestall()).then([requested(), cancelled()]);
    after([cancelled()]).when(request_with(gbp(1000), "tok_1")).then_nothing();
    after([authorized()]).when(forestall()).then([cancelled()]);
    after([captured()]).when(forestall()).then_rejected(&Rejection::AlreadyCaptured { captured: gbp(1000) });
}

#[test]
fn captured_money_cannot_be_cancelled_only_refunded() {
    after([captured()]).when(Command::Cancel).then_rejected(&Rejection::AlreadyCaptured { captured: gbp(1000) });
    after([captured()]).when(refund(1, 1000, 1)).then([refund_requested(1, 1000, 1)]);
    after([authorized()]).when(refund(1, 1, 1)).then_rejected(&Rejection::NotCaptured);
}

#[test]
fn why_a_refund_was_asked_for_is_kept_sealed_as_the_buyers() {
    let (refund, key) = (refund_id(1), attempt(1));
    let command = Command::Refund { refund, amount: gbp(600), key, why: "was ill in hospital".into() };
    let why = Personal::words(BUYER, "was ill in hospital");
    let mut asked: Event = RefundRequested { refund, amount: gbp(600), key, why }.into();
    after([captured()]).when(command).then([asked.clone()]);
    assert!(asked.encode().is_err(), "open words are never written");
    assert_eq!(asked.personal().iter().map(|field| field.member()).collect::<Vec<_>>(), [BUYER]);
}

#[test]
fn two_refunds_of_sixty_percent_do_not_both_pass() {
    after([captured(), refund_requested(1, 600, 1)]).when(refund(2, 600, 2)).then_rejected(
        &Rejection::RefundExceedsCapture { captured: gbp(1000), refunded_or_pending: gbp(600), requested: gbp(600) },
    );
    after([captured(), refund_requested(1, 600, 1), refunded(1, 600)])
        .when(refund(2, 400, 2))
        .then([refund_requested(2, 400, 2)]);
    after([captured(), refund_requested(1, 600, 1)]).when(refund(2, 401, 2)).then_rejected(
        &Rejection::RefundExceedsCapture { captured: gbp(1000), refunded_or_pending: gbp(600), requested: gbp(401) },
    );
    after([captured()]).when(refund(1, i64::MAX, 1)).then_rejected(&Rejection::RefundExceedsCapture {
        captured: gbp(1000),
        refunded_or_pending: gbp(0),
        requested: gbp(i64::MAX),
    });
}

#[test]
fn a_refund_names_a_positive_amount_of_the_payments_currency_and_keeps_it() {
    after([captured()]).when(refund(1, 0, 1)).then_rejected(&Rejection::InvalidAmount { found: gbp(0) });
    let euros = Money::new(5, Currency::EUR);
    let mismatch = Rejection::CurrencyMismatch { expected: Currency::GBP, found: Currency::EUR };
    after([captured()])
        .when(Command::Refund { refund: refund_id(1), amount: euros, key: attempt(1), why: String::new() })
        .then_rejected(&mismatch);
    after([])
        .when(Command::RecordCaptured { amount: euros, reference: "cap-1".into(), at: at() })
        .then_rejected(&mismatch);
    after([captured(), refund_requested(1, 600, 1)])
        .when(refund(1, 500, 1))
        .then_rejected(&Rejection::RefundChanged { refund: refund_id(1), amount: gbp(600) });
}

#[test]
fn a_failed_refund_is_owed_until_it_is_left_to_an_operator_and_may_be_tried_again_under_another_key() {
    after([captured(), refund_requested(1, 600, 1)]).when(record_refund_failed(1, 1)).then([refund_failed(1)]);
    let failed = || after([captured(), refund_requested(1, 600, 1), refund_failed(1)]);
    let too_much =
        Rejection::RefundExceedsCapture { captured: gbp(1000), refunded_or_pending: gbp(600), requested: gbp(401) };
    failed().when(refund(2, 401, 2)).then_rejected(&too_much);
    failed().when(refund(2, 400, 2)).then([refund_requested(2, 400, 2)]);
    let attempts = (0..u128::from(REFUND_ATTEMPTS_MAX)).flat_map(|n| [refund_requested(1, 600, n), refund_failed(1)]);
    given::<Payment>([requested(), captured()].into_iter().chain(attempts))
        .when(refund(2, 1000, 2))
        .then([refund_requested(2, 1000, 2)]);
    failed().when(refund(1, 600, 1)).then_nothing();
    failed().when(refund(1, 600, 2)).then([refund_requested(1, 600, 2)]);
    failed().when(record_refunded(1, 1)).then_nothing();
}

#[test]
fn a_late_word_about_an_earlier_attempt_does_not_touch_the_newest() {
    let second = || after([captured(), refund_requested(1, 600, 1), refund_failed(1), refund_requested(1, 600, 2)]);
    second().when(record_refund_failed(1, 1)).then_nothing();
    second().when(record_refunded(1, 2)).then([refunded(1, 600)]);
    after([captured(), refund_requested(1, 600, 1), refunded(1, 600)]).when(record_refund_failed(1, 1)).then_nothing();
    after([captured()]).when(record_refunded(9, 9)).then_nothing();
}

#[test]
fn a_payment_has_a_bounded_number_of_refunds() {
    let many = (0..REFUNDS_MAX as u128).map(|n| refund_requested(n, 1, n));
    given::<Payment>([requested(), captured()].into_iter().chain(many))
        .when(refund(REFUNDS_MAX as u128, 1, 1))
        .then_rejected(&Rejection::TooManyRefunds);
}

#[test]
fn a_provider_cannot_fill_the_log_with_a_reason() {
    let reason = "é".repeat(REASON_MAX + 1);
    after([]).when(Command::RecordDeclined { reason }).then([Declined { reason: "é".repeat(REASON_MAX) }.into()]);
}

#[test]
fn the_state_answers_what_the_processes_ask() {
    let history = [requested(), captured(), refund_requested(1, 300, 1), refunded(1, 300), refund_requested(2, 200, 2)];
    let state = fold::<Payment>(&history);
    let payment = state.details().unwrap();
    assert_eq!(payment.captured(), Some((gbp(1000), "cap-1")));
    assert_eq!(payment.refunded(), gbp(300));
    assert_eq!(payment.refunded_or_pending(), gbp(500));
    assert_eq!(payment.pending_refunds().map(|(id, _)| id).collect::<Vec<_>>(), [refund_id(2)]);
    assert_ne!(payment.capture_key(), payment.key);
}

fn commands() -> impl Strategy<Value = Command> {
    let currency = prop::sample::select(vec![Currency::GBP, Currency::GBP, Currency::GBP, Currency::EUR]);
    let amount = (prop_oneof![-2_i64..700, Just(i64::MAX)], currency).prop_map(|(a, c)| Money::new(a, c));
    prop_oneof![
        Just(request_with(gbp(1000), "tok_1")),
        Just(record_authorized()),
        Just(record_captured()),
        (1_i64..1500).prop_map(|amount| Command::RecordCaptured {
            amount: gbp(amount),
            reference: "cap-1".into(),
            at: at()
        }),
        Just(record_declined()),
        Just(Command::Cancel),
        Just(Command::Forestall { order: ORDER, buyer: BUYER, amount: gbp(1000), method: "tok_1".into(), key: KEY }),
        Just(Command::RecordVoided),
        (0_u128..4, amount, 0_u128..8).prop_map(|(n, amount, key)| Command::Refund {
            refund: refund_id(n),
            amount,
            key: attempt(key),
            why: String::new()
        }),
        (0_u128..4, 0_u128..8).prop_map(|(n, key)| record_refunded(n, key)),
        (0_u128..4, 0_u128..8).prop_map(|(n, key)| record_refund_failed(n, key)),
    ]
}

proptest! {
    #[test]
    fn refunds_never_pass_what_was_captured_and_every_penny_is_told_once(
        commands in prop::collection::vec(commands(), 0..80),
    ) {
        let mut state = State::default();
        let (mut taken, mut given_back) = (0_i64, 0_i64);
        // Of each refund: its amount, how often it was asked for, and whether it is still owed.
        let mut refunds: BTreeMap<RefundId, (i64, u32, bool)> = BTreeMap::new();
        for command in &commands {
            let Ok(events) = Payment::decide(&state, command) else { continue };
            for event in &events {
                match event {
                    Event::Captured(e) => {
                        prop_assert_eq!(taken, 0, "money is taken once");
                        taken = e.amount.amount;
                    }
                    Event::RefundRequested(e) => {
                        let (_, attempts, _) = refunds.get(&e.refund).copied().unwrap_or_default();
                        refunds.insert(e.refund, (e.amount.amount, attempts + 1, true));
                    }
                    Event::Refunded(e) => given_back += e.amount.amount,
                    Event::RefundFailed(e) => {
                        let (_, attempts, owed) = refunds.get_mut(&e.refund).unwrap();
                        *owed = *attempts < REFUND_ATTEMPTS_MAX;
                    }
                    _ => {}
                }
            }
            state = events.iter().fold(state, Payment::evolve);
            let promised: i64 = refunds.values().filter(|(_, _, owed)| *owed).map(|(amount, ..)| amount).sum();
            prop_assert!(given_back <= promised && promised <= taken, "{given_back} {promised} {taken}");
            if taken != 0 && taken != 1000 {
                let back = refunds.get(&state.details().unwrap().wrong_amount_refund());
                prop_assert_eq!(back.map(|(amount, ..)| *amount), Some(taken), "another amount goes back whole");
            }
            let again = Payment::decide(&state, command);
            prop_assert_eq!(again, Ok(vec![]), "a retry is silent");
            if let Some(payment) = state.details() {
                prop_assert_eq!(payment.refunded(), gbp(given_back));
                prop_assert_eq!(payment.refunded_or_pending(), gbp(promised));
                prop_assert_eq!(payment.captured().is_some(), taken > 0, "a capture is never forgotten");
            }
        }
        let stored = serde_json::to_string(&state).unwrap();
        prop_assert_eq!(serde_json::from_str::<State>(&stored).unwrap(), state);
    }
}

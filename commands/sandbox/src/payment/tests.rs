//! What the shop may rely on however rude the provider is.

use jiff::Timestamp;
use proptest::prelude::*;
use tokio::time::{Instant, timeout};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

struct Frozen;

impl Clock for Frozen {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }
}

fn rude(behaviour: Behaviour) -> SandboxPayments {
    SandboxPayments::new(behaviour, Arc::new(Frozen))
}

fn calm() -> SandboxPayments {
    rude(Behaviour::calm(1))
}

/// A charge on payment 1 under this key.
fn charge(key: u128, amount: i64) -> Charge {
    Charge { key: Uuid::from_u128(key), payment: Uuid::from_u128(1), amount, currency: "GBP".into() }
}

fn declined(reason: &str) -> Result<Answer, Error> {
    Ok(Answer::Declined { reason: reason.into() })
}

fn reference(answer: Result<Answer, Error>) -> String {
    match answer {
        Ok(Answer::Approved { reference }) => reference,
        other => panic!("not approved: {other:?}"),
    }
}

fn account(provider: &SandboxPayments) -> Account {
    provider.ledger().payments.remove(&Uuid::from_u128(1)).unwrap_or_default()
}

fn moved(provider: &SandboxPayments) -> (i64, i64, i64) {
    let Account { authorized, captured, refunded, .. } = account(provider);
    (authorized, captured, refunded)
}

/// Authorizes 1,000 under key 10 and captures it under key 11.
async fn paid(provider: &SandboxPayments, token: &str) -> String {
    let authorization = reference(provider.authorize(&charge(10, 1_000), token).await);
    reference(provider.capture(&charge(11, 1_000), &authorization).await)
}

#[tokio::test(start_paused = true)]
async fn one_key_is_one_act_with_one_answer() {
    let provider = calm();
    let first = provider.authorize(&charge(10, 1_000), "tok_ok").await;
    assert_eq!(provider.authorize(&charge(10, 1_000), "tok_ok").await, first);
    assert_eq!(provider.authorize(&charge(10, 9_999), "tok_decline").await, first, "the first body counts");
    let authorization = reference(first);
    let capture = reference(provider.capture(&charge(11, 1_000), &authorization).await);
    assert_eq!(reference(provider.capture(&charge(11, 1_000), &authorization).await), capture);
    let refund = provider.refund(&charge(12, 400), &capture).await;
    assert_eq!(provider.refund(&charge(12, 400), &capture).await, refund);
    assert_eq!(moved(&provider), (1_000, 1_000, 400));
}

#[tokio::test(start_paused = true)]
async fn refunds_never_pass_the_capture_and_captures_never_the_authorization() {
    let provider = calm();
    let authorization = reference(provider.authorize(&charge(10, 1_000), "tok_ok").await);
    assert_eq!(provider.capture(&charge(20, 1_001), &authorization).await, declined("exceeds_authorization"));
    let capture = reference(provider.capture(&charge(11, 1_000), &authorization).await);
    assert_eq!(provider.capture(&charge(21, 1), &authorization).await, declined("exceeds_authorization"));
    reference(provider.refund(&charge(12, 600), &capture).await);
    assert_eq!(provider.refund(&charge(13, 600), &capture).await, declined("exceeds_capture"));
    reference(provider.refund(&charge(14, 400), &capture).await);
    assert_eq!(moved(&provider), (1_000, 1_000, 1_000));
}

#[tokio::test(start_paused = true)]
async fn nothing_moves_for_a_wrong_reference_amount_or_currency() {
    let provider = calm();
    assert_eq!(provider.authorize(&charge(10, 0), "tok_ok").await, declined("invalid_amount"));
    assert_eq!(provider.capture(&charge(11, 5), "made up").await, declined("unknown_authorization"));
    assert_eq!(provider.refund(&charge(12, 5), "auth_1_5").await, declined("unknown_capture"));
    let won = Charge { currency: "KRW".into(), ..charge(13, 5) };
    assert_eq!(provider.authorize(&won, "tok_ok").await, declined("currency_mismatch"));
    assert_eq!(moved(&provider), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_void_beats_an_authorization_that_comes_later_but_not_a_capture() {
    let provider = calm();
    reference(provider.void(&charge(10, 1_000)).await);
    assert_eq!(provider.authorize(&charge(10, 1_000), "tok_ok").await, declined("voided"));

    let provider = calm();
    let authorization = reference(provider.authorize(&charge(10, 1_000), "tok_ok").await);
    reference(provider.void(&charge(10, 1_000)).await);
    assert_eq!(provider.capture(&charge(11, 1_000), &authorization).await, declined("voided"));
    assert!(account(&provider).voided);

    let provider = calm();
    paid(&provider, "tok_ok").await;
    assert_eq!(provider.void(&charge(10, 1_000)).await, declined("already_captured"));
    assert_eq!(moved(&provider), (1_000, 1_000, 0));
}

#[tokio::test(start_paused = true)]
async fn tokens_choose_a_fate() {
    let provider = calm();
    assert_eq!(provider.authorize(&charge(10, 1), "tok_decline").await, declined("insufficient_funds"));
    let forged = format!("auth_{}_1", Uuid::from_u128(10).simple());
    assert_eq!(provider.capture(&charge(11, 1), &forged).await, declined("unknown_authorization"));

    let provider = calm();
    let capture = paid(&provider, "tok_norefund").await;
    assert_eq!(provider.refund(&charge(12, 1), &capture).await, declined("refund_refused"));

    let start = Instant::now();
    paid(&calm(), "tok_slow").await;
    assert_eq!(start.elapsed(), 2 * SLOW);

    let awful = Behaviour { unavailable: 1.0, timeout: 1.0, decline: 1.0, decline_refund: 1.0, ..Behaviour::calm(1) };
    let provider = rude(awful);
    let capture = paid(&provider, "tok_ok").await;
    reference(provider.refund(&charge(12, 1), &capture).await);
}

#[tokio::test(start_paused = true)]
async fn a_call_without_an_answer_has_done_its_act_and_is_notified() {
    let provider = rude(Behaviour { timeout_after: 5 * SECOND, ..Behaviour::calm(1) });
    let start = Instant::now();
    assert_eq!(provider.authorize(&charge(10, 1_000), "tok_timeout").await, Err(Error::Timeout));
    assert_eq!(start.elapsed(), 5 * SECOND);
    assert_eq!(moved(&provider), (1_000, 0, 0));
    let notice = timeout(SECOND, provider.notice()).await.unwrap().unwrap();
    assert_eq!((notice.act, notice.key, notice.amount), (Act::Authorize, Uuid::from_u128(10), 1_000));

    let authorization = reference(provider.authorize(&charge(10, 1_000), "tok_timeout").await);
    assert_eq!(notice.answer, Answer::Approved { reference: authorization.clone() });
    assert_eq!(provider.capture(&charge(11, 1_000), &authorization).await, Err(Error::Timeout));
    reference(provider.capture(&charge(11, 1_000), &authorization).await);
    assert_eq!(moved(&provider), (1_000, 1_000, 0));
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_is_down_does_nothing_and_says_so() {
    let provider = rude(Behaviour { unavailable: 1.0, ..Behaviour::calm(1) });
    for _ in 0..3 {
        let answer = provider.authorize(&charge(10, 1_000), "tok_visa").await;
        assert!(matches!(answer, Err(Error::Unavailable(_))), "{answer:?}");
    }
    assert_eq!(moved(&provider), (0, 0, 0));
    assert!(timeout(SECOND, provider.notice()).await.is_err(), "nothing happened, so nothing is told");
}

#[tokio::test(start_paused = true)]
async fn who_hangs_up_early_stops_the_act_and_who_hangs_up_late_does_not() {
    let provider = rude(Behaviour { latency: (4 * SECOND, 4 * SECOND), ..Behaviour::calm(1) });
    assert!(timeout(SECOND, provider.authorize(&charge(10, 1_000), "tok_ok")).await.is_err());
    assert_eq!(moved(&provider), (0, 0, 0));
    assert!(timeout(3 * SECOND, provider.authorize(&charge(10, 1_000), "tok_ok")).await.is_err());
    assert_eq!(moved(&provider), (1_000, 0, 0));
    reference(provider.authorize(&charge(10, 1_000), "tok_ok").await);
    assert_eq!(moved(&provider), (1_000, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn answered_acts_are_echoed_as_often_as_was_asked_for() {
    let provider = rude(Behaviour { echo: 1.0, duplicate: 1.0, ..Behaviour::calm(1) });
    paid(&provider, "tok_ok").await;
    let mut told = Vec::new();
    while let Ok(Some(notice)) = timeout(SECOND, provider.notice()).await {
        told.push(notice.act);
    }
    assert_eq!(told, [Act::Authorize, Act::Authorize, Act::Capture, Act::Capture]);
}

#[tokio::test(start_paused = true)]
async fn the_ledger_is_bounded_and_what_it_forgot_can_still_be_refunded() {
    let provider = calm();
    let at = |n: usize| Charge { payment: Uuid::from_u128(1 + n as u128), ..charge(10, 1_000) };
    let unsettled = reference(provider.authorize(&at(0), "tok_ok").await);
    let capture = {
        let authorization = reference(provider.authorize(&at(1), "tok_ok").await);
        reference(provider.capture(&Charge { key: Uuid::from_u128(11), ..at(1) }, &authorization).await)
    };
    for n in 2..=LEDGER_MAX + 1 {
        reference(provider.authorize(&at(n), "tok_ok").await);
        reference(provider.void(&at(n)).await);
    }
    let ledger = provider.ledger();
    assert_eq!((ledger.payments.len(), ledger.forgotten), (LEDGER_MAX, 2));
    assert!(ledger.payments.contains_key(&at(0).payment), "money that waits is remembered");
    assert!(!ledger.payments.contains_key(&at(1).payment));
    reference(provider.capture(&Charge { key: Uuid::from_u128(11), ..at(0) }, &unsettled).await);

    let refund = |key, amount| Charge { key: Uuid::from_u128(key), amount, ..at(1) };
    reference(provider.refund(&refund(12, 900), &capture).await);
    assert_eq!(provider.refund(&refund(13, 900), &capture).await, declined("exceeds_capture"));
}

/// Calls until there is an answer.
async fn insist<F: Future<Output = Result<Answer, Error>>>(call: impl Fn() -> F) -> Answer {
    loop {
        if let Ok(answer) = call().await {
            return answer;
        }
    }
}

/// Pays and refunds twice, insisting on every answer, and tells all answers.
async fn lifecycle(provider: &SandboxPayments) -> Vec<Answer> {
    let mut answers = vec![insist(|| async { provider.authorize(&charge(10, 1_000), "tok_visa").await }).await];
    let Some(Answer::Approved { reference: authorization }) = answers.last().cloned() else {
        return answers;
    };
    answers.push(insist(|| async { provider.capture(&charge(11, 1_000), &authorization).await }).await);
    let Some(Answer::Approved { reference: capture }) = answers.last().cloned() else {
        return answers;
    };
    for key in [12, 13] {
        answers.push(insist(|| async { provider.refund(&charge(key, 600), &capture).await }).await);
    }
    answers
}

proptest! {
    #[test]
    fn however_rude_the_provider_retries_end_and_money_moves_once(seed in proptest::num::u64::ANY) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let provider = rude(Behaviour { timeout: 0.5, unavailable: 0.3, ..Behaviour::rough(seed) });
            let answers = lifecycle(&provider).await;
            let (authorized, captured, refunded) = moved(&provider);
            let approved = |n: usize| matches!(answers.get(n), Some(Answer::Approved { .. }));
            prop_assert_eq!(authorized, if approved(0) { 1_000 } else { 0 });
            prop_assert_eq!(captured, if approved(1) { 1_000 } else { 0 });
            prop_assert_eq!(refunded, if approved(2) || approved(3) { 600 } else { 0 });

            let again = lifecycle(&provider).await;
            prop_assert_eq!(&again, &answers, "the same keys get the same answers");
            while let Ok(Some(notice)) = timeout(600 * SECOND, provider.notice()).await {
                prop_assert!(answers.contains(&notice.answer), "a notice tells nothing but the truth");
            }
            let other = rude(Behaviour::rough(seed));
            prop_assert_eq!(lifecycle(&other).await, answers, "the same seed is the same fate");
            Ok(())
        })?;
    }
}

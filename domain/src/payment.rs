//! One attempt to pay an order, and the refunds that follow it.
//!
//! The stream is the shop's memory of what it asked a payment provider to do and what it was told. Every
//! call's idempotency key is stored before the call. What the provider tells comes late, twice and in any
//! order, so every `Record…` command is harmless where it no longer fits; only money that was
//! taken is believed at any time, because forgetting it would be keeping it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    decider::Decider,
    ids::{PaymentId, RefundId, derive},
    money::Money,
    personal::Personal,
};

mod command;
mod event;
mod state;

pub use command::{Command, Rejection};
pub use event::*;
pub use state::{Details, Outcome, Refund, Situation, State};

/// The longest token a provider may give a buyer's method, in characters.
pub const METHOD_MAX: usize = 255;
/// The most refunds of one payment.
pub const REFUNDS_MAX: usize = 1_000;
/// How often the provider is asked for a refund before it is left to an operator. Until then it is owed: another refund
/// that took its share would leave nothing for the next attempt.
pub const REFUND_ATTEMPTS_MAX: u32 = 6;
/// Why a payment counts as failed although money was taken: it was another amount than was asked for, and goes back.
pub const WRONG_AMOUNT: &str = "wrong_amount";
/// The longest reason kept of what a provider says, in characters; the rest is cut off.
pub const REASON_MAX: usize = 200;

/// The payment aggregate.
#[derive(Debug)]
pub struct Payment;

impl Decider for Payment {
    const CATEGORY: &'static str = "payment";
    const FOLD: u32 = 1;
    type Id = PaymentId;
    type State = State;
    type Command = Command;
    type Event = Event;
    type Rejection = Rejection;

    fn decide(state: &State, command: &Command) -> Result<Vec<Event>, Rejection> {
        match (command, state.details()) {
            (Command::Request { order, buyer, amount, method, key }, _) => request(
                state,
                Requested { order: *order, buyer: *buyer, amount: *amount, method: method.clone(), key: *key },
            ),
            (Command::Forestall { order, buyer, amount, method, key }, None) => {
                let asked =
                    Requested { order: *order, buyer: *buyer, amount: *amount, method: method.clone(), key: *key };
                request(state, asked).map(|asked| asked.into_iter().chain([Cancelled {}.into()]).collect())
            }
            (_, None) => Err(Rejection::NotRequested),
            (Command::RecordAuthorized { reference }, Some(payment)) => Ok(authorized(payment, reference)),
            (Command::RecordCaptured { amount, reference, at }, Some(payment)) => {
                captured(payment, *amount, reference, *at)
            }
            (Command::RecordDeclined { reason }, Some(payment)) => Ok(declined(payment, reason)),
            (Command::Cancel | Command::Forestall { .. }, Some(payment)) => cancel(payment),
            (Command::RecordVoided, Some(payment)) => Ok(voided(payment)),
            (Command::Refund { refund, amount, key, why }, Some(payment)) => {
                let why = Personal::words(payment.buyer, why);
                request_refund(payment, RefundRequested { refund: *refund, amount: *amount, key: *key, why })
            }
            (Command::RecordRefunded { refund, key }, Some(payment)) => Ok(refunded(payment, *refund, *key)),
            (Command::RecordRefundFailed { refund, key, reason }, Some(payment)) => {
                Ok(refund_failed(payment, *refund, *key, reason))
            }
        }
    }

    fn evolve(state: State, event: &Event) -> State {
        match (state, event) {
            (_, Event::Requested(Requested { order, buyer, amount, method, key })) => {
                State::Requested(Box::new(Details {
                    order: *order,
                    buyer: *buyer,
                    amount: *amount,
                    method: method.clone(),
                    key: *key,
                    situation: Situation::Requested,
                    refunds: BTreeMap::new(),
                }))
            }
            (State::Requested(mut payment), event) => {
                change(&mut payment, event);
                State::Requested(payment)
            }
            (State::Unrequested, _) => State::Unrequested,
        }
    }
}

fn change(payment: &mut Details, event: &Event) {
    match event {
        Event::Requested(_) => {}
        Event::Authorized(Authorized { reference }) => {
            payment.situation = Situation::Authorized { reference: reference.clone() };
        }
        Event::Captured(Captured { amount, reference, at }) => {
            payment.situation = Situation::Captured { amount: *amount, reference: reference.clone(), at: *at };
        }
        Event::Declined(Declined { reason }) => payment.situation = Situation::Declined { reason: reason.clone() },
        Event::Cancelled(_) => {
            let authorization = match &payment.situation {
                Situation::Authorized { reference } => Some(reference.clone()),
                _ => None,
            };
            payment.situation = Situation::Cancelled { authorization };
        }
        Event::Voided(_) => payment.situation = Situation::Voided,
        Event::RefundRequested(RefundRequested { refund, amount, key, .. }) => {
            let attempts = payment.refunds.get(refund).map_or(0, |known| known.attempts).saturating_add(1);
            payment.refunds.insert(*refund, Refund { amount: *amount, key: *key, outcome: Outcome::Pending, attempts });
        }
        Event::Refunded(Refunded { refund, .. }) => settle(payment, *refund, Outcome::Refunded),
        Event::RefundFailed(RefundFailed { refund, .. }) => {
            settle(payment, *refund, Outcome::Failed);
        }
    }
}

fn settle(payment: &mut Details, refund: RefundId, outcome: Outcome) {
    if let Some(refund) = payment.refunds.get_mut(&refund) {
        refund.outcome = outcome;
    }
}

fn request(state: &State, wish: Requested) -> Result<Vec<Event>, Rejection> {
    if let Some(known) = state.details() {
        let same = (known.order, known.buyer, known.amount, known.key)
            == (wish.order, wish.buyer, wish.amount, wish.key)
            && known.method == wish.method;
        let already = Rejection::AlreadyRequested { order: known.order, amount: known.amount };
        return if same { Ok(vec![]) } else { Err(already) };
    }
    positive(wish.amount)?;
    let length = wish.method.chars().count();
    if wish.method.trim().is_empty() || length > METHOD_MAX {
        return Err(Rejection::InvalidMethod { found: length });
    }
    if is_card_number(&wish.method) {
        return Err(Rejection::CardNumber);
    }
    Ok(vec![wish.into()])
}

/// Believed only while the shop waits for it: afterwards it says nothing that is not known or overtaken.
fn authorized(payment: &Details, reference: &str) -> Vec<Event> {
    match payment.situation {
        Situation::Requested => vec![Authorized { reference: reference.to_owned() }.into()],
        _ => vec![],
    }
}

/// Believed in every situation, because the money was taken: whoever no longer wanted it must give it back.
/// Another amount than was asked for pays nothing, so it is given back at once, in the same write.
fn captured(payment: &Details, amount: Money, reference: &str, at: Timestamp) -> Result<Vec<Event>, Rejection> {
    if payment.captured().is_some() {
        return Ok(vec![]);
    }
    positive(amount)?;
    same_currency(payment, amount)?;
    let mut events = vec![Captured { amount, reference: reference.to_owned(), at }.into()];
    if amount != payment.amount {
        let refund = payment.wrong_amount_refund();
        events.push(RefundRequested { refund, amount, key: derive(refund.0, "refund", &[]), why: None }.into());
    }
    Ok(events)
}

/// Not believed after a cancellation: a late refusal to capture leaves money set aside, which the void releases.
fn declined(payment: &Details, reason: &str) -> Vec<Event> {
    match payment.situation {
        Situation::Requested | Situation::Authorized { .. } => vec![Declined { reason: cut(reason) }.into()],
        _ => vec![],
    }
}

fn cancel(payment: &Details) -> Result<Vec<Event>, Rejection> {
    match payment.situation {
        Situation::Requested | Situation::Authorized { .. } => Ok(vec![Cancelled {}.into()]),
        Situation::Captured { amount, .. } => Err(Rejection::AlreadyCaptured { captured: amount }),
        Situation::Declined { .. } | Situation::Cancelled { .. } | Situation::Voided => Ok(vec![]),
    }
}

/// A provider also lets go by itself, when an authorization grows too old.
fn voided(payment: &Details) -> Vec<Event> {
    match payment.situation {
        Situation::Requested | Situation::Authorized { .. } | Situation::Cancelled { .. } => {
            vec![Voided {}.into()]
        }
        Situation::Captured { .. } | Situation::Declined { .. } | Situation::Voided => vec![],
    }
}

fn request_refund(payment: &Details, wish: RefundRequested) -> Result<Vec<Event>, Rejection> {
    let RefundRequested { refund, amount, key, .. } = wish;
    let Some((captured, _)) = payment.captured() else {
        return Err(Rejection::NotCaptured);
    };
    match payment.refunds.get(&refund) {
        Some(known) if known.amount != amount => {
            return Err(Rejection::RefundChanged { refund, amount: known.amount });
        }
        Some(known) if known.outcome != Outcome::Failed || known.key == key => return Ok(vec![]),
        Some(_) => {}
        None if payment.refunds.len() >= REFUNDS_MAX => return Err(Rejection::TooManyRefunds),
        None => {}
    }
    positive(amount)?;
    same_currency(payment, amount)?;
    let refunded_or_pending = payment.owed_beside(refund);
    match refunded_or_pending.plus(amount) {
        Ok(sum) if sum.amount <= captured.amount => Ok(vec![wish.into()]),
        _ => Err(Rejection::RefundExceedsCapture { captured, refunded_or_pending, requested: amount }),
    }
}

fn refunded(payment: &Details, refund: RefundId, key: Uuid) -> Vec<Event> {
    awaited(payment, refund, key).map_or(vec![], |known| vec![Refunded { refund, amount: known.amount }.into()])
}

fn refund_failed(payment: &Details, refund: RefundId, key: Uuid, reason: &str) -> Vec<Event> {
    awaited(payment, refund, key).map_or(vec![], |_| vec![RefundFailed { refund, reason: cut(reason) }.into()])
}

/// The refund, if it waits for just this answer: a late word about an earlier attempt says nothing about the newest.
fn awaited(payment: &Details, refund: RefundId, key: Uuid) -> Option<&Refund> {
    payment.refunds.get(&refund).filter(|known| known.outcome == Outcome::Pending && known.key == key)
}

fn positive(amount: Money) -> Result<(), Rejection> {
    if amount.amount > 0 { Ok(()) } else { Err(Rejection::InvalidAmount { found: amount }) }
}

fn same_currency(payment: &Details, amount: Money) -> Result<(), Rejection> {
    let expected = payment.amount.currency;
    if amount.currency == expected {
        Ok(())
    } else {
        Err(Rejection::CurrencyMismatch { expected, found: amount.currency })
    }
}

fn cut(reason: &str) -> String {
    reason.chars().take(REASON_MAX).collect()
}

/// 13 to 19 digits, grouped by spaces or hyphens or not, whose Luhn sum is right.
fn is_card_number(text: &str) -> bool {
    let mut digits = Vec::with_capacity(19);
    for c in text.chars().filter(|c| !matches!(c, ' ' | '-')) {
        match c.to_digit(10) {
            Some(digit) if digits.len() < 19 => digits.push(digit),
            _ => return false,
        }
    }
    let doubled = |digit: u32| if digit > 4 { digit * 2 - 9 } else { digit * 2 };
    let sum: u32 = digits.iter().rev().enumerate().map(|(i, &d)| if i % 2 == 1 { doubled(d) } else { d }).sum();
    digits.len() >= 13 && sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests;

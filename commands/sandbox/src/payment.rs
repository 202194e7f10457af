//! The payment provider: a ledger by idempotency key, behind calls that may be slow, unanswered or refused.
//!
//! References tell key and amount (`auth_<key>_<amount>`), so that a payment which the ledger has forgotten, or
//! which was made before a restart, can still be captured and refunded.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use ports::{
    clock::Clock,
    payment::{Act, Answer, Charge, Error, Notice, PaymentProvider},
};
use uuid::Uuid;

use crate::{
    behaviour::{Behaviour, Decision, Manners, SLOW, wait},
    notices::Notices,
};

/// How many payments the ledger keeps. Beyond it the oldest settled one is forgotten; if none of the oldest
/// [`SETTLED_SCAN`] is settled, the oldest.
pub const LEDGER_MAX: usize = 50_000;

/// How many payments are looked at to find a settled one to forget.
const SETTLED_SCAN: usize = 8;

/// A payment provider in memory.
pub struct SandboxPayments {
    behaviour: Behaviour,
    clock: Arc<dyn Clock>,
    book: Mutex<Book>,
    notices: Notices<Notice>,
}

/// What an auditor compares with the shop's own books.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Each payment that is still known.
    pub payments: BTreeMap<Uuid, Account>,
    /// How many payments were forgotten ([`LEDGER_MAX`]); 0 means that `payments` is complete.
    pub forgotten: u64,
}

/// What was moved for one payment, in minor units.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// ISO 4217 code.
    pub currency: String,
    /// Set aside, whether captured since or not.
    pub authorized: i64,
    /// Taken.
    pub captured: i64,
    /// Given back.
    pub refunded: i64,
    /// True once what was set aside was let go.
    pub voided: bool,
}

#[derive(Default)]
struct Book {
    entries: HashMap<Uuid, Entry>,
    /// Payments by age, so that the oldest can be forgotten.
    oldest: VecDeque<Uuid>,
    forgotten: u64,
}

#[derive(Default)]
struct Entry {
    account: Account,
    temper: Temper,
    acts: Vec<Deed>,
}

/// One act: asked for once or more, done once at most.
struct Deed {
    act: Act,
    key: Uuid,
    amount: i64,
    calls: u32,
    outcome: Option<Outcome>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Approved,
    Declined(&'static str),
}

/// The fate that a token chose for its payment.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Temper {
    #[default]
    Dice,
    Ok,
    Decline,
    Timeout,
    Slow,
    NoRefund,
}

impl SandboxPayments {
    /// A provider with an empty ledger.
    #[must_use]
    pub fn new(behaviour: Behaviour, clock: Arc<dyn Clock>) -> Self {
        Self { behaviour, clock, book: Mutex::default(), notices: Notices::new() }
    }

    /// What was authorized, captured and refunded so far, per payment.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        let book = self.lock();
        let payments = book.entries.iter().map(|(payment, entry)| (*payment, entry.account.clone())).collect();
        Ledger { payments, forgotten: book.forgotten }
    }

    /// One call: how it goes, then the act in the middle of its time, then the answer, if there is one.
    /// A caller that hangs up in the second half is left with an act of unknown outcome, as in life.
    async fn call(
        &self,
        act: Act,
        charge: &Charge,
        token: Option<&str>,
        decide: impl FnOnce(&mut Account) -> Outcome + Send,
    ) -> Result<Answer, Error> {
        let manners = self.ring(act, charge, token);
        wait(manners.latency / 2).await;
        if manners.unavailable {
            return Err(Error::Unavailable("the sandbox feigns an outage".into()));
        }
        let answer = self.act(act, charge, !manners.timeout, decide);
        wait(manners.latency / 2).await;
        if manners.timeout {
            wait(self.behaviour.timeout_after).await;
            return Err(Error::Timeout);
        }
        Ok(answer)
    }

    /// Counts the call and decides how it goes.
    fn ring(&self, act: Act, charge: &Charge, token: Option<&str>) -> Manners {
        let mut book = self.lock();
        let entry = book.entry(charge);
        if let Some(token) = token {
            entry.temper = Temper::of(token);
        }
        let temper = entry.temper;
        let deed = entry.deed(act, charge);
        deed.calls = deed.calls.saturating_add(1);
        let calls = deed.calls;
        drop(book);
        let mut dice = self.behaviour.dice(charge.key, Decision::Call(number(act), calls));
        let manners = self.behaviour.manners(&mut dice);
        match temper {
            Temper::Dice => manners,
            Temper::Ok | Temper::Decline | Temper::NoRefund => {
                Manners { latency: manners.latency, ..Manners::default() }
            }
            Temper::Timeout => Manners { latency: manners.latency, unavailable: false, timeout: calls == 1 },
            Temper::Slow => Manners { latency: SLOW, ..Manners::default() },
        }
    }

    /// Does the act unless it was done before, and notifies of it.
    fn act(&self, act: Act, charge: &Charge, answered: bool, decide: impl FnOnce(&mut Account) -> Outcome) -> Answer {
        let mut book = self.lock();
        let entry = book.entry(charge);
        let temper = entry.temper;
        let (amount, known) = {
            let deed = entry.deed(act, charge);
            (deed.amount, deed.outcome)
        };
        if let Some(outcome) = known {
            return answer(act, charge.key, amount, outcome);
        }
        let mut dice = self.behaviour.dice(charge.key, Decision::Outcome(number(act)));
        let refused = match (act, temper) {
            (Act::Authorize, Temper::Decline) => true,
            (Act::Authorize, Temper::Dice) => dice.comes(self.behaviour.decline),
            (Act::Refund, Temper::NoRefund) => true,
            (Act::Refund, Temper::Dice) => dice.comes(self.behaviour.decline_refund),
            _ => false,
        };
        let outcome = match act {
            _ if amount <= 0 => Outcome::Declined("invalid_amount"),
            _ if entry.account.currency != charge.currency => Outcome::Declined("currency_mismatch"),
            Act::Authorize if refused => Outcome::Declined("insufficient_funds"),
            Act::Refund if refused => Outcome::Declined("refund_refused"),
            Act::Capture if entry.was_declined() => Outcome::Declined("unknown_authorization"),
            _ => decide(&mut entry.account),
        };
        entry.deed(act, charge).outcome = Some(outcome);
        drop(book);
        let answer = answer(act, charge.key, amount, outcome);
        if !answered || dice.comes(self.behaviour.echo) {
            let (payment, key, at) = (charge.payment, charge.key, self.clock.now());
            let notice = Notice { payment, act, key, amount, answer: answer.clone(), at };
            self.notices.announce(&self.behaviour, &mut dice, Duration::ZERO, notice);
        }
        answer
    }

    /// The book is whole even if a thread panicked while holding it: nothing that may panic runs under the lock.
    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl PaymentProvider for SandboxPayments {
    async fn authorize(&self, charge: &Charge, token: &str) -> Result<Answer, Error> {
        let decide = |account: &mut Account| {
            if account.voided {
                return Outcome::Declined("voided");
            }
            account.authorized = account.authorized.saturating_add(charge.amount);
            Outcome::Approved
        };
        self.call(Act::Authorize, charge, Some(token), decide).await
    }

    async fn capture(&self, charge: &Charge, authorization: &str) -> Result<Answer, Error> {
        let decide = |account: &mut Account| {
            if account.voided {
                return Outcome::Declined("voided");
            }
            if !recalls(&mut account.authorized, authorization, Act::Authorize) {
                return Outcome::Declined("unknown_authorization");
            }
            if charge.amount > account.authorized.saturating_sub(account.captured) {
                return Outcome::Declined("exceeds_authorization");
            }
            account.captured = account.captured.saturating_add(charge.amount);
            Outcome::Approved
        };
        self.call(Act::Capture, charge, None, decide).await
    }

    async fn void(&self, charge: &Charge) -> Result<Answer, Error> {
        let decide = |account: &mut Account| {
            if account.captured > 0 {
                return Outcome::Declined("already_captured");
            }
            account.voided = true;
            Outcome::Approved
        };
        self.call(Act::Void, charge, None, decide).await
    }

    async fn refund(&self, charge: &Charge, capture: &str) -> Result<Answer, Error> {
        let decide = |account: &mut Account| {
            if !recalls(&mut account.captured, capture, Act::Capture) {
                return Outcome::Declined("unknown_capture");
            }
            if charge.amount > account.captured.saturating_sub(account.refunded) {
                return Outcome::Declined("exceeds_capture");
            }
            account.refunded = account.refunded.saturating_add(charge.amount);
            Outcome::Approved
        };
        self.call(Act::Refund, charge, None, decide).await
    }

    async fn notice(&self) -> Option<Notice> {
        Some(self.notices.next().await)
    }
}

impl Book {
    fn entry(&mut self, charge: &Charge) -> &mut Entry {
        if !self.entries.contains_key(&charge.payment) {
            self.forget_beyond(LEDGER_MAX - 1);
            self.oldest.push_back(charge.payment);
        }
        self.entries.entry(charge.payment).or_insert_with(|| Entry {
            account: Account { currency: charge.currency.clone(), ..Account::default() },
            ..Entry::default()
        })
    }

    fn forget_beyond(&mut self, most: usize) {
        if self.entries.len() <= most {
            return;
        }
        let settled = |id: &Uuid| self.entries.get(id).is_none_or(Entry::is_settled);
        let victim = self.oldest.iter().take(SETTLED_SCAN).position(settled).unwrap_or(0);
        if let Some(payment) = self.oldest.remove(victim) {
            self.entries.remove(&payment);
            self.forgotten += 1;
        }
    }
}

impl Entry {
    /// True when no money waits to be captured or let go.
    fn is_settled(&self) -> bool {
        self.account.captured > 0 || self.account.voided || self.was_declined()
    }

    /// True when the authorization was refused.
    fn was_declined(&self) -> bool {
        let declined = |deed: &Deed| deed.act == Act::Authorize && matches!(deed.outcome, Some(Outcome::Declined(_)));
        self.acts.iter().any(declined)
    }

    /// The act under this key; a payment has few, so that looking through them is quickest.
    fn deed(&mut self, act: Act, charge: &Charge) -> &mut Deed {
        let known = self.acts.iter().position(|deed| deed.act == act && deed.key == charge.key);
        let index = known.unwrap_or_else(|| {
            self.acts.push(Deed { act, key: charge.key, amount: charge.amount, calls: 0, outcome: None });
            self.acts.len() - 1
        });
        &mut self.acts[index]
    }
}

impl Temper {
    fn of(token: &str) -> Self {
        match token {
            "tok_ok" => Self::Ok,
            "tok_decline" => Self::Decline,
            "tok_timeout" => Self::Timeout,
            "tok_slow" => Self::Slow,
            "tok_norefund" => Self::NoRefund,
            _ => Self::Dice,
        }
    }
}

const fn number(act: Act) -> u8 {
    match act {
        Act::Authorize => 0,
        Act::Capture => 1,
        Act::Void => 2,
        Act::Refund => 3,
    }
}

const fn prefix(act: Act) -> &'static str {
    match act {
        Act::Authorize => "auth",
        Act::Capture => "cap",
        Act::Void => "void",
        Act::Refund => "ref",
    }
}

fn answer(act: Act, key: Uuid, amount: i64, outcome: Outcome) -> Answer {
    match outcome {
        Outcome::Approved => {
            let mut reference = String::with_capacity(64);
            // Writing to a string cannot fail.
            let _ = write!(reference, "{}_{}_{amount}", prefix(act), key.simple());
            Answer::Approved { reference }
        }
        Outcome::Declined(reason) => Answer::Declined { reason: reason.to_owned() },
    }
}

/// True when `reference` tells of the amount that is on record, or of one that was forgotten: then it is put
/// back on record.
fn recalls(recorded: &mut i64, reference: &str, act: Act) -> bool {
    match amount_in(reference, act) {
        Some(amount) if *recorded == 0 => {
            *recorded = amount;
            true
        }
        Some(amount) => *recorded == amount,
        None => false,
    }
}

/// The amount that a reference of this provider tells, if it is one and about such an act.
fn amount_in(reference: &str, act: Act) -> Option<i64> {
    let mut parts = reference.split('_');
    let [name, key, amount] = [parts.next()?, parts.next()?, parts.next()?];
    Uuid::try_parse(key).ok()?;
    if name == prefix(act) && parts.next().is_none() { amount.parse().ok().filter(|amount| *amount > 0) } else { None }
}

#[cfg(test)]
mod tests;

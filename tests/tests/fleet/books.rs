//! What was asked of the fleet and what it answered.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use proto::v1;
use tests::say;

use crate::load::DOORS;

/// What there is plenty of.
pub const PLENTY: [&str; 3] = ["amber", "birch", "coral"];

/// What came of one attempt.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The order is acknowledged.
    Given(Box<v1::ProcessOrderResponse>),
    /// It is refused for this reason, for good.
    Refused(String),
    /// Nobody knows: the same request has to be sent again.
    Missing(String),
    /// Nobody knows either, and the node says that it should not be so.
    Failed(String),
    /// What a buyer should never hear.
    Wrong(String),
}

/// A request and its answer, once there is one.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Whose it is.
    pub buyer: usize,
    /// What was asked.
    pub request: v1::ProcessOrderRequest,
    /// What was answered for good.
    pub answer: Option<Answer>,
}

impl Asked {
    /// The answer of an acknowledged order.
    pub fn given(&self) -> Option<&v1::ProcessOrderResponse> {
        match &self.answer {
            Some(Answer::Given(response)) => Some(response),
            _ => None,
        }
    }

    /// Whether it is paid at once; else it waits, reserved, for a payment that never comes.
    pub fn is_paid(&self) -> bool {
        !self.request.payment_method.is_empty()
    }
}

/// How often what happened.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    pub attempted: u64,
    pub acknowledged: u64,
    pub retried: u64,
    pub refused: u64,
    /// How often a buyer heard `INTERNAL`, or one who looks at an order.
    pub failed: u64,
}

impl Tally {
    /// What happened since an earlier one.
    pub const fn since(self, earlier: Self) -> Self {
        Self {
            attempted: self.attempted - earlier.attempted,
            acknowledged: self.acknowledged - earlier.acknowledged,
            retried: self.retried - earlier.retried,
            refused: self.refused - earlier.refused,
            failed: self.failed - earlier.failed,
        }
    }
}

/// The books.
#[derive(Default)]
pub struct Books(Mutex<Page>);

#[derive(Default)]
struct Page {
    asked: BTreeMap<String, Asked>,
    tally: Tally,
    /// What there is little of, now.
    scarce: String,
    /// Counts the moments at which everything was healed.
    epoch: u64,
    /// How many attempts each door has answered that were begun since the last such moment.
    fresh: [u64; DOORS],
    /// The last reason why an attempt was not answered.
    missing: String,
    /// The last `INTERNAL`.
    failure: String,
    wrong: Vec<String>,
}

impl Books {
    fn page(&self) -> MutexGuard<'_, Page> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on this is what there is little of.
    pub fn scarce(&self, sku: &str) {
        sku.clone_into(&mut self.page().scarce);
    }

    /// What a buyer wants next: two of three times something scarce; three of five pay at once.
    pub fn wish(&self, buyer: usize) -> v1::ProcessOrderRequest {
        let mut page = self.page();
        let n = page.asked.len();
        let (one, other) = (PLENTY[(buyer + n) % PLENTY.len()], PLENTY[(buyer + n + 1) % PLENTY.len()]);
        let lines = match n % 3 {
            0 => vec![(page.scarce.as_str(), 1)],
            1 => vec![(one, 2), (other, 1)],
            _ => vec![(other, 1), (page.scarce.as_str(), 1)],
        };
        let request = if n % 5 < 3 { say::paid_order(&lines) } else { say::order(&lines) };
        let asked = Asked { buyer, request: request.clone(), answer: None };
        page.asked.insert(request.request_id.clone(), asked);
        request
    }

    /// An attempt begins. Answers after how many healings.
    pub fn attempt(&self) -> u64 {
        let mut page = self.page();
        page.tally.attempted += 1;
        page.epoch
    }

    /// An attempt that began after so many healings has ended.
    pub fn answered(&self, request: &v1::ProcessOrderRequest, answer: Answer, epoch: u64, door: usize) {
        let mut page = self.page();
        match &answer {
            Answer::Given(_) => page.tally.acknowledged += 1,
            Answer::Refused(_) => page.tally.refused += 1,
            Answer::Missing(why) | Answer::Failed(why) => {
                page.tally.retried += 1;
                page.missing.clone_from(why);
                if matches!(answer, Answer::Failed(_)) {
                    page.tally.failed += 1;
                    page.failure.clone_from(why);
                }
                return;
            }
            Answer::Wrong(what) => page.wrong.push(format!("{}: {what}", request.request_id)),
        }
        if page.epoch == epoch {
            page.fresh[door] += 1;
        }
        if let Some(asked) = page.asked.get_mut(&request.request_id) {
            asked.answer = Some(answer);
        }
    }

    /// Everything is healed now.
    pub fn healed(&self) {
        let mut page = self.page();
        page.epoch += 1;
        page.fresh = [0; DOORS];
    }

    /// How many attempts each door has answered that were begun since everything was healed, and why the last
    /// one that was not answered was not.
    pub fn fresh(&self) -> ([u64; DOORS], String) {
        let page = self.page();
        (page.fresh, page.missing.clone())
    }

    /// A node said `INTERNAL` to somebody who looked at an order.
    pub fn failed(&self, why: String) {
        let mut page = self.page();
        page.tally.failed += 1;
        page.failure = why;
    }

    /// The last `INTERNAL` that a node said.
    pub fn failure(&self) -> String {
        self.page().failure.clone()
    }

    /// What has happened so far.
    pub fn tally(&self) -> Tally {
        self.page().tally
    }

    /// Every request, by its id.
    pub fn asked(&self) -> BTreeMap<String, Asked> {
        self.page().asked.clone()
    }

    /// What a buyer should never have heard.
    pub fn wrong(&self) -> Vec<String> {
        self.page().wrong.clone()
    }
}

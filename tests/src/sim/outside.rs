//! Provider and carrier as a node reaches them: the sandbox, with its faults counted and crashes added.
//!
//! The sandbox itself lives on while nodes die: what it moved stays moved. It is as rough at the end of a run as
//! at its beginning, because the world does not become kind when our machines are repaired.

use std::{
    collections::BTreeSet,
    future::pending,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use jiff::Timestamp;
use ports::{
    carrier::{self, Booking, Carrier, News},
    payment::{self, Act, Answer, Charge, PaymentProvider},
};
use sandbox::{Behaviour, SandboxCarrier, SandboxPayments};

use super::{
    clock::SimClock,
    crash::Fuse,
    faults::{Dice, Fault, Faults, lock},
};

const CRASH_PROVIDER: f64 = 0.015;
const CRASH_CARRIER: f64 = 0.025;
const CRASH_NOTICE: f64 = 0.008;
/// Before a call reaches the partner, and again before its answer comes back.
const HANG: f64 = 0.015;

/// The world outside of the shop.
#[derive(Clone)]
pub struct World {
    /// Moves the money and keeps the ledger.
    pub payments: Arc<SandboxPayments>,
    carrier: Arc<SandboxCarrier>,
    told_money: Told,
    told_goods: Told,
}

impl World {
    /// A rough world, the same for the same seed.
    #[must_use]
    pub fn new(seed: u64, clock: &SimClock) -> Self {
        let clock = || Arc::new(clock.clone());
        Self {
            payments: Arc::new(SandboxPayments::new(Behaviour::rough(seed), clock())),
            carrier: Arc::new(SandboxCarrier::new(Behaviour::rough(seed), clock())),
            told_money: Told::default(),
            told_goods: Told::default(),
        }
    }
}

/// What was told so far, to recognise repetitions and belated news.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<(BTreeSet<String>, Option<Timestamp>)>>);

impl Told {
    fn count(&self, what: String, at: Timestamp, faults: &Faults, [twice, late]: [Fault; 2]) {
        let mut told = lock(&self.0);
        if !told.0.insert(what) {
            faults.count(twice);
        } else if told.1.is_some_and(|newest| at < newest) {
            faults.count(late);
        }
        told.1 = told.1.max(Some(at));
    }
}

/// One node's line to the outside, from its start to its crash.
pub struct Outside {
    world: World,
    dice: Dice,
    faults: Faults,
    fuse: Fuse,
}

impl Outside {
    /// The line of the node that `fuse` belongs to.
    #[must_use]
    pub const fn new(world: World, dice: Dice, faults: Faults, fuse: Fuse) -> Self {
        Self { world, dice, faults, fuse }
    }

    async fn crash(&self, fault: Fault, probability: f64) {
        if !self.faults.over() && self.dice.chance(probability) {
            self.faults.count(fault);
            self.fuse.blow().await;
        }
    }

    /// Now and then never goes on, whatever the partner has made of the call: who waits must give it up.
    async fn hang(&self, fault: Fault) {
        if self.dice.chance(HANG) {
            self.faults.count(fault);
            pending::<()>().await;
        }
    }

    async fn called(&self, act: Act, answer: Result<Answer, payment::Error>) -> Result<Answer, payment::Error> {
        self.crash(Fault::CrashAfterProvider, CRASH_PROVIDER).await;
        self.hang(Fault::ProviderHangs).await;
        match (&answer, act) {
            (Err(payment::Error::Timeout), _) => self.faults.count(Fault::ProviderTimeout),
            (Err(payment::Error::Unavailable(_)), _) => self.faults.count(Fault::ProviderUnavailable),
            (Ok(Answer::Declined { .. }), Act::Authorize | Act::Capture) => self.faults.count(Fault::ProviderDeclined),
            (Ok(Answer::Declined { .. }), Act::Void | Act::Refund) => self.faults.count(Fault::UndoDeclined),
            (Ok(Answer::Approved { .. }), _) => {}
        }
        answer
    }
}

#[async_trait]
impl PaymentProvider for Outside {
    async fn authorize(&self, charge: &Charge, token: &str) -> Result<Answer, payment::Error> {
        self.hang(Fault::ProviderHangs).await;
        let answer = self.world.payments.authorize(charge, token).await;
        self.called(Act::Authorize, answer).await
    }

    async fn capture(&self, charge: &Charge, authorization: &str) -> Result<Answer, payment::Error> {
        self.hang(Fault::ProviderHangs).await;
        let answer = self.world.payments.capture(charge, authorization).await;
        self.called(Act::Capture, answer).await
    }

    async fn void(&self, charge: &Charge) -> Result<Answer, payment::Error> {
        self.hang(Fault::ProviderHangs).await;
        let answer = self.world.payments.void(charge).await;
        self.called(Act::Void, answer).await
    }

    async fn refund(&self, charge: &Charge, capture: &str) -> Result<Answer, payment::Error> {
        self.hang(Fault::ProviderHangs).await;
        let answer = self.world.payments.refund(charge, capture).await;
        self.called(Act::Refund, answer).await
    }

    async fn notice(&self) -> Option<payment::Notice> {
        let notice = self.world.payments.notice().await?;
        let what = format!("{:?} {}", notice.act, notice.key);
        let kinds = [Fault::ProviderNoticeDuplicated, Fault::ProviderNoticeReordered];
        self.world.told_money.count(what, notice.at, &self.faults, kinds);
        self.crash(Fault::CrashWithNotice, CRASH_NOTICE).await;
        Some(notice)
    }
}

#[async_trait]
impl Carrier for Outside {
    async fn book(&self, booking: &Booking) -> Result<String, carrier::Error> {
        self.hang(Fault::CarrierHangs).await;
        let answer = self.world.carrier.book(booking).await;
        self.crash(Fault::CrashAfterCarrier, CRASH_CARRIER).await;
        self.hang(Fault::CarrierHangs).await;
        match &answer {
            Err(carrier::Error::Timeout) => self.faults.count(Fault::CarrierTimeout),
            Err(carrier::Error::Unavailable(_)) => self.faults.count(Fault::CarrierUnavailable),
            Err(carrier::Error::Refused(_)) => self.faults.count(Fault::CarrierRefused),
            Ok(_) => {}
        }
        answer
    }

    async fn notice(&self) -> Option<carrier::Notice> {
        let notice = self.world.carrier.notice().await?;
        let what = format!("{:?} {}", notice.news, notice.delivery);
        let kinds = [Fault::CarrierNoticeDuplicated, Fault::CarrierNoticeReordered];
        self.world.told_goods.count(what, notice.at, &self.faults, kinds);
        if matches!(notice.news, News::Failed { .. }) {
            self.faults.count(Fault::DeliveryFailed);
        }
        self.crash(Fault::CrashWithNotice, CRASH_NOTICE).await;
        Some(notice)
    }
}

//! The network between clients and nodes: it delays, repeats, reorders and loses, and clients try again.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use domain::ids::MemberId;
use tokio::{sync::oneshot, task::JoinSet};

use super::{
    clock::SimClock,
    faults::{Dice, Fault, Faults, lock},
    node::{Doorway, hand_in},
    record::{Answer, Entry, Record},
    wish::Request,
};

/// How often each fault of the network happens, per message.
mod chance {
    pub(super) const DELAYED: f64 = 0.06;
    pub(super) const DUPLICATED: f64 = 0.05;
    pub(super) const LOST: f64 = 0.012;
    pub(super) const UNANSWERED: f64 = 0.015;
    /// That a client gives up after a try that settled nothing.
    pub(super) const GIVEN_UP: f64 = 0.08;
}

/// How often a client asks for one thing at most. While machines fail they give up long before, or insist; once faults
/// have stopped, who has not been answered by then never will be.
const TRIES_MAX: u32 = 200;

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// The way from clients to nodes. A clone is the same network.
#[derive(Clone)]
pub struct Network {
    doors: Arc<[Doorway]>,
    dice: Dice,
    faults: Faults,
    clock: SimClock,
    record: Record,
    /// The number of each client's newest message, and of the newest that has arrived.
    numbers: Arc<Mutex<BTreeMap<MemberId, (u64, u64)>>>,
    strays: Arc<Mutex<JoinSet<()>>>,
}

impl Network {
    /// A network to these doors.
    #[must_use]
    pub fn new(doors: Vec<Doorway>, dice: Dice, faults: Faults, clock: SimClock, record: Record) -> Self {
        Self { doors: doors.into(), dice, faults, clock, record, numbers: Arc::default(), strays: Arc::default() }
    }

    /// What the clients remember.
    #[must_use]
    pub const fn record(&self) -> &Record {
        &self.record
    }

    /// Asks until the answer settles it, or until the client gives up.
    pub async fn ask(&self, request: Request, kind: &'static str) -> Answer {
        self.keep_asking(&request, kind, || !self.faults.over() && self.dice.chance(chance::GIVEN_UP)).await
    }

    /// Asks until the answer settles it, however long that takes.
    pub async fn insist(&self, request: Request, kind: &'static str) -> Answer {
        self.keep_asking(&request, kind, || false).await
    }

    async fn keep_asking(&self, request: &Request, kind: &'static str, gives_up: impl Fn() -> bool) -> Answer {
        let entry = self.record.ask(request.clone(), kind, self.clock.elapsed_ms());
        for _ in 1..TRIES_MAX {
            let answer = self.once(request, entry).await;
            if answer.settles() || gives_up() {
                return answer;
            }
            tokio::time::sleep(self.dice.millis(50, 3_000)).await;
        }
        self.once(request, entry).await
    }

    /// Sends a question, of which nobody keeps a record.
    pub async fn look(&self, request: Request) -> Answer {
        let node = self.dice.pick(&self.doors).cloned().unwrap_or_default();
        self.deliver(&node, request).await
    }

    /// Waits until nothing is under way any more.
    pub async fn calm(&self) {
        let mut strays = std::mem::take(&mut *lock(&self.strays));
        while strays.join_next().await.is_some() {}
    }

    /// Sends a request once, or twice, and waits for its answer.
    async fn once(&self, request: &Request, entry: Entry) -> Answer {
        self.record.sent(entry);
        let number = self.number(request);
        if self.comes(Fault::RequestDuplicated, chance::DUPLICATED) {
            let (network, again) = (self.clone(), request.clone());
            let delay = self.dice.millis(0, 8_000);
            self.record.sent(entry);
            lock(&self.strays).spawn(async move {
                tokio::time::sleep(delay).await;
                let answer = network.travel(&again, number).await;
                network.record.heard(entry, network.clock.elapsed_ms(), answer);
            });
        }
        let answer = self.travel(request, number).await;
        self.record.heard(entry, self.clock.elapsed_ms(), answer.clone());
        answer
    }

    /// One message's way there and back.
    async fn travel(&self, request: &Request, number: u64) -> Answer {
        tokio::time::sleep(self.dice.millis(0, 15)).await;
        if self.comes(Fault::RequestDelayed, chance::DELAYED) {
            tokio::time::sleep(self.dice.millis(500, 12_000)).await;
        }
        if self.comes(Fault::RequestLost, chance::LOST) {
            tokio::time::sleep(PATIENCE / 10).await;
            return Answer::Unknown("no answer".into());
        }
        self.arrives(request, number);
        let node = self.dice.pick(&self.doors).cloned().unwrap_or_default();
        let answer = self.deliver(&node, request.clone()).await;
        if self.comes(Fault::AnswerLost, chance::UNANSWERED) {
            return Answer::Unknown("no answer".into());
        }
        answer
    }

    async fn deliver(&self, node: &Doorway, request: Request) -> Answer {
        if lock(node).is_none() {
            return Answer::Busy("the connection was refused".into());
        }
        let (answer, answered) = oneshot::channel();
        hand_in(node, (request, answer));
        match tokio::time::timeout(PATIENCE, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => {
                self.faults.count(Fault::AnswerCut);
                Answer::Unknown("the connection was reset".into())
            }
            Err(_) => Answer::Unknown("no answer in time".into()),
        }
    }

    fn number(&self, request: &Request) -> u64 {
        let mut numbers = lock(&self.numbers);
        let (sent, _) = numbers.entry(request.member()).or_default();
        *sent += 1;
        *sent
    }

    fn arrives(&self, request: &Request, number: u64) {
        let mut numbers = lock(&self.numbers);
        let (_, newest) = numbers.entry(request.member()).or_default();
        if number < *newest {
            self.faults.count(Fault::RequestReordered);
        }
        *newest = number.max(*newest);
    }

    fn comes(&self, fault: Fault, probability: f64) -> bool {
        let comes = !self.faults.over() && self.dice.chance(probability);
        if comes {
            self.faults.count(fault);
        }
        comes
    }
}

//! The process runner: finds due processes in the log and drives them, until every order has ended.
//!
//! The runner tails the log and keeps, for every process that is not at its end, when to look at it next. What it
//! keeps is a fold of the log and can always be folded again; a checkpoint only spares the reading. It looks
//! at an order that was just placed only after a grace, because the gateway is driving that one; a
//! step that fails is tried again with growing distance, for ever, and whoever reads the program's log is told if it
//! goes on failing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use jiff::{SignedDuration, Timestamp};
use ports::store::{self, EventStore, Position, Recorded};

use crate::{
    outage::doubled,
    steps::{Failure, Progress, Steps, Until},
};

mod agenda;
mod key;

pub use agenda::Agenda;
pub use key::Key;

/// From how many failures of one process in a row on each doubling is told: some ten seconds of them. Fewer are the rule
/// where partners are restarted.
const LASTING: u64 = 8;

/// The runner's limits, each by name.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How many events are read at a time.
    pub batch_events_max: usize,
    /// How many processes are driven at once.
    pub in_flight_max: usize,
    /// How long the gateway has to drive an order it has just placed.
    pub eager_grace: SignedDuration,
    /// The first wait after a step has failed; it doubles each time.
    pub retry_min: SignedDuration,
    /// The longest wait between two tries.
    pub retry_max: SignedDuration,
    /// The longest wait for an answer of provider or carrier: longer than one that still comes, and far shorter than an
    /// order lives. A call that hangs holds one of the places in flight for as long; it is repeated like any failure.
    pub partner_call_max: Duration,
    /// After how many events the runner keeps its place.
    pub checkpoint_events: u64,
    /// The longest wait for a wake-up before the log is read anyway.
    pub idle_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batch_events_max: 1_000,
            in_flight_max: 512,
            eager_grace: SignedDuration::from_secs(2),
            retry_min: SignedDuration::from_millis(100),
            retry_max: SignedDuration::from_secs(30),
            partner_call_max: Duration::from_secs(10),
            checkpoint_events: 10_000,
            idle_max: Duration::from_secs(1),
        }
    }
}

/// What driving one process came to.
struct Driven {
    key: Key,
    result: Result<Progress, Failure>,
    /// Another process that has to be looked at now.
    wake: Option<Key>,
}

/// The process runner. Somebody must call [`Runner::step`] again and again; the gateway's loops do.
pub struct Runner {
    store: Arc<dyn EventStore>,
    steps: Steps,
    limits: Limits,
    agenda: Agenda,
    position: Position,
    /// The newest event when the runner started: processes from before may have lost a message.
    started_at: Position,
    running: BTreeSet<Key>,
    in_flight: FuturesUnordered<BoxFuture<'static, Driven>>,
    /// Processes that something happened to while they were driven.
    again: BTreeMap<Key, Timestamp>,
    since_checkpoint: u64,
}

impl Runner {
    /// Takes up where the last checkpoint was, or at the beginning of the log.
    ///
    /// # Errors
    /// [`store::Error`] when the log cannot be read.
    pub async fn open(store: Arc<dyn EventStore>, steps: Steps, limits: Limits) -> Result<Self, store::Error> {
        let (agenda, position) = Agenda::load(store.as_ref()).await?;
        let started_at = store.head().await?;
        Ok(Self {
            store,
            steps,
            limits,
            agenda,
            position,
            started_at,
            running: BTreeSet::new(),
            in_flight: FuturesUnordered::new(),
            again: BTreeMap::new(),
            since_checkpoint: 0,
        })
    }

    /// How far the runner has read the log.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.position
    }

    /// How many processes have something to do or to wait for.
    #[must_use]
    pub fn open_processes(&self) -> usize {
        self.agenda.len()
    }

    /// Reads what is new, begins what is due, and waits for the first thing to happen.
    ///
    /// # Errors
    /// [`store::Error`] when the log cannot be read; nothing is lost.
    pub async fn step(&mut self) -> Result<(), store::Error> {
        let read = self.read().await?;
        let now = self.steps.shop.clock.now();
        while self.in_flight.len() < self.limits.in_flight_max {
            let Some((key, chase)) = self.agenda.pop_due(now) else {
                break;
            };
            self.running.insert(key);
            self.in_flight.push(Box::pin(drive(self.steps.clone(), key, chase)));
        }
        if read == self.limits.batch_events_max && self.in_flight.len() < self.limits.in_flight_max {
            return Ok(());
        }
        let until_due = self.agenda.next_due().map_or(self.limits.idle_max, |due| {
            Duration::try_from(due.duration_since(now)).unwrap_or_default().min(self.limits.idle_max)
        });
        let full = self.in_flight.len() >= self.limits.in_flight_max;
        tokio::select! {
            biased;
            Some(driven) = self.in_flight.next() => {
                self.finish(driven);
                while let Some(Some(driven)) = self.in_flight.next().now_or_never() {
                    self.finish(driven);
                }
            }
            () = self.store.wait(self.position), if !full => {}
            () = tokio::time::sleep(until_due), if !full => {}
        }
        Ok(())
    }

    /// Reads a batch of the log and notes what it makes due.
    async fn read(&mut self) -> Result<usize, store::Error> {
        if self.in_flight.len() >= self.limits.in_flight_max {
            return Ok(0);
        }
        if self.store.head().await? <= self.position {
            return Ok(0);
        }
        let batch = self.store.read_all(self.position, self.limits.batch_events_max).await?;
        for recorded in &batch {
            self.note(recorded);
        }
        self.since_checkpoint += batch.len() as u64;
        if let Some(last) = batch.last() {
            self.position = last.position;
        }
        // A checkpoint writes every open process, so it comes the more rarely the more there are.
        if self.since_checkpoint >= self.limits.checkpoint_events.max(self.agenda.len() as u64) {
            self.checkpoint().await;
        }
        Ok(batch.len())
    }

    fn note(&mut self, recorded: &Recorded) {
        let Some(key) = Key::of(&recorded.stream) else {
            return;
        };
        // An order that was just placed is being driven by the gateway; the others wait for nobody.
        let at = match recorded.kind.as_str() {
            "order.placed" => recorded.recorded_at.checked_add(self.limits.eager_grace).unwrap_or(recorded.recorded_at),
            _ => recorded.recorded_at,
        };
        if self.running.contains(&key) {
            let again = self.again.entry(key).or_insert(at);
            *again = (*again).min(at);
        } else {
            self.agenda.note(key, at, recorded.position <= self.started_at);
        }
    }

    fn finish(&mut self, driven: Driven) {
        let Driven { key, result, wake } = driven;
        let now = self.steps.shop.clock.now();
        self.running.remove(&key);
        match result {
            Ok(Progress::Moved) => self.agenda.note(key, now, false),
            Ok(Progress::Waiting { until }) => self.agenda.wait(key, until),
            Err(failure) => {
                let failures = self.agenda.retry(key, now, self.limits.retry_min, self.limits.retry_max);
                if doubled(failures.into(), LASTING) {
                    tracing::warn!(%failure, failures, ?key, "a step fails again and again; trying on");
                } else {
                    tracing::debug!(%failure, failures, ?key, "a step will be tried again");
                }
            }
        }
        if let Some(at) = self.again.remove(&key) {
            self.agenda.note(key, at, false);
        }
        if let Some(other) = wake {
            if self.running.contains(&other) {
                self.again.insert(other, now);
            } else {
                self.agenda.note(other, now, false);
            }
        }
    }

    /// Keeps place and agenda. A cache: without it the log is read again.
    pub async fn checkpoint(&mut self) {
        self.since_checkpoint = 0;
        if let Err(error) = self.agenda.save(self.store.as_ref(), self.position).await {
            tracing::warn!(%error, "the process runner could not keep its place");
        }
    }
}

/// Drives one process as far as it goes.
async fn drive(steps: Steps, key: Key, chase: bool) -> Driven {
    let done = Ok(Progress::Waiting { until: None });
    let (result, wake) = match key {
        Key::Order(id) => (steps.drive_order(id, Until::Settled).await, None),
        Key::Payment(id) => match steps.drive_payment(id).await {
            Ok(Some(order)) => match steps.settle(order, id).await {
                Ok(_) => (done, Some(Key::Order(order))),
                Err(failure) => (Err(failure), None),
            },
            Ok(None) => (done, None),
            Err(failure) => (Err(failure), None),
        },
        Key::Delivery(id) => match steps.drive_delivery(id, chase).await {
            Ok((order, progress)) => (Ok(progress), order.map(Key::Order)),
            Err(failure) => (Err(failure), None),
        },
        Key::Return(id) => {
            let order = steps.shop.returns.inspect(&id, |seen| seen.state.requested().map(|requested| requested.order));
            match order.await {
                Ok(order) => (done, order.map(Key::Order)),
                Err(error) => (Err(error.into()), None),
            }
        }
    };
    Driven { key, result, wake }
}

#[cfg(test)]
mod tests;

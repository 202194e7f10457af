//! The relay: every event of the log, once it is there, goes out on a bus, in the log's order.
//!
//! The bus itself tells how far it has come: its newest message names its place in the log, and the relay goes on
//! behind it. Each batch names the sequence that it must follow, so of two relays, or of a relay and its own messages
//! that come late, one is refused and looks again; nothing is ever out of order for having been tried twice. What a
//! bus has lost it gets again: a wiped one is filled from the beginning.
//!
//! A checkpoint beside the log says how far everything was acknowledged. It moves only after the bus has answered,
//! never ahead of it, and is asked only where the bus cannot tell: when its messages have expired.
//!
//! The relay is at-least-once towards consumers: they keep the log's position and ignore what they have seen.

use std::{sync::Arc, time::Duration};

use futures::future::join;
use ports::{
    bus::{self, Bus, Held, Message, Tail},
    store::{self, EventStore, Position, Recorded},
};
use tokio::sync::watch;
use uuid::Uuid;

mod checkpoint;
mod message;
mod reconcile;
#[cfg(test)]
mod tests;

use checkpoint::Checkpoint;
pub use reconcile::Report;

use crate::outage::Outage;

/// The relay's limits, each by name.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How many events are on their way at once. One batch is published while the next is read: memory holds two.
    pub batch_events_max: usize,
    /// How many bytes of bodies are on their way at once; a single larger event still goes alone.
    pub batch_bytes_max: usize,
    /// After how many events the relay keeps its place; it also does when it has nothing else to do.
    pub checkpoint_events: u64,
    /// The first wait after a failure; it doubles each time, so that a dead bus is not hammered.
    pub retry_min: Duration,
    /// The longest wait between two tries, and so the longest a healed bus stays without events.
    pub retry_max: Duration,
    /// The longest wait for a wake-up before the log is read anyway.
    pub idle_max: Duration,
    /// After how many idle waits the bus is asked where it ends: a wipe is noticed even when nobody buys.
    pub idle_waits_max: u32,
    /// How many of the bus's messages are compared with the log at a time.
    pub page_messages_max: usize,
    /// How many events a comparison remembers as not yet seen on the bus (about 50 bytes each); when there are more,
    /// the bus is read again for the rest of the log. Only a bus that lacks so many comes near it.
    pub unseen_events_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batch_events_max: 1_000,
            batch_bytes_max: 8 << 20,
            checkpoint_events: 10_000,
            retry_min: Duration::from_millis(100),
            retry_max: Duration::from_secs(10),
            idle_max: Duration::from_secs(1),
            idle_waits_max: 10,
            page_messages_max: 5_000,
            unseen_events_max: 200_000,
        }
    }
}

/// Why the relay cannot go on now. It can always be tried again.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The log cannot be read.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The bus does not take the events.
    #[error(transparent)]
    Bus(#[from] bus::Error),
    /// The bus holds events that this log does not have: it is another log's, or the log was set back. Nothing is
    /// published until somebody has decided which of the two is right.
    #[error("the bus holds event {id} at position {position}, and the log does not")]
    Foreign {
        /// The event.
        id: Uuid,
        /// Its place, as the bus has it.
        position: Position,
    },
}

/// How the relay is getting on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// The bus has acknowledged every event up to here.
    pub position: Position,
    /// How many events it has acknowledged since the relay was opened.
    pub published: u64,
    /// Why nothing goes on at the moment, if so.
    pub failing: Option<String>,
}

/// The relay of one log to one bus. Somebody must [`Relay::run`] it.
pub struct Relay {
    store: Arc<dyn EventStore>,
    bus: Arc<dyn Bus>,
    /// `ce-source` of every event.
    source: String,
    limits: Limits,
    /// Every event up to here is acknowledged.
    position: Position,
    /// Where the bus ends, as long as nothing speaks against it.
    tail: Option<Tail>,
    /// What was read while the last batch was on its way.
    next: Vec<Message>,
    checkpoint: Checkpoint,
    since_checkpoint: u64,
    idle_waits: u32,
    status: watch::Sender<Status>,
}

impl Relay {
    /// A relay to `bus`, whose checkpoint is kept under the name `outlet`. `source` tells the shop from others
    /// (`ce-source`, a URI reference). The bus need not be there yet.
    ///
    /// # Errors
    /// [`store::Error`] when the checkpoint cannot be read.
    pub async fn open(
        store: Arc<dyn EventStore>,
        bus: Arc<dyn Bus>,
        outlet: &str,
        source: &str,
        limits: Limits,
    ) -> Result<Self, store::Error> {
        let checkpoint = Checkpoint::load(store.as_ref(), outlet).await?;
        let position = checkpoint.position();
        Ok(Self {
            store,
            bus,
            source: source.to_owned(),
            limits,
            position,
            tail: None,
            next: Vec::new(),
            checkpoint,
            since_checkpoint: 0,
            idle_waits: 0,
            status: watch::Sender::new(Status { position, ..Status::default() }),
        })
    }

    /// The bus has acknowledged every event up to here, as far as the relay knows.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.position
    }

    /// How the relay is getting on, for as long as it runs.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Works for ever; failures are waited out, longer each time.
    pub async fn run(mut self) {
        let outage = Outage::new("the relay cannot publish");
        let mut failures = 0;
        loop {
            match self.step().await {
                Ok(()) => {
                    outage.worked();
                    failures = 0;
                }
                Err(error) => {
                    outage.failed(&error);
                    let wait = self.limits.retry_min.saturating_mul(1 << failures.min(16)).min(self.limits.retry_max);
                    failures += 1;
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    /// Publishes the next batch, or waits a little for one.
    ///
    /// # Errors
    /// An [`Error`]; nothing is lost, and the next step begins by asking the bus where it ends.
    pub async fn step(&mut self) -> Result<(), Error> {
        let stepped = self.try_step().await;
        let failing = stepped.as_ref().err().map(ToString::to_string);
        self.status.send_if_modified(|status| std::mem::replace(&mut status.failing, failing.clone()) != failing);
        stepped
    }

    async fn try_step(&mut self) -> Result<(), Error> {
        if self.publish_next().await? {
            self.idle_waits = 0;
            if self.since_checkpoint >= self.limits.checkpoint_events {
                self.checkpoint().await;
            }
            return Ok(());
        }
        if self.since_checkpoint > 0 {
            self.checkpoint().await;
        }
        // A wake-up only; an idle bus is asked now and then whether it still holds what it held.
        let _woken = tokio::time::timeout(self.limits.idle_max, self.store.wait(self.position)).await;
        self.idle_waits += 1;
        if self.idle_waits >= self.limits.idle_waits_max {
            self.idle_waits = 0;
            self.forget_tail();
            self.find_tail().await?;
        }
        Ok(())
    }

    /// Publishes one batch; false when the log holds no more.
    async fn publish_next(&mut self) -> Result<bool, Error> {
        let tail = self.find_tail().await?;
        let batch = match std::mem::take(&mut self.next) {
            read if read.is_empty() => self.read(self.position, tail.payload_max).await?,
            read => read,
        };
        let Some(last) = batch.last().map(|last| last.position) else {
            return Ok(false);
        };
        // The next events are read while these are on their way.
        let (published, next) = join(self.bus.publish(tail.sequence, &batch), self.read(last, tail.payload_max)).await;
        let count = self.acknowledge(&batch, published)?;
        if count == batch.len() {
            // A log that cannot be read is told of by the next step.
            self.next = next.unwrap_or_default();
        }
        Ok(true)
    }

    /// Moves on behind what the bus has acknowledged, and only that.
    fn acknowledge(&mut self, batch: &[Message], answer: Result<bus::Published, bus::Error>) -> Result<usize, Error> {
        let published = answer.inspect_err(|_| self.forget_tail())?;
        let count = published.count.min(batch.len());
        if let Some(tail) = &mut self.tail {
            tail.sequence = published.sequence;
        }
        if let Some(last) = batch[..count].last() {
            self.position = self.position.max(last.through);
        }
        self.since_checkpoint += count as u64;
        self.status.send_modify(|status| {
            status.position = self.position;
            status.published += count as u64;
        });
        Ok(count)
    }

    /// Reads the events behind `after` as messages, as many as may be on their way at once.
    async fn read(&self, after: Position, payload_max: usize) -> Result<Vec<Message>, store::Error> {
        let events = self.store.read_all(after, self.limits.batch_events_max).await?;
        let (mut messages, mut bytes) = (Vec::with_capacity(events.len()), 0);
        for event in events {
            let message = message::of(event, &self.source, payload_max);
            bytes += message.payload.len();
            if bytes > self.limits.batch_bytes_max && !messages.is_empty() {
                break;
            }
            messages.push(message);
        }
        Ok(messages)
    }

    /// Where the bus ends, and with it how far it holds the log: asked once, and again after every failure.
    async fn find_tail(&mut self) -> Result<Tail, Error> {
        if let Some(tail) = &self.tail {
            return Ok(tail.clone());
        }
        let tail = self.bus.tail().await?;
        let position = match &tail.newest {
            Some(newest) => self.known(newest).await?,
            // It had messages and they have expired: how far they went only the checkpoint knows.
            None if tail.keeps.is_some() && tail.sequence > 0 && tail.sequence >= self.checkpoint.sequence() => {
                self.checkpoint.position()
            }
            None => Position::START,
        };
        if position < self.position {
            tracing::warn!(bus = %position, relay = %self.position, "the bus has lost events; it gets them again");
        }
        self.position = position;
        self.next.clear();
        self.tail = Some(tail.clone());
        self.status.send_modify(|status| status.position = position);
        Ok(tail)
    }

    fn forget_tail(&mut self) {
        self.tail = None;
        self.next.clear();
    }

    /// How far the bus holds the log by this message, if it is of an event of this log.
    async fn known(&self, held: &Held) -> Result<Position, Error> {
        let ours = self.ours(std::slice::from_ref(held)).await? == [true]
            && held.through <= self.store.head().await?
            && held.through >= held.position;
        if ours { Ok(held.through) } else { Err(Error::Foreign { id: held.id, position: held.position }) }
    }

    /// Which of the messages are of events of this log. Not every log finds every event by its id: one that it does not
    /// find is looked for where its message says that it is.
    async fn ours(&self, held: &[Held]) -> Result<Vec<bool>, store::Error> {
        let ids: Vec<Uuid> = held.iter().map(|held| held.id).collect();
        let found = if ids.is_empty() { Vec::new() } else { self.store.find(&ids).await? };
        let mut ours = Vec::with_capacity(held.len());
        for (held, found) in held.iter().zip(found) {
            let event = match found {
                Some(event) => Some(event),
                None => self.at_place(held).await?,
            };
            ours.push(event.is_some_and(|event| event.id == held.id && event.position == held.position));
        }
        Ok(ours)
    }

    /// The event at the place in a stream that a message names.
    async fn at_place(&self, held: &Held) -> Result<Option<Recorded>, store::Error> {
        let place = held.place.as_ref().and_then(|at| Some((message::unprintable(&at.stream)?, at.revision)));
        let Some((stream, revision)) = place else { return Ok(None) };
        Ok(self.store.read_stream(&stream, revision, 1).await?.pop())
    }

    /// Keeps the relay's place. A cache: a bus that holds messages knows better.
    pub async fn checkpoint(&mut self) {
        let Some(tail) = &self.tail else {
            return;
        };
        self.since_checkpoint = 0;
        if let Err(error) = self.checkpoint.save(self.store.as_ref(), self.position, tail.sequence).await {
            tracing::warn!(%error, "the relay could not keep its place");
        }
    }
}

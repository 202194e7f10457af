//! Log and bus compared, and what the bus lacks published again.
//!
//! The bus is read once from its beginning, in its own order, and the log beside it. An event that the log has shown and
//! the bus has not yet is remembered until it comes; since the bus's order is the log's, hardly any are at a time.
//! Those that never come are missing. They are published behind everything else, each naming how far the bus held the log,
//! so a filled gap does not set the bus back.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use ports::{
    bus::Held,
    store::{self, Position},
};
use uuid::Uuid;

use super::{Error, Relay, message};

/// What a comparison found, in events and messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Events of the log that were looked for.
    pub events: u64,
    /// Messages of the bus that were looked at.
    pub messages: u64,
    /// Events behind the bus's end that were published, as the relay always does.
    pub appended: u64,
    /// Events missing in the midst of the bus that were published again.
    pub filled: u64,
    /// Messages of an event that the bus holds twice: harmless.
    pub repeats: u64,
    /// Messages of events that the log does not have. They stay; whoever published them has to be found.
    pub strangers: u64,
    /// Events that are missing because the bus keeps nothing for so long.
    pub expired: u64,
}

/// One comparison.
struct Comparison {
    /// How far the log was read.
    read: Position,
    /// How far the log is compared.
    end: Position,
    /// Events of the log that have not been seen on the bus.
    unseen: BTreeMap<Position, Uuid>,
    /// Events recorded before this have expired.
    horizon: Option<Timestamp>,
    report: Report,
}

impl Relay {
    /// Compares the whole bus with the whole log and publishes what the bus lacks. `now` tells what has expired. Costs a
    /// reading of both; consumers may go on meanwhile.
    ///
    /// # Errors
    /// An [`Error`]; what was published by then stays, and a repetition goes on from there.
    pub async fn reconcile(&mut self, now: Timestamp) -> Result<Report, Error> {
        self.forget_tail();
        let tail = self.find_tail().await?;
        let keeps = tail.keeps.and_then(|keeps| SignedDuration::try_from(keeps).ok());
        let before = self.status.borrow().published;
        // The end first: it keeps the log's order, which filled gaps do not.
        let head = self.store.head().await?;
        while self.position < head && self.publish_next().await? {}
        let mut comparison = Comparison {
            read: Position::START,
            end: self.position,
            unseen: BTreeMap::new(),
            horizon: keeps.and_then(|keeps| now.checked_sub(keeps).ok()),
            report: Report { appended: self.status.borrow().published - before, ..Report::default() },
        };
        self.compare(&mut comparison).await?;
        self.checkpoint().await;
        Ok(comparison.report)
    }

    async fn compare(&mut self, comparison: &mut Comparison) -> Result<(), Error> {
        // What this comparison itself publishes lies behind.
        let end = self.find_tail().await?.sequence;
        let mut after = 0;
        while after < end {
            let page = self.bus.held(after, self.limits.page_messages_max).await.inspect_err(|_| self.forget_tail())?;
            let mut unmatched = Vec::new();
            for held in page.held.iter().filter(|held| held.sequence <= end) {
                while comparison.read < held.position && self.show(comparison).await? {}
                comparison.report.messages += 1;
                match comparison.unseen.get(&held.position) {
                    Some(id) if *id == held.id => {
                        comparison.unseen.remove(&held.position);
                    }
                    _ => unmatched.push(*held),
                }
                if comparison.unseen.len() > self.limits.unseen_events_max {
                    self.fill(comparison, self.limits.unseen_events_max / 2).await?;
                }
            }
            self.judge(comparison, &unmatched).await?;
            match page.next {
                Some(next) => after = next,
                None => break,
            }
        }
        while self.show(comparison).await? {
            if comparison.unseen.len() > self.limits.batch_events_max {
                self.fill(comparison, 0).await?;
            }
        }
        self.fill(comparison, 0).await
    }

    /// Reads on in the log; false at the end of the comparison.
    async fn show(&self, comparison: &mut Comparison) -> Result<bool, Error> {
        if comparison.read >= comparison.end {
            return Ok(false);
        }
        let events = self.store.read_all(comparison.read, self.limits.batch_events_max).await?;
        comparison.read = events.last().map_or(comparison.end, |last| last.position);
        for event in events.into_iter().filter(|event| event.position <= comparison.end) {
            comparison.report.events += 1;
            comparison.unseen.insert(event.position, event.id);
        }
        Ok(true)
    }

    /// Tells messages that came twice from those that the log does not have.
    async fn judge(&self, comparison: &mut Comparison, unmatched: &[Held]) -> Result<(), Error> {
        let ids: Vec<Uuid> = unmatched.iter().map(|held| held.id).collect();
        let found = if ids.is_empty() { Vec::new() } else { self.store.find(&ids).await? };
        for (held, found) in unmatched.iter().zip(found) {
            if found.is_some_and(|event| event.position == held.position) {
                comparison.report.repeats += 1;
            } else {
                comparison.report.strangers += 1;
                tracing::warn!(id = %held.id, position = %held.position, "the bus holds an event the log does not have");
            }
        }
        Ok(())
    }

    /// Publishes what was not seen, but for the newest `keep`.
    async fn fill(&mut self, comparison: &mut Comparison, keep: usize) -> Result<(), Error> {
        while comparison.unseen.len() > keep {
            let many = (comparison.unseen.len() - keep).min(self.limits.batch_events_max);
            let ids: Vec<Uuid> = comparison.unseen.values().take(many).copied().collect();
            let tail = self.find_tail().await?;
            let (mut batch, mut bytes) = (Vec::new(), 0);
            let found = self.store.find(&ids).await?;
            if let Some((_, id)) = found.iter().zip(&ids).find(|(found, _)| found.is_none()) {
                return Err(store::Error::Corrupt(format!("event {id} was read and is not found")).into());
            }
            for event in found.into_iter().flatten() {
                if comparison.horizon.is_some_and(|horizon| event.recorded_at < horizon) {
                    comparison.report.expired += 1;
                    comparison.unseen.remove(&event.position);
                    continue;
                }
                let mut message = message::of(event, &self.source, tail.payload_max);
                message.through = self.position;
                bytes += message.payload.len();
                if batch.is_empty() || bytes <= self.limits.batch_bytes_max {
                    batch.push(message);
                }
            }
            if !batch.is_empty() {
                let answer = self.bus.publish(tail.sequence, &batch).await;
                let count = self.acknowledge(&batch, answer)?;
                comparison.report.filled += count as u64;
                for message in &batch[..count] {
                    comparison.unseen.remove(&message.position);
                }
            }
        }
        Ok(())
    }
}

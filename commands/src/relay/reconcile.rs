//! Log and bus compared, and what the bus lacks published again.
//!
//! The bus is read once from its beginning, in its own order, and the log beside it. An event that the log has shown
//! and the bus has not yet is remembered until it comes; since the bus's order is the log's, hardly any are at a time.
//! Those that never come are missing; should they be too many to remember, the log is compared part by part. They are
//! published behind everything else, each naming how far the bus held the log, so a filled gap does not set the bus
//! back.

use std::{collections::BTreeMap, ops::Bound};

use jiff::{SignedDuration, Timestamp};
use ports::{
    bus::{Held, Message},
    store::{self, Position, Recorded},
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

/// One comparison of a part of the log with the whole bus.
struct Comparison {
    /// Where the part begins; what lies before is compared.
    from: Position,
    /// How far the log was read: at the end, where the part ends.
    read: Position,
    /// Where the log's last part ends.
    end: Position,
    /// Events of the part that have not been seen on the bus.
    unseen: BTreeMap<Position, Unseen>,
    /// The part ends here: as many are unseen as may be.
    full: bool,
    /// The first message that belongs to a later part.
    later: Option<u64>,
    report: Report,
}

/// An event that has not been seen on the bus.
#[derive(Debug, Clone, Copy)]
struct Unseen {
    id: Uuid,
    /// The place of the event before it: behind that it can be read again, whatever positions look like.
    before: Position,
}

impl Relay {
    /// Compares the whole bus with the whole log and publishes what the bus lacks. `now` tells what has expired.
    /// Costs a reading of both; consumers may go on meanwhile.
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
        let horizon = keeps.and_then(|keeps| now.checked_sub(keeps).ok());
        // What this comparison itself publishes lies behind.
        let last = self.find_tail().await?.sequence;
        let mut report = Report { appended: self.status.borrow().published - before, ..Report::default() };
        let (mut from, mut after, end) = (Position::START, 0, self.position);
        loop {
            let mut part =
                Comparison { from, read: from, end, unseen: BTreeMap::new(), full: false, later: None, report };
            self.compare(&mut part, after, last).await?;
            self.fill(&mut part, horizon).await?;
            report = part.report;
            if part.read >= end {
                self.checkpoint().await;
                return Ok(report);
            }
            (from, after) = (part.read, part.later.map_or(last, |first| first - 1));
        }
    }

    /// Looks at every message behind `after` up to `last`, and for every event of the part that it meets.
    async fn compare(&mut self, part: &mut Comparison, mut after: u64, last: u64) -> Result<(), Error> {
        while after < last {
            let page = self.bus.held(after, self.limits.page_messages_max).await.inspect_err(|_| self.forget_tail())?;
            let mut unmatched = Vec::new();
            for held in page.held.iter().filter(|held| held.sequence <= last) {
                // Every message is looked at in the first part, and judged in its own.
                part.report.messages += u64::from(part.from == Position::START);
                while part.read < held.position && self.show(part).await? {}
                if part.full && held.position > part.read {
                    part.later.get_or_insert(held.sequence);
                } else if part.unseen.get(&held.position).is_some_and(|unseen| unseen.id == held.id) {
                    part.unseen.remove(&held.position);
                } else if held.position > part.from {
                    unmatched.push(held.clone());
                }
            }
            self.judge(part, &unmatched).await?;
            after = page.next.unwrap_or(last);
        }
        while self.show(part).await? {}
        Ok(())
    }

    /// Reads on in the log; false at the end of the part.
    async fn show(&self, part: &mut Comparison) -> Result<bool, Error> {
        part.full |= part.unseen.len() >= self.limits.unseen_events_max;
        if part.full || part.read >= part.end {
            return Ok(false);
        }
        let events = self.store.read_all(part.read, self.limits.batch_events_max).await?;
        let mut before = part.read;
        part.read = events.last().map_or(part.end, |last| last.position.min(part.end));
        for event in events.into_iter().filter(|event| event.position <= part.end) {
            part.report.events += 1;
            part.unseen.insert(event.position, Unseen { id: event.id, before });
            before = event.position;
        }
        Ok(true)
    }

    /// Tells messages that came twice from those that the log does not have.
    async fn judge(&self, part: &mut Comparison, unmatched: &[Held]) -> Result<(), Error> {
        for (held, ours) in unmatched.iter().zip(self.ours(unmatched).await?) {
            if ours {
                part.report.repeats += 1;
            } else {
                part.report.strangers += 1;
                tracing::warn!(id = %held.id, position = %held.position, "the bus holds an event the log does not have");
            }
        }
        Ok(())
    }

    /// Publishes what was not seen, unless it was recorded before the `horizon`: then it has expired.
    async fn fill(&mut self, part: &mut Comparison, horizon: Option<Timestamp>) -> Result<(), Error> {
        while !part.unseen.is_empty() {
            let tail = self.find_tail().await?;
            let batch = self.lacking(part, horizon, tail.payload_max).await?;
            if !batch.is_empty() {
                let answer = self.bus.publish(tail.sequence, &batch).await;
                let count = self.acknowledge(&batch, answer)?;
                part.report.filled += count as u64;
                for message in &batch[..count] {
                    part.unseen.remove(&message.position);
                }
            }
        }
        Ok(())
    }

    /// The next messages of what was not seen, as many as may be on their way at once. What has expired is seen no more.
    async fn lacking(
        &self,
        part: &mut Comparison,
        horizon: Option<Timestamp>,
        payload_max: usize,
    ) -> Result<Vec<Message>, store::Error> {
        let (mut batch, mut bytes, mut behind) = (Vec::new(), 0, part.from);
        while let Some((before, count)) = part.run(behind, self.limits.batch_events_max - batch.len()) {
            let events = self.store.read_all(before, count).await?;
            let same = |event: &Recorded| part.unseen.get(&event.position).is_some_and(|unseen| unseen.id == event.id);
            if events.len() < count || !events.iter().all(same) {
                return Err(store::Error::Corrupt(format!("what was read behind {before} is not there any more")));
            }
            for event in events {
                behind = event.position;
                if horizon.is_some_and(|horizon| event.recorded_at < horizon) {
                    part.report.expired += 1;
                    part.unseen.remove(&event.position);
                    continue;
                }
                let mut message = message::of(event, &self.source, payload_max);
                message.through = self.position;
                bytes += message.payload.len();
                if bytes > self.limits.batch_bytes_max && !batch.is_empty() {
                    return Ok(batch);
                }
                batch.push(message);
            }
        }
        Ok(batch)
    }
}

impl Comparison {
    /// The next unseen events behind a position that follow each other in the log, up to `max`: the place before the
    /// first of them, and how many they are.
    fn run(&self, behind: Position, max: usize) -> Option<(Position, usize)> {
        let mut unseen = self.unseen.range((Bound::Excluded(behind), Bound::Unbounded)).take(max);
        let (first, Unseen { before, .. }) = unseen.next()?;
        let mut at = *first;
        let follows = |(position, unseen): &(&Position, &Unseen)| {
            let follows = unseen.before == at;
            at = **position;
            follows
        };
        Some((*before, 1 + unseen.take_while(follows).count()))
    }
}

//! The event store in memory: a vector of events and three ordered maps.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;
use uuid::Uuid;

use super::lock;
use crate::{
    clock::Clock,
    store::{Append, Appended, Error, EventStore, NewEvent, Position, Recorded, Refused, Revision, Snapshot},
};

/// An event store in memory. A clone is the same log.
#[derive(Clone)]
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    log: Arc<Mutex<Log>>,
    head: watch::Sender<Position>,
}

/// Position `p` is `events[p - 1]`; everything else is an index into it.
#[derive(Default, Clone)]
struct Log {
    events: Vec<Recorded>,
    streams: BTreeMap<String, Vec<usize>>,
    ids: BTreeMap<Uuid, usize>,
    snapshots: BTreeMap<String, Snapshot>,
}

impl MemoryStore {
    /// An empty log that dates its events by `clock`.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, log: Arc::default(), head: watch::Sender::new(Position::START) }
    }

    /// A copy of the log that goes its own way.
    #[must_use]
    pub fn fork(&self) -> Self {
        let log = lock(&self.log).clone();
        Self { clock: Arc::clone(&self.clock), head: watch::Sender::new(log.head()), log: Arc::new(Mutex::new(log)) }
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("head", &lock(&self.log).head()).finish_non_exhaustive()
    }
}

impl Log {
    fn head(&self) -> Position {
        Position(self.events.len() as u64)
    }

    /// One append: a repeated write is recognised first, whatever it expects.
    fn append(&mut self, append: Append, now: Timestamp) -> Result<Appended, Refused> {
        if let Some(answer) = self.known(&append) {
            return answer;
        }
        let actual = self.streams.get(&append.stream).map_or(0, Vec::len) as Revision;
        if actual != append.expected {
            return Err(Refused::Conflict { expected: append.expected, actual });
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = append.events.iter().find(|event| !seen.insert(event.id)) {
            return Err(Refused::Known { id: twice.id });
        }
        let at = append.recorded_at.unwrap_or(now);
        for event in append.events {
            self.push(&append.stream, event, at);
        }
        Ok(Appended { first_revision: append.expected, last_position: self.head(), fresh: true })
    }

    /// The answer to an append of which at least one event is in the log already.
    fn known(&self, append: &Append) -> Option<Result<Appended, Refused>> {
        let at: Vec<Option<&Recorded>> = append.events.iter().map(|event| self.find(event.id)).collect();
        let first_known = at.iter().flatten().next()?;
        let first_revision = first_known.revision;
        let whole = at.iter().zip(first_revision..).all(|(found, revision)| {
            found.is_some_and(|found| found.stream == append.stream && found.revision == revision)
        });
        match at.last() {
            Some(Some(last)) if whole => {
                Some(Ok(Appended { first_revision, last_position: last.position, fresh: false }))
            }
            _ => Some(Err(Refused::Known { id: first_known.id })),
        }
    }

    fn push(&mut self, stream: &str, event: NewEvent, now: Timestamp) {
        let index = self.events.len();
        let revisions = self.streams.entry(stream.to_owned()).or_default();
        let recorded = Recorded {
            position: Position(index as u64 + 1),
            stream: stream.to_owned(),
            revision: revisions.len() as Revision,
            id: event.id,
            kind: event.kind.into_owned(),
            recorded_at: self.events.last().map_or(now, |last| last.recorded_at.max(now)),
            data: event.data,
            metadata: event.metadata,
        };
        revisions.push(index);
        self.ids.insert(event.id, index);
        self.events.push(recorded);
    }

    fn find(&self, id: Uuid) -> Option<&Recorded> {
        self.ids.get(&id).and_then(|&index| self.events.get(index))
    }
}

#[async_trait]
impl EventStore for MemoryStore {
    async fn append(&self, batch: Vec<Append>) -> Result<Vec<Result<Appended, Refused>>, Error> {
        if let Some(empty) = batch.iter().find(|append| append.events.is_empty()) {
            return Err(Error::Failed(format!("an append to {} has no events", empty.stream)));
        }
        let now = self.clock.now();
        let mut log = lock(&self.log);
        let answers = batch.into_iter().map(|append| log.append(append, now)).collect();
        self.head.send_replace(log.head());
        Ok(answers)
    }

    async fn read_stream(&self, stream: &str, from: Revision, limit: usize) -> Result<Vec<Recorded>, Error> {
        let log = lock(&self.log);
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        let revisions = log.streams.get(stream).and_then(|all| all.get(from..)).unwrap_or_default();
        Ok(revisions.iter().take(limit).filter_map(|&index| log.events.get(index).cloned()).collect())
    }

    async fn read_all(&self, after: Position, limit: usize) -> Result<Vec<Recorded>, Error> {
        let log = lock(&self.log);
        let after = usize::try_from(after.0).unwrap_or(usize::MAX);
        Ok(log.events.get(after..).unwrap_or_default().iter().take(limit).cloned().collect())
    }

    async fn find(&self, ids: &[Uuid]) -> Result<Vec<Option<Recorded>>, Error> {
        let log = lock(&self.log);
        Ok(ids.iter().map(|&id| log.find(id).cloned()).collect())
    }

    async fn head(&self) -> Result<Position, Error> {
        Ok(lock(&self.log).head())
    }

    async fn distance(&self, from: Position, to: Position) -> Result<u64, Error> {
        Ok(to.0.min(lock(&self.log).head().0).saturating_sub(from.0))
    }

    async fn wait(&self, after: Position) {
        // It fails only without a sender, and `self` is one.
        let _ = self.head.subscribe().wait_for(|head| *head > after).await;
    }

    async fn load_snapshot(&self, name: &str, fold: u32) -> Result<Option<Snapshot>, Error> {
        Ok(lock(&self.log).snapshots.get(name).filter(|snapshot| snapshot.fold == fold).cloned())
    }

    async fn save_snapshot(&self, name: &str, snapshot: Snapshot) -> Result<(), Error> {
        lock(&self.log).snapshots.insert(name.to_owned(), snapshot);
        Ok(())
    }
}

//! A log that knows as little as the original server: no index of ids, positions that are places in a file, and events of its own.
//!
//! Our stores refuse a known id wherever it comes; behind them the adapter on the original's client could forget everything and nobody would see it. This
//! one recognises a repeat only where the original does: when it expects less than there is, and its events stand right
//! there. An append that expects the stream as it is writes, whatever its ids.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use async_trait::async_trait;
use jiff::Timestamp;
use ports::store::{Append, Appended, Error, EventStore, NewEvent, Position, Recorded, Refused, Revision, Snapshot};
use tokio::sync::watch;
use uuid::Uuid;

/// Every so many events the server writes one of its own.
const OWN_EVERY: usize = 3;

/// The log. A clone is the same one.
#[derive(Clone)]
pub struct Original {
    /// So many appends find that somebody else has just written their stream.
    pub interlopers: Arc<AtomicU32>,
    log: Arc<Mutex<Log>>,
    head: watch::Sender<Position>,
}

#[derive(Default)]
struct Log {
    events: Vec<Recorded>,
    streams: BTreeMap<String, Vec<usize>>,
}

impl Default for Original {
    fn default() -> Self {
        Self { interlopers: Arc::default(), log: Arc::default(), head: watch::Sender::new(Position::START) }
    }
}

impl Log {
    fn head(&self) -> Position {
        self.events.last().map_or(Position::START, |last| last.position)
    }

    fn append(&mut self, append: Append) -> Result<Appended, Refused> {
        let stream = self.streams.get(&append.stream).map_or(&[][..], Vec::as_slice);
        let actual = stream.len() as Revision;
        if append.expected < actual {
            let at = usize::try_from(append.expected).unwrap();
            let there: Vec<&Recorded> = stream[at..].iter().map(|index| &self.events[*index]).collect();
            let same =
                append.events.iter().enumerate().all(|(n, new)| there.get(n).is_some_and(|old| old.id == new.id));
            if same {
                let last_position = there[append.events.len() - 1].position;
                return Ok(Appended { first_revision: append.expected, last_position, fresh: false });
            }
        }
        if append.expected != actual {
            return Err(Refused::Conflict { expected: append.expected, actual });
        }
        let first_revision = append.expected;
        for event in append.events {
            self.push(append.stream.clone(), event);
        }
        let last_position = self.head();
        if self.events.len() / OWN_EVERY > self.streams.get("$stats").map_or(0, Vec::len) {
            let id = Uuid::from_u128(u128::MAX - self.events.len() as u128);
            let own = NewEvent { id, kind: "$statsCollected".into(), data: "{}".into(), metadata: "{}".into() };
            self.push("$stats".to_owned(), own);
        }
        Ok(Appended { first_revision, last_position, fresh: true })
    }

    fn push(&mut self, stream: String, event: NewEvent) {
        let bytes = event.data.len() + event.metadata.len() + 100;
        let revisions = self.streams.entry(stream.clone()).or_default();
        let recorded = Recorded {
            position: Position(self.events.last().map_or(0, |last| last.position.0) + bytes as u64),
            stream,
            revision: revisions.len() as Revision,
            id: event.id,
            kind: event.kind.into_owned(),
            recorded_at: Timestamp::UNIX_EPOCH,
            data: event.data,
            metadata: event.metadata,
        };
        revisions.push(self.events.len());
        self.events.push(recorded);
    }
}

#[async_trait]
impl EventStore for Original {
    async fn append(&self, batch: Vec<Append>) -> Result<Vec<Result<Appended, Refused>>, Error> {
        let mut log = self.log.lock().unwrap();
        let interlopes = self.interlopers.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok();
        if let Some(first) = batch.first().filter(|_| interlopes) {
            let id = Uuid::from_u128(u128::MAX / 2 - log.events.len() as u128);
            let event = NewEvent { id, kind: "thing.happened".into(), data: "{}".into(), metadata: "{}".into() };
            log.push(first.stream.clone(), event);
        }
        let answers = batch.into_iter().map(|append| log.append(append)).collect();
        self.head.send_replace(log.head());
        Ok(answers)
    }

    async fn read_stream(&self, stream: &str, from: Revision, limit: usize) -> Result<Vec<Recorded>, Error> {
        let log = self.log.lock().unwrap();
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        let revisions = log.streams.get(stream).and_then(|all| all.get(from..)).unwrap_or_default();
        Ok(revisions.iter().take(limit).map(|index| log.events[*index].clone()).collect())
    }

    async fn read_all(&self, after: Position, limit: usize) -> Result<Vec<Recorded>, Error> {
        let log = self.log.lock().unwrap();
        let from = log.events.partition_point(|event| event.position <= after);
        Ok(log.events[from..].iter().take(limit).cloned().collect())
    }

    async fn find(&self, _: &[Uuid]) -> Result<Vec<Option<Recorded>>, Error> {
        Err(Error::Failed("there is no index of ids".to_owned()))
    }

    async fn head(&self) -> Result<Position, Error> {
        Ok(self.log.lock().unwrap().head())
    }

    async fn distance(&self, _: Position, _: Position) -> Result<u64, Error> {
        Err(Error::Failed("positions are no counts".to_owned()))
    }

    async fn wait(&self, after: Position) {
        let _ = self.head.subscribe().wait_for(|head| *head > after).await;
    }

    async fn load_snapshot(&self, _: &str, _: u32) -> Result<Option<Snapshot>, Error> {
        Err(Error::Failed("there are no snapshots".to_owned()))
    }

    async fn save_snapshot(&self, _: &str, _: Snapshot) -> Result<(), Error> {
        Err(Error::Failed("there are no snapshots".to_owned()))
    }
}

//! A log for tests that promises as little as one on EventStoreDB: it finds only its newest events by their ids, its
//! positions are places far apart of which no other can be read from, and its distances are wrong.

use async_trait::async_trait;
use ports::{
    memory::MemoryStore,
    store::{Append, Appended, Error, EventStore, Position, Recorded, Refused, Revision, Snapshot},
};
use uuid::Uuid;

/// How far apart positions are.
pub const STRIDE: u64 = 100;

/// The log.
#[derive(Debug, Clone)]
pub struct Vague {
    /// What it holds, at dense positions.
    pub log: MemoryStore,
    /// How many of its newest events it finds by their ids.
    pub found_max: u64,
    /// What it takes every distance for.
    pub distance: u64,
}

fn outward(event: Recorded) -> Recorded {
    Recorded { position: Position(event.position.0 * STRIDE), ..event }
}

#[async_trait]
impl EventStore for Vague {
    async fn append(&self, batch: Vec<Append>) -> Result<Vec<Result<Appended, Refused>>, Error> {
        let there = |at: Appended| Appended { last_position: Position(at.last_position.0 * STRIDE), ..at };
        Ok(self.log.append(batch).await?.into_iter().map(|answer| answer.map(there)).collect())
    }

    async fn read_stream(&self, stream: &str, from: Revision, limit: usize) -> Result<Vec<Recorded>, Error> {
        Ok(self.log.read_stream(stream, from, limit).await?.into_iter().map(outward).collect())
    }

    async fn read_all(&self, after: Position, limit: usize) -> Result<Vec<Recorded>, Error> {
        if !after.0.is_multiple_of(STRIDE) {
            return Err(Error::Failed(format!("{after} is no place")));
        }
        let events = self.log.read_all(Position(after.0 / STRIDE), limit).await?;
        Ok(events.into_iter().map(outward).collect())
    }

    async fn find(&self, ids: &[Uuid]) -> Result<Vec<Option<Recorded>>, Error> {
        let known = self.log.head().await?.0.saturating_sub(self.found_max);
        let found = self.log.find(ids).await?.into_iter();
        Ok(found.map(|event| event.filter(|event| event.position.0 > known).map(outward)).collect())
    }

    async fn head(&self) -> Result<Position, Error> {
        Ok(Position(self.log.head().await?.0 * STRIDE))
    }

    async fn distance(&self, _: Position, _: Position) -> Result<u64, Error> {
        Ok(self.distance)
    }

    async fn wait(&self, after: Position) {
        self.log.wait(Position(after.0 / STRIDE)).await;
    }

    async fn load_snapshot(&self, name: &str, fold: u32) -> Result<Option<Snapshot>, Error> {
        self.log.load_snapshot(name, fold).await
    }

    async fn save_snapshot(&self, name: &str, snapshot: Snapshot) -> Result<(), Error> {
        self.log.save_snapshot(name, snapshot).await
    }
}

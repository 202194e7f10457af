//! What a stream is right now: how long, how much of it is to be seen, and whether it has been ended.
//!
//! The port reads forward and does not tell a stream's length, so the end is found by trying: from the last known
//! length in doubling steps, then by halving. A stream never gets shorter, so a remembered length is at
//! worst too small, and a stream that is written through this server costs one read.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
};

use lru::LruCache;
use ports::store::{Error, EventStore, Recorded, Revision};
use serde_json::Value;

/// The type of the event that ends a stream for good.
pub const TOMBSTONE: &str = "$streamDeleted";
/// The type of the events in a metadata stream.
pub const METADATA: &str = "$metadata";
/// The key of a stream's metadata that hides all events before a revision.
pub const TRUNCATE_BEFORE: &str = "$tb";
/// The key of a stream's metadata that hides all but the newest events.
const COUNT_MAX: &str = "$maxCount";
const PREFIX: &str = "$$";

/// What a stream is.
#[derive(Debug, Clone)]
pub struct State {
    /// How many events it holds, seen or hidden: its next revision.
    pub length: Revision,
    /// The first revision that is to be seen.
    pub visible: Revision,
    /// It has been ended.
    pub ended: bool,
    /// Its metadata and how many versions of that there are.
    pub metadata: Metadata,
}

/// A stream's metadata.
#[derive(Debug, Clone, Default)]
pub struct Metadata {
    /// How many events its metadata stream holds.
    pub length: Revision,
    /// The newest of them, when it is an object.
    pub keys: serde_json::Map<String, Value>,
}

impl State {
    /// The revision of its last event; `None` when it has none that is to be seen.
    pub const fn last(&self) -> Option<Revision> {
        if self.visible < self.length { self.length.checked_sub(1) } else { None }
    }

    /// It has events, all of them hidden: the next append revives it.
    pub const fn deleted(&self) -> bool {
        self.length > 0 && self.visible >= self.length
    }
}

impl Metadata {
    fn number(&self, key: &str) -> Option<u64> {
        self.keys.get(key)?.as_u64()
    }

    /// The first revision to be seen of a stream of this length.
    fn visible(&self, length: Revision) -> Revision {
        let before = self.number(TRUNCATE_BEFORE).unwrap_or(0);
        let kept = self.number(COUNT_MAX).map_or(0, |max| length.saturating_sub(max));
        before.max(kept)
    }
}

/// The stream that holds the metadata of another.
pub fn metadata_stream(stream: &str) -> String {
    format!("{PREFIX}{stream}")
}

/// Looks at streams, remembering how long they were at least.
pub struct Streams {
    store: Arc<dyn EventStore>,
    hints: Mutex<LruCache<String, Revision>>,
}

impl Streams {
    pub fn new(store: Arc<dyn EventStore>, hints_max: usize) -> Self {
        let max = NonZeroUsize::new(hints_max).unwrap_or(NonZeroUsize::MIN);
        Self { store, hints: Mutex::new(LruCache::new(max)) }
    }

    pub fn store(&self) -> &Arc<dyn EventStore> {
        &self.store
    }

    /// What the stream is now.
    pub async fn state(&self, stream: &str) -> Result<State, Error> {
        let metadata = self.metadata(stream).await?;
        let last = self.last(stream).await?;
        let length = last.as_ref().map_or(0, |last| last.revision + 1);
        let ended = last.is_some_and(|last| last.kind == TOMBSTONE);
        Ok(State { length, visible: metadata.visible(length), ended, metadata })
    }

    /// The newest metadata. A metadata stream has none of its own.
    async fn metadata(&self, stream: &str) -> Result<Metadata, Error> {
        if stream.starts_with(PREFIX) {
            return Ok(Metadata::default());
        }
        let Some(newest) = self.last(&metadata_stream(stream)).await? else { return Ok(Metadata::default()) };
        let keys = match serde_json::from_slice(&newest.data) {
            Ok(Value::Object(keys)) if newest.kind == METADATA => keys,
            _ => serde_json::Map::new(),
        };
        Ok(Metadata { length: newest.revision + 1, keys })
    }

    /// The last event of a stream.
    pub async fn last(&self, stream: &str) -> Result<Option<Recorded>, Error> {
        let from = self.hint(stream).saturating_sub(1);
        // Two events tell, when the guess is right, that the first of them is the last.
        let mut page = self.store.read_stream(stream, from, 2).await?;
        if page.is_empty() && from > 0 {
            // The log beneath is another one than before.
            self.hints.lock().unwrap_or_else(PoisonError::into_inner).pop(stream);
            page = self.store.read_stream(stream, 0, 2).await?;
        }
        let last = match (page.len(), page.pop()) {
            (_, None) => return Ok(None),
            (1, Some(last)) => last,
            (_, Some(beyond)) => self.search(stream, beyond).await?,
        };
        self.remember(stream, last.revision + 1);
        Ok(Some(last))
    }

    /// The last event of a stream that holds at least `found`: doubling steps, then halving.
    async fn search(&self, stream: &str, mut found: Recorded) -> Result<Recorded, Error> {
        let mut step = 1;
        let mut end = loop {
            let probe = found.revision.saturating_add(step);
            match self.at(stream, probe).await? {
                Some(event) => found = event,
                None => break probe,
            }
            step = step.saturating_mul(2);
        };
        while found.revision + 1 < end {
            let middle = found.revision + (end - found.revision) / 2;
            match self.at(stream, middle).await? {
                Some(event) => found = event,
                None => end = middle,
            }
        }
        Ok(found)
    }

    async fn at(&self, stream: &str, revision: Revision) -> Result<Option<Recorded>, Error> {
        Ok(self.store.read_stream(stream, revision, 1).await?.pop())
    }

    /// Whether the stream was seen to hold events.
    pub fn knows(&self, stream: &str) -> bool {
        self.hint(stream) > 0
    }

    fn hint(&self, stream: &str) -> Revision {
        self.hints.lock().unwrap_or_else(PoisonError::into_inner).get(stream).copied().unwrap_or(0)
    }

    /// The stream holds at least so many events.
    pub fn remember(&self, stream: &str, length: Revision) {
        let mut hints = self.hints.lock().unwrap_or_else(PoisonError::into_inner);
        match hints.get_mut(stream) {
            Some(known) => *known = length.max(*known),
            None => drop(hints.put(stream.to_owned(), length)),
        }
    }
}

//! The event store port: one append-only log of bytes, many streams, one global order.
//!
//! What every adapter guarantees (and [`crate::conformance`] tests):
//! - a write that is answered is durable: it survives `kill -9` and a power cut;
//! - an [`Append`] is atomic by itself; a batch of appends is not a transaction;
//! - revisions of a stream are 0, 1, 2, … without gaps; event ids are unique in the log;
//! - `read_all` never shows a later event before an earlier one, and a reader that remembers the last
//!   position it saw never misses an event;
//! - positions increase but need not be dense: ask [`EventStore::distance`] for counts.

use std::{borrow::Cow, fmt};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A place in the log. `Position::START` is before the first event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub u64);

impl Position {
    /// Before every event.
    pub const START: Self = Self(0);
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A place in a stream: the first event has revision 0.
pub type Revision = u64;

/// An event to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Unique in the log; writing it again is recognised.
    pub id: Uuid,
    /// The stored type, e.g. `order.placed`. Ours are known at build time; those that others bring are not.
    pub kind: Cow<'static, str>,
    /// The body, JSON.
    pub data: Bytes,
    /// What stands beside the body, JSON.
    pub metadata: Bytes,
}

/// Events for one stream, written all or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// The stream's name, `<category>-<id>`.
    pub stream: String,
    /// How many events the stream must hold: its next revision. 0 means a new stream.
    pub expected: Revision,
    /// At least one event.
    pub events: Vec<NewEvent>,
    /// When another log recorded them, for a copy of what happened there; `None`: now, by the store's clock. A time
    /// that lies before the newest event's becomes that.
    pub recorded_at: Option<Timestamp>,
}

/// Where an append's events are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The revision of its first event.
    pub first_revision: Revision,
    /// The position of its last event.
    pub last_position: Position,
    /// False when all of its events were already there, at consecutive revisions: a repeated write. (Of two processes that
    /// write the same bytes at the same time both may be told true, where the server does not tell them apart.)
    pub fresh: bool,
}

/// Why one append of a batch wrote nothing. The others of the batch are not affected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The stream holds another number of events than expected: somebody else wrote it.
    #[error("the stream holds {actual} events, not {expected}")]
    Conflict {
        /// What the append expected.
        expected: Revision,
        /// How many events the stream holds.
        actual: Revision,
    },
    /// Some, but not all, of the append's events are already in the log.
    #[error("event {id} is already in the log")]
    Known {
        /// The first of its events that is known.
        id: Uuid,
    },
}

/// Why the store could not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// No space is left: nothing was written, reads go on, writes will work again when space returns.
    #[error("the event store's disk is full")]
    Full,
    /// The outcome of a write is unknown (a failed fsync, a lost connection). Repeat it with the same ids.
    #[error("the event store did not answer for certain: {0}")]
    Unknown(String),
    /// The store refuses to work until it is restarted: it can no longer promise durability.
    #[error("the event store has stopped: {0}")]
    Stopped(String),
    /// Stored bytes do not match their checksum.
    #[error("the event store is damaged: {0}")]
    Corrupt(String),
    /// The store cannot be reached, or has too much to do, at the moment; nothing was written. Ask again.
    #[error("the event store is not available: {0}")]
    Unavailable(String),
    /// Anything else; nothing was written, and asking again will not help.
    #[error("the event store failed: {0}")]
    Failed(String),
}

/// A stored event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Its place in the log.
    pub position: Position,
    /// The stream's name.
    pub stream: String,
    /// Its place in the stream.
    pub revision: Revision,
    /// Its id.
    pub id: Uuid,
    /// The stored type.
    pub kind: String,
    /// When the store wrote it, by the store's clock.
    pub recorded_at: Timestamp,
    /// The body, JSON.
    pub data: Bytes,
    /// What stands beside the body, JSON.
    pub metadata: Bytes,
}

/// A folded state, kept so that a long stream need not be read from its beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The version of the fold that made it; a reader with another fold ignores it.
    pub fold: u32,
    /// How many events are folded into it: the next revision to read.
    pub revision: Revision,
    /// The position of the last event folded into it.
    pub position: Position,
    /// The state, in the writer's own encoding.
    pub state: Bytes,
}

/// The append-only log.
#[async_trait]
pub trait EventStore: Send + Sync + 'static {
    /// Writes a batch, each append atomic by itself and behind those before it, and answers them in order. When it returns `Ok`, every
    /// `Ok` within is durable. An append whose events are all in its stream already, one behind the
    /// other, is answered with their old place, whatever it expected. After a crash inside, each append
    /// is wholly there or wholly absent.
    ///
    /// # Errors
    /// An [`Error`] for the whole batch; only after [`Error::Unknown`] may some of it be there.
    async fn append(&self, batch: Vec<Append>) -> Result<Vec<Result<Appended, Refused>>, Error>;

    /// True when nobody else can write this log while this handle exists: what its holder remembers of a stream
    /// is then all there is. Where it is false, only an accepted append proves that.
    fn sole_writer(&self) -> bool {
        false
    }

    /// Up to `limit` events of a stream from revision `from` (inclusive), in order. An unknown stream is empty.
    ///
    /// # Errors
    /// An [`Error`] when the log cannot be read.
    async fn read_stream(&self, stream: &str, from: Revision, limit: usize) -> Result<Vec<Recorded>, Error>;

    /// Up to `limit` events of the whole log after position `after` (exclusive), in order.
    ///
    /// # Errors
    /// An [`Error`] when the log cannot be read.
    async fn read_all(&self, after: Position, limit: usize) -> Result<Vec<Recorded>, Error>;

    /// The stored events with these ids, in the order asked, `None` where the log has none.
    ///
    /// # Errors
    /// An [`Error`] when the log cannot be read.
    async fn find(&self, ids: &[Uuid]) -> Result<Vec<Option<Recorded>>, Error>;

    /// The position of the newest event, or [`Position::START`].
    ///
    /// # Errors
    /// An [`Error`] when the log cannot be read.
    async fn head(&self) -> Result<Position, Error>;

    /// How many events lie after `from` up to `to` (inclusive); for lag and remaining time.
    ///
    /// # Errors
    /// An [`Error`] when the log cannot be read.
    async fn distance(&self, from: Position, to: Position) -> Result<u64, Error>;

    /// Waits until the log may hold an event after `after`. A wake-up only: it may come late or for
    /// nothing, so the caller reads, and bounds the wait.
    async fn wait(&self, after: Position);

    /// The newest snapshot saved under `name` by fold version `fold`.
    ///
    /// # Errors
    /// An [`Error`] when it cannot be read.
    async fn load_snapshot(&self, name: &str, fold: u32) -> Result<Option<Snapshot>, Error>;

    /// Keeps a snapshot under `name` in place of an older one. A cache: losing it in a crash loses nothing.
    ///
    /// # Errors
    /// An [`Error`] when it cannot be written; the log is not affected.
    async fn save_snapshot(&self, name: &str, snapshot: Snapshot) -> Result<(), Error>;
}
